"""The simulated user: where a patient, precise person would click next.

Round 1 clicks the centre of the object on its largest slice. Every later round looks for the largest
connected region of error in 3D, of one kind (missed, or wrongly marked), goes to the slice on which that
region is largest, and clicks its centre there: positive where the object was missed, negative where
background was marked.

- centre: the pixel farthest from the region's boundary on that slice (`prompt.centre`), in pixels;
- connected: 26 neighbours (faces, edges and corners), as in the CVPR 2025 interactive 3D challenge;
- ties: missed before wrongly marked, then first in C order of (i, j, k); the same input gives the same click.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from limnet.errors import GeometryError
from limnet.evaluation.box import box_of
from limnet.prompt import Click, Voxel, centre

SimulatedUser = Callable[[NDArray[np.bool_], "NDArray[np.bool_] | None", int], "Click | None"]
"""truth (I, J, K), mask (I, J, K) or None before round 1, sweep axis -> the next click, None when content."""

_NEIGHBOURS_26 = np.ones((3, 3, 3), bool)


def next_click(truth: NDArray[np.bool_], mask: NDArray[np.bool_] | None, axis: int) -> Click | None:
    """The click of the simulated user; None when `mask` has no error left (or `truth` no object).

    `truth` and `mask` are (I, J, K), `mask` is None before the first round, `axis` is the sweep axis.

    >>> truth = np.zeros((9, 9, 3), bool)
    >>> truth[2:7, 2:7, 1] = True
    >>> next_click(truth, None, axis=2)
    Click(index=(4, 4, 1), positive=True)
    >>> next_click(truth, truth, axis=2) is None
    True
    """
    if mask is None:
        return Click(centre_of_largest_slice(truth, axis)) if truth.any() else None
    if mask.shape != truth.shape:
        raise GeometryError(f"mask of shape {mask.shape} does not fit a truth of shape {truth.shape}")
    box = box_of(truth ^ mask)
    if box is None:
        return None
    missed = _largest_component(truth[box] & ~mask[box])
    wrong = _largest_component(mask[box] & ~truth[box])
    positive = bool(np.count_nonzero(missed) >= np.count_nonzero(wrong))
    i, j, k = centre_of_largest_slice(missed if positive else wrong, axis)
    return Click((i + box[0].start, j + box[1].start, k + box[2].start), positive=positive)


def centre_of_largest_slice(region: NDArray[np.bool_], axis: int) -> Voxel:
    """The centre of `region` (I, J, K) on the slice across `axis` where it is largest (first on a tie)."""
    others = tuple(other for other in range(3) if other != axis)
    index = int(np.argmax(np.count_nonzero(region, axis=others)))
    flat: NDArray[np.bool_] = region[(slice(None),) * axis + (index,)]
    box = box_of(flat)
    if box is None:
        raise GeometryError("an empty region has no centre")
    at = [pixel + side.start for pixel, side in zip(centre(flat[box]), box, strict=True)]
    at.insert(axis, index)
    return at[0], at[1], at[2]


def _largest_component(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest 26-connected component of `region`, first in C order on a tie; empty if `region` is."""
    labels, count = ndimage.label(region, structure=_NEIGHBOURS_26)
    if count <= 1:
        return region
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest: NDArray[np.bool_] = labels == int(np.argmax(sizes))
    return largest
