"""The tables of a report: from summaries to words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from limnet.evaluation.calibration import WORST, Calibration
from limnet.evaluation.curve import CHALLENGE_CLICKS, FALL, REACH
from limnet.evaluation.statistics import Estimate, estimates
from limnet.evaluation.summary import ObjectSummary, SetSummary, Variant, by_set, noc
from limnet.evaluation.table import Table, number, with_interval

MAX_NAMED_OBJECTS = 30  # kinds of object in a set; more are instances, not kinds
Names = Mapping[str, Mapping[int, str]]  # of object ids, by set


def overview(by_variant: Mapping[Variant, Sequence[SetSummary]], labels: Mapping[Variant, str]) -> Table:
    """Variants one below the other, each as its mean over sets."""
    rows = []
    for variant, summaries in by_variant.items():
        mean, last = summaries[-1], f"dice_{variant.num_rounds}"
        rows.append(
            (
                labels[variant],
                str(mean.num_objects),
                with_interval(mean.estimates["dice_1"]),
                with_interval(mean.estimates[last]),
                with_interval(mean.estimates["nsd_2mm"]),
                number(mean.estimates["hd95_mm"].mean, 1),
                _clicks(mean, 0),
                _clicks(mean, len(REACH) - 1),
                f"{mean.estimates['falls'].mean:.0%}",
                f"{mean.seconds:.2f}",
            )
        )
    reach = (f"NoC@{threshold:.2f}" for threshold in (REACH[0], REACH[-1]))
    header = ("method", "objects", "Dice R1", "Dice last", "NSD", "HD95", *reach, "falls", "s/round")
    return Table("Side by side: means over sets", header, tuple(rows))


def dice_by_round(variant: Variant, summaries: Sequence[SetSummary]) -> Table:
    """The table for the terminal: one line per set."""
    rounds = [f"R{number}" for number in range(1, variant.num_rounds + 1)]
    reach = [(place, f"NoC@{REACH[place]:.2f}") for place in (0, len(REACH) - 1)]
    header = ("set", "objects", *rounds, "NSD", "falls", *(word for _, word in reach), "s/round", "MiB")
    rows = [
        (
            item.set_name,
            str(item.num_objects),
            *(number(value) for value in item.dice_by_round),
            number(item.estimates["nsd_2mm"].mean),
            f"{item.estimates['falls'].mean:.0%}",
            *(_clicks(item, place) for place, _ in reach),
            f"{item.seconds:.2f}",
            number(item.peak_memory_mib, 0),
        )
        for item in summaries
    ]
    return Table(f"Dice by round: {variant.title}", header, tuple(rows))


def last_round(variant: Variant, summaries: Sequence[SetSummary]) -> Table:
    """Every metric after the protocol's last round."""
    last = f"dice_{variant.num_rounds}"
    names = (last, "iou", "nsd_1mm", "nsd_2mm", "nsd_3mm", "auc")
    header = ("set", "Dice", "IoU", "NSD 1 mm", "NSD 2 mm", "NSD 3 mm", "Dice AUC", "HD95 mm", "no HD95")
    rows = [
        (
            item.set_name,
            *(with_interval(item.estimates[name]) for name in names),
            with_interval(item.estimates["hd95_mm"], 1),
            str(item.num_without_hd95),
        )
        for item in summaries
    ]
    note = (
        f"Dice AUC: area under Dice over rounds 1 to {variant.num_rounds} by the trapezoid rule,"
        " over its width. No HD95: objects whose mask was empty; they are left out of HD95 alone."
    )
    return Table(f"After round {variant.num_rounds}", header, tuple(rows), note)


def clicks_and_falls(variant: Variant, summaries: Sequence[SetSummary]) -> Table:
    """How many rounds a Dice costs, who never gets there, and what later rounds destroy."""
    reach = [column for threshold in REACH for column in (f"NoC@{threshold:.2f}", "failed")]
    header = ("set", "objects", *reach, "falls", "mean fall", "largest")
    rows = [
        (
            item.set_name,
            str(item.num_objects),
            *(
                cell
                for threshold, failed in zip(REACH, item.failures, strict=True)
                for cell in (with_interval(item.estimates[noc(threshold)], 1), str(failed))
            ),
            f"{item.estimates['falls'].mean:.1%}",
            number(item.mean_fall),
            number(item.max_fall),
        )
        for item in summaries
    ]
    note = (
        f"NoC@q: mean rounds to Dice q; an object that failed to reach it within {variant.cap} counts as"
        f" {variant.cap}. Falls: steps between rounds that lose more than {FALL} Dice, their share and size."
    )
    return Table("Clicks and falls", header, tuple(rows), note)


def challenge(variant: Variant, summaries: Sequence[SetSummary]) -> Table:
    """The figures of the CVPR 2025 interactive 3D challenge."""
    last = f"dice_{variant.num_rounds}"
    names = (last, "nsd_2mm", "challenge_dice_auc", "challenge_nsd_auc")
    header = ("set", "objects", "DSC final", "NSD final", "DSC AUC", "NSD AUC")
    rows = [
        (item.set_name, str(item.num_objects), *(with_interval(item.estimates[name]) for name in names))
        for item in summaries
    ]
    note = (
        f"AUC: trapezoid over the last {CHALLENGE_CLICKS} rounds, at most {CHALLENGE_CLICKS - 1}. Averaged"
        " over objects; the challenge averages over the classes of a case first, and takes NSD as 0 below DSC"
        " 0.2."
    )
    return Table("As the CVPR 2025 challenge counts", header, tuple(rows), note)


