"""From rows to tables: what an evaluation says, per object, per set, and as the mean over sets.

A set counts once in the mean, however many objects it holds. Where an object needed fewer rounds than the
protocol has (no error was left), its last value stands for the rounds that were not needed.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

from limnet.errors import OutputError
from limnet.evaluation.cases import CaseFailure, Skipped
from limnet.evaluation.evaluate import REACH
from limnet.evaluation.metrics import rounds_to_reach
from limnet.evaluation.results import Event, RoundRow, complete_objects

FALL = 0.005  # a round falls when it loses more Dice than this


class Variant(NamedTuple):
    """What rows must share to stand in one table."""

    method: str
    fusion: bool
    num_rounds: int
    cap: int

    @property
    def title(self) -> str:
        """The variant in words."""
        fusion = "on" if self.fusion else "off"
        return f"{self.method}, fusion {fusion}, {self.num_rounds} rounds, cap {self.cap}"


@dataclass(frozen=True)
class ObjectSummary:
    """One object, all its rounds."""

    set_name: str
    case: str
    object_id: int
    method: str
    fusion: bool
    truth_ml: float
    dice_by_round: tuple[float, ...]  # one per round of the protocol
    nsd_2mm: float  # after the protocol's last round
    rounds_to_80: int | None  # first round with Dice >= 0.80, None: not within the cap
    rounds_to_90: int | None
    num_falls: int  # of num_rounds - 1 steps
    seconds_by_round: tuple[float, ...]  # as many as were run
    peak_memory_mib: float

    @classmethod
    def of(cls, rows: Sequence[RoundRow]) -> ObjectSummary:
        """Summarise the rows of one complete object."""
        first = rows[0]
        all_dice = [row.dice for row in rows]
        shown = [all_dice[min(number, len(rows)) - 1] for number in range(1, first.num_rounds + 1)]
        to_80, to_90 = (rounds_to_reach(all_dice, threshold, first.cap) for threshold in REACH)
        return cls(
            set_name=first.set_name,
            case=first.case,
            object_id=first.object_id,
            method=first.method,
            fusion=first.fusion,
            truth_ml=first.truth_ml,
            dice_by_round=tuple(shown),
            nsd_2mm=rows[min(first.num_rounds, len(rows)) - 1].nsd_2mm,
            rounds_to_80=to_80,
            rounds_to_90=to_90,
            num_falls=sum(after < before - FALL for before, after in pairwise(shown)),
            seconds_by_round=tuple(row.seconds for row in rows),
            peak_memory_mib=max(row.peak_memory_mib for row in rows),
        )


@dataclass(frozen=True)
class SetSummary:
    """The objects of one set; or, as `over`, the mean over sets."""

    set_name: str
    num_objects: int
    dice_by_round: tuple[float, ...]
    nsd_2mm: float
    falls: float  # share of steps between rounds that lose more than FALL
    noc_80: float  # clicks, failures counted at the cap
    failures_80: int
    noc_90: float
    failures_90: int
    seconds: float  # median over all rounds
    peak_memory_mib: float

    @classmethod
    def of(cls, objects: Sequence[ObjectSummary], cap: int) -> SetSummary:
        """Summarise the objects of one set."""
        steps = sum(len(item.dice_by_round) - 1 for item in objects)
        return cls(
            set_name=objects[0].set_name,
            num_objects=len(objects),
            dice_by_round=_means([item.dice_by_round for item in objects]),
            nsd_2mm=fmean(item.nsd_2mm for item in objects),
            falls=sum(item.num_falls for item in objects) / steps if steps else 0.0,
            noc_80=fmean(item.rounds_to_80 or cap for item in objects),
            failures_80=sum(item.rounds_to_80 is None for item in objects),
            noc_90=fmean(item.rounds_to_90 or cap for item in objects),
            failures_90=sum(item.rounds_to_90 is None for item in objects),
            seconds=median(second for item in objects for second in item.seconds_by_round),
            peak_memory_mib=max(item.peak_memory_mib for item in objects),
        )

    @classmethod
    def over(cls, sets: Sequence[SetSummary]) -> SetSummary:
        """The mean over sets, each counted once; counts are added up, peak memory is the largest."""
        return cls(
            set_name="mean over sets",
            num_objects=sum(item.num_objects for item in sets),
            dice_by_round=_means([item.dice_by_round for item in sets]),
            nsd_2mm=fmean(item.nsd_2mm for item in sets),
            falls=fmean(item.falls for item in sets),
            noc_80=fmean(item.noc_80 for item in sets),
            failures_80=sum(item.failures_80 for item in sets),
            noc_90=fmean(item.noc_90 for item in sets),
            failures_90=sum(item.failures_90 for item in sets),
            seconds=fmean(item.seconds for item in sets),
            peak_memory_mib=max(item.peak_memory_mib for item in sets),
        )


@dataclass(frozen=True)
class Table:
    """Words in rows and columns, for the terminal, Markdown or HTML."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table in GitHub's Markdown; the first column is text, the others are numbers."""
        lines = [self.header, ("---", *["---:"] * (len(self.header) - 1)), *self.rows]
        return "\n".join(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
        )


