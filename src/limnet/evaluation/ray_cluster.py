"""Cases at once on a Ray cluster, or on a Ray instance of this machine: one actor per worker.

Every machine of the cluster must see the data under the same paths and have the same limnet installed. The
address of a cluster comes from RAY_ADDRESS, as for every Ray program; without it Ray starts here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from limnet.errors import ConfigError
from limnet.evaluation.entry import Entry
from limnet.evaluation.evaluate import FATAL, CaseEvent
from limnet.evaluation.runner import Job, Message


@dataclass(frozen=True, eq=False)
class RayCluster:
    """A pool of Ray actors."""

    entries: Sequence[Entry]
    workers: int | None = None  # None: as many as the cluster has room for
    threads: int = 1  # of each worker, and the CPUs it asks the cluster for

    def __call__(self, jobs: Sequence[Job]) -> Iterator[Message]:
        """Run the jobs; an actor that dies fails its case alone, and is replaced."""
        ray = import_ray()
        if not jobs:
            return
        began = not ray.is_initialized()
        if began:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
        try:
            yield from self._run(ray, jobs)
        finally:
            if began:
                ray.shutdown()

    def _run(self, ray: Any, jobs: Sequence[Job]) -> Iterator[Message]:
        """Give each actor a job; hear them all; give the next to the one that is done."""
        new_actor = ray.remote(_Actor).options(num_cpus=self.threads)
        room = max(1, int(ray.cluster_resources().get("CPU", 1)) // self.threads)
        waiting = deque(jobs)
        idle = [
            new_actor.remote(tuple(self.entries), self.threads)
            for _ in range(min(self.workers or room, room, len(jobs)))
        ]
        at_work: dict[Any, tuple[Any, Job]] = {}  # stream of events -> actor, job
        try:
            while waiting or at_work:
                while waiting and idle:
                    actor, job = idle.pop(), waiting.popleft()
                    at_work[actor.run.options(num_returns="streaming").remote(job)] = actor, job
                ready, _ = ray.wait(list(at_work), num_returns=1)
                for stream in ready:
                    actor, job = at_work[stream]
                    try:
                        event = ray.get(next(stream))
                    except StopIteration:
                        event = None
                    except ray.exceptions.RayActorError as error:
                        reason = str(error).strip().splitlines()[0]
                        yield job.number, job.failure(f"its Ray worker died: {reason}")
                        event, actor = None, new_actor.remote(tuple(self.entries), self.threads)
                    if isinstance(event, FATAL):
                        raise event
                    yield job.number, event
                    if event is None:
                        del at_work[stream]
                        idle.append(actor)
        finally:
            for actor in [*idle, *(actor for actor, _ in at_work.values())]:
                ray.kill(actor)


class _Actor:
    """A worker: its networks loaded once."""

    def __init__(self, entries: Sequence[Entry], threads: int) -> None:
        self._entries, self._threads = entries, threads
        self._trials: list[Any] | None = None

    def run(self, job: Job) -> Iterator[CaseEvent | Exception]:
        """The events of a job; an error that ends the run comes as the last of them."""
        try:
            if self._trials is None:
                self._trials = [entry.trial(self._threads) for entry in self._entries]
            yield from job.run(self._trials)
        except FATAL as error:
            yield error


def import_ray() -> Any:
    """The package ray; ConfigError when it is not installed."""
    try:
        import ray
    except ImportError:
        raise ConfigError("--ray needs the package ray: pip install 'limnet[ray]'") from None
    return ray
