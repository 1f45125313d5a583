"""Protocols: how an evaluation is run and on what, as TOML. Those that are shipped are known by their names.

```
rounds = 6                # settings of a Protocol
[[sets]]                  # SetSettings, one table per set, in the order of the report
name = "openkbp"
ids = [1, 2, 3]
```
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.resources import as_file, files
from pathlib import Path

from limnet.config import from_table, read_toml
from limnet.errors import CaseError, ConfigError
from limnet.evaluation.cases import CaseFailure, EvaluationSet, Skipped, select
from limnet.evaluation.datasets import LAYOUTS, find_dataset
from limnet.evaluation.efficiency import EfficiencySettings
from limnet.evaluation.trial import EvaluationSettings

EFFICIENCY = "efficiency"  # a protocol of its own kind: what is measured is cost


@dataclass(frozen=True, kw_only=True)
class SetSettings:
    """One set of a protocol, and which of its objects are evaluated."""

    name: str  # as tables show it
    layout: str = "plain"  # one of LAYOUTS
    folder: str = ""  # below the data folder; "": called like the set
    part: str = ""  # of a data set that comes in several; "": all of them, under their own names
    ids: tuple[int, ...] = ()  # objects; none named: all
    min_ml: float = 0.0  # smaller objects are left out

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            known = ", ".join(LAYOUTS)
            raise ConfigError(f"set {self.name!r}: no layout is called {self.layout!r}; known: {known}")
        if any(label < 1 for label in self.ids):
            raise ConfigError(f"set {self.name!r}: ids must be 1 or more (0 is background), got {self.ids}")
        if self.min_ml < 0:
            raise ConfigError(f"set {self.name!r}: min_ml must not be negative, got {self.min_ml}")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Which objects are clicked on by whom, how often, and who answers."""

    title: str = ""  # one line, for people
    rounds: int = 6
    cap: int = 0  # objects below Dice 0.90 are clicked on up to here; 0: no further than `rounds`
    user: str = "centre"
    first: str = ""  # "first-slice": round 1 is clicked where an object appears, see EvaluationSettings
    seed: int = 0
    methods: tuple[str, ...] = ("limnet",)
    fusion: tuple[bool, ...] = (True,)  # limnet is run once with each
    data_variable: str = ""  # environment variable that may name the data folder
    other_sets: bool = False  # sets below the data folder that are not named here are evaluated whole
    sets: tuple[SetSettings, ...] = ()

    def __post_init__(self) -> None:
        self.settings("")  # checks what it is made of
        if not self.methods or not self.fusion:
            raise ConfigError("methods and fusion must name at least one each")
        names = [item.name for item in self.sets]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"set {twice!r} is named twice; keep one")

    def settings(self, name: str) -> EvaluationSettings:
        """The settings of its runs; every method gets a copy of its own."""
        return EvaluationSettings(
            protocol=name,
            rounds=self.rounds,
            cap=self.cap or None,
            user=self.user,
            first=self.first,
            seed=self.seed,
        )


def protocol_names() -> tuple[str, ...]:
    """Those that are shipped."""
    folder = files("limnet.evaluation") / "protocols"
    return tuple(
        sorted(entry.name[: -len(".toml")] for entry in folder.iterdir() if entry.name.endswith(".toml"))
    )


def read_protocol(name: str) -> Protocol | EfficiencySettings:
    """A shipped protocol by its name, or one in a file, whose name then ends in `.toml`.

    ConfigError when there is none, when it is malformed, or when it knows a key that we do not.
    """
    if name.endswith(".toml"):
        return _read(Path(name), name)
    known = protocol_names()
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise ConfigError(f"no protocol is called {name!r}; {hint} (or give the path of a .toml file)")
    with as_file(files("limnet.evaluation") / "protocols" / f"{name}.toml") as path:
        return _read(path, f"protocol {name}")


def protocol_label(name: str) -> str:
    """What rows are labelled with: the name, of a file without folder and ending."""
    return Path(name).stem if name.endswith(".toml") else name


def data_folder(protocol: Protocol, given: Path | None) -> Path:
    """Where the sets lie: as given, else where the protocol's variable points; ConfigError if neither."""
    if given is not None:
        return given
    variable = protocol.data_variable
    if variable and os.environ.get(variable):
        return Path(os.environ[variable])
    folders = ", ".join(dict.fromkeys(item.folder or item.name for item in protocol.sets))
    hint = f" or set {variable}" if variable else ""
    raise ConfigError(
        f"where are its data? give --data DIR{hint}: a folder that holds {folders or 'its sets'}"
    )


def find_sets(
    protocol: Protocol, root: Path, *, limit: int | None = None
) -> tuple[list[EvaluationSet], list[Skipped]]:
    """The sets of a protocol below `root`, and those that are not there, with what to do about it.

    `limit` keeps the first few cases of each. A set whose folder is there, but not a complete case in it, is
    found with a failure and without cases. CaseError when there is none at all.
    """
    if not root.is_dir():
        raise CaseError(f"{root}: no such folder; expected one with the protocol's sets in it")
    found: list[EvaluationSet] = []
    absent: list[Skipped] = []
    for item in protocol.sets:
        folder = root / (item.folder or item.name)
        try:
            found += _sets_of(item, folder, limit)
        except CaseError as error:
            if folder.is_dir():
                broken = CaseFailure(item.name, "", str(error))
                found.append(EvaluationSet(name=item.name, cases=(), failures=(broken,)))
            else:
                absent.append(Skipped(item.name, "", None, str(error)))
    if protocol.other_sets:
        named = {item.folder or item.name for item in protocol.sets}
        found += [item for item in _others(root, limit) if item.name not in named]
        found.sort(key=lambda item: item.name)
    if not found:
        raise CaseError("; ".join(item.reason for item in absent) or f"{root}: no set in it")
    return found, absent


def _sets_of(item: SetSettings, folder: Path, limit: int | None) -> list[EvaluationSet]:
    """What a protocol asks for of one data set: one set under its name, or all parts under theirs."""
    parts = find_dataset(item.layout, folder, limit=limit)
    if item.part:
        chosen = [part for part in parts if part.name == item.part]
        if not chosen:
            known = ", ".join(part.name for part in parts)
            raise CaseError(f"{folder}: no part {item.part!r} in it; found: {known}")
        parts = chosen
    if len(parts) == 1:
        parts = [_called(item.name, parts[0])]
    return [select(part, item.ids, item.min_ml) for part in parts]


def _called(name: str, a_set: EvaluationSet) -> EvaluationSet:
    """The same set under another name."""
    failures = tuple(replace(failure, set_name=name) for failure in a_set.failures)
    return replace(a_set, name=name, failures=failures)


def _others(root: Path, limit: int | None) -> list[EvaluationSet]:
    """Every SET/images with its SET/labels below `root`; none is no error."""
    return find_dataset("panel", root, limit=limit) if LAYOUTS["panel"].recognises(root) else []


def _read(path: Path, where: str) -> Protocol | EfficiencySettings:
    table = read_toml(path)
    if table.pop("kind", "") == EFFICIENCY:
        return from_table(EfficiencySettings, table, where)
    return from_table(Protocol, table, where)