class Report:
    """Gathers the events of one or more evaluations and turns them into tables."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        """Start with `events`; more may be added as they come."""
        self._rows: list[RoundRow] = []
        self._failures: list[CaseFailure] = []
        self._skipped: list[Skipped] = []
        for event in events:
            self.add(event)

    def add(self, event: Event) -> None:
        """Take one event of `evaluate`."""
        if isinstance(event, RoundRow):
            self._rows.append(event)
        elif isinstance(event, CaseFailure) and event not in self._failures:
            self._failures.append(event)
        elif isinstance(event, Skipped) and event not in self._skipped:
            self._skipped.append(event)

    @property
    def failures(self) -> tuple[CaseFailure, ...]:
        """Cases and objects that could not be evaluated."""
        return tuple(self._failures)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was left out on purpose."""
        return tuple(self._skipped)

    @property
    def exit_code(self) -> int:
        """0 when something was evaluated and nothing failed, else 1."""
        return 1 if self._failures or not complete_objects(self._rows) else 0

    def objects(self) -> dict[Variant, list[ObjectSummary]]:
        """Every complete object, by variant, in the order of evaluation."""
        found: dict[Variant, list[ObjectSummary]] = {}
        for key, rows in complete_objects(self._rows).items():
            variant = Variant(key.method, key.fusion, key.num_rounds, key.cap)
            found.setdefault(variant, []).append(ObjectSummary.of(rows))
        return found

    def sets(self) -> dict[Variant, list[SetSummary]]:
        """Every set, by variant; the mean over sets comes last."""
        found = {}
        for variant, objects in self.objects().items():
            names = dict.fromkeys(item.set_name for item in objects)
            summaries = [
                SetSummary.of([item for item in objects if item.set_name == name], variant.cap)
                for name in names
            ]
            found[variant] = [*summaries, SetSummary.over(summaries)]
        return found

    def tables(self) -> list[Table]:
        """One table per variant: Dice by round, per set and as the mean over sets."""
        return [_table(variant, summaries) for variant, summaries in self.sets().items()]

    def markdown(self, command: str | None = None) -> str:
        """The whole report in Markdown; `command` is the one that remakes it."""
        parts = ["# Evaluation"]
        if command:
            parts.append(f"```\n{command}\n```")
        for table in self.tables():
            parts += [f"## {table.title}", table.markdown()]
        parts.append(_LEGEND)
        if self._failures:
            lines = [f"- {_place(item.set_name, item.case)}: {_told(item)}" for item in self._failures]
            parts += [f"## Failed: {len(self._failures)}", "\n".join(lines)]
        if self._skipped:
            parts += [f"## Left out: {len(self._skipped)}", "\n".join(_left_out(self._skipped))]
        return "\n\n".join(parts) + "\n"

    def write(self, out: Path, command: str | None = None) -> None:
        """Write `summary.md` and `objects.csv` into the folder `out`, whole or not at all."""
        try:
            out.mkdir(parents=True, exist_ok=True)
            _write(out / "summary.md", self.markdown(command))
            _write(out / "objects.csv", _objects_csv(self.objects()))
        except OSError as error:
            raise OutputError(
                f"{out}: report cannot be written: {error}; give another --out folder"
            ) from None


_LEGEND = (
    "R1, R2, …: Dice after each round of one click. NSD: at 2 mm, after the last of them."
    f" Falls: share of steps between rounds that lose more than {FALL} Dice."
    " NoC@q: mean clicks to Dice q, failures counted at the cap, their number in brackets."
    " s/round: median seconds from click to mask. MiB: peak memory of the process."
    " The mean counts every set once."
)


def _table(variant: Variant, summaries: Sequence[SetSummary]) -> Table:
    rounds = [f"R{number}" for number in range(1, variant.num_rounds + 1)]
    header = ("set", "objects", *rounds, "NSD", "falls", "NoC@0.80", "NoC@0.90", "s/round", "MiB")
    rows = [
        (
            item.set_name,
            str(item.num_objects),
            *(f"{value:.3f}" for value in item.dice_by_round),
            f"{item.nsd_2mm:.3f}",
            f"{item.falls:.0%}",
            f"{item.noc_80:.1f} ({item.failures_80})",
            f"{item.noc_90:.1f} ({item.failures_90})",
            f"{item.seconds:.2f}",
            "-" if math.isnan(item.peak_memory_mib) else f"{item.peak_memory_mib:.0f}",
        )
        for item in summaries
    ]
    return Table(f"Dice by round: {variant.title}", header, tuple(rows))


def _left_out(skipped: Sequence[Skipped]) -> list[str]:
    """One line per case."""
    by_case: dict[tuple[str, str], list[str]] = {}
    for item in skipped:
        words = item.reason if item.object_id is None else f"object {item.object_id} ({item.reason})"
        by_case.setdefault((item.set_name, item.case), []).append(words)
    return [f"- {_place(*case)}: {', '.join(words)}" for case, words in by_case.items()]


def _told(failure: CaseFailure) -> str:
    return failure.message if failure.object_id is None else f"object {failure.object_id}: {failure.message}"


def _place(set_name: str, case: str) -> str:
    return f"{set_name} / {case}" if case else set_name


def _means(curves: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(fmean(values) for values in zip(*curves, strict=True))


def _objects_csv(by_variant: dict[Variant, list[ObjectSummary]]) -> str:
    """One line per object; lists are written with spaces between, a threshold not reached is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(ObjectSummary))
    for objects in by_variant.values():
        for item in objects:
            writer.writerow(_cell(value) for value in astuple(item))
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return int(value) if isinstance(value, bool) else value


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
