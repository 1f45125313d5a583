"""Batches for tests: folders of volumes and scripts, networks that workers load, what came of it."""

from __future__ import annotations

import csv
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doubles import FakeLimNet
from limnet.batch import BatchSettings, CaseRow, Plan, find_cases, run_batch
from limnet.errors import WeightsError
from limnet.pool import ThisProcess

if TYPE_CHECKING:  # workers import this file, and may meet another conftest first
    from conftest import Ball

BALL, CORNER = {"clicks": [{"index": [20, 16, 6]}]}, {"prompts": [{"box": [[18, 14, 6], [22, 18, 6]]}]}


class MortalLimNet(FakeLimNet):
    """Ends its process when a mark lies on disk, which it takes away."""

    def __init__(self, mark: Path) -> None:
        super().__init__(size=64)
        self.mark = mark

    def interaction(self, *args: Any) -> Any:
        if self.mark.exists():
            self.mark.unlink()
            os._exit(3)
        return super().interaction(*args)


@dataclass(frozen=True)
class LoadFakes:
    """What a worker loads; `fatal`: nothing."""

    mark: Path = Path("no mark")
    fatal: bool = False

    def __call__(self, threads: int | None) -> MortalLimNet:
        if self.fatal:
            raise WeightsError("no weights here")
        return MortalLimNet(self.mark)


def write_folders(ball: Ball, folder: Path) -> Path:
    """Three volumes, scans/a, b and c, with a script each in prompts; the folder of both."""
    for name in "abc":
        (folder / "scans").mkdir(exist_ok=True)
        shutil.copy(ball.volume, folder / "scans" / f"{name}.nii.gz")
        script(folder / "prompts" / f"{name}.json")
    return folder


def script(path: Path, table: dict[str, Any] = BALL) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(table), encoding="utf-8")
    return path


def planned(folders: Path, form: str = "nii.gz") -> Plan:
    return find_cases(folders / "scans", folders / "prompts", form)


def run(plan: Plan, out: Path, **how: Any) -> dict[str, CaseRow]:
    """The row of every case."""
    pool = how.pop("pool", ThisProcess(LoadFakes()))
    events = list(run_batch(plan, out, BatchSettings(**how), pool=pool))
    rows = [event for event in events if isinstance(event, CaseRow)]
    assert len({row.case for row in rows}) == len(rows), "one row per case"
    return {row.case: row for row in rows}


def status(rows: dict[str, CaseRow]) -> dict[str, str]:
    return {name: row.status for name, row in sorted(rows.items())}


def summary(out: Path, name: str = "summary.csv") -> list[dict[str, str]]:
    with (out / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path
