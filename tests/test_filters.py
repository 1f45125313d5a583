"""Box filters against scipy.ndimage's, whose edges they copy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from limnet.filters import box_maximum, box_mean

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("side", [1, 3, 5, 9, 19])
@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 24, 40), (1, 3, 20, 24), (1, 6, 7)])
def test_a_box_filter_equals_scipys(side: int, shape: tuple[int, ...]) -> None:
    size = (1,) * (len(shape) - 2) + (side, side)
    maps = RNG.random(shape, np.float32)
    np.testing.assert_allclose(box_mean(maps, side), ndimage.uniform_filter(maps, size), rtol=1e-6)
    mask = maps > 0.97
    np.testing.assert_array_equal(box_maximum(mask, side), ndimage.maximum_filter(mask, size))


def test_a_mean_over_a_mask_is_exact() -> None:
    mask = np.zeros((1, 8, 8), np.float32)
    mask[0, 2:7, 2:7] = 1
    assert box_mean(mask, 5)[0, 4, 4] == 1
    assert box_mean(mask, 5)[0, 4, 2] == np.float32(0.6)
