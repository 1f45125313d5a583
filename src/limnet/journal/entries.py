"""Entries as rows and back. Nothing is pickled: JSON for words and numbers, plain arrays for the rest.

```
volume   facts of the volume; always the first row
opened   versions of package and weights that the rows after it were made with
added, changed, removed   an object's id, name, colour, lock
overlap  who wins where objects overlap
lens     axis; centre, side and size of the view; ends of the tone. Data: the tone's table (float32)
prompt   axis, prompt, row of its lens. Data: prompt mask; of a painted slice also what was painted
round    axis, prompts, place of the change, row of its lens, seconds. Data: change, provenance and
         carried (int16), quality (float32) and swept (bits) of each slice, painted slices
undo, redo, go   for go: how many rounds are done afterwards
```
Numbers are little-endian, masks bits packed and compressed with zlib.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limnet.annotation import Added, Changed, Done, Entry, Opened, Overlapping, Removed
from limnet.fusion import Change, Round
from limnet.history import Gone, Prompted, Redone, Undone
from limnet.journal.store import Row, StoredRow
from limnet.lens import Lens, plane_of
from limnet.prompt import Box, Click, Lasso, Painted, Prompt, Scribble, Voxel
from limnet.tone import Tone
from limnet.view import View
from limnet.volume import Volume

LOOKS: dict[str, type[Added | Changed | Removed | Overlapping | Opened]] = {
    "added": Added,
    "changed": Changed,
    "removed": Removed,
    "overlap": Overlapping,
    "opened": Opened,
}
MOVES: dict[str, type[Undone | Redone | Gone]] = {"undo": Undone, "redo": Redone, "go": Gone}


class Writer:
    """Entries -> rows; a lens gets a row of its own when it is first used."""

    def __init__(self, num_rows: int, lenses: dict[int, Lens]) -> None:
        """`lenses` are those that have a row already, by its number."""
        self._num_rows = num_rows
        self._rows_of_lenses = {id(lens): number for number, lens in lenses.items()}
        self._kept = list(lenses.values())  # an id counts only while its lens lives

    def rows(self, entry: Entry) -> list[Row]:
        """The rows of an entry, in order; count them with `wrote` once they are on disk."""
        if not isinstance(entry, Done):
            kind = next(kind for kind, made in LOOKS.items() if isinstance(entry, made))
            return [Row(getattr(entry, "object_id", 0), kind, _json(asdict(entry)))]
        deed = entry.deed
        if not isinstance(deed, Prompted | Round):
            kind = next(kind for kind, made in MOVES.items() if isinstance(deed, made))
            return [Row(entry.object_id, kind, _json(asdict(deed)))]
        number = self._rows_of_lenses.get(id(deed.lens))
        rows = [lens_row(deed.lens)] if number is None else []
        number = self._num_rows + 1 if number is None else number
        if isinstance(deed, Prompted):
            return [*rows, prompt_row(entry.object_id, deed, number)]
        return [*rows, round_row(entry.object_id, deed, number)]

    def wrote(self, entry: Entry, rows: Sequence[Row]) -> None:
        """Rows of an entry are on disk."""
        if isinstance(entry, Done) and isinstance(entry.deed, Prompted | Round) and rows[0].kind == "lens":
            self._rows_of_lenses[id(entry.deed.lens)] = self._num_rows + 1
            self._kept.append(entry.deed.lens)
        self._num_rows += len(rows)


class Reader:
    """Rows -> entries, for a volume."""

    def __init__(self, volume: Volume) -> None:
        self.volume = volume
        self.lenses: dict[int, Lens] = {}  # by the number of their row

    def entry(self, stored: StoredRow) -> Entry | None:
        """The entry of a row; None when the row only serves others."""
        object_id, kind, body, data = stored.row
        table = json.loads(body)
        if kind in LOOKS:
            return LOOKS[kind](**table)
        if kind in MOVES:
            return Done(object_id, MOVES[kind](**table))
        if kind == "lens":
            self.lenses[stored.number] = lens_of(table, data, self.volume)
        elif kind == "prompt":
            return Done(object_id, self._prompted(table, data))
        elif kind == "round":
            return Done(object_id, self._round(table, data))
        return None

    def _prompted(self, table: dict[str, Any], data: bytes) -> Prompted:
        parts = _parts(data, table["sizes"])
        axis, lens = table["axis"], self.lenses[table["lens"]]
        mask = unpack(next(parts), lens.view.plane.shape)
        return Prompted(axis, prompt_of(table["prompt"], lens.view.plane.shape, axis, parts), mask, lens)

    def _round(self, table: dict[str, Any], data: bytes) -> Round:
        parts = _parts(data, table["sizes"])
        axis, lens = table["axis"], self.lenses[table["lens"]]
        change = Change(_voxel(table["low"]), _voxel(table["shape"]), next(parts))
        provenance, carried = (np.frombuffer(next(parts), "<i2").astype(np.int16) for _ in range(2))
        quality = np.frombuffer(next(parts), "<f4").astype(np.float32)
        swept = np.unpackbits(np.frombuffer(next(parts), np.uint8), count=len(quality)).astype(bool)
        prompts = tuple(prompt_of(p, lens.view.plane.shape, axis, parts) for p in table["prompts"])
        seconds = table["seconds"]
        return Round(axis, prompts, change, provenance, carried, quality, swept, lens, seconds)


def prompt_row(object_id: int, given: Prompted, lens: int) -> Row:
    """A prompt and what came of it; `lens` is the row of its lens."""
    parts = [pack(given.mask), *_painted([given.prompt])]
    body = {"axis": given.axis, "prompt": table_of(given.prompt), "lens": lens, "sizes": _sizes(parts)}
    return Row(object_id, "prompt", _json(body), b"".join(parts))


def round_row(object_id: int, done: Round, lens: int) -> Row:
    """A round; `lens` is the row of its lens."""
    numbers = [done.provenance.astype("<i2"), done.carried.astype("<i2"), done.quality.astype("<f4")]
    swept = np.packbits(done.swept).tobytes()
    parts = [done.change.data, *(n.tobytes() for n in numbers), swept, *_painted(done.prompts)]
    body = {
        "axis": done.axis,
        "prompts": [table_of(prompt) for prompt in done.prompts],
        "low": done.change.low,
        "shape": done.change.shape,
        "lens": lens,
        "seconds": round(done.seconds, 6),
        "sizes": _sizes(parts),
    }
    return Row(object_id, "round", _json(body), b"".join(parts))


def lens_row(lens: Lens) -> Row:
    """A lens; its plane is the volume's."""
    view, tone = lens.view, lens.tone
    body = {"axis": lens.axis, "centre": view.centre, "side_mm": view.side_mm, "size": view.size}
    return Row(
        0, "lens", _json({**body, "low": tone.low, "high": tone.high}), tone.table.astype("<f4").tobytes()
    )


