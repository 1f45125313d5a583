"""Rounds as a command plays them: clicks from words or files, one propagation and one line of report each."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import limnet
from limnet.cli.terminal import progress_bar
from limnet.config import from_table
from limnet.errors import PromptError
from limnet.evaluation import dice
from limnet.evaluation.montage import MontageRound
from limnet.prompt import Click, Voxel

Mask = NDArray[np.bool_]  # (I, J, K)


@dataclass(frozen=True)
class ScriptedClick:
    """One round of a script: a click, and the axis across which its slice is cut (None: the session's)."""

    index: Voxel
    positive: bool = True
    axis: int | None = None


@dataclass(frozen=True)
class Script:
    """A file of --prompts: one round per click, in order."""

    clicks: tuple[ScriptedClick, ...]


def parse_click(text: str) -> ScriptedClick:
    """A click from words.

    >>> parse_click("10,20,3")
    ScriptedClick(index=(10, 20, 3), positive=True, axis=None)
    >>> parse_click("10,20,3:-").positive
    False
    """
    numbers, colon, sign = text.partition(":")
    try:
        i, j, k = (int(number) for number in numbers.split(","))
        return ScriptedClick((i, j, k), positive={"": True, ":+": True, ":-": False}[colon + sign])
    except (ValueError, KeyError):
        raise PromptError(
            f"--click {text!r}: expected three whole numbers I,J,K, such as 120,88,14,"
            f" with :- at the end for a click on the background"
        ) from None


def read_script(path: Path) -> Script:
    """The clicks of a prompts file; a file that is not one is a PromptError that shows what is expected."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(table, dict):
            raise ValueError(f"it holds a {type(table).__name__}")
        return from_table(Script, table, str(path))
    except OSError as error:
        raise PromptError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    except ValueError as error:  # JSON and UTF-8 errors are ValueErrors
        raise PromptError(f'{path}: not a prompts file: {error}; expected {{"clicks": [...]}}') from None


@dataclass(frozen=True, eq=False)
class PlayedRound:
    """One round that was played, with what it cost."""

    click: ScriptedClick
    mask: Mask  # of the whole volume, after the round
    seconds: float
    num_slices: int  # that the sweeps visited
    dice: float | None

    def __str__(self) -> str:
        i, j, k = self.click.index
        words = f"{'+' if self.click.positive else '-'} {f'{i},{j},{k}':<13} {self.seconds:7.2f} s"
        words += f" {self.num_slices / self.seconds:6.0f} slices/s"
        return words if self.dice is None else f"{words}   Dice {self.dice:.3f}"


def play(
    session: limnet.Session, script: Iterable[ScriptedClick], truth: Mask | None
) -> Iterator[PlayedRound]:
    """Click and propagate once per click of `script`, which may look at the session before each."""
    for number, click in enumerate(script, start=1):
        started = time.perf_counter()
        session.click(click.index, positive=click.positive, axis=click.axis)
        with progress_bar(f"round {number}", total=session.volume.shape[session.axis]) as (bar, task):
            num_slices = 0
            for num_slices, _ in enumerate(session.sweep(), start=1):
                bar.update(task, completed=num_slices)
        mask = session.mask != 0
        seconds = time.perf_counter() - started
        yield PlayedRound(click, mask, seconds, num_slices, None if truth is None else dice(truth, mask))


def report_rounds(rounds: Iterable[PlayedRound], *, keep: bool) -> list[MontageRound]:
    """Print each round as it is done; what a montage needs of them, when it is to be kept."""
    kept = []
    for number, played in enumerate(rounds, start=1):
        print(f"round {number} {played}", flush=True)
        if keep:
            click = Click(played.click.index, positive=played.click.positive)
            kept.append(MontageRound(played.mask, (click,), played.dice))
    return kept


def volume_ml(mask: NDArray[Any], volume: limnet.Volume) -> float:
    """How much of the patient a mask covers."""
    return float(np.count_nonzero(mask) * abs(np.linalg.det(volume.affine[:3, :3])) / 1000)


def described(volume: limnet.Volume) -> str:
    """A volume in one line."""
    size = " x ".join(str(length) for length in volume.shape)
    spacing = " x ".join(f"{edge:.3g}" for edge in volume.spacing)
    return f"{volume.source}: {size} voxels of {spacing} mm, {''.join(volume.orientation)}"
