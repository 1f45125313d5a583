"""What the other side sees of an object: its buffer's voxels, and how they differ from now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from limnet.history import History
from limnet.lens import slice_of
from limnet.memory import SliceMask
from limnet.prompt import Voxel

Block = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Seen:
    """A mask as the box that holds it; outside the box it is empty."""

    low: Voxel
    block: Block  # of 0 and 1, its first voxel lies at `low`

    @property
    def high(self) -> Voxel:
        """The box's end, left out."""
        i, j, k = (a + n for a, n in zip(self.low, self.block.shape, strict=True))
        return i, j, k

    def part(self, low: Voxel, high: Voxel) -> Block:
        """The mask from `low` to `high`, which is left out and must hold the box; a copy."""
        part = np.zeros([b - a for a, b in zip(low, high, strict=True)], np.uint8)
        if self.block.size:
            ends = zip(self.low, low, self.block.shape, strict=True)
            part[tuple(slice(a - start, a - start + n) for a, start, n in ends)] = self.block
        return part


@dataclass(frozen=True, eq=False)
class Patch:
    """A box of voxels as they are now, to be pasted."""

    low: Voxel
    block: Block


NOTHING = Seen((0, 0, 0), np.zeros((0, 0, 0), np.uint8))


def seen_of(history: History, running: Iterable[SliceMask] = ()) -> Seen:
    """The mask of a session, with the slices that its running sweep has told so far."""
    slices = {(found.axis, found.index): found for found in running}
    extent = history.extent()
    boxes = [extent] if extent else []
    boxes += [_box_of(found) for found in slices.values() if found.mask.any()]
    if not boxes:
        return NOTHING
    low, high = _hull(boxes)
    block = history.part(low, high)
    for found in slices.values():
        axis, position = found.axis, found.index - low[found.axis]
        if 0 <= position < block.shape[axis]:
            rows, columns = (slice(low[a], high[a]) for a in range(3) if a != axis)
            slice_of(block, axis, position)[...] = found.mask[rows, columns]
    return Seen(low, block)


def difference(before: Seen, now: Seen) -> Patch | None:
    """The smallest box outside which nothing differs, as it is now; None when nothing does."""
    boxes = [(seen.low, seen.high) for seen in (before, now) if seen.block.size]
    if not boxes:
        return None
    low, high = _hull(boxes)
    wanted = now.part(low, high)
    differs = wanted != before.part(low, high)
    if not differs.any():
        return None
    along = [np.flatnonzero(differs.any(tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    box = tuple(slice(int(where[0]), int(where[-1]) + 1) for where in along)
    i, j, k = (a + side.start for a, side in zip(low, box, strict=True))
    return Patch((i, j, k), wanted[box])


def whole(now: Seen, shape: Voxel) -> Patch:
    """All of a volume of `shape`."""
    return Patch((0, 0, 0), now.part((0, 0, 0), shape))


def _box_of(found: SliceMask) -> tuple[Voxel, Voxel]:
    """The box of one slice's mask that is not empty."""
    rows, columns = np.flatnonzero(found.mask.any(1)), np.flatnonzero(found.mask.any(0))
    low, high = [int(rows[0]), int(columns[0])], [int(rows[-1]) + 1, int(columns[-1]) + 1]
    low.insert(found.axis, found.index)
    high.insert(found.axis, found.index + 1)
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def _hull(boxes: Iterable[tuple[Voxel, Voxel]]) -> tuple[Voxel, Voxel]:
    lows, highs = zip(*boxes, strict=True)
    i, j, k = (min(n) for n in zip(*lows, strict=True))
    i_end, j_end, k_end = (max(n) for n in zip(*highs, strict=True))
    return (i, j, k), (i_end, j_end, k_end)
