"""Evaluation of one case: a simulated user clicks, a session answers, metrics are noted, round after round.

A `Trial` says which method, and under which settings. Errors of a case are events, not exceptions: the run
goes on to the next. Many cases, one after the other or at once, are `runner.py`'s business.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from limnet.errors import CaseError, ConfigError, OutputError, WeightsError, in_words
from limnet.evaluation.box import box_of
from limnet.evaluation.cases import (
    Case,
    CaseFailure,
    CaseFiles,
    EvaluationSet,
    Skipped,
    TruthObject,
    objects_of,
    read_case,
)
from limnet.evaluation.metrics import SurfaceScores, dice, iou, surface_scores
from limnet.evaluation.peak_memory import forget_peak_memory, peak_memory_mib
from limnet.evaluation.results import ObjectDone, ObjectKey, RoundRow, SliceRow
from limnet.evaluation.simulated_user import SimulatedUser, simulated_user
from limnet.evaluation.trial import ENOUGH, EvaluationSettings, NewSession, SessionLike, Trial
from limnet.prompt import Click

NSD_TOLERANCES_MM = (1.0, 2.0, 3.0)

FATAL = (OutputError, ConfigError, WeightsError)  # would come back with every case

_log = logging.getLogger(__name__)


Known = Mapping[ObjectKey, ObjectDone]
CaseEvent = RoundRow | ObjectDone | Skipped | CaseFailure


def evaluate_case(
    a_set: EvaluationSet, files: CaseFiles, trials: Sequence[Trial], known: Known
) -> Iterator[CaseEvent]:
    """Evaluate every object of one case under every trial.

    Yields each round as soon as it is done, an ObjectDone after an object's last, and failures in between.
    What is in `known` is yielded from there instead of being run again.
    """
    try:
        case = read_case(files, a_set.name)
        for item in objects_of(case, a_set.ids, a_set.min_ml):
            if isinstance(item, TruthObject):
                for trial in trials:
                    yield from _run_or_recall(ObjectRun(case, item, trial.settings), trial.new_session, known)
            else:
                yield item
    except FATAL:
        raise
    except Exception as error:  # any: hours of results must not hang on one case, and a failure is counted
        yield _failure(a_set.name, files.name, None, error)


@dataclass(frozen=True, eq=False)
class ObjectRun:
    """All that is known of an object before its first click."""

    case: Case
    target: TruthObject
    settings: EvaluationSettings

    @property
    def key(self) -> ObjectKey:
        """Under which its rows are kept."""
        settings = self.settings
        return ObjectKey(
            set_name=self.case.set_name,
            case=self.case.name,
            object_id=self.target.object_id,
            truth_voxels=int(np.count_nonzero(self.target.truth)),
            protocol=settings.protocol,
            method=settings.method,
            user=settings.user_name,
            seed=settings.seed,
            fusion=settings.fusion,
            num_rounds=settings.rounds,
            cap=settings.last_round,
        )

    @property
    def user(self) -> SimulatedUser:
        """A fresh user, whose choices depend on seed and object alone."""
        place = f"{self.case.set_name}/{self.case.name}/{self.target.object_id}"
        return simulated_user(self.settings.user, self.settings.seed, place)


class Played(NamedTuple):
    """One round: what was clicked, what came of it."""

    number: int  # from 1
    clicks: tuple[Click, ...]
    mask: NDArray[np.bool_]  # (I, J, K)
    seconds: float  # from the first click to the mask of the whole volume
    preview_seconds: float  # the longest of its click() calls: what a user waits for the slice's mask
    peak_memory_mib: float  # of the process in this round, without what the user and metrics need
    content: bool  # the user sees no error that is left


def play(run: ObjectRun, session: SessionLike) -> Iterator[Played]:
    """Let the simulated user click round after round; ends by itself only when no error is left."""
    truth, user, axis = run.target.truth, run.user, session.axis
    clicks = user(first_slice(truth, axis) if run.settings.first else truth, None, axis)
    number = 0
    while clicks:
        number += 1
        previews = []
        forget_peak_memory()
        started = time.perf_counter()
        for click in clicks:
            clicked = time.perf_counter()
            session.click(click.index, positive=click.positive)
            previews.append(time.perf_counter() - clicked)
        session.propagate()
        mask = np.asarray(session.mask) != 0
        seconds = time.perf_counter() - started
        peak_mib = peak_memory_mib()  # before the user and the metrics need memory of their own
        if mask.shape != truth.shape:
            raise CaseError(f"the session's mask has shape {mask.shape}, must be {truth.shape} as the volume")
        following = user(truth, mask, axis)
        yield Played(number, clicks, mask, seconds, max(previews), peak_mib, content=not following)
        clicks = following


def first_slice(truth: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """`truth` (I, J, K) on the first slice across `axis` that it reaches, nothing elsewhere.

    For video, where a user prompts an object when it appears and cannot see what comes later.
    """
    box = box_of(truth)
    if box is None:
        return truth
    shown = np.zeros_like(truth)
    place = (slice(None),) * axis + (box[axis].start,)
    shown[place] = truth[place]
    return shown


def _run_or_recall(run: ObjectRun, new_session: NewSession, known: Known) -> Iterator[CaseEvent]:
    """The rows of one object, known ones when there are; a failure if its session fails."""
    key = run.key
    if key in known:
        yield from known[key].rows
        yield known[key]
        return
    rows: list[RoundRow] = []
    slices: list[SliceRow] = []
    try:
        forget_peak_memory()
        session = new_session(run.case.volume)
        for row in _measured(run, key, session, peak_memory_mib()):
            rows.append(row)
            slices += _slice_rows(run, key, session, row)
            yield row
        if not rows:
            raise CaseError(f"the user {run.settings.user_name!r} found nothing to click on")
    except FATAL:
        raise
    except Exception as error:  # any, as above: the other objects of the case still count
        yield _failure(run.case.set_name, run.case.name, run.target.object_id, error)
        return
    yield ObjectDone(tuple(rows), tuple(slices))


def _measured(run: ObjectRun, key: ObjectKey, session: SessionLike, opening_mib: float) -> Iterator[RoundRow]:
    """Rounds until the protocol ends or no error is left, each with its metrics.

    `opening_mib` is the peak of memory while the session was made.
    """
    settings, best, peak_mib = run.settings, 0.0, opening_mib
    for played in play(run, session):
        peak_mib = max(peak_mib, played.peak_memory_mib)
        overlap, surfaces = _scores(run.target.truth, played.mask, run.case.volume.spacing)
        best = max(best, overlap.dice)
        enough = played.number >= settings.last_round or (played.number >= settings.rounds and best >= ENOUGH)
        is_last = enough or played.content
        yield RoundRow(
            **key._asdict(),
            truth_ml=round(run.target.volume_ml, 3),
            round=played.number,
            axis=session.axis,
            num_clicks=len(played.clicks),
            **_cells(played.clicks[0]),
            dice=round(overlap.dice, 6),
            iou=round(overlap.iou, 6),
            nsd_1mm=round(surfaces.nsd[0], 6),
            nsd_2mm=round(surfaces.nsd[1], 6),
            nsd_3mm=round(surfaces.nsd[2], 6),
            hd95_mm=round(surfaces.hd95_mm, 4),
            seconds=round(played.seconds, 4),
            preview_seconds=round(played.preview_seconds, 4),
            peak_memory_mib=round(peak_mib, 1),
            is_last=is_last,
        )
        if is_last:
            return


def _cells(click: Click) -> dict[str, Any]:
    i, j, k = (int(index) for index in click.index)
    return {"click_i": i, "click_j": j, "click_k": k, "positive": bool(click.positive)}


class _Overlap(NamedTuple):
    dice: float
    iou: float


def _scores(
    truth: NDArray[np.bool_], mask: NDArray[np.bool_], spacing_mm: Sequence[float]
) -> tuple[_Overlap, SurfaceScores]:
    """Overlap and agreement of surfaces, within the box of both."""
    box = box_of(truth | mask)
    if box is None:
        return _Overlap(1.0, 1.0), SurfaceScores((1.0,) * len(NSD_TOLERANCES_MM), 0.0)
    # the box's own length must not decide which axes are flat (`surface`), so it gets one voxel of margin
    grown = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)
    truth, mask = truth[grown], mask[grown]
    return (
        _Overlap(dice(truth, mask), iou(truth, mask)),
        surface_scores(truth, mask, spacing_mm, NSD_TOLERANCES_MM),
    )


def _slice_rows(run: ObjectRun, key: ObjectKey, session: SessionLike, row: RoundRow) -> Iterator[SliceRow]:
    """What the session thinks of its slices after a round, beside the truth; see SliceRow."""
    quality = getattr(session, "quality", None)
    if quality is None:
        return
    suggest = getattr(session, "suggest_slice", None)
    suggested = suggest() if suggest is not None else None
    truth, mask = (np.moveaxis(array, row.axis, 0) for array in (run.target.truth, session.mask))
    noted = set(np.flatnonzero(np.any(truth, (1, 2)) | np.any(mask, (1, 2))).tolist())
    for index in sorted(noted if suggested is None else noted | {int(suggested)}):
        value = float(quality[index])
        yield SliceRow(
            **key._asdict(),
            round=row.round,
            slice=index,
            quality=value if math.isnan(value) else round(value, 4),
            dice=round(dice(truth[index], mask[index] != 0), 4),
            suggested=index == suggested,
        )


def _failure(set_name: str, case: str, object_id: int | None, error: Exception) -> CaseFailure:
    _log.debug("evaluation of %s/%s failed", set_name, case, exc_info=error)
    return CaseFailure(set_name, case, in_words(error), object_id)
