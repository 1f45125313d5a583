"""limnet batch: many volumes with their prompts, as many masks, one summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from limnet.batch import (
    BatchRun,
    BatchSettings,
    CaseRow,
    LoadNetworks,
    Plan,
    Playing,
    find_cases,
    read_table,
    summary_table,
)
from limnet.batch.case import STATUSES, Format
from limnet.batch.summary import HEADER, SUMMARY_CSV
from limnet.cli.options import Folder, MaybeCount
from limnet.cli.terminal import aligned, progress_bar, time_left
from limnet.errors import ConfigError
from limnet.evaluation import Table
from limnet.pool import Pool, Processes, RayCluster, ThisProcess, threads_per_worker

MaybeTable = Annotated[Positional[Path | None], arg(metavar="[TABLE]", help_behavior_hint="")]
Out = Annotated[Path, arg(aliases=["-o"], metavar="DIR")]
Form = Annotated[Format, arg(metavar="nii.gz|nii|nrrd|seg.nrrd|mha|seg.dcm|labelmap.dcm|rtstruct.dcm")]
WIDEST = 72  # characters of a message in the printed table; the CSV has all of it


@dataclass(frozen=True)
class Batch:
    """Segment many volumes from prompts that are given beforehand; what is finished is not done again.

    TABLE is a CSV with the columns volume and prompts, and as needed out, case, name, anatomy, start, series,
    dicom. Without it, --volumes and --prompts name folders whose files go together by name. Prompts are files
    as for limnet segment --prompts, or journals. Exit code 1 when a case failed.
    """

    table: MaybeTable = None  # CSV; paths in it are relative to its folder
    out: Out = Path("masks")  # gets the masks, summary.csv and objects.csv
    volumes: Folder = None  # instead of TABLE: CASE.nii.gz ..., or a folder per case
    prompts: Folder = None  # with --volumes: CASE.json, CASE.OBJECT.json, or a journal CASE.limnet
    format: Form = "nii.gz"  # of masks whose name the table does not say
    workers: MaybeCount = None  # processes that each take a case at a time; default: 1
    ray: bool = False  # on a Ray cluster (RAY_ADDRESS) or a Ray instance here, with --workers actors
    threads: MaybeCount = None  # of all workers together, with --ray alone of each; default: all cores
    weights: Folder = None  # default: the shipped ones
    restore: bool = False  # of journals, write the masks as they are instead of giving the prompts again
    overwrite: bool = False  # replace results that were edited since, or that something else made
    allow_gaps: bool = False  # take DICOM series with missing slices

    def run(self) -> int:
        """Run all cases, print the summary."""
        plan = self._plan()
        settings = BatchSettings(restore=self.restore, overwrite=self.overwrite, allow_gaps=self.allow_gaps)
        run = BatchRun(plan, self.out, settings)
        try:
            _follow(run.events(self._pool()), len(run.rows))
        except KeyboardInterrupt:
            _report(run.rows, self.out)
            raise
        _report(run.rows, self.out)
        return int(any(row.status == "failed" for row in run.rows))

    def _plan(self) -> Plan:
        """The cases of the table or of the folders."""
        if self.table is not None and self.volumes is None and self.prompts is None:
            return read_table(self.table, self.format)
        if self.table is None and self.volumes is not None and self.prompts is not None:
            return find_cases(self.volumes, self.prompts, self.format)
        raise ConfigError("give a TABLE, or --volumes DIR with --prompts DIR")

    def _pool(self) -> Pool[Playing | CaseRow]:
        """Who does the work."""
        load, workers = LoadNetworks(self.weights), self.workers or 1
        if self.ray and self.workers is None:  # as many as the cluster has room for
            return RayCluster(load, threads=self.threads or 1)
        if self.ray:
            return RayCluster(load, workers, threads_per_worker(self.threads, workers))
        if workers > 1:
            return Processes(load, workers, threads_per_worker(self.threads, workers))
        return ThisProcess(load, self.threads)


def _follow(events: Generator[Playing | CaseRow, None, None], num_cases: int) -> None:
    """Show where the batch stands, and what fails as it fails."""
    started, num_worked, num_ended = time.monotonic(), 0, 0
    with closing(events), progress_bar("batch", total=num_cases) as (bar, task):
        for event in events:
            if isinstance(event, CaseRow):
                num_ended += 1
                num_worked += event.status == "done"
                bar.advance(task)
                if event.status == "failed":
                    print(f"limnet: failed: {event.case}: {event.message}", file=sys.stderr)
                continue
            left = time_left(time.monotonic() - started, num_worked, num_worked + num_cases - num_ended)
            words = f"{event.case}, {event.object_name}, round {event.round}"
            bar.update(task, description=f"case {num_ended + 1} of {num_cases}, {left}: {words}")


def _report(rows: list[CaseRow], folder: Path) -> None:
    """The summary in columns, and how many of each."""
    lines = summary_table(rows)
    columns = aligned(Table(title="", header=HEADER[:6], rows=tuple(line[:6] for line in lines)))
    for line, message in zip(columns.splitlines(), (HEADER[6], *(line[6] for line in lines)), strict=True):
        words = message if len(message) <= WIDEST else f"{message[: WIDEST - 3]}..."
        print(f"{line}  {words}".rstrip())
    counts = {status: sum(row.status == status for row in rows) for status in STATUSES}
    print(", ".join(f"{status} {count}" for status, count in counts.items()))
    print(f"summary {folder / SUMMARY_CSV}")
