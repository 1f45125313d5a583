"""Jobs at once on a Ray cluster, or on a Ray instance of this machine: one actor per worker.

Every machine of the cluster must see the data under the same paths and have the same limnet installed. The
address of a cluster comes from RAY_ADDRESS, as for every Ray program; without it Ray starts here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from limnet.errors import ConfigError, LimNetError
from limnet.pool.job import Event, Job, Load, Message, Tools


@dataclass(frozen=True, eq=False)
class RayCluster(Generic[Tools]):
    """A pool of Ray actors."""

    load: Load[Tools]
    workers: int | None = None  # None: as many as the cluster has room for
    threads: int = 1  # of each worker, and the CPUs it asks the cluster for

    def __call__(self, jobs: Sequence[Job[Tools, Event]]) -> Iterator[Message[Event]]:
        """Run the jobs; an actor that dies fails its job alone, and is replaced."""
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

    def _run(self, ray: Any, jobs: Sequence[Job[Tools, Event]]) -> Iterator[Message[Event]]:
        """Give each actor a job; hear them all; give the next to the one that is done."""
        new_actor = ray.remote(_Actor).options(num_cpus=self.threads)
        room = max(1, int(ray.cluster_resources().get("CPU", 1)) // self.threads)
        waiting = deque(jobs)
        idle = [
            new_actor.remote(self.load, self.threads)
            for _ in range(min(self.workers or room, room, len(jobs)))
        ]
        at_work: dict[Any, tuple[Any, Job[Tools, Event]]] = {}  # stream of events -> actor, job
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
                        event, actor = None, new_actor.remote(self.load, self.threads)
                    if isinstance(event, LimNetError):
                        raise event
                    yield job.number, event
                    if event is None:
                        del at_work[stream]
                        idle.append(actor)
        finally:
            for actor in [*idle, *(actor for actor, _ in at_work.values())]:
                ray.kill(actor)


class _Actor:
    """A worker: its tools loaded once."""

    def __init__(self, load: Load[Any], threads: int) -> None:
        self._load, self._threads = load, threads
        self._loaded: list[Any] = []

    def run(self, job: Job[Any, Any]) -> Iterator[Any]:
        """The events of a job; an error that ends the run comes as the last of them."""
        try:
            if not self._loaded:
                self._loaded.append(self._load(self._threads))
            yield from job.run(self._loaded[0])
        except LimNetError as error:
            yield error


def import_ray() -> Any:
    """The package ray; ConfigError when it is not installed."""
    try:
        import ray
    except ImportError:
        raise ConfigError("--ray needs the package ray: pip install 'limnet[ray]'") from None
    return ray
