"""The simulated user clicks where the rules say, and always the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from limnet.errors import GeometryError
from limnet.evaluation.simulated_user import next_click
from limnet.prompt import Click, centre

Mask = NDArray[np.bool_]


def next_click_by_definition(truth: Mask, mask: Mask, axis: int) -> Click | None:
    """The rules without any shortcut: whole array, every component, every slice."""
    best: tuple[int, Mask, bool] | None = None
    for region, positive in ((truth & ~mask, True), (mask & ~truth, False)):
        labels, count = ndimage.label(region, np.ones((3, 3, 3)))
        for label in range(1, count + 1):
            component = labels == label
            if best is None or component.sum() > best[0]:
                best = (int(component.sum()), component, positive)
    if best is None:
        return None
    slices = np.moveaxis(best[1], axis, 0)
    index = int(np.argmax([plane.sum() for plane in slices]))
    at = list(centre(slices[index]))
    at.insert(axis, index)
    return Click((at[0], at[1], at[2]), best[2])


def test_round_one_clicks_the_centre_of_the_largest_slice() -> None:
    truth = np.zeros((11, 11, 5), bool)
    truth[4:7, 4:7, 1] = True
    truth[1:8, 2:9, 2] = True
    assert next_click(truth, None, axis=2) == Click((4, 5, 2), positive=True)


def test_round_one_follows_the_sweep_axis() -> None:
    truth = np.zeros((11, 11, 5), bool)
    truth[3, 2:9, 1:4] = True
    assert next_click(truth, None, axis=0) == Click((3, 3, 2), positive=True)


def test_a_later_click_lands_in_the_middle_of_the_largest_missed_region() -> None:
    truth = np.zeros((9, 9, 3), bool)
    truth[1:4, 1:4, 1] = True  # 3 x 3, found
    truth[4:9, 4:9, 1] = True  # 5 x 5, missed
    mask = truth.copy()
    mask[4:9, 4:9] = False
    assert next_click(truth, mask, axis=2) == Click((6, 6, 1), positive=True)


def test_a_region_marked_wrongly_gets_a_negative_click() -> None:
    truth = np.zeros((9, 9, 3), bool)
    truth[0:2, 0:2, 1] = True
    mask = truth.copy()
    mask[4:9, 4:9, 2] = True
    assert next_click(truth, mask, axis=2) == Click((6, 6, 2), positive=False)


def test_the_largest_error_is_judged_in_3d_and_not_on_one_slice() -> None:
    truth = np.zeros((12, 12, 8), bool)
    truth[0:5, 0:5, 0] = True  # 25 voxels on one slice
    truth[8:11, 8:11, 2:6] = True  # 36 voxels on four slices
    mask = np.zeros_like(truth)
    assert next_click(truth, mask, axis=2) == Click((9, 9, 2), positive=True)


def test_voxels_that_touch_at_a_corner_are_one_region() -> None:
    truth = np.zeros((8, 8, 4), bool)
    truth[0, 0, 0] = truth[1, 1, 1] = truth[2, 2, 2] = True  # a chain of three
    truth[6:8, 6, 0] = True  # a pair
    assert next_click(truth, np.zeros_like(truth), axis=2) == Click((0, 0, 0), positive=True)


def test_a_missed_region_comes_before_a_wrong_one_of_the_same_size() -> None:
    truth = np.zeros((8, 8, 2), bool)
    truth[5:8, 5:8, 0] = True
    mask = np.zeros_like(truth)
    mask[0:3, 0:3, 0] = True
    click = next_click(truth, mask, axis=2)
    assert click == Click((6, 6, 0), positive=True)


def test_a_perfect_mask_leaves_the_user_content() -> None:
    truth = np.zeros((4, 4, 4), bool)
    truth[1:3, 1:3, 1:3] = True
    assert next_click(truth, truth.copy(), axis=0) is None


def test_an_absent_object_is_never_clicked() -> None:
    assert next_click(np.zeros((4, 4, 4), bool), None, axis=0) is None


def test_a_mask_on_another_grid_is_refused() -> None:
    with pytest.raises(GeometryError, match="does not fit"):
        next_click(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool), axis=0)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 2))
def test_the_click_equals_its_definition(seed: int, axis: int) -> None:
    random = np.random.default_rng(seed)
    truth, mask = random.random((2, *random.integers(1, 8, 3))) < random.uniform(0.05, 0.6)
    assert next_click(truth, mask, axis) == next_click_by_definition(truth, mask, axis)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 2))
def test_a_click_always_lies_on_an_error_of_its_kind(seed: int, axis: int) -> None:
    random = np.random.default_rng(seed)
    truth, mask = random.random((2, 6, 5, 7)) < 0.4
    click = next_click(truth, mask, axis)
    assert click is not None
    assert truth[click.index] == click.positive
    assert mask[click.index] != click.positive
