"""What must hold for the numbers in a volume before anyone segments it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limnet.errors import LimNetWarning, VolumeError


def usable(array: NDArray[Any], where: str) -> NDArray[Any]:
    """The same array, finite: NaN and infinite voxels take the smallest finite value, in place.

    A LimNetWarning tells how many. VolumeError when no voxel is finite or all are equal.
    """
    with np.errstate(invalid="ignore"):
        low, high = array.min(), array.max()  # NaN if any voxel is
    if not (np.isfinite(low) and np.isfinite(high)):
        low, high = _make_finite(array, where)
    if low == high:
        raise VolumeError(
            f"{where}: every voxel is {low}; there is nothing to segment in an all-equal volume"
        )
    return array


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
