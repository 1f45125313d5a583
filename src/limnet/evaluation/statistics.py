"""How sure a mean is, and whether two methods differ: bootstrap intervals and the signed-rank test.

What is resampled are objects, within their set; the sets themselves stay. An interval of the mean over sets
thus says what other objects of the same sets might have given, not what other sets would. Objects of one case
are taken as independent; where they are not, the true interval is wider.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

NUM_RESAMPLES = 10_000
CONFIDENCE = 0.95
SEED = 0
MAX_EXACT = 50  # differences; the signed-rank test is exact up to here, ties included

Values = NDArray[np.float64]


class Estimate(NamedTuple):
    """A mean and its 95 % interval; the bounds are NaN where fewer than two values can be resampled."""

    mean: float
    low: float = math.nan
    high: float = math.nan


def resampled_means(values: Values, key: str = "") -> Values:
    """Column means of `values` (N, Q) in NUM_RESAMPLES bootstrap samples of its rows: (NUM_RESAMPLES, Q).

    NaNs are left out of their column's mean. The samples depend on `key` and N alone, so that two methods on
    the same objects are resampled alike.
    """
    random = np.random.default_rng((SEED, zlib.crc32(key.encode())))
    known = ~np.isnan(values)
    filled, counted = np.where(known, values, 0.0), known.astype(np.float64)
    means = []
    for _ in range(10):  # in parts: the counts of 2,000 objects alone are 160 MB
        times = _times_drawn(random, len(values), NUM_RESAMPLES // 10)
        drawn = times @ counted
        means.append(np.divide(times @ filled, drawn, out=np.full_like(drawn, np.nan), where=drawn > 0))
    return np.concatenate(means)


def estimates(samples: Sequence[Values], keys: Sequence[str] = ()) -> list[Estimate]:
    """Mean and percentile interval of every column, averaged over `samples`: one (N, Q) per set.

    Each set counts once, whatever its N; one that knows nothing of a column is left out of its mean.
    """
    keys = keys or [str(number) for number in range(len(samples))]
    means = np.stack([_column_means(values) for values in samples])  # (sets, Q)
    mean = _column_means(means)
    # with one value in a column of every set, nothing varies that could be resampled
    varies = np.any([(~np.isnan(values)).sum(0) > 1 for values in samples], axis=0)
    drawn = np.zeros((NUM_RESAMPLES, len(mean)))
    known = np.zeros_like(drawn)
    for values, key in zip(samples, keys, strict=True):
        of_set = resampled_means(values, key)
        drawn += np.nan_to_num(of_set)
        known += ~np.isnan(of_set)
    spread = np.divide(drawn, known, out=np.full_like(drawn, np.nan), where=known > 0)
    return [
        Estimate(float(mean[column]), *(interval(spread[:, column]) if varies[column] else ()))
        for column in range(len(mean))
    ]


def interval(resampled: Values) -> tuple[float, float]:
    """The percentile interval of what was resampled, NaNs left out."""
    known = resampled[~np.isnan(resampled)]
    if len(known) == 0:
        return math.nan, math.nan
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def signed_rank_p(differences: Sequence[float]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test that `differences` are symmetric about 0  (Wilcoxon 1945).

    Differences of exactly 0 are left out, as Wilcoxon did; none left is p = 1. Ties share their mean rank.
    Exact up to MAX_EXACT differences; beyond, by scipy's normal approximation.

    >>> signed_rank_p([1.0, 2.0, 3.0])  # of 8 ways to sign three ranks, 2 are as extreme
    0.25
    """
    known = np.asarray(differences, np.float64)
    known = known[known != 0]
    if len(known) == 0:
        return 1.0
    if len(known) > MAX_EXACT:
        return float(stats.wilcoxon(known).pvalue)
    doubled = np.rint(2 * stats.rankdata(np.abs(known))).astype(np.intp)  # mean ranks are halves
    # ways[s]: how many choices of signs have a positive rank sum of s / 2
    ways = np.zeros(int(doubled.sum()) + 1)
    ways[0] = 1.0
    for rank in doubled:
        ways[rank:] += ways[:-rank].copy()
    positive = int(doubled[known > 0].sum())
    tail = min(ways[: positive + 1].sum(), ways[positive:].sum()) / 2.0 ** len(known)
    return min(1.0, 2 * float(tail))


def _times_drawn(random: np.random.Generator, num_values: int, num_samples: int) -> Values:
    """How often each value is in each bootstrap sample: (num_samples, num_values).

    Counted from indices: drawing from the multinomial distribution itself takes six times as long.
    """
    drawn = random.integers(num_values, size=(num_samples, num_values))
    drawn += num_values * np.arange(num_samples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=num_samples * num_values)
    return counts.reshape(num_samples, num_values).astype(np.float64)


def _column_means(values: Values) -> Values:
    """Means of the columns, NaNs left out; NaN where there is nothing else."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(0)
    count = known.sum(0)
    means: Values = np.divide(total, count, out=np.full(values.shape[1], np.nan), where=count > 0)
    return means
