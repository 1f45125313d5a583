"""From rows to summaries: one object, all its rounds; one set, all its objects; the mean over sets.

A set counts once in the mean, however many objects it holds. Where an object needed fewer rounds than the
protocol has (no error was left), its last value stands for the rounds that were not needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import NamedTuple

import numpy as np

from limnet.evaluation.curve import CHALLENGE_CLICKS, REACH, auc, falls, rounds_to_reach, trapezoid
from limnet.evaluation.results import ObjectKey, RoundRow
from limnet.evaluation.statistics import Estimate, Values, estimates

OVER_SETS = "mean over sets"


class Variant(NamedTuple):
    """What rows must share to stand in one table."""

    protocol: str
    method: str
    user: str
    seed: int
    fusion: bool
    num_rounds: int
    cap: int

    @classmethod
    def of(cls, key: ObjectKey) -> Variant:
        """The variant of an object's rows."""
        return cls(*(getattr(key, name) for name in cls._fields))

    @property
    def title(self) -> str:
        """The variant in words."""
        return (
            f"{self.method}, fusion {_on(self.fusion)}, user {self.user}, seed {self.seed},"
            f" protocol {self.protocol}, {self.num_rounds} rounds, cap {self.cap}"
        )


def labels_of(variants: Iterable[Variant]) -> dict[Variant, str]:
    """Short names: the method, and whatever tells its variants apart.

    >>> one = Variant("panel", "limnet", "centre", 0, True, 6, 15)
    >>> other = one._replace(method="geodesic", fusion=False)
    >>> list(labels_of([one, one._replace(fusion=False), other]).values())
    ['limnet, fusion on', 'limnet, fusion off', 'geodesic']
    """
    variants = list(variants)
    labels = {}
    for variant in variants:
        alike = [item for item in variants if item.method == variant.method]
        words = [variant.method]
        for name in Variant._fields:
            value = getattr(variant, name)
            if name != "method" and len({getattr(item, name) for item in alike}) > 1:
                shown = _on(value) if name == "fusion" else value
                words.append(f"{name.removeprefix('num_')} {shown}")
        labels[variant] = ", ".join(words)
    return labels


@dataclass(frozen=True)
class ObjectSummary:
    """One object, all its rounds: a line of objects.csv."""

    set_name: str
    case: str
    object_id: int
    protocol: str
    method: str
    user: str
    seed: int
    fusion: bool
    cap: int
    truth_ml: float
    dice_by_round: tuple[float, ...]  # one per round of the protocol
    nsd_2mm_by_round: tuple[float, ...]
    iou: float  # this and the next four: after the protocol's last round
    nsd_1mm: float
    nsd_2mm: float
    nsd_3mm: float
    hd95_mm: float  # NaN when the mask is empty
    auc: float  # of Dice over the protocol's rounds, see `curve.auc`
    rounds_to: tuple[int | None, ...]  # first round with Dice >= each of REACH, None: not within the cap
    best_dice: float  # within the cap
    falls: tuple[float, ...]  # sizes, of num_rounds - 1 steps
    falls_at: tuple[int, ...]  # their rounds
    seconds_by_round: tuple[float, ...]  # as many as were run
    preview_seconds_by_round: tuple[float, ...]
    peak_memory_mib: float

    @classmethod
    def of(cls, rows: Sequence[RoundRow]) -> ObjectSummary:
        """Summarise the rows of one complete object."""
        first = rows[0]
        shown = [rows[min(number, len(rows)) - 1] for number in range(1, first.num_rounds + 1)]
        all_dice = [row.dice for row in rows]
        dice = [row.dice for row in shown]
        last = shown[-1]
        return cls(
            set_name=first.set_name,
            case=first.case,
            object_id=first.object_id,
            protocol=first.protocol,
            method=first.method,
            user=first.user,
            seed=first.seed,
            fusion=first.fusion,
            cap=first.cap,
            truth_ml=first.truth_ml,
            dice_by_round=tuple(dice),
            nsd_2mm_by_round=tuple(row.nsd_2mm for row in shown),
            iou=last.iou,
            nsd_1mm=last.nsd_1mm,
            nsd_2mm=last.nsd_2mm,
            nsd_3mm=last.nsd_3mm,
            hd95_mm=last.hd95_mm,
            auc=round(auc(dice), 6),
            rounds_to=tuple(rounds_to_reach(all_dice, threshold, first.cap) for threshold in REACH),
            best_dice=max(all_dice[: first.cap]),
            falls=tuple(round(fall, 6) for fall in falls(dice)),
            falls_at=tuple(number for number in range(2, len(dice) + 1) if falls(dice[number - 2 : number])),
            seconds_by_round=tuple(row.seconds for row in rows),
            preview_seconds_by_round=tuple(row.preview_seconds for row in rows),
            peak_memory_mib=max(row.peak_memory_mib for row in rows),
        )

    def quantities(self) -> dict[str, float]:
        """What is averaged over objects, by name; a threshold not reached counts at the cap."""
        steps = len(self.dice_by_round) - 1
        found = {f"dice_{number}": value for number, value in enumerate(self.dice_by_round, start=1)}
        found |= {
            name: getattr(self, name) for name in ("iou", "nsd_1mm", "nsd_2mm", "nsd_3mm", "hd95_mm", "auc")
        }
        found |= {
            noc(threshold): float(self.cap if reached is None else reached)
            for threshold, reached in zip(REACH, self.rounds_to, strict=True)
        }
        found["falls"] = len(self.falls) / steps if steps else 0.0
        if len(self.dice_by_round) >= CHALLENGE_CLICKS:
            found["challenge_dice_auc"] = trapezoid(self.dice_by_round[-CHALLENGE_CLICKS:])
            found["challenge_nsd_auc"] = trapezoid(self.nsd_2mm_by_round[-CHALLENGE_CLICKS:])
        return found


