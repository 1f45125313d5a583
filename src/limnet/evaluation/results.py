"""What an evaluation yields, and its CSV: one row per round, from which every table is made.

The CSV is the only record. An object's rows are written together once it is complete, so that a run which was
stopped loses one object at most, and goes on where it stopped.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from limnet.errors import OutputError
from limnet.evaluation.cases import CaseFailure, Skipped

NSD_TOLERANCE_MM = 2.0


class ObjectKey(NamedTuple):
    """What makes two results comparable: the same object, method and settings."""

    set_name: str
    case: str
    object_id: int
    truth_voxels: int  # another data set of the same name is not the same object
    method: str
    fusion: bool
    num_rounds: int
    cap: int


@dataclass(frozen=True)
class RoundRow:
    """One round on one object: a row of the CSV, the fields its columns."""

    set_name: str
    case: str
    object_id: int  # label id in the truth
    truth_voxels: int
    truth_ml: float
    method: str
    fusion: bool
    num_rounds: int  # of the protocol
    cap: int  # of the protocol: the round at which a threshold not reached counts as failed
    round: int  # from 1
    axis: int  # sweep axis
    click_i: int
    click_j: int
    click_k: int
    positive: bool
    dice: float
    nsd_2mm: float  # at NSD_TOLERANCE_MM
    seconds: float  # from the click to the mask of the whole volume
    peak_memory_mib: float  # of the process so far; NaN where the system does not tell
    is_last: bool  # no further round: the protocol's end, or no error left

    @property
    def key(self) -> ObjectKey:
        """The object and settings this round belongs to."""
        return ObjectKey(
            self.set_name,
            self.case,
            self.object_id,
            self.truth_voxels,
            self.method,
            self.fusion,
            self.num_rounds,
            self.cap,
        )


@dataclass(frozen=True)
class CaseDone:
    """All objects of a case have been seen to: progress bars move."""

    set_name: str
    case: str


Event = RoundRow | Skipped | CaseFailure | CaseDone

_COLUMNS = tuple(field.name for field in fields(RoundRow))
_PARSERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": lambda text: {"0": False, "1": True}[text],
}


class RoundLog:
    """The CSV of an evaluation: what is complete in it, and a pen to add to it."""

    def __init__(self, path: Path) -> None:
        """Read `path` if it exists and drop objects that were cut off; OutputError if it is unusable."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            rows = read_rows(text, path)
            self._complete = complete_objects(rows)
            whole = _as_csv(row for rows_of in self._complete.values() for row in rows_of)
            if whole != text:
                replacement = path.with_name(f"{path.name}.{os.getpid()}.tmp")
                replacement.write_text(whole, encoding="utf-8", newline="\n")
                replacement.replace(path)
        except (OSError, UnicodeDecodeError) as error:
            raise OutputError(f"{path}: cannot be written: {error}; give another --out folder") from None

    def complete(self, key: ObjectKey) -> tuple[RoundRow, ...] | None:
        """The rows of an object that an earlier run finished, or None."""
        return self._complete.get(key)

    def append(self, rows: Sequence[RoundRow]) -> None:
        """Add the rows of one complete object; they are on disk when this returns."""
        try:
            with self.path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(_as_csv(rows, header=False))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error}; make room and run again") from None
        self._complete[rows[0].key] = tuple(rows)


def read_rows(text: str, where: Path) -> list[RoundRow]:
    """The rows of a CSV; lines that are cut off are passed over, another table is an OutputError."""
    reader = csv.reader(io.StringIO(text))
    header = next(reader, None)
    if header is None:
        return []
    if tuple(header) != _COLUMNS:
        raise OutputError(
            f"{where}: not a table of this version of limnet evaluate (its first line differs);"
            " move it away or give another --out folder"
        )
    rows = []
    for cells in reader:
        try:
            values = [
                _PARSERS[str(field.type)](cell) for field, cell in zip(fields(RoundRow), cells, strict=True)
            ]
        except (ValueError, KeyError):  # a line cut off by a crash; its object is run again
            continue
        rows.append(RoundRow(*values))
    return rows


def complete_objects(rows: Iterable[RoundRow]) -> dict[ObjectKey, tuple[RoundRow, ...]]:
    """Rows by object, of those objects that have rounds 1, 2, … up to their last."""
    by_object: dict[ObjectKey, list[RoundRow]] = {}
    for row in rows:
        by_object.setdefault(row.key, []).append(row)
    return {
        key: tuple(found)
        for key, found in by_object.items()
        if [row.round for row in found] == list(range(1, len(found) + 1)) and found[-1].is_last
    }


def _as_csv(rows: Iterable[RoundRow], *, header: bool = True) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(_COLUMNS)
    for row in rows:
        writer.writerow(int(cell) if isinstance(cell, bool) else cell for cell in astuple(row))
    return text.getvalue()
