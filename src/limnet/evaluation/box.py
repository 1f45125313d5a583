"""The smallest box that holds a mask, and how a box is told in clicks.

Metrics and the simulated user are fast because they work inside such a box.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, ...]
Pixel = tuple[int, int]


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


def middle_of(box: Box) -> Pixel:
    """The pixel in the middle of a box on a slice, towards its start where there are two.

    >>> middle_of((slice(2, 7), slice(0, 4)))
    (4, 1)
    """
    row, column = ((side.start + side.stop - 1) // 2 for side in box)
    return row, column


def pixels_around(box: Box, shape: tuple[int, int]) -> list[Pixel]:
    """Pixels one step outside the corners of a box on a slice (H, W), and the middles of its sides.

    Eight at most: those that lie in the slice, in C order.

    >>> pixels_around((slice(2, 7), slice(0, 5)), (8, 9))
    [(1, 2), (1, 5), (4, 5), (7, 2), (7, 5)]
    """
    middle = middle_of(box)
    sides = ((side.start - 1, at, side.stop) for side, at in zip(box, middle, strict=True))
    return [
        (row, column)
        for row, column in product(*sides)
        if (row, column) != middle and 0 <= row < shape[0] and 0 <= column < shape[1]
    ]
