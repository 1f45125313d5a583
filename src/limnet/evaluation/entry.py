"""Entries of a comparison: a method and the settings it runs under, as values that can be sent to a worker.

A `Method` says how sessions are made in a process that has so many threads for it. Networks are loaded there,
once per worker, never sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import limnet
from limnet.errors import ConfigError
from limnet.evaluation.methods import METHODS, new_baseline
from limnet.evaluation.methods.ablation import ABLATIONS, Ablation
from limnet.evaluation.trial import EvaluationSettings, NewSession, SessionLike, Trial
from limnet.volume import Volume

LIMNET, NNINTERACTIVE = "limnet", "nninteractive"

Method = Callable[["int | None"], NewSession]
"""Threads (None: all cores) -> what makes sessions. Must be picklable for more than one worker."""


@dataclass(frozen=True)
class Entry:
    """A method under its name and settings."""

    settings: EvaluationSettings
    method: Method

    def trial(self, threads: int | None) -> Trial:
        """The entry with its networks loaded."""
        return Trial(self.settings, self.method(threads))


@dataclass(frozen=True)
class LoadTrials:
    """Loads all entries of a comparison: what a worker of a pool does once."""

    entries: tuple[Entry, ...]

    def __call__(self, threads: int | None) -> list[Trial]:
        """Their trials, in order."""
        return [entry.trial(threads) for entry in self.entries]


@dataclass(frozen=True)
class LimNetMethod:
    """Our own sessions, on the networks in `weights` (None: the shipped ones), whole or ablated."""

    weights: Path | None = None
    fusion: bool = True
    ablation: str = ""  # a name of ABLATIONS

    def __call__(self, threads: int | None) -> NewSession:
        """Load the networks."""
        ablation = ABLATIONS[self.ablation] if self.ablation else Ablation()
        model = ablation.model(limnet.load_model(self.weights, threads=threads))

        def new_session(volume: Volume) -> SessionLike:
            return ablation.session(model, volume, self.fusion)

        return new_session


@dataclass(frozen=True)
class BaselineMethod:
    """One of METHODS."""

    name: str

    def __call__(self, threads: int | None) -> NewSession:
        """Load the library, which takes the threads it likes."""
        return new_baseline(self.name)


@dataclass(frozen=True)
class NnInteractiveMethod:
    """nnInteractive, on the weights that the user has fetched."""

    model_folder: Path
    device: str = "cuda:0"

    def __call__(self, threads: int | None) -> NewSession:
        """Load the networks onto the device."""
        from limnet.evaluation.methods.nninteractive import nninteractive_session

        return nninteractive_session(self.model_folder, self.device)


def known_methods() -> tuple[str, ...]:
    """Every name that `--method` takes."""
    return (LIMNET, *METHODS, NNINTERACTIVE, *ABLATIONS)


def entries_for(
    names: Sequence[str],
    settings: EvaluationSettings,
    *,
    fusion: Sequence[bool] = (True,),
    weights: Path | None = None,
    identity: str = "",
    nninteractive: Path | None = None,
) -> list[Entry]:
    """The entries of a comparison; limnet enters once for each value of `fusion`, which the others lack.

    `identity` follows limnet's name in tables. ConfigError for a name that is no method.
    """
    entries = []
    for name in dict.fromkeys(names):
        if name == LIMNET or name in ABLATIONS:
            shown, ablation = f"{name} {identity}".strip(), "" if name == LIMNET else name
            entries += [
                Entry(_renamed(settings, shown, fusion=value), LimNetMethod(weights, value, ablation))
                for value in dict.fromkeys(fusion)
            ]
        elif name == NNINTERACTIVE:
            if nninteractive is None:
                raise ConfigError("method 'nninteractive' needs its weights: give --nninteractive DIR")
            method = NnInteractiveMethod(nninteractive)
            entries.append(Entry(_renamed(settings, name, fusion=False), method))
        elif name in METHODS:
            entries.append(Entry(_renamed(settings, name, fusion=False), BaselineMethod(name)))
        else:
            raise ConfigError(f"no method is called {name!r}; known: {', '.join(known_methods())}")
    return entries


def _renamed(settings: EvaluationSettings, method: str, *, fusion: bool) -> EvaluationSettings:
    return replace(settings, method=method, fusion=fusion)
