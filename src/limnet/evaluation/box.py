"""The smallest box that holds a mask: metrics and the simulated user are fast because they work inside it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, ...]


def box_of(mask: NDArray[np.bool_]) -> Box | None:
    """The smallest box, one slice per axis, that holds every True of `mask` (any rank), or None.

    >>> mask = np.zeros((4, 5), bool)
    >>> mask[1:3, 2] = True
    >>> box_of(mask)
    (slice(1, 3, None), slice(2, 3, None))
    """
    box: list[slice] = []
    for axis in range(mask.ndim):
        inside = mask[tuple(box)]  # already narrowed along the earlier axes
        others = tuple(other for other in range(mask.ndim) if other != axis)
        occupied = np.flatnonzero(inside.any(axis=others))
        if occupied.size == 0:
            return None
        box.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
    return tuple(box)
