"""How Dice goes from round to round: clicks to a threshold, area under the curve, falls.

A curve holds one value per round, from round 1. Every round is one prompt of the user, so rounds are the
"clicks" of NoC.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

FALL = 0.005  # a round falls when it loses more Dice than this
REACH = (0.80, 0.85, 0.90)  # Dice thresholds of NoC
CHALLENGE_CLICKS = 5  # of the CVPR 2025 challenge, after an optional box


def rounds_to_reach(dice_by_round: Sequence[float], threshold: float, cap: int) -> int | None:
    """The first round, from 1, whose Dice is at least `threshold`; None if the first `cap` all miss it.

    A later fall does not take it back. In NoC a None counts as `cap`, and the number of Nones is reported.

    >>> rounds_to_reach([0.70, 0.85, 0.79], 0.80, cap=15)
    2
    >>> rounds_to_reach([0.70, 0.75, 0.85], 0.80, cap=2) is None
    True
    """
    for number, value in enumerate(dice_by_round[:cap], start=1):
        if value >= threshold:
            return number
    return None


def auc(values: Sequence[float]) -> float:
    """Area under a curve over its rounds by the trapezoid rule, over its width: the scale of the values.

    (v1/2 + v2 + … + vR/2) / (R - 1); of one round it is that value.

    >>> auc([0.2, 0.6, 0.8])
    0.55
    """
    return trapezoid(values) / (len(values) - 1) if len(values) > 1 else values[0]


def trapezoid(values: Sequence[float]) -> float:
    """Area under a curve by the trapezoid rule, rounds one apart: in [0, R - 1] for values in [0, 1].

    Over the last five rounds it is the "AUC" of the CVPR 2025 interactive 3D challenge, at most 4.

    >>> trapezoid([1.0, 1.0, 1.0, 1.0, 1.0])
    4.0
    """
    return sum((before + after) / 2 for before, after in pairwise(values))


def falls(values: Sequence[float]) -> tuple[float, ...]:
    """How much each round lost that lost more than FALL against the one before, in their order.

    >>> [round(fall, 3) for fall in falls([0.500, 0.800, 0.797, 0.700])]
    [0.097]
    """
    return tuple(before - after for before, after in pairwise(values) if before - after > FALL)
