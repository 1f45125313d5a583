"""The simulated user clicks where the rules say, and always the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from limnet.errors import ConfigError, GeometryError
from limnet.evaluation.simulated_user import USERS, next_click, simulated_user
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


def plate(*boxes: tuple[slice, slice], shape: tuple[int, int] = (20, 20), index: int = 1) -> Mask:
    """Three slices, boxes drawn on one of them."""
    mask = np.zeros((*shape, 3), bool)
    for rows, columns in boxes:
        mask[rows, columns, index] = True
    return mask


def random_pair(seed: int) -> tuple[Mask, Mask]:
    random = np.random.default_rng(seed)
    truth, mask = random.random((2, *random.integers(2, 9, 3))) < random.uniform(0.2, 0.7)
    return truth, mask


def test_an_unknown_user_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="no simulated user is called 'center'; known: centre, random"):
        simulated_user("center")


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match="0 or more, got -1"):
        simulated_user("random", seed=-1)


@pytest.mark.parametrize("name", USERS)
def test_every_user_is_content_with_a_perfect_mask_and_with_no_object(name: str) -> None:
    truth = plate((slice(2, 7), slice(3, 9)))
    assert simulated_user(name)(truth, truth.copy(), 2) == ()
    assert simulated_user(name)(np.zeros_like(truth), None, 2) == ()


@pytest.mark.parametrize("name", USERS)
def test_every_user_refuses_a_mask_on_another_grid(name: str) -> None:
    with pytest.raises(GeometryError, match="does not fit"):
        simulated_user(name)(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool), 0)


@pytest.mark.parametrize("name", USERS)
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000), axis=st.integers(0, 2), first=st.booleans())
def test_every_click_of_every_user_is_true_and_wanted_and_on_one_slice(
    name: str, seed: int, axis: int, first: bool
) -> None:
    truth, mask = random_pair(seed)
    clicks = simulated_user(name)(truth, None if first else mask, axis)
    assert clicks or not (truth.any() if first else (truth ^ mask).any())
    for click in clicks:
        assert truth[click.index] == click.positive
        assert first or mask[click.index] != click.positive
    assert len({click.index[axis] for click in clicks}) <= 1
    assert len({click.index for click in clicks}) == len(clicks) <= 9


@pytest.mark.parametrize("name", USERS)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_the_same_seed_and_key_give_the_same_clicks(name: str, seed: int) -> None:
    truth, mask = random_pair(seed)
    one, two = (simulated_user(name, seed=seed, key="set/case/1") for _ in range(2))
    for given_mask in (None, mask, mask):
        assert one(truth, given_mask, 2) == two(truth, given_mask, 2)


def test_centre_is_next_click_in_a_tuple() -> None:
    truth = plate((slice(2, 7), slice(3, 8)))
    assert simulated_user("centre")(truth, None, 2) == (next_click(truth, None, 2),)


def test_random_clicks_every_voxel_of_the_largest_error_about_as_often() -> None:
    truth = plate((slice(0, 2), slice(0, 2)), (slice(10, 11), slice(10, 11)))
    user = simulated_user("random", seed=3)
    drawn = [user(truth, np.zeros_like(truth), 2)[0] for _ in range(200)]
    hits = [sum(click.index == (i, j, 1) for click in drawn) for i in (0, 1) for j in (0, 1)]
    assert sum(hits) == 200
    assert min(hits) > 30


def test_random_clicks_differ_between_objects_and_between_seeds() -> None:
    truth = plate((slice(0, 20), slice(0, 20)))
    clicks = [
        simulated_user("random", seed, key)(truth, None, 2)
        for seed, key in ((0, "a/b/1"), (0, "a/b/2"), (1, "a/b/1"))
    ]
    assert len(set(clicks)) == 3


def test_worst_slice_goes_to_the_lowest_dice_and_not_to_the_largest_error() -> None:
    truth = np.zeros((20, 20, 3), bool)
    truth[0:20, 0:20, 0] = True
    truth[4:7, 4:7, 2] = True
    mask = truth.copy()
    mask[0:10, 0:20, 0] = False  # 200 wrong pixels, Dice 0.67
    mask[:, :, 2] = False  # 9 wrong pixels, Dice 0
    assert simulated_user("worst-slice")(truth, mask, 2) == (Click((5, 5, 2), positive=True),)


def test_worst_slice_takes_the_most_wrong_of_slices_that_are_all_wrong() -> None:
    truth = np.zeros((20, 20, 3), bool)
    truth[4, 4, 0] = True
    mask = np.zeros_like(truth)
    mask[8:13, 8:13, 2] = True
    assert simulated_user("worst-slice")(truth, mask, 2) == (Click((10, 10, 2), positive=False),)


def test_worst_slice_starts_as_centre_does() -> None:
    truth = plate((slice(2, 7), slice(3, 8)))
    assert simulated_user("worst-slice")(truth, None, 2) == (Click((4, 5, 1)),)


def test_a_scribble_runs_along_the_region_and_keeps_off_its_ends() -> None:
    truth = plate((slice(9, 10), slice(0, 17)))  # one row; its first pixel is its centre, all being equal
    clicks = simulated_user("scribble")(truth, None, 2)
    assert clicks[0] == Click((9, 0, 1))
    assert len(clicks) == 8
    assert all(click.positive and click.index[0] == 9 for click in clicks)
    assert [click.index[1] for click in clicks] == [
        0,
        2,
        3,
        5,
        7,
        9,
        10,
        12,
    ]  # of 0 to 16, up to three quarters


def test_a_scribble_on_one_pixel_is_one_click() -> None:
    truth = plate((slice(5, 6), slice(6, 7)))
    assert simulated_user("scribble")(truth, None, 2) == (Click((5, 6, 1)),)


def test_a_scribble_on_what_is_wrongly_marked_is_negative() -> None:
    truth = plate((slice(0, 2), slice(0, 2)))
    mask = truth | plate((slice(10, 15), slice(10, 15)), index=2)
    clicks = simulated_user("scribble")(truth, mask, 2)
    assert {click.positive for click in clicks} == {False}
    assert {click.index[2] for click in clicks} == {2}


def test_a_box_is_its_middle_and_eight_clicks_around_it() -> None:
    truth = plate((slice(5, 10), slice(6, 13)))
    first, *around = simulated_user("box")(truth, None, 2)
    assert first == Click((7, 9, 1))
    expected = {(i, j, 1) for i in (4, 7, 10) for j in (5, 9, 13)} - {(7, 9, 1)}
    assert {click.index for click in around} == expected
    assert not any(click.positive for click in around)


def test_a_box_at_the_edge_of_the_picture_has_no_clicks_beyond_it() -> None:
    truth = plate((slice(0, 5), slice(6, 13)))
    assert len(simulated_user("box")(truth, None, 2)) == 1 + 5


def test_a_box_whose_middle_is_not_the_object_is_clicked_beside_it() -> None:
    truth = plate((slice(5, 10), slice(5, 10)))
    truth[6:9, 6:9, 1] = False  # a ring
    first, *_ = simulated_user("box")(truth, None, 2)
    assert first == Click((5, 7, 1))


def test_a_box_is_given_once() -> None:
    truth = plate((slice(5, 10), slice(6, 13)))
    nothing = np.zeros_like(truth)
    assert simulated_user("box")(truth, nothing, 2) == (next_click(truth, nothing, 2),)
    assert len(simulated_user("cvpr25-box")(truth, None, 2)) == 9
    assert len(simulated_user("cvpr25-box")(truth, nothing, 2)) == 1


def challenge_by_definition(truth: Mask, mask: Mask) -> tuple[tuple[int, ...], bool] | None:
    """The challenge's rules without a shortcut, on arrays in its order (D, H, W)."""
    wrong = truth.T ^ mask.T
    labels, count = ndimage.label(wrong, np.ones((3, 3, 3)))
    if count == 0:
        return None
    sizes = [int((labels == label).sum()) for label in range(1, count + 1)]
    component = labels == 1 + int(np.argmax(sizes))
    distance = ndimage.distance_transform_edt(np.pad(component, 3))[3:-3, 3:-3, 3:-3]
    farthest = np.argwhere(distance == distance.max())
    np.random.seed(42)  # noqa: NPY002 -- the challenge's own generator
    d, h, w = farthest[np.random.choice(len(farthest))]  # noqa: NPY002
    return (int(w), int(h), int(d)), bool(truth[w, h, d])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000))
def test_the_click_of_the_challenge_equals_its_definition(seed: int) -> None:
    truth, mask = random_pair(seed)
    expected = challenge_by_definition(truth, mask)
    clicks = simulated_user("cvpr25")(truth, mask, 2)
    assert [(click.index, click.positive) for click in clicks] == ([expected] if expected else [])


def test_the_challenge_joins_what_is_missed_to_what_is_wrongly_marked() -> None:
    truth = plate((slice(0, 3), slice(0, 3)), (slice(12, 18), slice(12, 17)))
    mask = plate((slice(3, 8), slice(0, 5)))  # 9 missed and 25 wrong that touch; 30 missed apart from them
    (challenge,), (centre_click,) = (simulated_user(name)(truth, mask, 2) for name in ("cvpr25", "centre"))
    assert max(challenge.index[:2]) < 8
    assert min(centre_click.index[:2]) >= 12


def test_the_challenge_starts_in_the_middle_of_the_object_in_3d() -> None:
    truth = np.zeros((11, 11, 11), bool)
    truth[1:10, 1:10, 1:10] = True
    truth[:, :, 2] = True  # the largest slice, where other users start
    assert simulated_user("cvpr25")(truth, None, 2) == (Click((5, 5, 5)),)
