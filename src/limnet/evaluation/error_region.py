"""Where mask and truth differ: the regions that simulated users look for, and their centres.

- connected: 26 neighbours (faces, edges and corners), 8 on a slice;
- centre: the pixel farthest from the region's boundary (`prompt.centre`), in pixels;
- ties: missed before wrongly marked, then first in C order of (i, j, k).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from limnet.errors import GeometryError
from limnet.evaluation.box import box_of
from limnet.prompt import Voxel, centre

Mask = NDArray[np.bool_]


class ErrorRegion(NamedTuple):
    """A connected region where mask and truth differ in one way."""

    region: Mask  # within its box
    corner: tuple[int, ...]  # of the box, in the whole array
    positive: bool  # True: missed; False: wrongly marked

    def in_whole(self, index: tuple[int, ...]) -> tuple[int, ...]:
        """An index within the box as one of the whole array."""
        return tuple(int(at) + start for at, start in zip(index, self.corner, strict=True))


def largest_error(truth: Mask, mask: Mask) -> ErrorRegion | None:
    """The largest connected error of one kind, of a volume or of a slice; None when there is none.

    GeometryError when the shapes differ.
    """
    require_same_shape(truth, mask)
    box = box_of(truth ^ mask)
    if box is None:
        return None
    missed = largest_component(truth[box] & ~mask[box])
    wrong = largest_component(mask[box] & ~truth[box])
    positive = bool(np.count_nonzero(missed) >= np.count_nonzero(wrong))
    return ErrorRegion(missed if positive else wrong, tuple(side.start for side in box), positive)


def largest_component(region: Mask) -> Mask:
    """The largest connected component (any rank), first in C order on a tie; empty if `region` is."""
    labels, number = ndimage.label(region, structure=np.ones((3,) * region.ndim, bool))
    if number <= 1:
        return region
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest: Mask = labels == int(np.argmax(sizes))
    return largest


def centre_of_largest_slice(region: Mask, axis: int) -> Voxel:
    """The centre of `region` (I, J, K) on the slice across `axis` where it is largest (first on a tie)."""
    index = largest_slice(region, axis)
    return voxel_at(centre_in_box(plane_at(region, axis, index)), axis, index)


def largest_slice(region: Mask, axis: int) -> int:
    """The slice across `axis` on which `region` (I, J, K) has most voxels; the first on a tie."""
    others = tuple(other for other in range(3) if other != axis)
    return int(np.argmax(np.count_nonzero(region, axis=others)))


def centre_in_box(region: Mask) -> tuple[int, ...]:
    """`prompt.centre`, found within the region's box; GeometryError when the region is empty."""
    box = box_of(region)
    if box is None:
        raise GeometryError("an empty region has no centre")
    return tuple(at + side.start for at, side in zip(centre(region[box]), box, strict=True))


def plane_at(array: Mask, axis: int, index: int) -> Mask:
    """The slice `index` across `axis`, (H, W), a view."""
    plane: Mask = array[(slice(None),) * axis + (index,)]
    return plane


def voxel_at(pixel: tuple[int, ...], axis: int, index: int) -> Voxel:
    """The voxel of a pixel (row, column) on slice `index` across `axis`.

    >>> voxel_at((4, 5), axis=1, index=9)
    (4, 9, 5)
    """
    at = [int(n) for n in pixel]
    at.insert(axis, index)
    return at[0], at[1], at[2]


def require_same_shape(truth: Mask, mask: Mask) -> None:
    """GeometryError unless mask and truth have one shape."""
    if mask.shape != truth.shape:
        raise GeometryError(f"mask of shape {mask.shape} does not fit a truth of shape {truth.shape}")
