"""What an evaluation yields, and its CSVs: a row per round and a row per slice; all tables come from them.

```
rounds.csv   one row per round; its last column says how many rows of slices.csv belong to it
slices.csv   one row per slice and round: what the method expected of it, beside the truth
```
The CSVs are the only record. An object's rows are written together once it is complete, its slices first, so
that a run which was stopped loses one object at most, and goes on where it stopped. `RoundLog.finish` sorts
both by set, case, object and settings: the same seed gives the same bytes, but for the MEASURED columns, in
whatever order the objects came.
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from limnet.errors import ConfigError, OutputError
from limnet.evaluation.cases import CaseFailure, Skipped
from limnet.text_file import as_csv, write_whole

MEASURED = ("seconds", "preview_seconds", "peak_memory_mib")  # columns that no seed can repeat
ROUNDS_CSV, SLICES_CSV = "rounds.csv", "slices.csv"
_SLICE_ROWS = "slice_rows"


class ObjectKey(NamedTuple):
    """What makes two results comparable: the same object, method and settings."""

    set_name: str
    case: str
    object_id: int
    truth_voxels: int  # another data set of the same name is not the same object
    protocol: str
    method: str
    user: str
    seed: int
    fusion: bool
    num_rounds: int
    cap: int


@dataclass(frozen=True, slots=True)
class RoundRow:
    """One round on one object: a row of rounds.csv, the fields its columns."""

    set_name: str
    case: str
    object_id: int  # in the truth
    truth_voxels: int
    truth_ml: float
    protocol: str
    method: str
    user: str
    seed: int  # of the user's choices
    fusion: bool
    num_rounds: int  # of the protocol
    cap: int  # of the protocol: the round at which a threshold not reached counts as failed
    round: int  # from 1
    axis: int  # sweep axis
    num_clicks: int  # of this round
    click_i: int  # the first of them
    click_j: int
    click_k: int
    positive: bool
    dice: float
    iou: float
    nsd_1mm: float
    nsd_2mm: float
    nsd_3mm: float
    hd95_mm: float  # NaN when the mask is empty
    seconds: float  # from the click to the mask of the whole volume
    preview_seconds: float  # of that, until the slice's own mask
    peak_memory_mib: float  # of the process at the method's work so far; NaN where the system does not tell
    is_last: bool  # no further round: the protocol's end, or no error left

    @property
    def key(self) -> ObjectKey:
        """The object and settings this round belongs to."""
        return _key_of(self)


@dataclass(frozen=True, slots=True)
class SliceRow:
    """One slice after one round: a row of slices.csv.

    Noted are the slices that hold truth or mask, and the suggested one.
    """

    set_name: str
    case: str
    object_id: int
    truth_voxels: int
    protocol: str
    method: str
    user: str
    seed: int
    fusion: bool
    num_rounds: int
    cap: int
    round: int
    slice: int  # index along the sweep axis
    quality: float  # the Dice that the method expects, NaN where it does not know
    dice: float  # of this slice alone
    suggested: bool  # the one slice that the method would look at next

    @property
    def key(self) -> ObjectKey:
        """The object and settings this slice belongs to."""
        return _key_of(self)


class ObjectDone(NamedTuple):
    """All rows of one object under one method and settings: what a log keeps together."""

    rows: tuple[RoundRow, ...]  # rounds 1, 2, … up to the last
    slices: tuple[SliceRow, ...]  # none where the method does not judge its slices

    @property
    def key(self) -> ObjectKey:
        """The object and settings."""
        return self.rows[0].key


@dataclass(frozen=True)
class CaseDone:
    """All objects of a case have been seen to: progress bars move."""

    set_name: str
    case: str


Event = RoundRow | SliceRow | Skipped | CaseFailure | CaseDone

Row = TypeVar("Row", RoundRow, SliceRow)


class RoundLog:
    """The CSVs of an evaluation: what is complete in them, and a pen to add to them."""

    def __init__(self, folder: Path) -> None:
        """Read what `folder` holds and drop objects that were cut off; OutputError if it is unusable."""
        self.folder = folder
        with _explained(folder, "give another --out folder"):
            folder.mkdir(parents=True, exist_ok=True)
            texts = _read(folder / ROUNDS_CSV), _read(folder / SLICES_CSV)
            self._objects = {done.key: done for done in read_objects(*texts, folder)}
            if texts != _as_texts(self._objects.values()):
                self._rewrite()

    @property
    def objects(self) -> Mapping[ObjectKey, ObjectDone]:
        """Every object that is complete, those of earlier runs too."""
        return self._objects

    def complete(self, key: ObjectKey) -> ObjectDone | None:
        """The rows of an object that is complete, or None."""
        return self._objects.get(key)

    def append(self, rows: Sequence[RoundRow], slices: Sequence[SliceRow] = ()) -> None:
        """Add one complete object; it is on disk when this returns. OutputError when it cannot be written."""
        done = ObjectDone(tuple(rows), tuple(slices))
        rounds_text, slices_text = _as_texts([done], header=False)
        with _explained(self.folder, "make room and run again"):
            # slices first: rounds.csv is what says that the object is complete
            for name, text in ((SLICES_CSV, slices_text), (ROUNDS_CSV, rounds_text)):
                with (self.folder / name).open("a", encoding="utf-8", newline="\n") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
        self._objects[done.key] = done

    def finish(self) -> None:
        """Put both CSVs into their order: by set, case, object and settings, whatever order they came in."""
        self._objects = dict(sorted(self._objects.items()))
        with _explained(self.folder, "make room and run again"):
            self._rewrite()

    def _rewrite(self) -> None:
        for name, text in zip((SLICES_CSV, ROUNDS_CSV), _as_texts(self._objects.values())[::-1], strict=True):
            write_whole(self.folder / name, text)


def read_folder(folder: Path) -> list[ObjectDone]:
    """Every complete object that an evaluation left in `folder`; ConfigError when there is none."""
    if not (folder / ROUNDS_CSV).is_file():
        raise ConfigError(f"{folder}: no {ROUNDS_CSV} in it; give the --out folder of limnet evaluate")
    try:
        found = read_objects(_read(folder / ROUNDS_CSV), _read(folder / SLICES_CSV), folder)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{folder}: cannot be read: {error}") from None
    if not found:
        raise ConfigError(f"{folder}: no complete object in its {ROUNDS_CSV}; let limnet evaluate finish one")
    return found


def read_objects(rounds_text: str, slices_text: str, folder: Path) -> list[ObjectDone]:
    """The objects whose rounds and slices are all there, in their order; another table is an OutputError.

    Lines that are cut off are passed over, and their objects with them.
    """
    rounds = list(_parse(RoundRow, rounds_text, folder / ROUNDS_CSV, more=(_SLICE_ROWS,)))
    expected = {(row.key, row.round): int(rest[0]) for row, rest in rounds if rest[0].isdecimal()}
    slices: dict[ObjectKey, list[SliceRow]] = {}
    for item, _ in _parse(SliceRow, slices_text, folder / SLICES_CSV):
        slices.setdefault(item.key, []).append(item)
    found = []
    for key, rows in complete_objects(row for row, _ in rounds).items():
        of_object = slices.get(key, [])
        counts = Counter(item.round for item in of_object)
        if all(expected.get((key, row.round)) == counts[row.round] for row in rows):
            found.append(ObjectDone(rows, tuple(of_object)))
    return found


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


def without_measured(text: str) -> str:
    """A CSV without its MEASURED columns: what two runs with one seed have in common, byte for byte.

    >>> without_measured("round,seconds,dice\\n1,0.25,0.5\\n")
    'round,dice\\n1,0.5\\n'
    """
    table = list(csv.reader(io.StringIO(text)))
    kept = [column for column, name in enumerate(table[0]) if name not in MEASURED] if table else []
    return as_csv([line[column] for column in kept if column < len(line)] for line in table)


_PARSERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": lambda text: {"0": False, "1": True}[text],
}


def _parse(
    kind: type[Row], text: str, path: Path, more: tuple[str, ...] = ()
) -> Iterator[tuple[Row, list[str]]]:
    """Rows of a CSV, each with the cells of the columns `more` that follow its own."""
    reader = csv.reader(io.StringIO(text))
    header = next(reader, None)
    if header is None:
        return
    columns: list[str] = [field.name for field in fields(kind)]
    if header != [*columns, *more]:
        raise OutputError(
            f"{path}: not a table of this version of limnet evaluate (its first line differs);"
            " move it away or give another --out folder"
        )
    parsers = [_PARSERS[str(field.type)] for field in fields(kind)]
    for cells in reader:
        if len(cells) != len(header):  # a line cut off by a crash; its object is run again
            continue
        try:
            values = [parse(cell) for parse, cell in zip(parsers, cells, strict=False)]
        except (ValueError, KeyError):  # likewise
            continue
        yield kind(*values), cells[len(columns) :]


def _as_texts(objects: Iterable[ObjectDone], *, header: bool = True) -> tuple[str, str]:
    """Both CSVs."""
    rounds: list[Sequence[object]] = []
    slices: list[Sequence[object]] = []
    if header:
        rounds.append([*(field.name for field in fields(RoundRow)), _SLICE_ROWS])
        slices.append([field.name for field in fields(SliceRow)])
    for done in objects:
        counts = Counter(item.round for item in done.slices)
        rounds += [(*_cells(row), counts[row.round]) for row in done.rows]
        slices += [_cells(row) for row in done.slices]
    return as_csv(rounds), as_csv(slices)


def _cells(row: RoundRow | SliceRow) -> list[object]:
    return [int(cell) if isinstance(cell, bool) else cell for cell in astuple(row)]


def _key_of(row: RoundRow | SliceRow) -> ObjectKey:
    return ObjectKey(*(getattr(row, name) for name in ObjectKey._fields))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


@contextmanager
def _explained(folder: Path, remedy: str) -> Iterator[None]:
    """Turn what the system says about a folder into an OutputError with a remedy."""
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"{folder}: cannot be written: {error}; {remedy}") from None
