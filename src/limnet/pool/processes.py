"""Jobs at once on one machine: worker processes, each with its own tools, one job at a time.

```
this process ── Job ──►  worker ─► Job.run
             ◄─ event ──         (each as it happens)
```
Not `concurrent.futures`: there a worker that dies takes the whole pool with it, and does not tell which job
it was; and a job tells nothing before it is over. Workers are spawned, not forked: networks have threads.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Generic

from limnet.errors import LimNetError
from limnet.pool.job import Event, Job, Load, Message, Tools


@dataclass(frozen=True, eq=False)
class Processes(Generic[Tools]):
    """A pool of worker processes."""

    load: Load[Tools]
    workers: int
    threads: int = 1  # of each worker

    def __call__(self, jobs: Sequence[Job[Tools, Event]]) -> Iterator[Message[Event]]:
        """Run the jobs; a worker that dies fails its job alone, and is replaced."""
        waiting = deque(jobs)
        busy: dict[Connection, _Worker] = {}
        context = multiprocessing.get_context("spawn")
        try:
            while waiting or busy:
                while waiting and len(busy) < self.workers:
                    worker = _Worker.start(context, self.load, self.threads, waiting.popleft())
                    busy[worker.connection] = worker
                for connection in wait(list(busy)):
                    worker = busy[connection]  # type: ignore[index]  # what went in comes out
                    event = worker.receive()
                    if isinstance(event, LimNetError):
                        raise event
                    if isinstance(event, _Died):
                        yield worker.job.number, worker.job.failure(event.message)
                        yield worker.job.number, None
                        del busy[worker.connection]
                        continue
                    yield worker.job.number, event
                    if event is None and waiting:
                        worker.give(waiting.popleft())
                    elif event is None:
                        busy.pop(worker.connection).stop()
        finally:
            for worker in busy.values():
                worker.stop()


@dataclass(frozen=True)
class _Died:
    message: str


class _Worker:
    """A process, our end of its pipe, and the job it has."""

    def __init__(self, process: SpawnProcess, connection: Connection, job: Job[Any, Any]) -> None:
        self.process, self.connection, self.job = process, connection, job

    @classmethod
    def start(cls, context: SpawnContext, load: Load[Any], threads: int, job: Job[Any, Any]) -> _Worker:
        """A new process, at work on `job`."""
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, load, threads), daemon=True)
        process.start()
        theirs.close()  # so that the pipe ends when the process does
        worker = cls(process, ours, job)
        worker.give(job)
        return worker

    def give(self, job: Job[Any, Any]) -> None:
        """Send the next job; a worker that is dead by then is found out by `receive`."""
        self.job = job
        with suppress(OSError):
            self.connection.send(job)

    def receive(self) -> Any:
        """The next event; _Died once the process has ended."""
        try:
            return self.connection.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            self.process.join()
            code = self.process.exitcode
            self.connection.close()
            how = f"signal {-code} (no memory left, perhaps)" if code and code < 0 else f"exit code {code}"
            return _Died(f"its worker process ended with {how}")

    def stop(self) -> None:
        """End the process, whatever it does."""
        self.process.terminate()
        self.process.join()
        self.connection.close()


def _serve(connection: Connection, load: Load[Any], threads: int) -> None:
    """What a worker does: load its tools once, then run jobs until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the first process ends the others
    try:
        tools = load(threads)
        while True:
            job: Job[Any, Any] = connection.recv()
            for event in job.run(tools):
                connection.send(event)
            connection.send(None)
    except (EOFError, BrokenPipeError):  # the first process has ended
        return
    except LimNetError as error:  # one that ends the run: a job keeps all others to itself
        connection.send(error)
