"""Prompts: what the user said on a slice, and where a user would click next.

All places are voxel indices of the volume, (i, j, k) in the array's own axis order: never mm, never
screen pixels. A prompt lies in one slice; along which axis that slice is cut, whoever keeps it knows.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Voxel = tuple[int, int, int]
Mask = NDArray[np.bool_]


def voxel_of(numbers: Iterable[Any]) -> Voxel:
    """Three whole numbers of any kind as a voxel index."""
    i, j, k = (int(number) for number in numbers)
    return i, j, k


@dataclass(frozen=True)
class Click:
    """One user click, in voxel indices of the volume: never mm, never screen pixels."""

    index: Voxel  # (i, j, k), the array's own axis order
    positive: bool = True  # True marks the object, False the background

    @property
    def corners(self) -> tuple[Voxel, ...]:
        """The voxels that say where it is."""
        return (self.index,)


@dataclass(frozen=True)
class Box:
    """A rectangle drawn around the object, or around what is none of it; flat along its slice's axis."""

    low: Voxel  # inclusive
    high: Voxel  # inclusive
    positive: bool = True

    @property
    def corners(self) -> tuple[Voxel, ...]:
        """The voxels that say where it is."""
        return self.low, self.high


@dataclass(frozen=True)
class Scribble:
    """A line drawn on the object, or on the background."""

    points: tuple[Voxel, ...]  # in drawing order, joined by straight lines; at least one
    positive: bool = True

    @property
    def corners(self) -> tuple[Voxel, ...]:
        """The voxels that say where it is."""
        return self.points


@dataclass(frozen=True)
class Lasso:
    """An outline drawn around the object, or around what is none of it."""

    points: tuple[Voxel, ...]  # corners of a closed polygon, in drawing order; at least three
    positive: bool = True

    @property
    def corners(self) -> tuple[Voxel, ...]:
        """The voxels that say where it is."""
        return self.points


@dataclass(frozen=True)
class Painted:
    """A slice's whole mask, set by hand with brush and eraser."""

    axis: int
    index: int  # of the slice along the axis
    shape: tuple[int, int]  # (h, w) of the slice
    data: bytes  # zlib of the packed bits

    @classmethod
    def of(cls, mask: Mask, axis: int, index: int) -> Painted:
        """The slice `index` along `axis` painted like `mask` (h, w)."""
        height, width = mask.shape
        return cls(axis, index, (height, width), zlib.compress(np.packbits(mask).tobytes(), 1))

    @property
    def mask(self) -> Mask:
        """(h, w), a new array."""
        bits = np.frombuffer(zlib.decompress(self.data), np.uint8)
        return np.unpackbits(bits, count=self.shape[0] * self.shape[1]).reshape(self.shape).astype(bool)


Prompt = Click | Box | Scribble | Lasso | Painted


def sign_of(prompts: Iterable[Prompt]) -> int:
    """1 when prompts can only add to the object, -1 when they can only take from it, 0 when they may do both.

    A positive box or lasso says where the object ends as well, and a painted slice is all that is said of it.

    >>> sign_of([Click((4, 5, 6)), Scribble(((4, 7, 6),))]), sign_of([Click((4, 5, 6), False)])
    (1, -1)
    """
    signs = {_sign(prompt) for prompt in prompts}
    return signs.pop() if len(signs) == 1 else 0


def _sign(prompt: Prompt) -> int:
    if isinstance(prompt, Painted):
        return 0
    if prompt.positive:
        return 1 if isinstance(prompt, Click | Scribble) else 0
    return -1


def slice_index(prompt: Prompt, axis: int) -> int:
    """Where a prompt given on a slice along `axis` lies along it."""
    return prompt.index if isinstance(prompt, Painted) else prompt.corners[0][axis]


def in_plane(voxel: Voxel, axis: int) -> tuple[int, int]:
    """Row and column of a voxel in its slice along `axis`.

    >>> in_plane((4, 5, 6), 1)
    (4, 6)
    """
    row, column = (n for a, n in enumerate(voxel) if a != axis)
    return row, column


def trace(points: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Every voxel (row, column) of the lines that join `points`, once each, in drawing order.

    >>> trace([(0, 0), (1, 3)])
    [(0, 0), (0, 1), (1, 2), (1, 3)]
    """
    found = dict.fromkeys(points[:1])
    for (row, column), (next_row, next_column) in pairwise(points):
        steps = max(abs(next_row - row), abs(next_column - column))
        for step in range(1, steps + 1):  # halves are rounded down: whole numbers, the same on all machines
            down = row + (2 * step * (next_row - row) + steps - 1) // (2 * steps)
            right = column + (2 * step * (next_column - column) + steps - 1) // (2 * steps)
            found[down, right] = None
    return list(found)


def fill(corners: Sequence[tuple[int, int]], shape: tuple[int, int]) -> Mask:
    """What a closed polygon holds, its outline included: (row, column) corners -> (h, w).

    Where the polygon crosses itself, what is enclosed twice is outside (even-odd rule).

    >>> fill([(0, 0), (0, 2), (2, 2), (2, 0)], (3, 4)).astype(int).tolist()
    [[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0]]
    """
    closed = [*corners, corners[0]]
    crossings = np.zeros((shape[0], shape[1] + 1), np.int64)
    for (row, column), (next_row, next_column) in pairwise(closed):
        first, last = sorted((row, next_row))
        rows = np.arange(first, last)  # half-open, so that a corner is crossed once
        if rows.size:
            at = column + (rows - row) * ((next_column - column) / (next_row - row))
            np.add.at(crossings, (rows, np.ceil(at).astype(int)), 1)
    inside: Mask = (crossings[:, :-1].cumsum(1) % 2).astype(bool)
    inside[tuple(np.array(trace(closed)).T)] = True
    return inside


def centre(region: NDArray[np.bool_]) -> tuple[int, ...]:
    """The pixel or voxel of `region` farthest from its boundary; the first in C order on a tie.

    The array's edge counts as boundary. `region` (any rank) must hold at least one True.

    >>> region = np.zeros((5, 7), bool)
    >>> region[1:4, 1:6] = True
    >>> centre(region)
    (2, 2)
    """
    from scipy import ndimage  # slow to import

    distance = ndimage.distance_transform_edt(np.pad(region, 1))
    flat = int(np.argmax(distance))
    return tuple(int(index) - 1 for index in np.unravel_index(flat, distance.shape))
