"""Cases at once on one machine: worker processes, each with its own networks, one case at a time.

```
this process ── Job ──►  worker ─► evaluate_case
             ◄─ event ──         (each as it happens)
```
Not `concurrent.futures`: there a worker that dies takes the whole pool with it, and does not tell which case
it was; and a case tells nothing before it is over. Workers are spawned, not forked: networks have threads.
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
from typing import Any

from limnet.errors import LimNetError
from limnet.evaluation.entry import Entry
from limnet.evaluation.runner import Job, Message


@dataclass(frozen=True, eq=False)
class Processes:
    """A pool of worker processes."""

    entries: Sequence[Entry]
    workers: int
    threads: int = 1  # of each worker

    def __call__(self, jobs: Sequence[Job]) -> Iterator[Message]:
        """Run the jobs; a worker that dies fails its case alone, and is replaced."""
        waiting = deque(jobs)
        busy: dict[Connection, _Worker] = {}
        context = multiprocessing.get_context("spawn")
        try:
            while waiting or busy:
                while waiting and len(busy) < self.workers:
                    worker = _Worker.start(context, self.entries, self.threads, waiting.popleft())
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

    def __init__(self, process: SpawnProcess, connection: Connection, job: Job) -> None:
        self.process, self.connection, self.job = process, connection, job

    @classmethod
    def start(cls, context: SpawnContext, entries: Sequence[Entry], threads: int, job: Job) -> _Worker:
        """A new process, at work on `job`."""
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, tuple(entries), threads), daemon=True)
        process.start()
        theirs.close()  # so that the pipe ends when the process does
        worker = cls(process, ours, job)
        worker.give(job)
        return worker

    def give(self, job: Job) -> None:
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
            return _Died(f"its worker process ended with {how}; objects it had finished are kept")

    def stop(self) -> None:
        """End the process, whatever it does."""
        self.process.terminate()
        self.process.join()
        self.connection.close()


def _serve(connection: Connection, entries: Sequence[Entry], threads: int) -> None:
    """What a worker does: load the networks once, then run jobs until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the first process ends the others
    try:
        trials = [entry.trial(threads) for entry in entries]
        while True:
            job: Job = connection.recv()
            for event in job.run(trials):
                connection.send(event)
            connection.send(None)
    except (EOFError, BrokenPipeError):  # the first process has ended
        return
    except LimNetError as error:  # one that ends the run: `evaluate_case` keeps all others
        connection.send(error)
