"""A whole batch: cases on a pool, and a summary on disk that is never older than a second."""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import limnet
from limnet.batch.case import BatchCase, BatchSettings, CaseRow, Plan, Playing
from limnet.batch.record import KEPT
from limnet.batch.run import DRAFT, run_case
from limnet.batch.summary import write_summary
from limnet.errors import OutputError
from limnet.lock import lock
from limnet.model import LimNet
from limnet.pool import Pool, ThisProcess

SECONDS = 1.0  # between two summaries: of thousands of cases one takes a while to write


@dataclass(frozen=True)
class LoadNetworks:
    """Loads a worker's networks."""

    weights: Path | None = None  # None: the shipped ones

    def __call__(self, threads: int | None) -> LimNet:
        """The networks."""
        return limnet.load_model(self.weights, threads=threads)


@dataclass(frozen=True)
class BatchJob:
    """One case, for whoever runs it."""

    number: int
    case: BatchCase
    folder: Path
    settings: BatchSettings

    def run(self, tools: LimNet) -> Iterator[Playing | CaseRow]:
        """Run the case."""
        return run_case(self.case, self.folder, self.settings, tools)

    def failure(self, message: str) -> CaseRow:
        """The case could not be brought to its end."""
        return CaseRow(self.case.name, "failed", message)


class BatchRun:
    """A batch at work; `rows` holds at any time what is known of every case."""

    def __init__(self, plan: Plan, folder: str | Path, settings: BatchSettings | None = None) -> None:
        self.plan, self.folder, self.settings = plan, Path(folder), settings or BatchSettings()
        self._rows = {case.name: CaseRow(case.name, "not run") for case in plan.cases}
        self._rows |= {row.case: row for row in plan.failures}
        self._written = 0.0

    @property
    def rows(self) -> list[CaseRow]:
        """One per case, in the order of the plan; "not run" are those whose turn has not come."""
        return list(self._rows.values())

    def events(self, pool: Pool[Playing | CaseRow]) -> Generator[Playing | CaseRow, None, None]:
        """Run all cases; see `run_batch`."""
        with _held(self.folder):
            self._write()
            try:
                yield from self.plan.failures
                yield from self._run(pool)
            finally:
                self._write()

    def _run(self, pool: Pool[Playing | CaseRow]) -> Iterator[Playing | CaseRow]:
        jobs = [
            BatchJob(number, case, self.folder, self.settings) for number, case in enumerate(self.plan.cases)
        ]
        messages = pool(jobs)
        try:
            for _, event in messages:
                if isinstance(event, CaseRow):
                    self._rows[event.case] = event
                    if time.monotonic() - self._written > SECONDS:
                        self._write()
                if event is not None:
                    yield event
        finally:
            if isinstance(messages, Generator):
                messages.close()  # ends the workers at once, not when the iterator is collected

    def _write(self) -> None:
        write_summary(self.folder, self.rows)
        self._written = time.monotonic()


def run_batch(
    plan: Plan,
    folder: str | Path,
    settings: BatchSettings | None = None,
    *,
    pool: Pool[Playing | CaseRow] | None = None,
) -> Generator[Playing | CaseRow, None, None]:
    """Run all cases of a plan; their results, summary.csv and objects.csv go into `folder`.

    Yields every `CaseRow` as soon as it is known, in any order, and `Playing` in between. The summary is
    written anew as cases end, at most once a second, and in the end, however that comes. `pool` is this
    process with the shipped networks by default. OutputError when the folder cannot be written or another
    batch works in it; WeightsError when there are no networks.
    """
    return BatchRun(plan, folder, settings).events(pool or ThisProcess(LoadNetworks()))


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The folder, made when it is not there, for this batch alone; what a killed one left is removed."""
    kept = folder / KEPT
    try:
        kept.mkdir(parents=True, exist_ok=True)
        file = (kept / "lock").open("a+")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be used ({error.strerror}); give another --out") from None
    with file:
        try:
            lock(file)
        except OSError:
            raise OutputError(
                f"{folder}: another batch works in it; wait for it or give another --out"
            ) from None
        for draft in kept.glob(f"{DRAFT}*"):
            shutil.rmtree(draft, ignore_errors=True)
        yield
