"""What must hold for the numbers in a volume before anyone segments it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limnet.errors import LimNetWarning, VolumeError
from limnet.volume.payload import release

SLAB = 64  # slices looked at in one go


def usable(array: NDArray[Any], where: str) -> NDArray[Any]:
    """The same array, finite: NaN and infinite voxels take the smallest finite value.

    In place, unless the array can only be read. A LimNetWarning tells how many. VolumeError when no voxel is
    finite or all are equal.
    """
    low, high = _range(array)
    if not (np.isfinite(low) and np.isfinite(high)):
        array = array if array.flags.writeable else array.copy(order="K")
        low, high = _make_finite(array, where)
    if low == high:
        raise VolumeError(
            f"{where}: every voxel is {low}; there is nothing to segment in an all-equal volume"
        )
    return array


def is_finite(array: NDArray[Any]) -> bool:
    """Whether no voxel is NaN or infinite; costs no memory."""
    return bool(np.isfinite(_range(array)).all())


def _range(array: NDArray[Any]) -> tuple[Any, Any]:
    """Smallest and largest voxel, NaN if any voxel is; a file's pages are let go once looked at."""
    lows, highs = [], []
    with np.errstate(invalid="ignore"):
        for start in range(0, array.shape[2], SLAB):
            slab = array[:, :, start : start + SLAB]
            lows.append(slab.min())
            highs.append(slab.max())
            release(array)
        return np.min(lows), np.max(highs)


def _make_finite(array: NDArray[Any], where: str) -> tuple[Any, Any]:
    """Repair in place, slab by slab along the last axis (a mask of the whole would cost memory)."""
    lows, highs, count = [], [], 0
    for k in range(array.shape[-1]):
        slab = array[..., k]
        finite = slab[np.isfinite(slab)]
        count += slab.size - finite.size
        if finite.size:
            lows.append(finite.min())
            highs.append(finite.max())
    if not lows:
        raise VolumeError(f"{where}: every voxel is NaN or infinite; export the volume again")
    low = min(lows)
    for k in range(array.shape[-1]):
        slab = array[..., k]
        slab[~np.isfinite(slab)] = low
    warnings.warn(
        f"{where}: {count:,} voxels are NaN or infinite; treated as background (set to {low:g})",
        LimNetWarning,
        stacklevel=4,
    )
    return low, max(highs)
