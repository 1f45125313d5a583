"""Intervals and tests: by hand, by enumeration and beside scipy's."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from limnet.evaluation.statistics import estimates, interval, resampled_means, signed_rank_p


def column(*values: float) -> np.ndarray:  # type: ignore[type-arg]
    return np.array(values, np.float64)[:, None]


def test_the_interval_holds_the_mean_and_is_that_of_scipy() -> None:
    values = np.random.default_rng(3).beta(5, 2, 40)
    (found,) = estimates([values[:, None]])
    theirs = stats.bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", batch=1000)
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.006)


def test_resampled_means_of_two_values_are_the_four_ways_to_draw_them() -> None:
    found, counts = np.unique(resampled_means(column(0, 1)), return_counts=True)
    assert found.tolist() == [0, 0.5, 1]
    assert counts / counts.sum() == pytest.approx([0.25, 0.5, 0.25], abs=0.02)


def test_the_same_values_give_the_same_interval() -> None:
    values = [column(0.1, 0.5, 0.9)]
    assert estimates(values) == estimates(values)


def test_one_value_has_a_mean_and_no_interval() -> None:
    (found,) = estimates([column(0.4)])
    assert found.mean == 0.4
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_values_that_are_unknown_are_left_out() -> None:
    (found,) = estimates([column(1.0, math.nan, 3.0)])
    assert found.mean == 2.0
    assert (found.low, found.high) == (1.0, 3.0)


def test_nothing_known_is_no_mean() -> None:
    assert math.isnan(estimates([column(math.nan, math.nan)])[0].mean)


def test_every_set_counts_once_in_the_mean_over_sets() -> None:
    (found,) = estimates([column(1, 1, 1, 1), column(0)])
    assert found.mean == 0.5


def test_a_set_of_one_object_does_not_widen_the_interval_over_sets() -> None:
    (alone,) = estimates([column(0.0, 1.0, 0.5)], ["a"])
    (both,) = estimates([column(0.0, 1.0, 0.5), column(0.5)], ["a", "b"])
    assert both.high - both.low == pytest.approx((alone.high - alone.low) / 2)


def test_an_interval_leaves_five_percent_outside() -> None:
    assert interval(np.arange(101, dtype=np.float64)) == pytest.approx((2.5, 97.5))


def test_five_gains_are_two_of_thirty_two_ways_to_sign_them() -> None:
    assert signed_rank_p([0.1, 0.2, 0.3, 0.4, 0.5]) == 2 / 32


def test_differences_of_zero_are_left_out() -> None:
    assert signed_rank_p([0.0, 0.1, 0.0, 0.2, 0.3, 0.4, 0.5]) == 2 / 32


def test_no_difference_at_all_is_no_evidence() -> None:
    assert signed_rank_p([0.0, 0.0]) == 1.0
    assert signed_rank_p([]) == 1.0


@settings(deadline=None)
@given(st.lists(st.integers(-4, 4).filter(bool), min_size=1, max_size=8))
def test_the_signed_rank_test_is_exact_with_ties_too(differences: list[int]) -> None:
    ranks = stats.rankdata(np.abs(differences))
    sums = [float(np.dot(ranks, signs)) for signs in product((0, 1), repeat=len(ranks))]
    own = float(ranks[np.array(differences) > 0].sum())
    at_most = sum(value <= own for value in sums)
    at_least = sum(value >= own for value in sums)
    expected = min(1.0, 2 * min(at_most, at_least) / len(sums))
    assert signed_rank_p([float(value) for value in differences]) == pytest.approx(expected)


@pytest.mark.parametrize("num_values", [20, 80])
def test_the_signed_rank_test_is_scipys(num_values: int) -> None:
    differences = np.random.default_rng(5).normal(0.1, 1, num_values)
    assert signed_rank_p(differences.tolist()) == pytest.approx(float(stats.wilcoxon(differences).pvalue))
