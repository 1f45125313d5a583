"""The plots of a report; see `svg` for how they are drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from statistics import fmean, median
from typing import Any

from limnet.evaluation.calibration import Calibration
from limnet.evaluation.summary import ObjectSummary, SetSummary, Variant, by_set
from limnet.evaluation.svg import (
    INK,
    colour,
    house_style,
    legend,
    legend_height,
    line_style,
    new_figure,
    svg_of,
)

# Up to 0.90: above it no object is clicked on for long
THRESHOLDS = tuple(percent / 100 for percent in range(50, 95, 5))
_PANEL = 2.5  # in, the side of a panel

Objects = Mapping[Variant, Sequence[ObjectSummary]]
Sets = Mapping[Variant, Sequence[SetSummary]]
Labels = Mapping[Variant, str]


@dataclass(frozen=True)
class Plot:
    """A drawing, its caption, and what it shows in words."""

    title: str
    svg: str
    alt: str
    wide: bool = False  # takes the whole width of the page


def draw(
    objects: Objects, sets: Sets, calibrations: Mapping[Variant, Calibration], labels: Labels
) -> list[Plot]:
    """Every plot there is something for; call only where `svg.can_draw()`."""
    with house_style():
        plots = [curves(sets, labels), boxes(objects, labels), failures(objects, labels)]
        if any(variant.num_rounds > 1 for variant in objects):
            plots.append(falls_by_round(objects, labels))
        if judged := {variant: found for variant, found in calibrations.items() if found.bins}:
            plots.append(reliability(judged, labels))
        return sorted(plots, key=lambda plot: not plot.wide)  # no gaps beside the narrow ones


def curves(sets: Mapping[Variant, Sequence[SetSummary]], labels: Labels) -> Plot:
    """Dice by round: a panel per set, the mean over sets last where there are several, a line per variant."""
    names = list(dict.fromkeys(item.set_name for summaries in sets.values() for item in summaries[:-1]))
    num_sets = len(names)
    if num_sets > 1:
        names.append(next(iter(sets.values()))[-1].set_name)
    columns = min(4, len(names))
    num_rows = math.ceil(len(names) / columns)
    figure = _small_figure(labels) if num_sets == 1 else _figure(columns, num_rows, labels)
    panels = figure.subplots(num_rows, columns, sharey=True, squeeze=False).ravel()
    for panel, name in zip(panels, names, strict=False):
        for number, (variant, summaries) in enumerate(sets.items()):
            for item in (item for item in summaries if item.set_name == name):
                _curve(panel, item, number, labels[variant])
        panel.set_title(name, fontsize=9)
        panel.set_ylim(0, 1)
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    panels[0].set_ylabel("Dice")
    panels[len(names) - 1].set_xlabel("round")
    legend(figure, panels[len(names) - 1])
    words = [
        f"{labels[variant]}: {summaries[-1].dice_by_round[0]:.2f} after round 1,"
        f" {summaries[-1].dice_by_round[-1]:.2f} after round {variant.num_rounds}"
        for variant, summaries in sets.items()
    ]
    alt = f"Mean Dice by round of {num_sets} set{'s' * (num_sets > 1)}. Mean over sets: {'; '.join(words)}."
    title = "Dice by round, with 95 % bootstrap intervals"
    return Plot(title, svg_of(figure, "curves"), alt, wide=num_sets > 1)


def boxes(objects: Objects, labels: Labels) -> Plot:
    """Dice of objects after the last round: a box per set and variant."""
    names = list(by_set(item for summaries in objects.values() for item in summaries))
    step = len(objects) + 1
    figure = new_figure(
        4 * _PANEL, 0.7 + 0.17 * step * len(names) + legend_height(labels.values(), 4 * _PANEL)
    )
    panel = figure.subplots()
    for number, (variant, summaries) in enumerate(objects.items()):
        sets = by_set(summaries)
        shown = [place for place, name in enumerate(names) if name in sets]
        drawn = panel.boxplot(
            [[item.dice_by_round[-1] for item in sets[names[place]]] for place in shown],
            positions=[place * step + number for place in shown],
            widths=0.75,
            patch_artist=True,
            medianprops={"color": INK, "linewidth": 1.5},
            flierprops={"marker": ".", "markersize": 4, "markeredgecolor": colour(number)},
            **_sideways(panel),
        )
        for part in (*drawn["boxes"], *drawn["whiskers"], *drawn["caps"]):
            part.set_color(colour(number))
        for part in drawn["boxes"]:
            part.set_alpha(0.55)
        drawn["boxes"][0].set_label(labels[variant])
    panel.set_yticks([place * step + (step - 2) / 2 for place in range(len(names))], names)
    panel.invert_yaxis()
    panel.set_xlim(0, 1)
    panel.set_xlabel("Dice")
    legend(figure, panel)
    medians = "; ".join(
        f"{name} {median(item.dice_by_round[-1] for item in found):.2f}"
        for name, found in by_set(next(iter(objects.values()))).items()
    )
    alt = (
        f"Box plots of Dice per object, one box per set. Medians of {labels[next(iter(objects))]}: {medians}."
    )
    title = "Dice of objects after the last round: median, quartiles, whiskers to 1.5 times their distance"
    return Plot(title, svg_of(figure, "boxes"), alt, wide=True)


def failures(objects: Objects, labels: Labels) -> Plot:
    """Share of objects that never reach a Dice, as the mean over sets."""
    figure = _small_figure(labels)
    panel = figure.subplots()
    words = []
    for number, (variant, summaries) in enumerate(objects.items()):
        shares = [_over_sets(summaries, partial(_misses, threshold)) for threshold in THRESHOLDS]
        panel.plot(THRESHOLDS, shares, label=labels[variant], **line_style(number))
        words.append(f"{labels[variant]} {shares[THRESHOLDS.index(0.8)]:.0%}")
    panel.set_ylim(0, 1)
    panel.set_xlabel("Dice to reach")
    panel.set_ylabel("share of objects that never do")
    legend(figure, panel)
    alt = f"Share of objects that never reach a Dice, from 0.5 to 0.9. At 0.80: {'; '.join(words)}."
    return Plot("Failures by threshold, mean over sets", svg_of(figure, "failures"), alt)


def falls_by_round(objects: Objects, labels: Labels) -> Plot:
    """Share of objects that lose Dice in a round, as the mean over sets."""
    figure = _small_figure(labels)
    panel = figure.subplots()
    words = []
    width = 0.8 / len(objects)
    for number, (variant, summaries) in enumerate(objects.items()):
        rounds = range(2, variant.num_rounds + 1)
        shares = [_over_sets(summaries, partial(_falls_in, place)) for place in rounds]
        left = [place - 0.4 + width * (number + 0.5) for place in rounds]
        panel.bar(left, shares, width, label=labels[variant], color=colour(number))
        words.append(f"{labels[variant]} {fmean(shares):.0%}")
    panel.set_ylim(0, 1)
    panel.set_xticks(range(2, max(variant.num_rounds for variant in objects) + 1))
    panel.set_xlabel("round")
    panel.set_ylabel("share of objects that fall")
    legend(figure, panel)
    alt = f"Share of objects whose Dice falls in a round. Mean over rounds: {'; '.join(words)}."
    return Plot("Falls by round, mean over sets", svg_of(figure, "falls"), alt)


def reliability(found: Mapping[Variant, Calibration], labels: Labels) -> Plot:
    """Expected against true Dice of slices; larger dots stand for more slices."""
    figure = _small_figure(labels)
    panel = figure.subplots()
    panel.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
    for number, (variant, item) in enumerate(found.items()):
        most = max(part.num_slices for part in item.bins)
        style = line_style(number)
        places = [part.expected for part in item.bins], [part.dice for part in item.bins]
        panel.plot(*places, label=labels[variant], **{**style, "marker": None})
        sizes = [12 + 90 * part.num_slices / most for part in item.bins]
        panel.scatter(*places, s=sizes, color=style["color"], marker=style["marker"], zorder=3)
    panel.set_xlim(0, 1)
    panel.set_ylim(0, 1)
    panel.set_xlabel("expected Dice of a slice")
    panel.set_ylabel("true Dice")
    legend(figure, panel)
    words = "; ".join(f"{labels[variant]} r = {item.correlation:.2f}" for variant, item in found.items())
    alt = f"Mean true Dice of slices over the Dice that was expected of them, in ten parts. {words}."
    return Plot("Predicted quality: on the dotted line it would be right", svg_of(figure, "reliability"), alt)


def _curve(panel: Any, item: SetSummary, number: int, label: str) -> None:
    rounds = range(1, len(item.dice_by_round) + 1)
    panel.plot(rounds, item.dice_by_round, label=label, **line_style(number))
    low, high = ([getattr(estimate, side) for estimate in item.dice_estimates] for side in ("low", "high"))
    panel.fill_between(rounds, low, high, color=colour(number), alpha=0.13, linewidth=0)
    panel.set_xticks([at for at in rounds if len(rounds) <= 8 or at % 3 == 0])


def _small_figure(labels: Labels) -> Any:
    """Half as wide as the page."""
    return _figure(2, 1.4, labels)


def _figure(columns: float, rows: float, labels: Labels) -> Any:
    """As large as so many panels and the legend above them."""
    width = columns * _PANEL
    return new_figure(width, rows * _PANEL + legend_height(labels.values(), width))


def _sideways(panel: Any) -> dict[str, Any]:
    """How matplotlib is told to lay boxes on their side, which changed with 3.10."""
    known = signature(panel.boxplot).parameters
    return {"orientation": "horizontal"} if "orientation" in known else {"vert": False}


def _misses(threshold: float, item: ObjectSummary) -> bool:
    return item.best_dice < threshold


def _falls_in(number: int, item: ObjectSummary) -> bool:
    return number in item.falls_at


def _over_sets(objects: Sequence[ObjectSummary], claim: Callable[[ObjectSummary], bool]) -> float:
    """The share of objects of which `claim` holds, as the mean over sets."""
    return fmean(fmean(claim(item) for item in found) for found in by_set(objects).values())
