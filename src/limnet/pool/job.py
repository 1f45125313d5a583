"""What a pool is given and what it gives: jobs, how their tools are loaded, messages; and the pool of one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

Tools = TypeVar("Tools")
Event_co = TypeVar("Event_co", covariant=True)
Tools_contra = TypeVar("Tools_contra", contravariant=True)
Event = TypeVar("Event")


class Job(Protocol[Tools_contra, Event_co]):
    """One piece of work, for whoever runs it; it and its events can be pickled."""

    @property
    def number(self) -> int:
        """Tells it from the other jobs of a run: its position in their sequence, from 0."""

    def run(self, tools: Tools_contra) -> Iterator[Event_co]:
        """Do it; a LimNetError that leaves it would come back with every job, and ends the run."""

    def failure(self, message: str) -> Event_co:
        """The event that says why it could not be brought to its end, such as that its worker died."""


Load = Callable[[int | None], Tools]
"""Threads (None: all cores) -> a worker's tools. Must be picklable for more than one worker."""

Message = tuple[int, Event | None]
"""Number of a job and what happened in it; None: it is done."""

Pool = Callable[[Sequence[Job[Any, Event]]], Iterator[Message[Event]]]
"""Runs all jobs in any order; stops what it started when its iterator is closed."""


@dataclass(frozen=True, eq=False)
class ThisProcess(Generic[Tools]):
    """The pool of one: jobs in their order, here."""

    load: Load[Tools]
    threads: int | None = None

    def __call__(self, jobs: Sequence[Job[Tools, Event]]) -> Iterator[Message[Event]]:
        """Run the jobs."""
        if not jobs:
            return
        tools = self.load(self.threads)
        for job in jobs:
            for event in job.run(tools):
                yield job.number, event
            yield job.number, None


def threads_per_worker(threads: int | None, workers: int) -> int:
    """An equal share of `threads` (None: of all cores), at least one."""
    return max(1, (threads or os.cpu_count() or 1) // workers)