def lens_of(table: dict[str, Any], data: bytes, volume: Volume) -> Lens:
    """The lens of a row, for a volume."""
    row, column = table["centre"]
    view = View(plane_of(volume, table["axis"]), (row, column), table["side_mm"], table["size"])
    tone = Tone(table["low"], table["high"], np.frombuffer(data, "<f4").astype(np.float32))
    return Lens(table["axis"], view, tone)


def table_of(prompt: Prompt) -> dict[str, Any]:
    """A prompt in words and numbers; what was painted is kept elsewhere."""
    if isinstance(prompt, Painted):
        return {"painted": prompt.index}
    return {type(prompt).__name__.lower(): prompt.corners, "positive": prompt.positive}


def prompt_of(table: dict[str, Any], shape: tuple[int, int], axis: int, parts: Iterator[bytes]) -> Prompt:
    """The prompt of a table; a painted slice (h, w) takes the next of `parts`."""
    if "painted" in table:
        return Painted(axis, table["painted"], shape, next(parts))
    positive = table["positive"]
    if "click" in table:
        return Click(_voxel(table["click"][0]), positive)
    if "box" in table:
        low, high = table["box"]
        return Box(_voxel(low), _voxel(high), positive)
    if "scribble" in table:
        return Scribble(tuple(_voxel(point) for point in table["scribble"]), positive)
    return Lasso(tuple(_voxel(point) for point in table["lasso"]), positive)


def pack(mask: NDArray[np.bool_]) -> bytes:
    """A mask as bits, compressed."""
    return zlib.compress(np.packbits(mask).tobytes(), 1)


def unpack(data: bytes, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask of `pack`."""
    bits = np.frombuffer(zlib.decompress(data), np.uint8)
    return np.unpackbits(bits, count=shape[0] * shape[1]).reshape(shape).astype(bool)


def _painted(prompts: Sequence[Prompt]) -> list[bytes]:
    return [prompt.data for prompt in prompts if isinstance(prompt, Painted)]


def _sizes(parts: Sequence[bytes]) -> list[int]:
    return [len(part) for part in parts]


def _parts(data: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    ends = np.cumsum(sizes)
    return (data[end - size : end] for size, end in zip(sizes, ends, strict=True))


def _json(table: dict[str, Any]) -> str:
    return json.dumps(table, separators=(",", ":"))


def _voxel(numbers: Sequence[int]) -> Voxel:
    i, j, k = numbers
    return i, j, k
