"""MONAI Label's inference as rounds of an object: a request holds all points, a session takes the new ones.

    label's name ─► object ─► points it has not had: one round          answer: the object's whole mask
                              points taken away: undo back to them, then the others anew

A request says what is there, not what is new. Points that the object has already, from whomever, are not
given again, so that a restart of the server or another client changes nothing. A point is only taken back by
who gave it, and only while nobody else has worked on the object since; otherwise a note says so.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limnet.compat import given
from limnet.compat.dialogue import Dialogue
from limnet.compat.order import voxel_of
from limnet.errors import PromptError
from limnet.prompt import Click, Voxel
from limnet.server.nni_lease import Lease
from limnet.server.nni_talk import Talk, talking
from limnet.server.room import Room
from limnet.session import Session

REPLY_SECONDS = 600.0  # clients wait for ever
MAX_POINTS = 1000  # of one request
MAX_TALKS = 512  # remembered; one that is forgotten takes no point back, nothing else
LONGEST_LABEL = 100  # characters, as of the API's objects

Point = tuple[Voxel, bool]  # voxel (i, j, k), whether it is inside


@dataclass(frozen=True, eq=False)
class Inferred:
    """What came of a request."""

    mask: NDArray[np.uint8]  # (I, J, K), 0 and 1
    object_id: int | None
    notes: tuple[str, ...]


@dataclass(eq=False)
class Told:
    """What a user's client has said about one label of one image; guarded by the lease's lock."""

    lease: Lease
    points: list[Point] = field(default_factory=list)  # each a step of the lease's dialogue, in order
    state: tuple[int, int] = (0, 0)  # prompts and rounds without any that the object then had

    def forget(self, object_id: int | None) -> None:
        """Begin anew about an object."""
        self.lease.dialogue, self.lease.sweep = Dialogue(object_id), None
        self.points.clear()


class MonaiTalks:
    """What was told, by user, image and label; its lock is held for moments, no other is taken under it."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._lock = threading.Lock()
        self._told: OrderedDict[tuple[str, str, str], Told] = OrderedDict()

    def end(self, lease: Lease) -> None:
        """Forget a talk whose image is gone."""
        with self._lock:
            for key in [key for key, told in self._told.items() if told.lease is lease]:
                del self._told[key]

    def infer(self, user: str, volume_id: str, label: str, points: Sequence[Point]) -> Inferred:
        """The mask of a label's object once it has all these points, and no other of this client's."""
        with self._talk(user, volume_id, label) as (talk, told):
            steps = [(point, partial(_step, point=point)) for point in points]
            with talk.annotation() as annotation:
                for _, step_of in steps:
                    step_of(annotation.volume)  # all are looked at before any is given
            _turn_to(talk, told, label, may_make=any(positive for _, positive in points))
            notes = _take_back(talk, told, points)
            missing = Counter(points) - _had(talk, told)
            for point, step_of in sorted(steps, key=lambda step: not step[0][1]):
                if missing[point] > 0:
                    missing[point] -= 1
                    talk.add(step_of, run_prediction=False)
                    told.points.append(point)
            talk.dialogue.show_anything()
            try:
                patch = talk.predict().patch
            except BaseException:
                told.forget(talk.dialogue.object_id)  # what of the points stayed, the object knows
                raise
            told.state = _state(talk)
            assert patch is not None, "all of the volume was asked for"
            return Inferred(patch.block, talk.dialogue.object_id, notes)

    @contextmanager
    def _talk(self, user: str, volume_id: str, label: str) -> Iterator[tuple[Talk, Told]]:
        key = (user, volume_id, label)
        with self._lock:
            if key not in self._told:
                now = time.time()
                self._told[key] = Told(Lease("monai", user, acted=now, heard=now, volume_id=volume_id))
            self._told.move_to_end(key)
            while len(self._told) > MAX_TALKS:
                self._told.popitem(last=False)
            told = self._told[key]
        with talking(self._room, self, told.lease, REPLY_SECONDS) as talk:
            yield talk, told


def read_points(params: dict[str, Any]) -> list[Point]:
    """`foreground` and `background` of a request, [[i, j, k], ...] each. PromptError when they are none."""
    points: list[Point] = []
    for name, positive in (("foreground", True), ("background", False)):
        found = params.get(name) or []
        if not isinstance(found, list) or len(points) + len(found) > MAX_POINTS:
            raise PromptError(f"{name}: expected a list of at most {MAX_POINTS} points [i, j, k]")
        for place in found:
            if not isinstance(place, list) or len(place) != 3 or not all(map(_is_index, place)):
                raise PromptError(f"{name}: {place!r:.80} is no point; expected [i, j, k]")
            i, j, k = (round(n) for n in place)
            points.append(((i, j, k), positive))
    return points


def read_label(params: dict[str, Any]) -> str:
    """The `label` of a request: the name of an object."""
    label = params.get("label")
    if not isinstance(label, str) or not label.strip():
        raise PromptError(f"label: expected the name of the structure, got {label!r:.40}")
    return " ".join(label.split())[:LONGEST_LABEL]


def _is_index(value: object) -> bool:
    return type(value) in (int, float) and abs(value) < 2**31  # type: ignore[arg-type]  # False of NaN


def _step(volume: Any, point: Point) -> given.Step:
    voxel, positive = point
    return given.point(volume, voxel_of(voxel), positive)


def _turn_to(talk: Talk, told: Told, label: str, *, may_make: bool) -> None:
    """Speak of the newest object of that name, which is made if need be."""
    with talk.annotation() as annotation:
        named = [item for item in annotation.objects if item.name == label]
        if not named and may_make:
            talk.check_room(len(annotation.objects))
            named = [annotation.add(label)]
        wanted = named[-1] if named else None
        if wanted is None:
            told.forget(None)
        elif wanted.id != talk.dialogue.object_id or not (wanted.session.rounds or wanted.session.pending):
            told.forget(wanted.id)  # of an empty object nothing counts yet, not even points that wait


def _take_back(talk: Talk, told: Told, points: Sequence[Point]) -> tuple[str, ...]:
    """Undo back to the last point that is still wanted and has nothing unwanted before it."""
    left, kept = Counter(points), 0
    for point in told.points:
        if left[point] == 0:
            break
        left[point] -= 1
        kept += 1
    if kept == len(told.points):
        return ()
    if _state(talk) != told.state:
        told.forget(talk.dialogue.object_id)
        return ("a point was taken away, but others have worked on this object since: it stays",)
    while len(told.points) > kept:
        talk.undo()
        told.points.pop()
    return ()


def _had(talk: Talk, told: Told) -> Counter[Point]:
    """How often which points were given: those in the object's history, and those that wait."""
    session = _session(talk)
    prompts = [] if session is None else [p for done in session.rounds for p in done.prompts]
    prompts += [] if session is None else list(session.pending)
    history = Counter((p.index, p.positive) for p in prompts if isinstance(p, Click))
    return history | Counter(told.points)


def _state(talk: Talk) -> tuple[int, int]:
    session = _session(talk)
    if session is None:
        return 0, 0
    counts = [len(done.prompts) for done in session.rounds]
    return sum(counts) + len(session.pending), counts.count(0)


def _session(talk: Talk) -> Session | None:
    with talk.annotation() as annotation:
        found = [item.session for item in annotation.objects if item.id == talk.dialogue.object_id]
        return found[0] if found else None
