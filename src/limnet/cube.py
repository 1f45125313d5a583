"""The cube: a box around an object in even samples, in which the overview network sees all of it at once.

It has as many samples along every axis, however long the box is there. Sampling along one axis does not
depend on the others, so each way is three products: with a matrix per axis.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from limnet.prompt import Voxel, voxel_of

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIZE = 48  # samples along every axis
ROOM = 1.6  # side of a cube over the extent of what it is cut around
MOST_STRETCH = 3.0  # its longest side over its shortest, at most
FEWEST_SLICES = 4  # it reaches through, along every axis
FEWEST_VOXELS = 8  # of the finest spacing, along every axis
PLANES_AT_ONCE = 16  # of a volume, widened to floats


@dataclass(frozen=True, eq=False)
class Cube:
    """Where the samples lie in the grid of a volume."""

    low: NDArray[np.float64]  # (3,) voxels, where it begins; the first voxel reaches from 0 to 1
    side: NDArray[np.float64]  # (3,) voxels
    shape: Voxel  # of the volume

    @classmethod
    def around(cls, low: Iterable[int], high: Iterable[int], spacing: Iterable[float], shape: Voxel) -> Cube:
        """With room around a box of voxels, `high` left out; `spacing` in mm."""
        first, last, mm = np.array([*low]), np.array([*high]), np.array([*spacing])
        side_mm = (last - first) * mm * ROOM
        side_mm = np.maximum(side_mm, side_mm.max() / MOST_STRETCH)
        side_mm = np.maximum(side_mm, np.maximum(FEWEST_SLICES * mm, FEWEST_VOXELS * mm.min()))
        side = side_mm / mm
        return cls((first + last - side) / 2, side, shape)

    @cached_property
    def box(self) -> tuple[Voxel, Voxel]:
        """The voxels that it meets: the first, and the one after the last."""
        low = np.clip(np.floor(self.low), 0, self.shape).astype(int)
        high = np.clip(np.ceil(self.low + self.side), 0, self.shape).astype(int)
        return voxel_of(low), voxel_of(high)

    @cached_property
    def inside(self) -> Mask:
        """Which samples lie in the volume, (N, N, N)."""
        along = [
            (centres >= 0) & (centres < length)
            for centres, length in zip(self._centres, self.shape, strict=True)
        ]
        return along[0][:, None, None] & along[1][:, None] & along[2]

    def sample_of(self, voxel: Iterable[int]) -> Voxel:
        """The sample nearest to a voxel's middle."""
        place = (np.array([*voxel]) + 0.5 - self.low) / self.side * SIZE - 0.5
        return voxel_of(np.clip(np.round(place), 0, SIZE - 1).astype(int))

    def planes_of(self, axis: int, index: int) -> range:
        """The sample planes that show the slice `index` along an axis; none where it lies outside."""
        thickness = SIZE / self.side[axis]
        return planes_around((index + 0.5 - self.low[axis]) * thickness - 0.5, thickness)

    def look(self, array: NDArray[np.generic], first: Voxel = (0, 0, 0)) -> Array:
        """A grey volume or mask (I, J, K) -> its samples (N, N, N); beyond the volume its edge goes on.

        Of a block that begins at the voxel `first`: beyond it there is nothing. Where samples lie further
        apart than voxels, voxels are averaged. Memory is that of a few planes.
        """
        low, high = (
            np.maximum(self._window[0], first),
            np.minimum(self._window[1], np.add(first, array.shape)),
        )
        if (low >= high).any():
            return np.zeros((SIZE, SIZE, SIZE), np.float32)
        rows, columns, planes = (
            matrix[:, a:b] for matrix, a, b in zip(self._from_voxels, low, high, strict=True)
        )
        (i0, j0, k0), (i1, j1, k1) = low - first, high - first
        stack = np.empty((k1 - k0, SIZE, SIZE), np.float32)
        for start in range(k0, k1, PLANES_AT_ONCE):
            stop = min(start + PLANES_AT_ONCE, k1)
            part = array[i0:i1, j0:j1, start:stop].astype(np.float32)  # (i, j, k)
            stack[start - k0 : stop - k0] = rows @ part.transpose(2, 0, 1) @ columns.T
        samples = planes @ stack.reshape(len(stack), -1)  # (N, N * N)
        return np.ascontiguousarray(samples.reshape(SIZE, SIZE, SIZE).transpose(1, 2, 0))

    def look_at_slice(self, plane: NDArray[np.generic], axis: int) -> Array:
        """A slice (h, w) along an axis -> its samples (N, N)."""
        rows, columns = (matrix for a, matrix in enumerate(self._from_voxels) if a != axis)
        return rows @ plane.astype(np.float32) @ columns.T

    def slice_at(self, samples: Array, axis: int, index: int) -> Array:
        """Samples (N, N, N) -> the slice `index` along an axis, of the voxels of `box` only: (h', w')."""
        along, *across = self._to_voxels[axis], *(m for a, m in enumerate(self._to_voxels) if a != axis)
        rows, columns = across
        plane = np.tensordot(along[index - self.box[0][axis]], samples, (0, axis))  # (N, N)
        return rows @ plane @ columns.T

    @property
    def _centres(self) -> list[NDArray[np.float64]]:
        """Where the samples lie along each axis, in voxels."""
        return [
            low + (np.arange(SIZE) + 0.5) * side / SIZE for low, side in zip(self.low, self.side, strict=True)
        ]

    @cached_property
    def _from_voxels(self) -> list[Array]:
        """A matrix per axis, (N, length)."""
        return [
            _sampling(centres, length, max(1, int(side / SIZE)))
            for centres, length, side in zip(self._centres, self.shape, self.side, strict=True)
        ]

    @cached_property
    def _window(self) -> tuple[Voxel, Voxel]:
        """The voxels that any sample is made of."""
        used = [np.flatnonzero(matrix.any(0)) for matrix in self._from_voxels]
        return voxel_of([u[0] for u in used]), voxel_of([u[-1] + 1 for u in used])

    @cached_property
    def _to_voxels(self) -> list[Array]:
        """A matrix per axis, (length of the box, N)."""
        return [
            _sampling((np.arange(a, b) + 0.5 - low) / side * SIZE, SIZE, 1)
            for a, b, low, side in zip(*self.box, self.low, self.side, strict=True)
        ]


def planes_around(middle: float, thickness: float) -> range:
    """The sample planes that show a slice of some thickness in planes, at least one; none beyond the cube."""
    half = max(0.5, thickness / 2)
    if not -half < middle < SIZE - 1 + half:
        return range(0)
    nearest = int(np.clip(round(middle), 0, SIZE - 1))
    first, last = int(np.ceil(middle - half + 1e-3)), int(np.floor(middle + half))
    return range(max(0, min(first, nearest)), min(SIZE, max(last, nearest) + 1))


def _sampling(places: NDArray[np.float64], length: int, width: int) -> Array:
    """Rows of weights (places, length) that interpolate linearly between means of `width` cells.

    A cell reaches from its number to the next; beyond the first and last ones they go on.
    """
    steps = (np.arange(width) + 0.5) / width - 0.5  # of a mean, in its widths
    matrix = np.zeros((len(places), length), np.float32)
    for step in steps * width:
        place = places + step - 0.5
        low = np.floor(place).astype(int)
        share = (place - low).astype(np.float32)
        rows = np.arange(len(places))
        np.add.at(matrix, (rows, np.clip(low, 0, length - 1)), (1 - share) / width)
        np.add.at(matrix, (rows, np.clip(low + 1, 0, length - 1)), share / width)
    return matrix
