"""Box filters over the last two axes of maps; edges are mirrored, the outermost pixel twice (b a | a b c).

As scipy.ndimage's, which they are tested against and whose import takes longer than all else that the first
click needs (docs/decisions/0016).
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", np.float64, np.bool_)
Maps = NDArray[np.float32]
Mask = NDArray[np.bool_]


def box_mean(maps: Maps, side: int) -> Maps:
    """Mean over side x side pixels (an odd number): (..., H, W) -> (..., H, W); sums in double precision."""
    for axis in (-2, -1):
        padded = _mirrored(maps.astype(np.float64), side // 2, axis)
        total = _window(padded, 0, maps.shape[axis], axis).copy()
        for start in range(1, side):
            total += _window(padded, start, maps.shape[axis], axis)
        maps = (total / side).astype(np.float32)
    return maps


def box_maximum(mask: Mask, side: int) -> Mask:
    """Whether any of side x side pixels (an odd number) is set: (..., H, W) -> (..., H, W)."""
    for axis in (-2, -1):
        length, reach = mask.shape[axis], 1
        wide = _mirrored(mask, side // 2, axis)
        while reach < side:  # each pass doubles how many pixels one has looked at
            step = min(reach, side - reach)
            kept = wide.shape[axis] - step
            wide = _window(wide, 0, kept, axis) | _window(wide, step, kept, axis)
            reach += step
        mask = _window(wide, 0, length, axis)
    return mask


def _mirrored(maps: NDArray[Number], reach: int, axis: int) -> NDArray[Number]:
    """`numpy.pad(..., "symmetric")`, which takes longer than the filter."""
    if reach == 0:
        return maps
    length = maps.shape[axis]
    if reach > length:  # mirrored more than once
        both = [(reach, reach) if n == maps.ndim + axis else (0, 0) for n in range(maps.ndim)]
        return np.pad(maps, both, "symmetric")
    first, last = _window(maps, 0, reach, axis), _window(maps, length - reach, reach, axis)
    return np.concatenate([np.flip(first, axis), maps, np.flip(last, axis)], axis)


def _window(maps: NDArray[Number], start: int, length: int, axis: int) -> NDArray[Number]:
    along = slice(start, start + length)
    return maps[..., along] if axis == -1 else maps[..., along, :]
