"""Evaluation: a simulated user clicks, a session answers, the metrics are noted, round after round.

Any method fits that behaves like a `SessionLike`; the caller makes them (`new_session`), and so decides about
model, threads and fusion. Errors of a case are events, not exceptions: the run goes on to the next.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from limnet.errors import CaseError, ConfigError, OutputError, WeightsError
from limnet.evaluation.box import box_of
from limnet.evaluation.cases import (
    Case,
    CaseFailure,
    EvaluationSet,
    Skipped,
    TruthObject,
    objects_of,
    read_case,
)
from limnet.evaluation.metrics import dice, nsd
from limnet.evaluation.results import NSD_TOLERANCE_MM, CaseDone, Event, ObjectKey, RoundLog, RoundRow
from limnet.evaluation.simulated_user import SimulatedUser, next_click
from limnet.prompt import Click, Voxel
from limnet.volume import Volume

REACH = (0.80, 0.90)  # Dice thresholds of NoC

_FATAL = (OutputError, ConfigError, WeightsError)  # would come back with every case

_log = logging.getLogger(__name__)


class SessionLike(Protocol):
    """What a method must offer to be evaluated; `limnet.Session` does."""

    @property
    def axis(self) -> int:
        """The sweep axis: slices are cut across it, and the user clicks on one of them."""

    @property
    def mask(self) -> NDArray[Any]:
        """The mask as it stands, (I, J, K), non-zero inside the object."""

    def click(self, index: Voxel, *, positive: bool = True) -> object:
        """Take a click."""

    def propagate(self) -> object:
        """Make a round of the clicks taken since the last."""


NewSession = Callable[[Volume], SessionLike]


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """The protocol, and the names under which results are kept."""

    rounds: int = 6  # clicked on every object, one click each
    cap: int | None = None  # go on to this round for objects below the last of REACH; None: stop at `rounds`
    method: str = "limnet"  # names the method in tables, best with its version or weights
    fusion: bool = True  # noted in the rows; `new_session` is what turns it on or off

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ConfigError(f"rounds must be at least 1, got {self.rounds}")
        if self.cap is not None and self.cap < self.rounds:
            raise ConfigError(f"cap must be at least rounds ({self.rounds}), got {self.cap}")

    @property
    def last_round(self) -> int:
        """The round at which NoC gives up."""
        return self.rounds if self.cap is None else self.cap


def evaluate(
    sets: Sequence[EvaluationSet],
    new_session: NewSession,
    settings: EvaluationSettings | None = None,
    *,
    out: Path | None = None,
    user: SimulatedUser = next_click,
) -> Iterator[Event]:
    """Evaluate every object of every set; yields each round as soon as it is done, and failures in between.

    With `out`, rows go to `out/rounds.csv` object by object, and objects that are complete there under the
    same settings are yielded from it instead of being run again. OutputError when it cannot be written.
    """
    settings = settings or EvaluationSettings()
    log = RoundLog(out / "rounds.csv") if out is not None else None
    for a_set in sets:
        yield from a_set.failures
        for files in a_set.cases:
            try:
                case = read_case(files, a_set.name)
                for item in objects_of(case, a_set.ids, a_set.min_ml):
                    if isinstance(item, Skipped):
                        yield item
                    else:
                        run = _ObjectRun(case, item, settings)
                        yield from _run_or_recall(run, new_session, user, log)
            except _FATAL:
                raise
            except (
                Exception
            ) as error:  # any: hours of results must not hang on one case, and a failure is counted
                yield _failure(a_set.name, files.name, None, error)
            yield CaseDone(a_set.name, files.name)


@dataclass(frozen=True, eq=False)
class _ObjectRun:
    """All that is known of an object before its first click."""

    case: Case
    target: TruthObject
    settings: EvaluationSettings

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(
            set_name=self.case.set_name,
            case=self.case.name,
            object_id=self.target.object_id,
            truth_voxels=int(np.count_nonzero(self.target.truth)),
            method=self.settings.method,
            fusion=self.settings.fusion,
            num_rounds=self.settings.rounds,
            cap=self.settings.last_round,
        )


def _run_or_recall(
    run: _ObjectRun, new_session: NewSession, user: SimulatedUser, log: RoundLog | None
) -> Iterator[Event]:
    """The rows of one object, from the log when they are there; a failure if its session fails."""
    known = log.complete(run.key) if log is not None else None
    if known is not None:
        yield from known
        return
    rows = []
    try:
        for row in _rounds(run, new_session(run.case.volume), user):
            rows.append(row)
            yield row
    except _FATAL:
        raise
    except Exception as error:  # any, as above: the other objects of the case still count
        yield _failure(run.case.set_name, run.case.name, run.target.object_id, error)
        return
    if log is not None:
        log.append(rows)


def _rounds(run: _ObjectRun, session: SessionLike, user: SimulatedUser) -> Iterator[RoundRow]:
    """Click, propagate and measure until the protocol ends or no error is left."""
    truth, settings, axis = run.target.truth, run.settings, session.axis
    number, best = 0, 0.0
    click = user(truth, None, axis)
    while click is not None:
        number += 1
        started = time.perf_counter()
        session.click(click.index, positive=click.positive)
        session.propagate()
        mask = np.asarray(session.mask) != 0
        seconds = time.perf_counter() - started
        score, surface_score = _scores(truth, mask, run.case.volume.spacing)
        best = max(best, score)
        enough = number >= settings.last_round or (number >= settings.rounds and best >= max(REACH))
        following = None if enough else user(truth, mask, axis)
        yield RoundRow(
            **run.key._asdict(),
            truth_ml=round(run.target.volume_ml, 3),
            round=number,
            axis=axis,
            **_cells(click),
            dice=round(score, 6),
            nsd_2mm=round(surface_score, 6),
            seconds=round(seconds, 4),
            peak_memory_mib=round(peak_memory_mib(), 1),
            is_last=following is None,
        )
        click = following


def _cells(click: Click) -> dict[str, Any]:
    i, j, k = (int(index) for index in click.index)
    return {"click_i": i, "click_j": j, "click_k": k, "positive": bool(click.positive)}


def _scores(
    truth: NDArray[np.bool_], mask: NDArray[np.bool_], spacing_mm: Sequence[float]
) -> tuple[float, float]:
    """Dice and NSD, within the box of both."""
    if mask.shape != truth.shape:
        raise CaseError(f"the session's mask has shape {mask.shape}, must be {truth.shape} as the volume")
    box = box_of(truth | mask)
    if box is None:
        return 1.0, 1.0
    # the box's own length must not decide which axes are flat (`surface`), so it gets one voxel of margin
    grown = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)
    return dice(truth[grown], mask[grown]), nsd(truth[grown], mask[grown], spacing_mm, NSD_TOLERANCE_MM)


def _failure(set_name: str, case: str, object_id: int | None, error: Exception) -> CaseFailure:
    _log.debug("evaluation of %s/%s failed", set_name, case, exc_info=error)
    lines = str(error).strip().splitlines() or ["no message"]
    kind = "" if type(error).__module__ == "limnet.errors" else f"{type(error).__name__}: "
    return CaseFailure(set_name, case, kind + lines[0], object_id)


def peak_memory_mib() -> float:
    """The most memory this process has held so far, in MiB; NaN where the system does not tell (Windows)."""
    if sys.platform == "win32":
        return math.nan
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes there, KiB elsewhere
