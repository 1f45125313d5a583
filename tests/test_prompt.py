"""Clicks are values; the centre of a region is its innermost pixel."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageDraw

from limnet.prompt import Click, Painted, Scribble, centre, fill, slice_index, trace


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


def test_a_line_is_traced_without_gaps_and_alike_from_both_ends() -> None:
    traced = trace([(0, 0), (3, 7)])
    assert [max(abs(a - c), abs(b - d)) for (a, b), (c, d) in pairwise(traced)] == [1] * 7
    assert traced[0] == (0, 0)
    assert traced[-1] == (3, 7)
    assert len(traced) == len(trace([(3, 7), (0, 0)]))


def test_a_line_that_comes_back_is_traced_once() -> None:
    assert trace([(0, 0), (0, 2), (0, 0)]) == [(0, 0), (0, 1), (0, 2)]


def test_a_polygon_holds_what_pillow_says_it_holds() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        angles = np.sort(rng.random(9)) * 2 * np.pi
        corners = np.stack([20 + 15 * np.cos(angles), 25 + 18 * np.sin(angles)], 1).round().astype(int)
        drawn = Image.new("1", (50, 40))
        ImageDraw.Draw(drawn).polygon([(int(c), int(r)) for r, c in corners], fill=1, outline=1)
        ours = fill([(int(r), int(c)) for r, c in corners], (40, 50))
        assert (ours ^ np.asarray(drawn)).mean() < 0.02  # they differ on the outline, by half a voxel


def test_what_a_polygon_encloses_twice_is_outside() -> None:
    bow = fill([(0, 0), (8, 0), (8, 8), (2, 8), (2, 2), (6, 2), (6, 10), (0, 10)], (9, 12))
    assert not bow[4, 5]
    assert bow[1, 5]


def test_a_painted_slice_is_a_value_and_gives_its_mask_back() -> None:
    mask = np.random.default_rng(0).random((7, 11)) > 0.5
    painted = Painted.of(mask, 1, 4)
    assert np.array_equal(painted.mask, mask)
    assert painted == Painted.of(mask.copy(), 1, 4)
    assert painted != Painted.of(~mask, 1, 4)


def test_a_prompt_knows_its_slice() -> None:
    assert slice_index(Scribble(((4, 5, 6), (4, 7, 8))), 0) == 4
    assert slice_index(Painted.of(np.ones((2, 2), bool), 1, 3), 1) == 3
