"""limnet evaluate: a protocol, its simulated user and its methods, on data sets or one's own folders."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, UseAppendAction, arg

import limnet
from limnet.cli.efficiency import report_efficiency
from limnet.cli.options import Folder, MaybeCount, parse_count
from limnet.cli.terminal import aligned, progress_bar, time_left
from limnet.errors import CaseError, ConfigError
from limnet.evaluation import (
    LAYOUTS,
    CaseDone,
    CaseFailure,
    EfficiencySettings,
    Entry,
    EvaluationSet,
    Event,
    LoadTrials,
    Protocol,
    Report,
    RoundRow,
    Skipped,
    choose_shown,
    data_folder,
    draw_pictures,
    entries_for,
    evaluate_entries,
    find_dataset,
    find_set,
    find_sets,
    in_order,
    machine,
    protocol_label,
    read_protocol,
    recognise,
    select,
)
from limnet.evaluation.evaluate import CaseEvent
from limnet.pool import Pool, Processes, RayCluster, ThisProcess, threads_per_worker

Name = Annotated[Positional[str], arg(metavar="[PROTOCOL]", help_behavior_hint="")]
Ids = Annotated[str, arg(metavar="1,2", help_behavior_hint="")]
Word = Annotated[str, arg(metavar="NAME", help_behavior_hint="")]
Words = Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME", help_behavior_hint="")]
Number = Annotated[int | None, arg(metavar="N", help_behavior_hint="")]
Fusion = Annotated[Literal["on", "off", "both"] | None, arg(metavar="on|off|both", help_behavior_hint="")]

FUSION = {"on": (True,), "off": (False,), "both": (True, False)}


@dataclass(frozen=True)
class Evaluate:
    """Let a simulated user click on every object of many cases, and tell how well each method answers.

    PROTOCOL is panel, table1, rounds, btcv, endovis18, cvpr25, efficiency, or a .toml file; without one, six
    rounds on folders of your own (--images with --labels, or --data).
    """

    protocol: Name = ""  # one of those named above, or the path of a .toml file
    data: Folder = None  # holds the protocol's sets, or one data set; for panel, LIMNET_PANEL names it too
    images: Folder = None  # volumes of your own, instead of --data
    labels: Folder = None  # their truth, under the same names; 0 is background, every other id an object
    ids: Ids = ""  # objects to evaluate, with folders of your own; default: all
    out: Folder = None  # gets tables and page; a run that was stopped goes on from it
    method: Words = ()  # limnet, random-walker, geodesic, grow, nninteractive; repeat for more than one
    user: Word = ""  # centre, random, worst-slice, scribble, box, cvpr25, cvpr25-box; default: the protocol's
    seed: Number = None  # of the user's choices; default: the protocol's
    rounds: MaybeCount = None  # default: the protocol's, or 6
    cap: MaybeCount = None  # objects below Dice 0.90 go on to this round; default: the protocol's
    fusion: Fusion = None  # off: the last round's masks replace the former ones; default: the protocol's
    limit: MaybeCount = None  # only the first cases of each set
    workers: MaybeCount = None  # processes that each take a case at a time; default: 1
    ray: bool = False  # on a Ray cluster (RAY_ADDRESS) or a Ray instance here, with --workers actors
    threads: MaybeCount = None  # of all workers together, with --ray alone of each; default: all cores
    weights: Folder = None  # limnet's networks; default: the shipped ones
    nninteractive: Folder = None  # nnInteractive's networks, for the method of that name
    pictures: Number = None  # objects drawn in the page of --out, from the best to the worst; default: 3

    def run(self) -> int:
        """Evaluate, print and write the tables."""
        protocol = self._protocol()
        if isinstance(protocol, EfficiencySettings):
            return self._efficiency(protocol)
        if self.pictures is not None and self.pictures < 0:
            raise ConfigError(f"--pictures must be 0 or more, got {self.pictures}")
        sets, absent = self._sets(protocol)
        for item in absent:
            print(f"limnet: left out: {item.set_name}: {item.reason}", file=sys.stderr)
        entries = self._entries(protocol)
        events = _follow(
            evaluate_entries(sets, entries, out=self.out, pool=self._pool(entries)),
            num_cases=sum(len(item.cases) for item in sets),
        )
        names = {item.name: item.names for item in sets}
        report = Report([*absent, *in_order(events, sets)], names=names)
        for table in report.tables():
            print(f"{table.title}\n\n{aligned(table)}\n")
        num_objects = sum(map(len, report.objects().values()))
        print(f"results {num_objects}, failed {len(report.failures)}, left out {len(report.skipped)}")
        if self.out is not None:
            shown = choose_shown(events, entries[0], 3 if self.pictures is None else self.pictures)
            pictures = draw_pictures(shown, sets, entries[0], self.threads)
            report.write(self.out, self.spelled, tuple(pictures), self._facts())
            print(f"tables  {self.out}")
        return report.exit_code

    @property
    def spelled(self) -> str:
        """The command that does this again."""
        words = ["limnet", "evaluate", *([self.protocol] if self.protocol else [])]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "protocol" or value is None or value is False or value in ("", ()):
                continue
            option = f"--{field.name}"
            if value is True:
                words.append(option)
            else:
                for item in value if isinstance(value, tuple) else (value,):
                    words += [option, str(item)]
        return shlex.join(words)

    def _protocol(self) -> Protocol | EfficiencySettings:
        """The protocol, with what the command says instead."""
        found = read_protocol(self.protocol) if self.protocol else Protocol()
        if isinstance(found, EfficiencySettings):
            return found
        rounds = self.rounds or found.rounds
        instead: dict[str, Any] = {
            "rounds": rounds,
            "cap": self.cap or (max(found.cap, rounds) if found.cap else 0),
        }
        if self.fusion is not None:
            instead["fusion"] = FUSION[self.fusion]
        if self.user:
            instead["user"] = self.user
        if self.seed is not None:
            instead["seed"] = self.seed
        if self.method:
            instead["methods"] = self.method
        return replace(found, **instead)

    def _sets(self, protocol: Protocol) -> tuple[list[EvaluationSet], list[Skipped]]:
        """What is to be evaluated, and what of the protocol is not there."""
        own = self.images is not None or self.labels is not None
        if own and (self.images is None or self.labels is None or self.data is not None):
            raise ConfigError("give --images DIR with --labels DIR and without --data")
        if self.images is not None and self.labels is not None:
            ids = parse_ids(self.ids)
            return [find_set(self.images, self.labels, ids=ids, limit=self.limit)], []
        if protocol.sets or protocol.other_sets:
            if self.ids:
                raise ConfigError("the protocol says which ids are evaluated; leave out --ids")
            return find_sets(protocol, data_folder(protocol, self.data), limit=self.limit)
        if self.data is None:
            raise ConfigError(
                "give --images DIR with --labels DIR, or --data DIR, or a PROTOCOL and its --data"
            )
        return [select(item, parse_ids(self.ids)) for item in self._recognised(self.data)], []

    def _recognised(self, root: Path) -> list[EvaluationSet]:
        """The data set in a folder, whichever it is."""
        if not root.is_dir():
            raise CaseError(f"{root}: no such folder; expected one with a data set in it")
        layout = recognise(root)
        if layout is None:
            raise CaseError(
                f"{root}: no data set that is known; expected images/ with labels/, or the official layout of"
                f" one of these: {', '.join(LAYOUTS)}"
            )
        return find_dataset(layout, root, limit=self.limit)

    def _entries(self, protocol: Protocol) -> list[Entry]:
        """The methods that are compared, the first of which is drawn."""
        settings = protocol.settings(protocol_label(self.protocol) if self.protocol else "own")
        identity = ""
        if "limnet" in protocol.methods:
            identity = limnet.load_model(self.weights, threads=self.threads).identity
        return entries_for(
            protocol.methods,
            settings,
            fusion=protocol.fusion,
            weights=self.weights,
            identity=identity,
            nninteractive=self.nninteractive,
        )

    def _pool(self, entries: list[Entry]) -> Pool[CaseEvent]:
        """Who does the work."""
        load = LoadTrials(tuple(entries))
        workers = self.workers or 1
        if self.ray and self.workers is None:  # as many as the cluster has room for
            return RayCluster(load, threads=self.threads or 1)
        if self.ray:
            return RayCluster(load, workers, threads_per_worker(self.threads, workers))
        if workers > 1:
            return Processes(load, workers, threads_per_worker(self.threads, workers))
        return ThisProcess(load, self.threads)

    def _facts(self) -> dict[str, str]:
        """On what it was made, and by how many at once."""
        workers = "Ray" if self.ray else str(self.workers or 1)
        threads = "all" if self.threads is None else str(self.threads)
        return {**machine(), "workers": workers, "threads": threads}

    def _efficiency(self, settings: EfficiencySettings) -> int:
        """Another kind of protocol: cost, not accuracy."""
        taken = {"protocol", "images", "labels", "ids", "out", "rounds", "threads", "weights"}
        for field in fields(self):
            if field.name not in taken and getattr(self, field.name) != field.default:
                raise ConfigError(f"efficiency takes no --{field.name}; leave it out")
        if self.rounds is not None:
            settings = replace(settings, rounds=self.rounds)
        if self.threads is not None:
            settings = replace(settings, threads=(self.threads,))
        ids = parse_ids(self.ids)
        return report_efficiency(
            settings, self.images, self.labels, ids[0] if ids else 1, self.weights, self.out, self.spelled
        )


def parse_ids(text: str) -> tuple[int, ...]:
    """Label ids from words.

    >>> parse_ids("1,3")
    (1, 3)
    """
    try:
        return tuple(parse_count(number) for number in text.split(",")) if text else ()
    except ValueError:
        raise ConfigError(f"--ids {text!r}: expected label ids from 1 on, such as 1,2") from None


def _follow(events: Iterable[Event], num_cases: int) -> list[Event]:
    """Gather events, showing where the evaluation stands and what fails as it fails."""
    gathered: list[Event] = []
    num_done, started = 0, time.monotonic()
    with progress_bar("evaluating", total=num_cases) as (bar, task):
        for event in events:
            gathered.append(event)
            if isinstance(event, RoundRow):
                place = f"{event.set_name}/{event.case} object {event.object_id}"
                words = f"{place} {event.method} round {event.round} Dice {event.dice:.3f}"
                left = time_left(time.monotonic() - started, num_done, num_cases)
                bar.update(task, description=f"case {num_done + 1} of {num_cases}, {left}: {words}")
            elif isinstance(event, CaseFailure):
                place = f"{event.set_name}/{event.case}" if event.case else event.set_name
                place += "" if event.object_id is None else f" object {event.object_id}"
                print(f"limnet: failed: {place}: {event.message}", file=sys.stderr)
            elif isinstance(event, CaseDone):
                num_done += 1
                bar.advance(task)
    return gathered