def by_object(
    objects: Mapping[Variant, Sequence[ObjectSummary]], labels: Mapping[Variant, str], names: Names
) -> Table | None:
    """Dice after the last round by kind of object, such as organs; None where sets have one kind each."""
    kinds: dict[tuple[str, int], dict[Variant, list[float]]] = {}
    for variant, summaries in objects.items():
        for item in summaries:
            of_kind = kinds.setdefault((item.set_name, item.object_id), {})
            of_kind.setdefault(variant, []).append(item.dice_by_round[-1])
    in_set: dict[str, list[int]] = {}
    for set_name, object_id in sorted(kinds):
        in_set.setdefault(set_name, []).append(object_id)
    shown = {name: ids for name, ids in in_set.items() if 1 < len(ids) <= MAX_NAMED_OBJECTS}
    if not shown:
        return None
    rows = []
    for set_name in (name for name in by_set(next(iter(objects.values()))) if name in shown):
        for object_id in shown[set_name]:
            name = _name(set_name, object_id, names)
            of_kind = kinds[set_name, object_id]
            cells = [_of_kind(of_kind.get(variant, [])) for variant in objects]
            rows.append((f"{set_name} / {name}", str(max(map(len, of_kind.values()))), *cells))
    header = ("set / object", "cases", *(labels[variant] for variant in objects))
    return Table("Dice after the last round, by object", header, tuple(rows))


def by_variant(by_variant: Mapping[Variant, Sequence[SetSummary]], labels: Mapping[Variant, str]) -> Table:
    """Dice after the last round: sets down, variants across."""
    names = dict.fromkeys(item.set_name for summaries in by_variant.values() for item in summaries[:-1])
    names[next(iter(by_variant.values()))[-1].set_name] = None
    rows = []
    for name in names:
        cells = []
        for variant, summaries in by_variant.items():
            found = next((item for item in summaries if item.set_name == name), None)
            cells.append(
                "-" if found is None else with_interval(found.estimates[f"dice_{variant.num_rounds}"])
            )
        rows.append((name, *cells))
    header = ("set", *(labels[variant] for variant in by_variant))
    return Table("Dice after the last round, by set", header, tuple(rows))


def calibration(by_set_name: Mapping[str, Calibration]) -> Table:
    """How well the expected Dice of slices holds."""
    rows = [
        (
            name,
            str(item.num_slices),
            number(item.correlation, 2),
            number(item.error),
            f"{item.bias:+.3f}" if item.num_slices else "-",
            f"{item.num_good} of {item.num_suggestions}" if item.num_suggestions else "-",
        )
        for name, item in by_set_name.items()
    ]
    header = ("set", "slices", "r", "error", "bias", f"suggested is among {WORST} worst")
    note = (
        "Expected against true Dice of single slices, after every round: Pearson's r, mean absolute error,"
        " mean of expected - true. Worst: by true Dice, over slices with truth or mask."
    )
    return Table("Predicted quality of slices", header, tuple(rows), note)


def time_and_memory(summaries: Sequence[SetSummary]) -> Table:
    """What a round costs."""
    rows = [
        (
            item.set_name,
            f"{item.preview_seconds:.3f}",
            f"{item.seconds:.3f}",
            number(item.peak_memory_mib, 0),
        )
        for item in summaries
    ]
    note = (
        "Medians over all rounds, and their mean over sets. Preview: from a click to the mask of its slice;"
        " round: to the mask of the volume. MiB: the largest peak of the process."
    )
    return Table("Time and memory", ("set", "s/preview", "s/round", "MiB"), tuple(rows), note)


def each_object(variant: Variant, objects: Sequence[ObjectSummary], names: Names) -> Table:
    """One line per object."""
    rounds = [f"R{number}" for number in range(1, variant.num_rounds + 1)]
    rows = [
        (
            f"{item.set_name} / {item.case} / {_name(item.set_name, item.object_id, names)}",
            f"{item.truth_ml:.2f}",
            *(number(value) for value in item.dice_by_round),
            number(item.nsd_2mm),
            number(item.hd95_mm, 1),
            *("-" if reached is None else str(reached) for reached in item.rounds_to),
        )
        for item in objects
    ]
    reach = (f"to {threshold:.2f}" for threshold in REACH)
    header = ("set / case / object", "ml", *rounds, "NSD 2 mm", "HD95 mm", *reach)
    return Table(f"Every object: {variant.title}", header, tuple(rows))


def _name(set_name: str, object_id: int, names: Names) -> str:
    return names.get(set_name, {}).get(object_id) or f"object {object_id}"


def _of_kind(values: Sequence[float]) -> str:
    """Mean Dice of the cases of one kind of object."""
    found = estimates([np.array(values, np.float64)[:, None]])[0] if values else Estimate(float("nan"))
    return with_interval(found)


def _clicks(item: SetSummary, place: int) -> str:
    return f"{item.estimates[noc(REACH[place])].mean:.1f} ({item.failures[place]})"
