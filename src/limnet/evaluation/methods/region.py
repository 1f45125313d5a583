"""The part of a volume a baseline works on: a box around the clicks, on a grid of bounded size, with seeds.

A baseline reads every voxel it is given, so it gets a box at a working resolution: the volume's own voxels
when they are few enough, else the means of whole blocks of them. What it finds goes back to the volume's grid
by linear interpolation of its score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from limnet.prompt import Click
from limnet.tone import Tone
from limnet.volume import Volume

UNKNOWN, OBJECT, BACKGROUND = 0, 1, 2  # values of seeds

SLAB_VOXELS = 2**22  # of the box that go back to the volume's grid at a time: 16 MiB
# Of the box: what is found nearer than this to an open side has reached it. With 0.2 boxes grow sooner, and
# `geodesic` falls from 0.61 to 0.52, `random-walker` from 0.49 to 0.45 (figures as in `classical`)
NEAR = 0.1

Box = tuple[slice, slice, slice]
OpenSides = tuple[tuple[bool, bool], ...]


@dataclass(frozen=True, eq=False)
class Region:
    """A box of a volume at working resolution."""

    values: NDArray[np.float32] = field(repr=False)  # (i, j, k, C) in [0, 1]; C is 1, or 3 for RGB
    seeds: NDArray[np.uint8] = field(repr=False)  # (i, j, k): UNKNOWN, OBJECT or BACKGROUND
    spacing_mm: tuple[float, float, float]  # of the working grid
    box: Box  # in voxels of the volume
    factors: tuple[int, int, int]  # voxels of the volume per working voxel
    open_sides: OpenSides  # per axis, low and high: the volume goes on beyond the box

    @property
    def is_whole(self) -> bool:
        """True when the box is the volume."""
        return not any(any(sides) for sides in self.open_sides)

    def is_reached(self, score: NDArray[np.float32]) -> bool:
        """True when what is found, score > 0, comes near a side beyond which the volume goes on."""
        found = score > 0
        for axis, (low, high) in enumerate(self.open_sides):
            length = found.shape[axis]
            near = max(2, math.ceil(length * NEAR))
            occupied = np.flatnonzero(found.any(axis=tuple(other for other in range(3) if other != axis)))
            if len(occupied) and ((low and occupied[0] < near) or (high and occupied[-1] >= length - near)):
                return True
        return False

    def paste(self, score: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
        """Set `mask` (I, J, K) inside the box to where `score` (i, j, k), interpolated, is positive."""
        inside = mask[self.box]
        if self.factors == (1, 1, 1):
            inside[...] = score > 0
            return
        rows = max(1, SLAB_VOXELS // inside[0].size)
        step = 1 / np.array(self.factors)
        for start in range(0, len(inside), rows):
            slab = inside[start : start + rows]
            # voxel n lies at (n + 1/2) / factor - 1/2 of the working grid, whose voxels are blocks
            offset = step * (np.array([start, 0, 0]) + 0.5) - 0.5
            fine = ndimage.affine_transform(score, step, offset, slab.shape, order=1, mode="nearest")
            slab[...] = fine > 0


def region_around(
    volume: Volume, clicks: Sequence[Click], *, reach_mm: float, max_voxels: int, seed_mm: float
) -> Region:
    """The box that reaches `reach_mm` beyond the positive clicks, as a working grid of at most `max_voxels`.

    Clicks become seeds: balls of radius `seed_mm`. Intensities go through the tone curve of limnet's own
    views (`tone.Tone`), fitted to the box; red, green and blue share one. One click at least is positive.
    """
    positive = np.array([click.index for click in clicks if click.positive])  # (N, 3)
    reach = np.ceil(reach_mm / np.array(volume.spacing))
    low = np.maximum(positive.min(0) - reach, 0).astype(int)
    high = np.minimum(positive.max(0) + reach + 1, volume.shape).astype(int)
    i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    factors = block_factors((high - low).tolist(), volume.spacing, max_voxels)
    means = block_means(volume.array[i, j, k], factors)
    values = Tone.of(means)(means)
    open_sides = tuple(
        (side.start > 0, side.stop < length) for side, length in zip((i, j, k), volume.shape, strict=True)
    )
    di, dj, dk = (edge * factor for edge, factor in zip(volume.spacing, factors, strict=True))
    seeds = frame_seeds(means.shape[:3], open_sides, volume.sweep_axis)
    plant(seeds, _on_working_grid(clicks, (i, j, k), factors), (di, dj, dk), seed_mm)
    return Region(
        values=values if volume.is_rgb else values[..., None],
        seeds=seeds,
        spacing_mm=(di, dj, dk),
        box=(i, j, k),
        factors=factors,
        open_sides=open_sides,
    )


def block_factors(shape: Sequence[int], spacing_mm: Sequence[float], max_voxels: int) -> tuple[int, int, int]:
    """Voxels per block along each axis, so that blocks are few enough and as near to cubes as may be.

    >>> block_factors((200, 200, 20), (1.0, 1.0, 5.0), max_voxels=200_000)
    (2, 2, 1)
    """
    edge_mm = min(spacing_mm)
    while True:
        i, j, k = (max(1, round(edge_mm / edge)) for edge in spacing_mm)
        if math.prod(-(-n // factor) for n, factor in zip(shape, (i, j, k), strict=True)) <= max_voxels:
            return i, j, k
        edge_mm *= 1.05


def block_means(array: NDArray[np.generic], factors: Sequence[int]) -> NDArray[np.float32]:
    """Means over blocks of (I, J, K) or (I, J, K, 3) voxels; the last block of an axis may be smaller.

    >>> block_means(np.array([[[1.0, 3.0, 8.0]]]), (1, 1, 2)).ravel()
    array([2., 8.], dtype=float32)
    """
    means = array
    for axis in sorted(range(3), key=lambda axis: -factors[axis]):  # the most first: it saves memory
        if factors[axis] == 1:
            continue
        starts = np.arange(0, array.shape[axis], factors[axis])
        counts = np.diff(np.append(starts, array.shape[axis])).astype(np.float32)
        sums = np.add.reduceat(means, starts, axis=axis, dtype=np.float32)
        means = sums / counts.reshape([-1 if n == axis else 1 for n in range(array.ndim)])
    return means.astype(np.float32)


def frame_seeds(shape: Sequence[int], open_sides: OpenSides, sweep_axis: int) -> NDArray[np.uint8]:
    """Seeds (i, j, k) of a box before any click: its sides are background.

    The two sides across the sweep axis are so only where the volume goes on: an object may well fill the
    first or the last slice. An axis of fewer than three working voxels has no sides to spare.
    """
    seeds = np.full(tuple(shape), UNKNOWN, np.uint8)
    for axis, (low, high) in enumerate(open_sides):
        if shape[axis] < 3:
            continue
        side = np.moveaxis(seeds, axis, 0)
        if low or axis != sweep_axis:
            side[0] = BACKGROUND
        if high or axis != sweep_axis:
            side[-1] = BACKGROUND
    return seeds


def plant(
    seeds: NDArray[np.uint8], clicks: Sequence[Click], spacing_mm: Sequence[float], seed_mm: float
) -> None:
    """Draw clicks, in indices of `seeds` (i, j, k), as balls; the newest wins.

    No ball covers the very voxel of another click.
    """
    ball = _ball(np.asarray(spacing_mm), seed_mm)  # (N, 3)
    for around in (ball, np.zeros((1, 3), int)):
        for click in clicks:
            at = np.array(click.index) + around
            at = at[((at >= 0) & (at < seeds.shape)).all(1)]
            seeds[tuple(at.T)] = OBJECT if click.positive else BACKGROUND


def _ball(spacing_mm: NDArray[np.float64], radius_mm: float) -> NDArray[np.int_]:
    """Offsets (N, 3) of voxels whose centres lie within a radius."""
    i, j, k = (range(-n, n + 1) for n in np.floor(radius_mm / spacing_mm).astype(int))
    offsets = np.array([(a, b, c) for a in i for b in j for c in k])
    inside: NDArray[np.int_] = offsets[((offsets * spacing_mm) ** 2).sum(1) <= radius_mm**2]
    return inside


def _on_working_grid(clicks: Sequence[Click], box: Box, factors: Sequence[int]) -> list[Click]:
    """The clicks that lie in the box, in indices of the working grid."""
    moved = []
    for click in clicks:
        if all(side.start <= at < side.stop for at, side in zip(click.index, box, strict=True)):
            i, j, k = (
                (at - side.start) // factor
                for at, side, factor in zip(click.index, box, factors, strict=True)
            )
            moved.append(Click((i, j, k), click.positive))
    return moved