@dataclass(frozen=True)
class SetSummary:
    """The objects of one set; or, as `over`, the mean over sets."""

    set_name: str
    num_objects: int
    estimates: Mapping[str, Estimate]  # by the names of `ObjectSummary.quantities`
    failures: tuple[int, ...]  # objects that never reach each of REACH
    num_without_hd95: int  # objects whose mask was empty at the end
    num_falls: int
    mean_fall: float  # Dice, over all falls; NaN when there is none
    max_fall: float
    seconds: float  # median over all rounds
    preview_seconds: float
    peak_memory_mib: float  # the largest

    @property
    def dice_by_round(self) -> tuple[float, ...]:
        """Mean Dice after each round of the protocol."""
        return tuple(item.mean for item in self.dice_estimates)

    @property
    def dice_estimates(self) -> tuple[Estimate, ...]:
        """The same with intervals."""
        return tuple(item for name, item in self.estimates.items() if name.startswith("dice_"))

    @classmethod
    def of(cls, objects: Sequence[ObjectSummary]) -> SetSummary:
        """Summarise the objects of one set."""
        name = objects[0].set_name
        sizes = [fall for item in objects for fall in item.falls]
        return cls(
            set_name=name,
            num_objects=len(objects),
            estimates=_estimates([objects]),
            failures=tuple(
                sum(item.rounds_to[place] is None for item in objects) for place in range(len(REACH))
            ),
            num_without_hd95=sum(math.isnan(item.hd95_mm) for item in objects),
            num_falls=len(sizes),
            mean_fall=fmean(sizes) if sizes else math.nan,
            max_fall=max(sizes, default=math.nan),
            seconds=median(second for item in objects for second in item.seconds_by_round),
            preview_seconds=median(second for item in objects for second in item.preview_seconds_by_round),
            peak_memory_mib=max(item.peak_memory_mib for item in objects),
        )

    @classmethod
    def over(cls, sets: Sequence[Sequence[ObjectSummary]]) -> SetSummary:
        """The mean over sets, each counted once; counts are added up, peaks are the largest."""
        each = [cls.of(objects) for objects in sets]
        sizes = [fall for objects in sets for item in objects for fall in item.falls]
        return cls(
            set_name=OVER_SETS,
            num_objects=sum(item.num_objects for item in each),
            estimates=_estimates(sets),
            failures=tuple(map(sum, zip(*(item.failures for item in each), strict=True))),
            num_without_hd95=sum(item.num_without_hd95 for item in each),
            num_falls=len(sizes),
            mean_fall=fmean(sizes) if sizes else math.nan,
            max_fall=max(sizes, default=math.nan),
            seconds=fmean(item.seconds for item in each),
            preview_seconds=fmean(item.preview_seconds for item in each),
            peak_memory_mib=max(item.peak_memory_mib for item in each),
        )


def by_set(objects: Iterable[ObjectSummary]) -> dict[str, list[ObjectSummary]]:
    """Objects by the name of their set, in the order of their coming."""
    found: dict[str, list[ObjectSummary]] = {}
    for item in objects:
        found.setdefault(item.set_name, []).append(item)
    return found


def noc(threshold: float) -> str:
    """The name of a quantity.

    >>> noc(0.85)
    'noc_85'
    """
    return f"noc_{round(100 * threshold)}"


def _estimates(sets: Sequence[Sequence[ObjectSummary]]) -> dict[str, Estimate]:
    names = list(sets[0][0].quantities())
    samples: list[Values] = [
        np.array([list(item.quantities().values()) for item in objects], np.float64) for objects in sets
    ]
    keys = [objects[0].set_name for objects in sets]
    return dict(zip(names, estimates(samples, keys), strict=True))


def _on(value: bool) -> str:
    return "on" if value else "off"
