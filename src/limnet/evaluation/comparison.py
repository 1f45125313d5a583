"""Two results on the same objects, object by object: does B segment better than A?

Differences are B - A, so that positive is better for B. Objects are paired by set, case and object id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from limnet.errors import ConfigError
from limnet.evaluation.curve import FALL
from limnet.evaluation.results import ObjectDone
from limnet.evaluation.statistics import Estimate, estimates, signed_rank_p
from limnet.evaluation.summary import OVER_SETS, Variant
from limnet.evaluation.table import Table, number, with_interval

TIE = FALL  # differences no larger than this are ties
METRICS = ("dice", "iou", "nsd_1mm", "nsd_2mm", "nsd_3mm")

Place = tuple[str, str, int]  # set, case, object id
Curve = tuple[float, ...]  # one value per round of the protocol


@dataclass(frozen=True)
class Side:
    """One of the two: a method and its settings, and a curve for every object."""

    variant: Variant
    curves: Mapping[Place, Curve]
    truth_voxels: Mapping[Place, int]


@dataclass(frozen=True)
class Difference:
    """B against A on one set, or on all, after one round."""

    set_name: str
    round: int
    num_objects: int
    mean_a: float
    mean_b: float
    difference: Estimate  # B - A; over sets, the mean of the sets' means
    p: float  # of the signed-rank test; over sets, of all objects together
    wins: int  # B better by more than TIE
    ties: int
    losses: int


@dataclass(frozen=True)
class Comparison:
    """What two results have in common, and what they have not."""

    metric: str
    a: Variant
    b: Variant
    pairs: Mapping[Place, tuple[Curve, Curve]]  # A's curve and B's, as many rounds each
    only_a: tuple[Place, ...]
    only_b: tuple[Place, ...]
    other_truth: tuple[Place, ...]  # both have it, but its truth is not the same

    @classmethod
    def of(cls, a: Side, b: Side, metric: str = "dice") -> Comparison:
        """Pair the objects of both sides; ConfigError when no object is common."""
        both = [place for place in a.curves if place in b.curves]
        same = [place for place in both if a.truth_voxels[place] == b.truth_voxels[place]]
        if not same:
            why = "their truths differ" if both else f"A has {_some(a.curves)}; B has {_some(b.curves)}"
            raise ConfigError(
                f"nothing to compare, no object is in both: {why}; evaluate both on the same data"
            )
        rounds = min(a.variant.num_rounds, b.variant.num_rounds)
        return cls(
            metric=metric,
            a=a.variant,
            b=b.variant,
            pairs={place: (a.curves[place][:rounds], b.curves[place][:rounds]) for place in same},
            only_a=tuple(place for place in a.curves if place not in b.curves),
            only_b=tuple(place for place in b.curves if place not in a.curves),
            other_truth=tuple(place for place in both if place not in same),
        )

    @property
    def num_rounds(self) -> int:
        """Rounds that both protocols have."""
        return len(next(iter(self.pairs.values()))[0])

    def differences(self, number: int) -> list[Difference]:
        """Every set after round `number`, then the mean over sets; of one set, that set alone."""
        by_set: dict[str, list[tuple[float, float]]] = {}
        for (set_name, _, _), (of_a, of_b) in self.pairs.items():
            by_set.setdefault(set_name, []).append((of_a[number - 1], of_b[number - 1]))
        found = [_difference(name, number, {name: values}) for name, values in by_set.items()]
        return found if len(found) == 1 else [*found, _difference(OVER_SETS, number, by_set)]

    def tables(self) -> list[Table]:
        """Sets after the last round; the mean over sets (or the only set) by round; every set by round."""
        numbers = range(1, self.num_rounds + 1)
        rounds = [self.differences(number) for number in numbers]
        last, over = rounds[-1], [found[-1] for found in rounds]
        header = ("objects", "A", "B", "B - A", "p", "wins", "ties", "losses")
        tables = [
            Table(
                f"{self.metric} after round {self.num_rounds}, by set",
                ("set", *header),
                tuple((item.set_name, *_cells(item)) for item in last),
            ),
            Table(
                f"{self.metric} by round, {last[-1].set_name}",
                ("round", *header),
                tuple((str(item.round), *_cells(item)) for item in over),
            ),
        ]
        if len(last) > 1 and self.num_rounds > 1:
            each = zip(*rounds, strict=True)  # the rounds of one set together
            rows = tuple((found[0].set_name, *(with_interval(i.difference) for i in found)) for found in each)
            words = (f"R{number}" for number in numbers)
            tables.append(Table(f"{self.metric}, B - A by set and round", ("set", *words), rows))
        return tables

    def notes(self) -> list[str]:
        """What is compared and what had to be left out, one line each."""
        lines = [f"A: {self.a.title}", f"B: {self.b.title}"]
        left_out = (("only in A", self.only_a), ("only in B", self.only_b), ("other truth", self.other_truth))
        lines += [f"{what}: {_some(places)}" for what, places in left_out if places]
        return lines


LEGEND = (
    "B - A: mean of paired differences and its 95 % bootstrap interval (objects resampled within their set,"
    " sets kept). p: Wilcoxon's signed-rank test over objects, two-sided, differences of 0 left out, not"
    " corrected for the number of tests; in the line over sets all objects count equally."
    f" Wins: B better by more than {TIE}; ties: within it."
)


def sides_of(objects: Iterable[ObjectDone], metric: str = "dice") -> list[Side]:
    """What a folder holds, by variant; a round that was not needed repeats the last value."""
    curves: dict[Variant, dict[Place, Curve]] = {}
    truths: dict[Variant, dict[Place, int]] = {}
    for done in objects:
        key = done.key
        variant, place = Variant.of(key), (key.set_name, key.case, key.object_id)
        values = [float(getattr(row, metric)) for row in done.rows]
        curve = tuple(values[min(number, len(values)) - 1] for number in range(1, key.num_rounds + 1))
        curves.setdefault(variant, {})[place] = curve
        truths.setdefault(variant, {})[place] = key.truth_voxels
    return [Side(variant, found, truths[variant]) for variant, found in curves.items()]


def choose(sides: Sequence[Side], words: str, name: str) -> Side:
    """The one side whose title holds every comma-separated word; ConfigError when it is not just one.

    `name` is the option that `words` come from.
    """
    wanted = [word.strip().lower() for word in words.split(",") if word.strip()]
    found = [side for side in sides if all(word in side.variant.title.lower() for word in wanted)]
    if len(found) == 1:
        return found[0]
    what = (
        f"{len(found)} of {len(sides)} results fit {words!r}" if wanted else f"there are {len(sides)} results"
    )
    titles = "; ".join(side.variant.title for side in sides)
    raise ConfigError(
        f"{name}: {what}; name one by words of its title, such as 'limnet,fusion off': {titles}"
    )


def _difference(name: str, number: int, by_set: Mapping[str, Sequence[tuple[float, float]]]) -> Difference:
    samples = [np.array(values, np.float64) for values in by_set.values()]  # (N, 2): A, B
    differences = [of_set[:, 1] - of_set[:, 0] for of_set in samples]
    every = np.concatenate(differences)
    return Difference(
        set_name=name,
        round=number,
        num_objects=len(every),
        mean_a=fmean(float(of_set[:, 0].mean()) for of_set in samples),
        mean_b=fmean(float(of_set[:, 1].mean()) for of_set in samples),
        difference=estimates([values[:, None] for values in differences], list(by_set))[0],
        p=signed_rank_p(np.round(every, 9).tolist()),  # CSVs hold six digits; 0.3 - 0.1 and 0.2 are a tie
        wins=int(np.sum(every > TIE)),
        ties=int(np.sum(np.abs(every) <= TIE)),
        losses=int(np.sum(every < -TIE)),
    )


def _cells(item: Difference) -> tuple[str, ...]:
    return (
        str(item.num_objects),
        number(item.mean_a),
        number(item.mean_b),
        with_interval(item.difference),
        f"{item.p:.2g}",
        str(item.wins),
        str(item.ties),
        str(item.losses),
    )


def _some(places: Iterable[Place], most: int = 5) -> str:
    """The first few objects, and how many more."""
    words = [f"{set_name}/{case} object {object_id}" for set_name, case, object_id in places]
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
