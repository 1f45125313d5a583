"""What viewers send in tests: a bright box in the dark and a drawing on it, as masks (k, j, i)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHAPE = (14, 20, 40)  # (k, j, i), that is (z, y, x)
BOX = (slice(4, 11), slice(2, 9), slice(20, 31))  # which no other order of axes puts around (7, 4, 25)


def scan() -> NDArray[np.int16]:
    """The box in the dark."""
    array = np.zeros(SHAPE, np.int16)
    array[BOX] = 100
    return array


def box_mask() -> NDArray[np.uint8]:
    """The box."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[BOX] = 1
    return mask


def square() -> NDArray[np.uint8]:
    """A drawing on slice 7."""
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[7, 3:6, 24:27] = 1
    return drawn
