"""limnet evaluate: the simulated user at work on folders of volumes and truth."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Annotated

from tyro.conf import arg

import limnet
from limnet.cli.options import File, Folder, MaybeCount
from limnet.cli.terminal import aligned, progress_bar
from limnet.errors import ConfigError
from limnet.evaluation import (
    CaseDone,
    CaseFailure,
    EvaluationSet,
    EvaluationSettings,
    Event,
    PanelRecipe,
    Report,
    RoundRow,
    evaluate,
    evaluate_panel,
    find_set,
    panel_sets,
    read_panel,
)

Ids = Annotated[str, arg(metavar="1,2", help_behavior_hint="")]


@dataclass(frozen=True)
class Evaluate:
    """Let the simulated user click on every object of a set (--images, --labels) or of many sets (--root)."""

    images: Folder = None  # volumes
    labels: Folder = None  # their truth, under the same names; 0 is background, every other id an object
    ids: Ids = ""  # label ids to evaluate; default: all
    root: Folder = None  # holds SET/images and SET/labels for every set
    recipe: File = None  # with --root: rounds, and which objects of which set, such as recipes/panel.toml
    rounds: MaybeCount = None  # of one click each; default: the recipe's, or 6
    cap: MaybeCount = None  # objects below Dice 0.90 go on to this round; default: the recipe's, or --rounds
    out: Folder = None  # gets the tables; a run that was stopped goes on from it
    fusion: bool = True  # without it the last round's masks simply replace the former ones
    limit: MaybeCount = None  # only the first cases of each set
    weights: Folder = None  # networks; default: the shipped ones
    threads: MaybeCount = None  # default: all cores

    def run(self) -> int:
        """Evaluate, print and write the tables."""
        sets, recipe = self._sets()
        model = limnet.load_model(self.weights, threads=self.threads)
        rounds = self.rounds or recipe.rounds
        settings = EvaluationSettings(
            rounds=rounds,
            cap=self.cap or (None if self.root is None else max(recipe.cap, rounds)),
            method=f"limnet {model.identity}",
            fusion=self.fusion,
        )

        def new_session(volume: limnet.Volume) -> limnet.Session:
            return limnet.Session(volume, model=model, fusion=self.fusion)

        if self.root is None:
            events = evaluate(sets, new_session, settings, out=self.out)
        else:
            events = evaluate_panel(
                self.root, recipe, new_session, settings, out=self.out, limit_per_set=self.limit
            )
        report = _follow(events, num_cases=sum(len(item.cases) for item in sets))
        for table in report.tables():
            print(f"{table.title}\n\n{aligned(table)}\n")
        if self.out is not None:
            report.write(self.out, self.spelled)
            print(f"tables  {self.out}")
        return report.exit_code

    def _sets(self) -> tuple[list[EvaluationSet], PanelRecipe]:
        """What is to be evaluated, from either form of the command."""
        if self.root is not None:
            if self.images or self.labels or self.ids:
                raise ConfigError(
                    "--root finds its own sets, --recipe their ids; leave out --images, --labels, --ids"
                )
            recipe = PanelRecipe() if self.recipe is None else read_panel(self.recipe)
            return panel_sets(self.root, recipe, limit_per_set=self.limit), recipe
        if self.images is None or self.labels is None or self.recipe is not None:
            raise ConfigError("give --images DIR with --labels DIR, or --root DIR [--recipe FILE.toml]")
        return [find_set(self.images, self.labels, ids=parse_ids(self.ids), limit=self.limit)], PanelRecipe()

    @property
    def spelled(self) -> str:
        """The command that does this again."""
        words = ["limnet", "evaluate"]
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool):
                words += [] if value else [f"--no-{field.name}"]
            elif value not in (None, ""):
                words += [f"--{field.name}", str(value)]
        return shlex.join(words)


def parse_ids(text: str) -> tuple[int, ...]:
    """Label ids from words.

    >>> parse_ids("1,3")
    (1, 3)
    """
    try:
        ids = tuple(int(number) for number in text.split(",")) if text else ()
    except ValueError:
        ids = (0,)
    if any(label < 1 for label in ids):
        raise ConfigError(f"--ids {text!r}: expected label ids from 1 on, such as 1,2")
    return ids


def _follow(events: Iterable[Event], num_cases: int) -> Report:
    """Gather events, showing where the evaluation stands and what fails as it fails."""
    report = Report()
    with progress_bar("evaluating", total=num_cases) as (bar, task):
        for event in events:
            report.add(event)
            if isinstance(event, RoundRow):
                place = f"{event.set_name}/{event.case} object {event.object_id}"
                bar.update(task, description=f"{place} round {event.round} Dice {event.dice:.3f}")
            elif isinstance(event, CaseFailure):
                print(f"limnet: failed: {event.set_name}/{event.case}: {event.message}", file=sys.stderr)
            elif isinstance(event, CaseDone):
                bar.advance(task)
    return report
