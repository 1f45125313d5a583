"""Rounds as a command plays them: clicks from words or a script, a propagation and a line of report each."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import limnet
from limnet.cli.terminal import progress_bar
from limnet.errors import PromptError
from limnet.evaluation import dice
from limnet.evaluation.montage import MontageRound
from limnet.prompt import Click
from limnet.script import Scripted, ScriptedClick
from limnet.volume import to_index

Mask = NDArray[np.bool_]  # (I, J, K)


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


def click_at_mm(text: str, volume: limnet.Volume, *, is_lps: bool) -> ScriptedClick:
    """A click at the voxel nearest to a position in mm, LPS or RAS; PromptError when it lies outside."""
    numbers, colon, sign = text.partition(":")
    try:
        x, y, z = (float(number) for number in numbers.split(","))
        positive = {"": True, ":+": True, ":-": False}[colon + sign]
    except (ValueError, KeyError):
        raise PromptError(
            f"--click-mm {text!r}: expected three numbers X,Y,Z in mm, such as -12.5,30,44, with :- at the"
            f" end for a click on the background"
        ) from None
    index = to_index(volume.affine, (-x, -y, z) if is_lps else (x, y, z))
    if not np.isfinite(index).all() or (index < -0.5).any() or (index > np.array(volume.shape) - 0.5).any():
        raise PromptError(
            f"--click-mm {text!r}: outside the volume (voxel {', '.join(f'{n:.1f}' for n in index)} of shape"
            f" {volume.shape}); is it {'RAS' if is_lps else 'LPS'}?"
        )
    i, j, k = (int(n) for n in np.clip(np.rint(index), 0, np.array(volume.shape) - 1))
    return ScriptedClick((i, j, k), positive=positive)


@dataclass(frozen=True, eq=False)
class PlayedRound:
    """One round that was played, with what it cost."""

    prompt: Scripted
    mask: Mask  # of the whole volume, after the round
    seconds: float
    num_slices: int  # that the sweeps visited
    dice: float | None

    def __str__(self) -> str:
        i, j, k = self.prompt.corners[0]
        words = f"{'+' if self.prompt.positive else '-'} {f'{i},{j},{k}':<13} {self.seconds:7.2f} s"
        words += f" {self.num_slices / self.seconds:6.0f} slices/s"
        return words if self.dice is None else f"{words}   Dice {self.dice:.3f}"


def play(session: limnet.Session, script: Iterable[Scripted], truth: Mask | None) -> Iterator[PlayedRound]:
    """Prompt and propagate once per prompt of `script`, which may look at the session before each."""
    for number, prompt in enumerate(script, start=1):
        started = time.perf_counter()
        prompt.give(session)
        with progress_bar(f"round {number}", total=session.volume.shape[session.axis]) as (bar, task):
            num_slices = 0
            for num_slices, _ in enumerate(session.sweep(), start=1):
                bar.update(task, completed=num_slices)
        mask = session.mask != 0
        seconds = time.perf_counter() - started
        yield PlayedRound(prompt, mask, seconds, num_slices, None if truth is None else dice(truth, mask))


def report_rounds(rounds: Iterable[PlayedRound], *, keep: bool) -> list[MontageRound]:
    """Print each round as it is done; what a montage needs of them, when it is to be kept."""
    kept = []
    for number, played in enumerate(rounds, start=1):
        print(f"round {number} {played}", flush=True)
        if keep:
            marks = tuple(Click(corner, played.prompt.positive) for corner in played.prompt.corners)
            kept.append(MontageRound(played.mask, marks, played.dice))
    return kept


def volume_ml(mask: NDArray[Any], volume: limnet.Volume) -> float:
    """How much of the patient a mask covers."""
    return float(np.count_nonzero(mask) * abs(np.linalg.det(volume.affine[:3, :3])) / 1000)


def described(volume: limnet.Volume) -> str:
    """A volume in one line."""
    size = " x ".join(str(length) for length in volume.shape)
    spacing = " x ".join(f"{edge:.3g}" for edge in volume.spacing)
    return f"{volume.source}: {size} voxels of {spacing} mm, {''.join(volume.orientation)}"
