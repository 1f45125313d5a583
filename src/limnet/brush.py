"""The brush: what a stroke paints on a slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from limnet.prompt import trace

Mask = NDArray[np.bool_]


def brushed(
    shape: tuple[int, int],
    points: Sequence[tuple[int, int]],
    radius_mm: float,
    spacing_mm: tuple[float, float],
) -> Mask:
    """The voxels (h, w) whose centres lie within `radius_mm` of the line through `points` (row, column).

    The line's own voxels always belong to it, however thin the brush. `points` lie inside the slice.

    >>> brushed((3, 5), [(1, 1), (1, 3)], 1.0, (1.0, 2.0)).astype(int).tolist()
    [[0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0]]
    """
    line = np.array(trace(points))  # (N, 2)
    reach = np.ceil(radius_mm / np.array(spacing_mm)).astype(int)
    low = np.maximum(line.min(0) - reach, 0)
    high = np.minimum(line.max(0) + reach + 1, shape)
    away = np.ones(high - low, bool)
    away[tuple((line - low).T)] = False
    near = ndimage.distance_transform_edt(away, sampling=spacing_mm) <= radius_mm
    painted = np.zeros(shape, bool)
    painted[low[0] : high[0], low[1] : high[1]] = near
    return painted
