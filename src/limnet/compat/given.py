"""What a client of nnInteractive gives, as prompts: points, boxes, and images of scribbles and lassos.

A prompt here lies in one slice. Boxes, scribbles and lassos lie in the one along whose axis they are flat;
a bare point in one along the volume's sweep axis (the largest spacing; of equals their first, our last).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from limnet.compat.order import turned, voxel_of
from limnet.compat.outline import outline, walk
from limnet.errors import PromptError
from limnet.law import Placed
from limnet.prompt import Box, Click, Lasso, Scribble, Voxel
from limnet.volume import Volume

Mask = NDArray[np.bool_]

MAX_DRAWN = 20_000  # voxels of one scribble; its line visits each of them
EVERY = np.ones((3, 3), int)  # pixels that share a corner are connected


@dataclass(frozen=True)
class Step:
    """What one call gave: one prompt, or several when a drawing has several pieces; undone as one."""

    prompts: tuple[Placed, ...]
    positive: bool = True

    @property
    def axis(self) -> int:
        """The axis along which its slices are cut."""
        return self.prompts[0].axis


def point(volume: Volume, coordinates: object, positive: bool) -> Step:
    """A point at their (k, j, i), fractions rounded. PromptError when it lies outside or is no point."""
    voxel = voxel_of([round(n) for n in _numbers(coordinates, "point")])
    if not all(0 <= n < length for n, length in zip(voxel, volume.shape, strict=True)):
        raise PromptError(
            f"point {voxel_of(voxel)} lies outside the image of shape {voxel_of(volume.shape)}: coordinates"
            f" are in the order of the array's axes and start at 0"
        )
    return Step((Placed(volume.sweep_axis, Click(voxel, positive)),), positive)


def box(volume: Volume, coords: object, positive: bool) -> Step:
    """A box of their half-open bounds [[k0, k1], [j0, j1], [i0, i1]], one of them a single slice.

    Fractions are rounded, and what reaches beyond the image is cut off. PromptError when nothing is left,
    or when it is a box in three dimensions.
    """
    low, high = _clipped(volume, _bounds(coords, "box"))
    sizes = [b - a for a, b in zip(low, high, strict=True)]
    axis = _flat_axis(volume, sizes)
    if axis is None:
        raise PromptError(
            f"box of {' x '.join(map(str, voxel_of(sizes)))} voxels: expected a flat one, a single slice"
            f" along one axis"
        )
    i, j, k = (b - 1 for b in high)
    return Step((Placed(axis, Box(low, (i, j, k), positive)),), positive)


def scribble(volume: Volume, image: NDArray[Any], bbox: object, positive: bool) -> Step:
    """A drawing (k, j, i), not 0 where drawn: of the whole image, or of their bounds `bbox`.

    Every voxel drawn is on the line that comes of it; a drawing in several pieces gives several lines.
    PromptError when it does not fit, is empty or too large.
    """
    drawn, low, axis = _drawn(volume, image, bbox, "scribble")
    if (num_drawn := int(drawn.sum())) > MAX_DRAWN:
        raise PromptError(
            f"scribble of {num_drawn} voxels: expected at most {MAX_DRAWN}; draw a thinner line"
        )
    prompts = []
    for index, plane in _planes(drawn, axis):
        pieces, count = ndimage.label(plane, EVERY)
        for number in range(1, count + 1):
            line = tuple(_voxel(pixel, axis, index, low) for pixel in walk(pieces == number))
            prompts.append(Placed(axis, Scribble(line, positive)))
    return Step(tuple(prompts), positive)


def lasso(volume: Volume, image: NDArray[Any], bbox: object, positive: bool) -> Step:
    """A closed line or the area it holds (k, j, i), not 0 where drawn, as for `scribble`; holes count."""
    drawn, low, axis = _drawn(volume, image, bbox, "lasso")
    prompts = []
    for index, plane in _planes(drawn, axis):
        pieces, count = ndimage.label(ndimage.binary_fill_holes(plane), EVERY)
        for number in range(1, count + 1):
            corners = outline(pieces == number)
            corners += [corners[-1]] * (3 - len(corners))
            area = tuple(_voxel(pixel, axis, index, low) for pixel in corners)
            prompts.append(Placed(axis, Lasso(area, positive)))
    return Step(tuple(prompts), positive)


def whole_mask(volume: Volume, image: NDArray[Any]) -> Mask:
    """Their mask of the whole image (k, j, i), not 0 where the object is, as ours (I, J, K)."""
    if image.ndim != 3 or turned(image).shape != volume.shape:
        raise PromptError(
            f"mask of shape {image.shape}: expected {voxel_of(volume.shape)}, that of the image"
        )
    mask: Mask = turned(image) != 0
    return mask


def _drawn(volume: Volume, image: NDArray[Any], bbox: object, what: str) -> tuple[Mask, Voxel, int]:
    """(drawing cut to what is drawn, its first voxel, the axis of its slices), in our order."""
    whole = tuple((0, n) for n in voxel_of(volume.shape))
    bounds = whole if bbox is None else _bounds(bbox, f"interaction_bbox of a {what}")
    low, high = (voxel_of([pair[side] for pair in bounds]) for side in (0, 1))
    if image.ndim != 3 or image.shape != tuple(b - a for a, b in bounds):
        raise PromptError(f"{what} of shape {image.shape} does not fit its bounds {_words(bounds)}")
    if any(a < 0 or b > n for a, b, n in zip(low, high, volume.shape, strict=True)):
        raise PromptError(
            f"{what} bounds {_words(bounds)} reach beyond the image of shape {voxel_of(volume.shape)}"
        )
    mask = turned(image) != 0
    found = ndimage.find_objects(mask.astype(np.uint8))
    if not found:
        raise PromptError(f"{what} of shape {image.shape} is empty; mark at least one voxel")
    i, j, k = (a + side.start for a, side in zip(low, found[0], strict=True))
    drawn = mask[found[0]]
    flat = _flat_axis(volume, mask.shape)
    axis = _flat_axis(volume, drawn.shape) if flat is None else flat
    return drawn, (i, j, k), volume.sweep_axis if axis is None else axis


def _flat_axis(volume: Volume, sizes: Sequence[int]) -> int | None:
    """The axis of size 1; of several the sweep axis, else the one that is their first."""
    flat = [axis for axis in range(3) if sizes[axis] == 1]
    if not flat:
        return None
    return volume.sweep_axis if volume.sweep_axis in flat else flat[-1]


def _planes(drawn: Mask, axis: int) -> list[tuple[int, Mask]]:
    """(index, slice) of the slices along `axis` on which something is drawn."""
    slices = enumerate(np.moveaxis(drawn, axis, 0))
    return [(index, plane) for index, plane in slices if plane.any()]


def _voxel(pixel: tuple[int, int], axis: int, index: int, low: Voxel) -> Voxel:
    """A pixel (row, column) of slice `index` of a drawing whose first voxel is `low`, in the volume."""
    place = [*pixel]
    place.insert(axis, index)
    i, j, k = (int(n) + start for n, start in zip(place, low, strict=True))
    return i, j, k


def _clipped(volume: Volume, bounds: list[tuple[int, int]]) -> tuple[Voxel, Voxel]:
    """The part of their bounds inside the volume: (low, high), `high` left out; at least a voxel thick."""
    thick = [(a, max(b, a + 1)) for a, b in bounds]
    low = voxel_of([max(a, 0) for a, _ in thick])
    i, j, k = (min(b, n) for b, n in zip(voxel_of([b for _, b in thick]), volume.shape, strict=True))
    if any(a >= b for a, b in zip(low, (i, j, k), strict=True)):
        raise PromptError(f"box {_words(bounds)} lies outside the image of shape {voxel_of(volume.shape)}")
    return low, (i, j, k)


def _bounds(value: object, what: str) -> list[tuple[int, int]]:
    """Their half-open bounds per axis, fractions rounded."""
    try:
        pairs = [_numbers(pair, what, 2) for pair in value]  # type: ignore[attr-defined]
    except TypeError:
        pairs = []
    if len(pairs) != 3:
        raise PromptError(f"{what} {value!r:.80}: expected [[low, high], [low, high], [low, high]]")
    return [(round(a), round(b)) for a, b in pairs]


def _numbers(value: object, what: str, count: int = 3) -> list[float]:
    try:
        numbers = [float(n) for n in value]  # type: ignore[attr-defined]
    except (TypeError, ValueError, OverflowError):
        numbers = []
    if len(numbers) != count or not all(math.isfinite(n) for n in numbers):
        raise PromptError(f"{what} {value!r:.80}: expected {count} finite numbers")
    return numbers


def _words(bounds: Sequence[tuple[int, int]]) -> str:
    return str([list(pair) for pair in bounds])
