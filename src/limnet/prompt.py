"""Prompts: what the user said on a slice, and where a user would click next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Voxel = tuple[int, int, int]


@dataclass(frozen=True)
class Click:
    """One user click, in voxel indices of the volume: never mm, never screen pixels."""

    index: Voxel  # (i, j, k), the array's own axis order
    positive: bool = True  # True marks the object, False the background


def centre(region: NDArray[np.bool_]) -> tuple[int, ...]:
    """The pixel or voxel of `region` farthest from its boundary; the first in C order on a tie.

    The array's edge counts as boundary. `region` (any rank) must hold at least one True.

    >>> region = np.zeros((5, 7), bool)
    >>> region[1:4, 1:6] = True
    >>> centre(region)
    (2, 2)
    """
    distance = ndimage.distance_transform_edt(np.pad(region, 1))
    flat = int(np.argmax(distance))
    return tuple(int(index) - 1 for index in np.unravel_index(flat, distance.shape))
