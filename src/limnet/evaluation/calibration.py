"""Whether a method knows how good its slices are: the Dice it expects of them, beside their true Dice."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from limnet.evaluation.results import SliceRow

NUM_BINS = 10  # of expected Dice, equally wide
WORST = 3  # a suggestion is good when its slice is among this many


class Bin(NamedTuple):
    """Slices of which about the same was expected."""

    expected: float  # their mean expected Dice
    dice: float  # their mean true Dice
    num_slices: int


@dataclass(frozen=True)
class Calibration:
    """How expected and true Dice of slices go together, and how good suggestions are."""

    num_slices: int  # counted once per round; those of which something was expected
    correlation: float  # Pearson's r, [-1, 1]; NaN where either does not vary
    error: float  # mean absolute difference, Dice
    bias: float  # mean of expected - true: positive is too sure
    bins: tuple[Bin, ...]  # rising, empty ones left out
    num_suggestions: int
    num_good: int  # of these: the suggested slice was among the WORST by true Dice

    @classmethod
    def of(cls, rows: Sequence[SliceRow]) -> Calibration:
        """Calibration over the slices of any number of objects and rounds."""
        table = np.array([(row.quality, row.dice) for row in rows], np.float64).reshape(-1, 2)
        expected, dice = table[~np.isnan(table[:, 0])].T  # (N,) each
        suggestions = [is_good for is_good in map(suggestion_is_good, _rounds(rows)) if is_good is not None]
        return cls(
            num_slices=len(expected),
            correlation=_pearson(expected, dice),
            error=float(np.abs(expected - dice).mean()) if len(expected) else math.nan,
            bias=float((expected - dice).mean()) if len(expected) else math.nan,
            bins=reliability(expected, dice),
            num_suggestions=len(suggestions),
            num_good=sum(suggestions),
        )


def reliability(expected: NDArray[np.float64], dice: NDArray[np.float64]) -> tuple[Bin, ...]:
    """Slices by expected Dice in NUM_BINS equal parts of [0, 1]; parts without a slice are left out.

    >>> reliability(np.array([0.11, 0.13, 0.95]), np.array([0.2, 0.4, 0.9]))[0].num_slices
    2
    """
    place = np.clip((expected * NUM_BINS).astype(np.intp), 0, NUM_BINS - 1)
    return tuple(
        Bin(float(expected[inside].mean()), float(dice[inside].mean()), int(inside.sum()))
        for inside in (place == number for number in range(NUM_BINS))
        if inside.any()
    )


def suggestion_is_good(of_round: Sequence[SliceRow]) -> bool | None:
    """Whether fewer than WORST slices of a round are worse than the suggested one; None without suggestion.

    One that holds neither truth nor mask has Dice 1: to suggest it is good only if hardly any slice is wrong.
    """
    suggested = next((row for row in of_round if row.suggested), None)
    if suggested is None:
        return None
    return sum(row.dice < suggested.dice for row in of_round) < WORST


def _rounds(rows: Iterable[SliceRow]) -> list[list[SliceRow]]:
    """Slices of one object and round together."""
    found: dict[tuple[object, int], list[SliceRow]] = {}
    for row in rows:
        found.setdefault((row.key, row.round), []).append(row)
    return list(found.values())


def _pearson(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return math.nan
    return float(np.corrcoef(one, other)[0, 1])
