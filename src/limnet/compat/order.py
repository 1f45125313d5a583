"""The order of nnInteractive's arrays: (C, k, j, i) there, (I, J, K) here.

Its clients send arrays as ITK's and Slicer's numpy bridges make them, slowest axis first, with spacing,
coordinates and boxes in that same order and nothing about directions. Here "theirs" means that order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limnet.errors import GeometryError, VolumeError
from limnet.prompt import Voxel
from limnet.volume import Volume
from limnet.volume.intensity import usable

Bounds = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]  # half-open, per axis, in their order


def turned(array: NDArray[Any]) -> NDArray[Any]:
    """Theirs (k, j, i) as ours (i, j, k), or the other way round: a view."""
    return array.transpose(2, 1, 0)


def volume_of(
    image: NDArray[Any], spacing: object = None, source: str = "image"
) -> tuple[Volume, tuple[str, ...]]:
    """Their image (C, k, j, i) as a volume, and what had to be assumed, in words.

    One channel is grey; three are RGB when they hold whole numbers from 0 to 255; of others the first one is
    seen. `spacing` is (sk, sj, si) in mm, or (sj, si) for a 2D image; 1 mm when absent. Directions are not
    known: the affine is that of an ITK image with identity directions, i to the left and j to the back. The
    caller's array is never changed. VolumeError for another shape or type or when all voxels are equal,
    GeometryError for a spacing that is none.
    """
    if image.ndim != 4 or image.size == 0 or image.dtype.kind not in "biuf":
        raise VolumeError(
            f"image of shape {image.shape} and type {image.dtype}, must be numbers (C, k, j, i) with every"
            f" length 1 or more; a single grey volume is image[None]"
        )
    notes: list[str] = []
    if len(image) == 3 and _is_colour(image):
        array = image.transpose(3, 2, 1, 0).astype(np.uint8, copy=False)  # (I, J, K, 3)
    else:
        if len(image) > 1:
            notes.append(f"of {len(image)} channels only the first is seen")
        array = turned(image[0])  # (I, J, K)
    array, repairs = _plain(array)
    sk, sj, si = _checked_spacing(spacing)
    volume = Volume(usable(array, source), np.diag([-si, -sj, sk, 1.0]), source)
    return volume, (*notes, *repairs)


def _is_colour(image: NDArray[Any]) -> bool:
    """Whether three channels hold what 8 bits hold."""
    if image.dtype == np.uint8:
        return True
    low, high = image.min(), image.max()  # NaN if any voxel is
    return bool(
        low >= 0 and 1 < high <= 255 and (image.dtype.kind != "f" or np.array_equal(image, np.rint(image)))
    )


def _plain(array: NDArray[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """An array of a type that files know, every voxel finite."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8), ()
    if array.dtype.kind != "f":
        return array, ()
    if array.dtype.itemsize not in (4, 8):
        array = array.astype(np.float32)
    finite = np.isfinite(array)
    if finite.all() or not finite.any():  # of nothing finite, usable() says what is wrong
        return array, ()
    note = f"{int((~finite).sum()):,} voxels are NaN or infinite; treated as background"
    return np.where(finite, array, array[finite].min()), (note,)


def _checked_spacing(spacing: object) -> tuple[float, float, float]:
    """(sk, sj, si) in mm."""
    if spacing is None:
        return 1.0, 1.0, 1.0
    try:
        lengths = [abs(float(length)) for length in spacing]  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise GeometryError(
            f"spacing {spacing!r:.80}: expected three lengths in mm, as the array's axes"
        ) from None
    lengths = [1.0] * (3 - len(lengths)) + lengths if len(lengths) == 2 else lengths
    if len(lengths) != 3 or not all(math.isfinite(length) and length > 0 for length in lengths):
        raise GeometryError(
            f"spacing {spacing!r:.80}: expected three lengths above 0 in mm, as the array's axes"
        )
    k, j, i = lengths
    return k, j, i


def voxel_of(position: Sequence[int]) -> Voxel:
    """Their (k, j, i) as ours (i, j, k), or the other way round.

    >>> voxel_of((7, 6, 5))
    (5, 6, 7)
    """
    k, j, i = (int(n) for n in position)
    return i, j, k


def bounds_of(low: Voxel, high: Voxel) -> Bounds:
    """Our box from `low` to `high`, which is left out, as theirs.

    >>> bounds_of((5, 6, 7), (15, 16, 17))
    ((7, 17), (6, 16), (5, 15))
    """
    (i, j, k), (i_end, j_end, k_end) = low, high
    return (k, k_end), (j, j_end), (i, i_end)
