"""The report of an evaluation: what was measured and what failed, as Markdown, CSV and one HTML page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from limnet.errors import OutputError
from limnet.evaluation import page, plots, report_tables
from limnet.evaluation.calibration import Calibration
from limnet.evaluation.cases import CaseFailure, Skipped
from limnet.evaluation.curve import FALL
from limnet.evaluation.machine import machine
from limnet.evaluation.page import Picture
from limnet.evaluation.report_tables import Names
from limnet.evaluation.results import Event, RoundRow, SliceRow, complete_objects
from limnet.evaluation.summary import ObjectSummary, SetSummary, Variant, by_set, labels_of
from limnet.evaluation.svg import can_draw
from limnet.evaluation.table import Table, bullets, markdown_of
from limnet.text_file import as_csv, write_whole

MAX_LISTED = 1000  # objects listed one by one in the page; objects.csv always has all


@dataclass(frozen=True)
class Section:
    """Tables that belong together."""

    title: str
    tables: tuple[Table, ...]


class Report:
    """Gathers the events of one or more evaluations and turns them into tables.

    Methods, sets and objects stand in the order in which they came.
    """

    def __init__(self, events: Iterable[Event] = (), *, names: Names | None = None) -> None:
        """Start with `events`; more may be added as they come. `names` are those of object ids, by set."""
        self._rows: list[RoundRow] = []
        self._slices: list[SliceRow] = []
        self._failures: list[CaseFailure] = []
        self._skipped: list[Skipped] = []
        self._names: Names = names or {}
        self._sets: dict[Variant, list[SetSummary]] | None = None  # intervals are worth keeping
        for event in events:
            self.add(event)

    def add(self, event: Event) -> None:
        """Take one event of `evaluate`."""
        self._sets = None
        if isinstance(event, RoundRow):
            self._rows.append(event)
        elif isinstance(event, SliceRow):
            self._slices.append(event)
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
        """Every complete object, by variant."""
        found: dict[Variant, list[ObjectSummary]] = {}
        for key, rows in complete_objects(self._rows).items():
            found.setdefault(Variant.of(key), []).append(ObjectSummary.of(rows))
        return found

    def sets(self) -> dict[Variant, list[SetSummary]]:
        """Every set, by variant; the mean over sets comes last."""
        if self._sets is None:
            self._sets = {}
            for variant, objects in self.objects().items():
                groups = list(by_set(objects).values())
                self._sets[variant] = [*map(SetSummary.of, groups), SetSummary.over(groups)]
        return self._sets

    def calibrations(self) -> dict[Variant, dict[str, Calibration]]:
        """How well the quality of slices was foreseen, by variant and set, all sets together last."""
        complete = complete_objects(self._rows)
        rows: dict[Variant, dict[str, list[SliceRow]]] = {}
        for row in self._slices:
            if row.key in complete:
                rows.setdefault(Variant.of(row.key), {}).setdefault(row.set_name, []).append(row)
        return {
            variant: {
                **{name: Calibration.of(found) for name, found in sets.items()},
                "all slices": Calibration.of([row for found in sets.values() for row in found]),
            }
            for variant, sets in rows.items()
        }

    def tables(self) -> list[Table]:
        """One table per variant: Dice by round, per set and as the mean over sets."""
        return [report_tables.dice_by_round(variant, summaries) for variant, summaries in self.sets().items()]

    def sections(self) -> list[Section]:
        """Every table but the list of single objects: side by side first, then variant by variant."""
        objects, sets, calibrations = self.objects(), self.sets(), self.calibrations()
        labels = labels_of(sets)
        kinds = report_tables.by_object(objects, labels, self._names) if objects else None
        shared = [kinds] if kinds is not None else []
        if len(sets) > 1:
            shared = [report_tables.overview(sets, labels), report_tables.by_variant(sets, labels), *shared]
        sections = (
            [Section("Side by side" if len(sets) > 1 else "By object", tuple(shared))] if shared else []
        )
        for variant, summaries in sets.items():
            tables = [
                report_tables.dice_by_round(variant, summaries),
                report_tables.last_round(variant, summaries),
                report_tables.clicks_and_falls(variant, summaries),
                report_tables.time_and_memory(summaries),
            ]
            if variant.protocol.startswith("cvpr25") and "challenge_dice_auc" in summaries[-1].estimates:
                tables.append(report_tables.challenge(variant, summaries))
            if variant in calibrations:
                tables.append(report_tables.calibration(calibrations[variant]))
            sections.append(Section(labels[variant], tuple(tables)))
        return sections

    def markdown(self, command: str | None = None, facts: Mapping[str, str] | None = None) -> str:
        """The whole report in Markdown; `command` remakes it, `facts` say on what it was made."""
        parts = ["# Evaluation"]
        if command:
            parts.append(f"```\n{command}\n```")
        parts.append(_LEGEND)
        for section in self.sections():
            parts += [f"## {section.title}", *markdown_of(section.tables)]
        for title, lines in self.left_out().items():
            parts += [f"## {title}", bullets(lines)]
        if facts:
            parts += ["## Made on", bullets([f"{name}: {value}" for name, value in facts.items()])]
        return "\n\n".join(parts) + "\n"

    def html(
        self,
        command: str | None = None,
        facts: Mapping[str, str] | None = None,
        pictures: Sequence[Picture] = (),
    ) -> str:
        """The whole report as one page that needs no other file; with plots where matplotlib is installed."""
        objects, sets = self.objects(), self.sets()
        labels = labels_of(sets)
        drawn = []
        if objects and can_draw():
            every = {variant: found["all slices"] for variant, found in self.calibrations().items()}
            drawn = plots.draw(objects, sets, every, labels)
        listed = [
            report_tables.each_object(variant, found, self._names)
            for variant, found in objects.items()
            if sum(map(len, objects.values())) <= MAX_LISTED
        ]
        return page.report_page(
            sections=[(section.title, section.tables) for section in self.sections()],
            plots=drawn,
            pictures=pictures,
            listed=listed,
            left_out=self.left_out(),
            legend=_LEGEND,
            command=command,
            facts=facts or {},
        )

    def left_out(self) -> dict[str, list[str]]:
        """What failed and what was left out, one line each, by heading."""
        failed = [f"{_place(item.set_name, item.case)}: {self._told(item)}" for item in self._failures]
        skipped = self._by_case()
        found = {f"Failed: {len(self._failures)}": failed, f"Left out: {len(self._skipped)}": skipped}
        return {title: lines for title, lines in found.items() if lines}

    def write(
        self,
        out: Path,
        command: str | None = None,
        pictures: Sequence[Picture] = (),
        facts: Mapping[str, str] | None = None,
    ) -> None:
        """Write `summary.md`, `report.html`, `sets.csv`, `objects.csv` into `out`, each whole or not at all.

        `facts` are those of this `machine()` unless given.
        """
        facts = machine() if facts is None else facts
        try:
            out.mkdir(parents=True, exist_ok=True)
            write_whole(out / "summary.md", self.markdown(command, facts))
            write_whole(out / "objects.csv", _objects_csv(self.objects()))
            write_whole(out / "sets.csv", _sets_csv(self.sets()))
            write_whole(out / "report.html", self.html(command, facts, pictures))
        except OSError as error:
            raise OutputError(
                f"{out}: report cannot be written: {error}; give another --out folder"
            ) from None

    def _told(self, failure: CaseFailure) -> str:
        if failure.object_id is None:
            return failure.message
        return f"{self._object(failure.set_name, failure.object_id)}: {failure.message}"

    def _by_case(self) -> list[str]:
        """What was left out, one line per case."""
        by_case: dict[tuple[str, str], list[str]] = {}
        for item in self._skipped:
            words = item.reason
            if item.object_id is not None:
                words = f"{self._object(item.set_name, item.object_id)} ({item.reason})"
            by_case.setdefault((item.set_name, item.case), []).append(words)
        return [f"{_place(*case)}: {', '.join(words)}" for case, words in by_case.items()]

    def _object(self, set_name: str, object_id: int) -> str:
        """An object in words: its id, and its name where the set knows it."""
        name = self._names.get(set_name, {}).get(object_id, "")
        return f"object {object_id} {name}".strip()


_LEGEND = (
    "R1, R2, …: Dice after each round, one prompt of the simulated user each. NSD (at 2 mm) and HD95 (mm):"
    f" after the last of them. Falls: share of steps between rounds that lose more than {FALL} Dice. NoC@q:"
    " mean rounds to Dice q, failures counted at the cap, their number in brackets. s/round: median seconds"
    " from click to mask. MiB: peak memory of the process. The mean over sets counts every set once."
    " [low, high]: 95 % percentile bootstrap interval of the mean. Objects are resampled within their set,"
    " sets are kept; a set of one object has no interval and widens none, those of few objects are too"
    " narrow."
)


def _place(set_name: str, case: str) -> str:
    return f"{set_name} / {case}" if case else set_name


def _objects_csv(by_variant: Mapping[Variant, Sequence[ObjectSummary]]) -> str:
    """One line per object; lists are written with spaces between, a threshold not reached is a dash."""
    lines: list[Sequence[object]] = [[field.name for field in fields(ObjectSummary)]]
    lines += [[_cell(value) for value in astuple(item)] for found in by_variant.values() for item in found]
    return as_csv(lines)


def _sets_csv(by_variant: Mapping[Variant, Sequence[SetSummary]]) -> str:
    """One line per variant, set and quantity: its mean and interval."""
    lines: list[Sequence[object]] = [
        [*Variant._fields, "set_name", "objects", "quantity", "mean", "low", "high"]
    ]
    for variant, summaries in by_variant.items():
        for item in summaries:
            start = [*map(_cell, variant), item.set_name, item.num_objects]
            lines += [
                [*start, name, *(round(value, 6) for value in found)]
                for name, found in item.estimates.items()
            ]
    return as_csv(lines)


def _cell(value: object) -> object:
    if isinstance(value, tuple):
        return " ".join("-" if item is None else str(item) for item in value)
    return int(value) if isinstance(value, bool) else value
