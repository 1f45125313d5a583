"""Clicks are values; the centre of a region is its innermost pixel."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from limnet.prompt import Click, centre


def test_a_click_is_a_positive_value_that_cannot_change() -> None:
    click = Click((1, 2, 3))
    assert click == Click((1, 2, 3), positive=True) != Click((1, 2, 3), positive=False)
    with pytest.raises(FrozenInstanceError):
        click.positive = False  # type: ignore[misc]


def test_the_centre_of_a_crescent_lies_inside_it() -> None:
    rows, columns = np.indices((15, 15))
    disk = (rows - 7) ** 2 + (columns - 7) ** 2 <= 36
    crescent = disk & ((rows - 7) ** 2 + (columns - 4) ** 2 > 25)  # its mean would lie at its rim
    assert crescent[centre(crescent)]


def test_the_arrays_edge_counts_as_boundary() -> None:
    assert centre(np.ones((3, 5, 7), bool)) == (1, 1, 1)


@pytest.mark.parametrize("seed", range(5))
def test_centre_is_the_first_pixel_farthest_from_everything_outside(seed: int) -> None:
    region = np.random.default_rng(seed).random((6, 7)) < 0.75
    outside = np.argwhere(~np.pad(region, 1)) - 1
    depth = {
        tuple(pixel): min(((outside - pixel) ** 2).sum(1)) for pixel in np.argwhere(region)
    }  # insertion in C order, so that max takes the first on a tie
    assert centre(region) == max(depth, key=lambda pixel: depth[pixel])
