"""The view: the square in-plane window through which the networks see a slice.

A view is fixed in the plane and the same for all slices of a sweep, so that what is computed from a
slice can be kept. Its pixels are square in millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

BORDER = 0.03  # share of the side that counts as the view's border
ROOM = 1.25  # the largest view, over the plane's longer side


@dataclass(frozen=True)
class Plane:
    """The pixel grid of the slices along one axis of a volume."""

    shape: tuple[int, int]  # (h, w) voxels
    spacing_mm: tuple[float, float]  # mm per voxel, rows then columns

    @property
    def longer_mm(self) -> float:
        """The longer side in mm."""
        return max(n * s for n, s in zip(self.shape, self.spacing_mm, strict=True))


@dataclass(frozen=True)
class Taps:
    """A linear map along one direction in which an output depends on few, neighbouring inputs.

    Not a matrix product: BLAS starts its own threads, which then wait for the ones that run the networks
    (a whole sweep took 2.2 times as long; docs/decisions/0015).
    """

    index: NDArray[np.intp]  # (outputs, T), of inputs
    weight: NDArray[np.floating]  # (outputs, T)

    @classmethod
    def of(cls, index: NDArray[np.intp], weight: NDArray[np.float64], count: int) -> Taps:
        """Weights (outputs, T) of the inputs `index`, of which those outside 0 .. count - 1 weigh nothing."""
        return cls(np.clip(index, 0, count - 1), np.where((index >= 0) & (index < count), weight, 0))

    def scaled(self, is_seen: NDArray[np.bool_]) -> Taps:
        """With weights that sum to 1, or to 0 for outputs (outputs,) that see nothing; single precision."""
        weight = self.weight / np.maximum(self.weight.sum(1, keepdims=True), 1e-9)
        return Taps(self.index, (weight * is_seen[:, None]).astype(np.float32))

    def __call__(self, rows: Image) -> Image:
        """(inputs, n) -> (outputs, n)."""
        out: Image = rows[self.index[:, 0]] * self.weight[:, :1]
        for tap in range(1, self.index.shape[1]):
            out += rows[self.index[:, tap]] * self.weight[:, tap, None]
        return out


@dataclass(frozen=True)
class Weights:
    """A linear map along one direction between `size` view pixels and the voxels first .. last-1."""

    first: int
    last: int
    look: Taps  # voxels -> view pixels; weights sum to 1, or 0 outside the plane
    paste: Taps  # view pixels -> voxels


@dataclass(frozen=True)
class View:
    """A window of `side_mm` around `centre` (voxel coordinates in the plane), seen in size x size pixels."""

    plane: Plane
    centre: tuple[float, float]
    side_mm: float
    size: int

    def look(self, image: NDArray[np.generic]) -> Image:
        """A slice (h, w) or (h, w, 3) as the networks see it: (C, size, size), zero outside the plane."""
        rows, columns = self._weights
        box = image[rows.first : rows.last, columns.first : columns.last].astype(np.float32, order="C")
        channels = box[None] if box.ndim == 2 else np.moveaxis(box, 2, 0)  # (C, h', w')
        return np.stack([_along_both(channel, rows.look, columns.look) for channel in channels])

    def paste(self, probability: Image) -> NDArray[np.float32]:
        """A map of the view (size, size) back on the plane (h, w); zero outside the view."""
        rows, columns = self._weights
        out = np.zeros(self.plane.shape, np.float32)
        box = _along_both(probability, rows.paste, columns.paste)
        out[rows.first : rows.last, columns.first : columns.last] = box
        return out

    @cached_property
    def inside(self) -> Mask:
        """Which pixels of the view lie in the plane: (size, size)."""
        rows, columns = (weights.look.weight.sum(1) > 0 for weights in self._weights)
        both: Mask = rows[:, None] & columns[None, :]
        return both

    def pixel(self, row: int, column: int) -> tuple[float, float]:
        """Where a voxel of the plane lies in the view, in pixels."""
        steps = zip((row, column), self.centre, self.plane.spacing_mm, strict=True)
        first, second = ((v - c) * s / self._step_mm + (self.size - 1) / 2 for v, c, s in steps)
        return first, second

    def nearest_pixel(self, row: int, column: int) -> tuple[int, int]:
        """The pixel of the view nearest to a voxel, kept inside the view."""
        first, second = (int(np.clip(round(p), 0, self.size - 1)) for p in self.pixel(row, column))
        return first, second

    def holds(self, row: int, column: int) -> bool:
        """Whether a voxel lies in the view, clear of its border."""
        margin = BORDER * self.size
        return all(margin <= p <= self.size - 1 - margin for p in self.pixel(row, column))

    def is_touched(self, mask: Mask) -> bool:
        """Whether a mask (size, size) reaches the view's border where the plane goes on beyond it."""
        margin, half = max(1, round(BORDER * self.size)), self.side_mm / 2
        voxel_mm = self.plane.spacing_mm  # the plane reaches half a voxel beyond its outermost centres
        row_mm, column_mm = ((c + 0.5) * s for c, s in zip(self.centre, voxel_mm, strict=True))
        height_mm, width_mm = (n * s for n, s in zip(self.plane.shape, voxel_mm, strict=True))
        return bool(
            (row_mm - half > 0 and mask[:margin].any())
            or (row_mm + half < height_mm and mask[-margin:].any())
            or (column_mm - half > 0 and mask[:, :margin].any())
            or (column_mm + half < width_mm and mask[:, -margin:].any())
        )

    def grown(self, factor: float) -> View:
        """The same centre with a larger side, up to a view of the whole plane."""
        return _at_most_whole(View(self.plane, self.centre, self.side_mm * factor, self.size))

    @property
    def is_whole(self) -> bool:
        """Whether the view cannot grow further."""
        return self.side_mm >= ROOM * self.plane.longer_mm

    @property
    def _step_mm(self) -> float:
        return self.side_mm / self.size

    @cached_property
    def _weights(self) -> tuple[Weights, Weights]:
        rows, columns = (
            _weights(length, centre, self._step_mm / spacing, self.size)
            for length, centre, spacing in zip(
                self.plane.shape, self.centre, self.plane.spacing_mm, strict=True
            )
        )
        return rows, columns


