"""What is read off a curve of Dice by round, worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate

from limnet.evaluation.curve import auc, falls, rounds_to_reach, trapezoid

curves = st.lists(st.floats(0, 1), min_size=2, max_size=15)


def test_a_round_that_just_reaches_the_threshold_counts() -> None:
    assert rounds_to_reach([0.5, 0.8], 0.8, cap=2) == 2


def test_a_threshold_reached_after_the_cap_is_a_failure() -> None:
    assert rounds_to_reach([0.5, 0.6, 0.9], 0.8, cap=2) is None


def test_the_area_of_a_straight_rise_is_its_middle() -> None:
    assert auc([0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]) == pytest.approx(0.5)


def test_the_first_and_the_last_round_count_half() -> None:
    assert auc([1.0, 0.0, 0.0, 0.0, 0.0]) == pytest.approx(0.5 / 4)
    assert auc([0.0, 1.0, 0.0, 0.0, 0.0]) == pytest.approx(1.0 / 4)


def test_the_area_of_one_round_is_its_value() -> None:
    assert auc([0.7]) == 0.7


def test_five_clicks_of_the_challenge_reach_four_at_most() -> None:
    assert trapezoid([0.5, 0.6, 0.7, 0.8, 0.9]) == pytest.approx(0.25 + 0.6 + 0.7 + 0.8 + 0.45)


@given(curves)
def test_the_trapezoid_is_that_of_scipy(values: list[float]) -> None:
    assert trapezoid(values) == pytest.approx(float(integrate.trapezoid(values)))


def test_a_loss_within_the_tolerance_is_no_fall() -> None:
    assert falls([0.8, 0.796, 0.6, 0.9, 0.8]) == pytest.approx((0.196, 0.1))
