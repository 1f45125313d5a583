"""Pictures of an evaluation: the best, the median and the worst object, or more of them, round by round.

Masks are not kept while an evaluation runs; the few objects that are shown are run again, which gives the
same rounds: users and sessions are deterministic.
"""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from PIL import Image

from limnet.evaluation.cases import EvaluationSet, TruthObject, objects_of, read_case
from limnet.evaluation.entry import Entry
from limnet.evaluation.evaluate import ObjectRun, play
from limnet.evaluation.montage import MontageRound, draw_montage
from limnet.evaluation.page import Picture
from limnet.evaluation.results import Event, ObjectKey, RoundRow, complete_objects
from limnet.evaluation.trial import Trial

MAX_COLUMNS = 6  # rounds in a montage; more would be too small to see
NUM_SLICES = 3
MAX_WIDTH = 1200  # px
NUM_COLOURS = 256  # by octree: a fifth of the bytes of full colour; median cut greys the outlines

_log = logging.getLogger(__name__)


class Shown(NamedTuple):
    """An object to draw, and why."""

    rank: str  # in words: "best"
    key: ObjectKey
    dice: float  # after the protocol's last round


def choose_shown(events: Iterable[Event], entry: Entry, count: int) -> list[Shown]:
    """`count` objects of one entry, evenly from best to worst by Dice after the protocol's last round.

    One is the median; three are best, median and worst. Ties go by set, case and object id.
    """
    settings = entry.settings
    rows = [
        event
        for event in events
        if isinstance(event, RoundRow)
        and (event.method, event.fusion, event.user) == (settings.method, settings.fusion, settings.user_name)
    ]
    last = [
        (key, found[min(key.num_rounds, len(found)) - 1].dice)
        for key, found in complete_objects(rows).items()
    ]
    last.sort(key=lambda item: (-item[1], item[0]))
    return [Shown(_rank(place, len(last)), *last[place]) for place in _places(len(last), count)]


def draw_pictures(
    shown: Sequence[Shown], sets: Sequence[EvaluationSet], entry: Entry, threads: int | None = None
) -> Iterator[Picture]:
    """Run each object again and draw it; one that cannot be drawn any more is left out."""
    if not shown:
        return
    trial = entry.trial(threads)
    for item in shown:
        try:
            run = _find(item.key, sets, trial)
            if run is not None:
                yield _draw(item, run, trial)
        except Exception as error:  # any: a picture is not worth the tables of a whole run
            _log.debug("no picture of %s/%s", item.key.set_name, item.key.case, exc_info=error)


def png_of(picture: Image.Image) -> bytes:
    """A picture as PNG bytes, narrow and with few colours, so that a page of them stays small."""
    if picture.width > MAX_WIDTH:
        size = MAX_WIDTH, round(picture.height * MAX_WIDTH / picture.width)
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    data = io.BytesIO()
    few = picture.quantize(NUM_COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(data, format="PNG", optimize=True)
    return data.getvalue()


def _places(num_objects: int, count: int) -> list[int]:
    """Which of `num_objects`, sorted from best to worst, are shown."""
    count = min(count, num_objects)
    if count <= 1:
        return [(num_objects - 1) // 2] * count
    return [number * (num_objects - 1) // (count - 1) for number in range(count)]


def _rank(place: int, num_objects: int) -> str:
    words = {(num_objects - 1) // 2: "median", 0: "best", num_objects - 1: "worst"}
    return words.get(place, f"{place + 1} of {num_objects}") if num_objects > 1 else "only object"


def _find(key: ObjectKey, sets: Sequence[EvaluationSet], trial: Trial) -> ObjectRun | None:
    """The object that a key names, read again."""
    for a_set in (item for item in sets if item.name == key.set_name):
        for files in (item for item in a_set.cases if item.name == key.case):
            case = read_case(files, a_set.name)
            for item in objects_of(case, (key.object_id,)):
                if isinstance(item, TruthObject):
                    return ObjectRun(case, item, trial.settings)
    return None


def _draw(item: Shown, run: ObjectRun, trial: Trial) -> Picture:
    """The object's rounds as a montage."""
    session = trial.new_session(run.case.volume)
    rounds: list[MontageRound] = []
    for played in play(run, session):
        rounds.append(MontageRound(played.mask, played.clicks))
        if played.number == min(run.settings.rounds, MAX_COLUMNS):
            break
    montage = draw_montage(
        run.case.volume, rounds, axis=session.axis, truth=run.target.truth, num_slices=NUM_SLICES
    )
    key = item.key
    name = run.target.name or f"object {key.object_id}"
    title = f"{item.rank}: {key.set_name} / {key.case}, {name}"
    dice = "unknown" if math.isnan(item.dice) else f"{item.dice:.3f}"
    alt = (
        f"{len(rounds)} rounds of {run.settings.method} on {name} of {key.set_name} / {key.case}, slices"
        f" downwards: outline of the mask, of the truth, and the clicks. Dice after the last round {dice}."
    )
    return Picture(title, png_of(montage), alt)
