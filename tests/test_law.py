"""The law: what prompts decree about voxels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from limnet.law import Law, Placed
from limnet.prompt import Box, Click, Lasso, Painted, Prompt, Scribble
from limnet.view import Plane, whole_view

SHAPE = (10, 12, 6)
K = 3  # the slice that prompts are given on, along the last axis
Mask = NDArray[np.bool_]


def enforced(mask: Mask, *prompts: Prompt, axis: int = 2, index: int = K) -> Mask:
    """A slice's mask after prompts on slice K along the last axis; a pixel of the view is half a voxel."""
    law = Law([Placed(2, prompt) for prompt in prompts], SHAPE)
    height, width = (n for a, n in enumerate(SHAPE) if a != axis)
    return law.enforce(mask, axis, index, whole_view(Plane((height, width), (1.0, 1.0)), 30))


def empty() -> Mask:
    return np.zeros(SHAPE[:2], bool)


def full() -> Mask:
    return np.ones(SHAPE[:2], bool)


def square(top: int, left: int, bottom: int, right: int) -> Mask:
    mask = empty()
    mask[top : bottom + 1, left : right + 1] = True
    return mask


def box(top: int, left: int, bottom: int, right: int, positive: bool = True) -> Box:
    return Box((top, left, K), (bottom, right, K), positive)


def test_nothing_lies_outside_a_positive_box() -> None:
    assert np.array_equal(enforced(full(), box(2, 3, 5, 6)), square(2, 3, 5, 6))


def test_a_positive_box_adds_nothing() -> None:
    assert not enforced(empty(), box(2, 3, 5, 6)).any()


def test_two_boxes_apart_hold_two_pieces() -> None:
    both = square(0, 0, 2, 2) | square(6, 6, 8, 8)
    assert np.array_equal(enforced(full(), box(0, 0, 2, 2), box(6, 6, 8, 8)), both)


def test_a_box_over_another_one_takes_its_place() -> None:
    assert np.array_equal(enforced(full(), box(0, 0, 4, 4), box(3, 3, 8, 8)), square(3, 3, 8, 8))


@pytest.mark.parametrize(
    "later", [Click((9, 9, K)), Scribble(((9, 9, K), (9, 11, K)))], ids=["click", "scribble"]
)
def test_who_points_outside_a_box_lifts_it(later: Prompt) -> None:
    assert enforced(full(), box(2, 3, 5, 6), later).all()


def test_an_earlier_click_does_not_lift_a_box() -> None:
    assert np.array_equal(enforced(full(), Click((9, 9, K)), box(2, 3, 5, 6)), square(2, 3, 5, 6))


def test_a_negative_click_outside_a_box_leaves_it() -> None:
    after = enforced(full(), box(2, 3, 5, 6), Click((9, 9, K), positive=False))
    assert np.array_equal(after, square(2, 3, 5, 6))


@pytest.mark.parametrize(
    "negative",
    [
        box(2, 3, 5, 6, positive=False),
        Lasso(((2, 3, K), (2, 6, K), (5, 6, K), (5, 3, K)), positive=False),
    ],
    ids=["box", "lasso"],
)
def test_nothing_lies_inside_a_negative_area(negative: Prompt) -> None:
    assert np.array_equal(enforced(full(), negative), ~square(2, 3, 5, 6))


def test_a_positive_click_inside_a_negative_box_lifts_it() -> None:
    assert enforced(full(), box(2, 3, 5, 6, positive=False), Click((3, 4, K))).all()


def test_a_positive_lasso_frees_what_it_holds() -> None:
    lasso = Lasso(((2, 3, K), (2, 4, K), (5, 4, K), (5, 3, K)))
    assert np.array_equal(
        enforced(full(), box(2, 3, 5, 6, positive=False), lasso), ~square(2, 3, 5, 6) | square(2, 3, 5, 4)
    )


def test_every_voxel_of_a_scribble_is_the_objects() -> None:
    after = enforced(empty(), Scribble(((1, 1, K), (1, 8, K))))
    assert after[1, 1:9].all()
    assert after[:, 10].sum() == 0


def test_no_voxel_of_a_negative_scribble_is_the_objects() -> None:
    after = enforced(full(), Scribble(((1, 1, K), (8, 8, K)), positive=False))
    assert not after[np.arange(1, 9), np.arange(1, 9)].any()


def test_a_painted_slice_is_exactly_as_painted() -> None:
    painted = np.random.default_rng(0).random(SHAPE[:2]) > 0.5
    prompts = [box(0, 0, 2, 2), Click((9, 9, K)), Painted.of(painted, 2, K)]
    assert np.array_equal(enforced(full(), *prompts), painted)


def test_a_click_that_agrees_with_what_was_painted_leaves_it_law() -> None:
    painted = Painted.of(square(2, 3, 5, 6), 2, K)
    assert np.array_equal(enforced(full(), painted, Click((2, 3, K))), square(2, 3, 5, 6))


def test_a_click_that_disagrees_with_what_was_painted_lifts_it() -> None:
    assert enforced(full(), Painted.of(square(2, 3, 5, 6), 2, K), Click((9, 9, K))).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_a_painted_slice_rules_its_line_in_slices_that_cross_it(axis: int) -> None:
    painted = np.random.default_rng(1).random(SHAPE[:2]) > 0.5
    shape = [n for a, n in enumerate(SHAPE) if a != axis]
    after = enforced(np.zeros(shape, bool), Painted.of(painted, 2, K), axis=axis, index=4)
    assert np.array_equal(after[:, K], painted[4] if axis == 0 else painted[:, 4])
    assert not np.delete(after, K, axis=1).any()


def test_a_box_rules_its_line_in_slices_that_cross_it() -> None:
    after = enforced(np.ones((SHAPE[1], SHAPE[2]), bool), box(2, 3, 5, 6), axis=0, index=4)
    assert after[:, K].tolist() == [False] * 3 + [True] * 4 + [False] * 5
    assert np.delete(after, K, axis=1).all()


def test_a_click_spares_the_painted_line_beside_it() -> None:
    """The voxels around a disobeyed click follow it, but not those that are painted."""
    plane = Plane((SHAPE[1], SHAPE[2]), (1.0, 1.0))
    law = Law([Placed(2, Painted.of(empty(), 2, K)), Placed(0, Click((4, 5, K - 1)))], SHAPE)
    after = law.enforce(np.zeros(plane.shape, bool), 0, 4, whole_view(plane, 30))
    assert np.argwhere(after)[:, 1].max() == K - 1


def test_a_later_click_across_a_painted_slice_is_law() -> None:
    plane = Plane((SHAPE[1], SHAPE[2]), (1.0, 1.0))
    law = Law([Placed(2, Painted.of(empty(), 2, K)), Placed(0, Click((4, 5, K)))], SHAPE)
    after = law.enforce(np.zeros(plane.shape, bool), 0, 4, whole_view(plane, 30))
    assert after[5, K]
    assert after[:, K].sum() == 1


def test_an_earlier_click_across_a_painted_slice_is_overruled() -> None:
    plane = Plane((SHAPE[1], SHAPE[2]), (1.0, 1.0))
    law = Law([Placed(0, Click((4, 5, K))), Placed(2, Painted.of(empty(), 2, K))], SHAPE)
    assert not law.enforce(np.ones(plane.shape, bool), 0, 4, whole_view(plane, 30))[:, K].any()


def test_other_slices_are_left_alone() -> None:
    assert np.array_equal(enforced(full(), box(2, 3, 5, 6), Click((1, 1, K), False), index=K + 1), full())