def whole_view(plane: Plane, size: int) -> View:
    """A view of the whole plane with a little room around it."""
    centre = ((plane.shape[0] - 1) / 2, (plane.shape[1] - 1) / 2)
    return View(plane, centre, ROOM * plane.longer_mm, size)


def view_around(plane: Plane, low: tuple[int, int], high: tuple[int, int], margin: float, size: int) -> View:
    """A view around the voxels low .. high (inclusive), its side `margin` times their longer extent."""
    spans = [(b - a + 1) * s for a, b, s in zip(low, high, plane.spacing_mm, strict=True)]
    side = max(margin * max(spans), min_side_mm(plane))
    return _at_most_whole(View(plane, ((low[0] + high[0]) / 2, (low[1] + high[1]) / 2), side, size))


def _at_most_whole(view: View) -> View:
    """A view that would be as large as the whole plane shows the whole plane, whatever its centre."""
    return whole_view(view.plane, view.size) if view.side_mm >= ROOM * view.plane.longer_mm else view


def min_side_mm(plane: Plane) -> float:
    """Views smaller than a dozen voxels show nothing but interpolation."""
    return min(12 * min(plane.spacing_mm), plane.longer_mm)


def _weights(length: int, centre: float, step: float, size: int) -> Weights:
    """Weights along one direction; `step` is the voxels that one view pixel spans.

    Linear interpolation when the view is finer than the slice, a triangle filter as wide as a pixel
    when it is coarser; the other way round for pasting.
    """
    positions = centre + (np.arange(size) - (size - 1) / 2) * step  # of view pixels, in voxels
    first = int(np.clip(np.floor(positions[0] - step), 0, length - 1))
    last = int(np.clip(np.ceil(positions[-1] + step) + 1, first + 1, length))
    reach = max(1.0, step)
    voxels = np.floor(positions - reach).astype(int)[:, None] + np.arange(int(2 * reach) + 3)  # (size, T)
    weight = np.maximum(0, 1 - np.abs(positions[:, None] - voxels) / reach)
    look = Taps.of(voxels - first, weight, last - first)
    outside = (positions + step / 2 <= -0.5) | (positions - step / 2 >= length - 0.5)
    empty = look.weight.sum(1) < 1e-6  # the outer half voxel sees its neighbour's centre
    look.index[empty, 0] = np.clip(np.rint(positions[empty]), 0, length - 1) - first
    look.weight[empty, 0] = 1
    targets = np.arange(first, last)
    seen_at = (targets - centre) / step + (size - 1) / 2  # where the voxels lie, in view pixels
    reach = max(1.0, 1 / step)
    pixels = np.floor(seen_at - reach).astype(int)[:, None] + np.arange(int(2 * reach) + 3)  # (voxels, T)
    distance = np.abs(targets[:, None] - (centre + (pixels - (size - 1) / 2) * step))  # in voxels
    paste = Taps.of(pixels, np.maximum(0, 1 - distance / step / reach), size)
    beyond = np.abs(targets - centre) > (size / 2) * step
    return Weights(first, last, look.scaled(~outside), paste.scaled(~beyond))


def _along_both(image: Image, rows: Taps, columns: Taps) -> Image:
    """(inputs of rows, inputs of columns) -> (outputs of rows, outputs of columns), C order."""
    half = np.ascontiguousarray(rows(image).T)  # (inputs of columns, outputs of rows)
    return np.ascontiguousarray(columns(half).T)
