"""What one client of nnInteractive says about one image after another, and what it has seen of the answer.

    add ─► queue ─► give: prompts of one axis go to the session ─► a sweep ─► carried ─► answer: what differs
                                                                 (by the caller, here or in the background)

nnInteractive's session knows one object at a time. Its reset means "the next object, please" and an
initial segmentation "this one"; here every object stays in the annotation. So a dialogue points at an
object, and makes one when the first prompt comes. An initial segmentation that is exactly what an object of
the annotation already is continues that object, with its prompts and its undo: that is how a client that
lost its session and sends its image and mask again goes on where it was.

Undo takes back one call at a time. The prompts of a round that are not taken back wait in the queue again.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from limnet.annotation import Annotation, Object
from limnet.compat.given import Step
from limnet.compat.seen import NOTHING, Patch, Seen, difference, seen_of, whole
from limnet.errors import PromptError
from limnet.fusion import Round
from limnet.law import Placed
from limnet.memory import SliceMask
from limnet.prompt import Box, Click, Lasso, Scribble, centre
from limnet.session import Session

MAX_QUEUE = 1000  # calls that may wait for a prediction


class Dialogue:
    """One client, one annotation; for one thread at a time."""

    def __init__(self, object_id: int | None = None) -> None:
        """`object_id` is the object to continue; None makes one when the first prompt comes."""
        self.object_id = object_id
        self.seen: Seen | None = NOTHING  # what the client's buffer holds; None: anything
        self.has_prompted = False  # whether this client has said anything about this image
        self._queue: tuple[Step, ...] = ()
        self._given: tuple[Step, ...] = ()  # whose prompts are pending in the session, when it knows
        self._rounds: dict[Round, tuple[Step, ...]] = {}
        self._former: tuple[int | None, ...] = ()  # objects before each initial segmentation

    @property
    def is_waiting(self) -> bool:
        """Whether something waits for a prediction."""
        return bool(self._queue or self._given)

    # What the client says

    def add(self, step: Step) -> None:
        """Queue what a call gave. PromptError when too much waits."""
        if len(self._queue) >= MAX_QUEUE:
            raise PromptError(f"{MAX_QUEUE} prompts wait for a prediction; predict, or undo some")
        self.has_prompted = True
        self._queue = (*self._queue, step)

    def start_from(self, annotation: Annotation, mask: NDArray[np.bool_]) -> None:
        """An initial segmentation (I, J, K): all prompts are wiped, and the client's buffer holds it."""
        former, self.seen = self.object_id, NOTHING
        if not mask.any():
            self._turn_to(None, (*self._former, former))
            return
        found = self._same(annotation, mask)
        if found is None:
            found = annotation.add()
            found.session.start_from(mask)
        if found.id == former:
            self._queue = ()
        else:
            self._turn_to(found.id, (*self._former, former))
        self.seen = seen_of(found.session.history)

    def reset(self, annotation: Annotation) -> None:
        """The next object: prompts are wiped, the client's buffer is empty. An unused one is used again."""
        session = self._session(annotation)
        is_used = session is not None and session.can_undo
        self._turn_to(None if is_used else self.object_id, ())
        self.seen = NOTHING

    def show_nothing(self) -> None:
        """The client has a new buffer, which is empty."""
        self.seen = NOTHING

    def show_anything(self) -> None:
        """Nobody knows what the client's buffer holds: the next answer is all of the volume."""
        self.seen = None

    def undo(self, annotation: Annotation) -> bool:
        """Take back the last call; False when there is none. No sweep of the object may be running."""
        if self._queue:
            self._queue = self._queue[:-1]
            return True
        session = self._session(annotation)
        if session is not None and session.pending:
            self._take_back(session)
            return True
        if session is not None and session.rounds:
            self._undo_round(session)
            if not session.can_undo and self._former:
                self._turn_to(self._former[-1], self._former[:-1])
            return True
        if self._former:
            self._turn_to(self._former[-1], self._former[:-1])
            return True
        return False

    def refine(self, annotation: Annotation) -> bool:
        """Queue a click in the middle of the object on its largest slice, to carry all of it again.

        False when there is no object to refine.
        """
        session = self._session(annotation)
        extent = session.history.extent() if session is not None else None
        if session is None or extent is None:
            return False
        axis, part = session.axis, session.history.part(*extent)
        areas = part.sum(tuple(a for a in range(3) if a != axis), dtype=np.int64)
        position = int(areas.argmax())
        place = [*centre(np.take(part, position, axis) > 0)]
        place.insert(axis, position)
        i, j, k = (int(n) + start for n, start in zip(place, extent[0], strict=True))
        self.add(Step((Placed(axis, Click((i, j, k))),)))
        return True

    # What comes of it

    def give(self, annotation: Annotation) -> bool:
        """Give the session what is queued for one axis; whether something now waits for a sweep.

        Negative prompts wait while nothing is segmented that they could correct. When a prompt cannot be
        used, its call is dropped, nothing of it stays, and its PromptError is raised.
        """
        self._check_pending(annotation)
        while (step := self._next(annotation)) is not None:
            self._queue = tuple(other for other in self._queue if other is not step)
            session = self._begun(annotation).session
            num_pending = len(session.pending)
            try:
                for placed in step.prompts:
                    prompt(session, placed)
            except BaseException:
                while len(session.pending) > num_pending:
                    session.undo()
                raise
            self._given = (*self._given, step)
        session_now = self._session(annotation)
        return session_now is not None and bool(session_now.pending)

    def carried(self, annotation: Annotation) -> None:
        """A sweep is done: what was given belongs to the last round."""
        session = self._session(annotation)
        if session is not None and session.rounds and not session.pending:
            self._rounds[session.rounds[-1]] = self._given
        self._given = ()

    def drop(self, annotation: Annotation) -> None:
        """A sweep failed: take back what was given, so that the call has changed nothing."""
        session = self._session(annotation)
        while session is not None and session.pending and self._given:
            self._take_back(session)
        self._given = ()

    def answer(self, annotation: Annotation, running: Iterable[SliceMask] = ()) -> Patch | None:
        """What differs from what the client has seen; from now on it has seen this, too."""
        session = self._session(annotation)
        now = NOTHING if session is None else seen_of(session.history, running)
        patch = whole(now, annotation.volume.shape) if self.seen is None else difference(self.seen, now)
        self.seen = now
        return patch

    # How

    def _turn_to(self, object_id: int | None, former: tuple[int | None, ...]) -> None:
        """Speak of another object from now on; None: one that does not exist yet."""
        self.object_id, self._former = object_id, former
        self._queue = self._given = ()

    def _begun(self, annotation: Annotation) -> Object:
        """The object, made if need be."""
        if self.object_id is None or self._session(annotation) is None:
            self.object_id = annotation.add().id
        return annotation.object(self.object_id)

    def _session(self, annotation: Annotation) -> Session | None:
        """The object's session; None before it exists, or when somebody has removed it."""
        found = [item.session for item in annotation.objects if item.id == self.object_id]
        return found[0] if found else None

    def _same(self, annotation: Annotation, mask: NDArray[np.bool_]) -> Object | None:
        """The newest object whose mask is this one; an empty mask is nobody's."""
        voxels = int(mask.sum())
        for item in reversed(annotation.objects):
            extent = item.session.history.extent() if voxels and not item.locked else None
            if extent is not None and not item.session.pending:
                part = item.session.history.part(*extent)
                box = tuple(slice(a, b) for a, b in zip(*extent, strict=True))
                if int(part.sum(dtype=np.int64)) == voxels and np.array_equal(part > 0, mask[box]):
                    return item
        return None

    def _next(self, annotation: Annotation) -> Step | None:
        """The queue's next step that can be given now: of the pending prompts' axis, first a positive one."""
        session = self._session(annotation)
        pending = session is not None and bool(session.pending)
        if session is not None and (pending or session.history.extent() is not None):
            wanted = self._queue[:1]
        else:
            wanted = tuple(step for step in self._queue if step.positive)[:1]
        if not wanted or (session is not None and pending and wanted[0].axis != session.axis):
            return None
        return wanted[0]

    def _check_pending(self, annotation: Annotation) -> None:
        """Forget what was given when it is no longer what is pending: others may work on the object, too."""
        session = self._session(annotation)
        pending = [] if session is None else [Placed(p.axis, p.prompt) for p in session.history.pending]
        if pending != [placed for step in self._given for placed in step.prompts]:
            self._given = ()

    def _take_back(self, session: Session) -> None:
        """Undo the last step whose prompts are pending, or one prompt that nobody knows of."""
        *rest, step = self._given or (None,)
        self._given = tuple(other for other in rest if other is not None)
        for _ in step.prompts if step is not None else (None,):
            session.undo()

    def _undo_round(self, session: Session) -> None:
        """Undo the last round; of its steps all but the last one are queued again."""
        done = session.rounds[-1]
        steps = self._rounds.pop(done, None)
        if steps is None or tuple(p.prompt for step in steps for p in step.prompts) != done.prompts:
            steps = tuple(Step((Placed(done.axis, given),), _is_positive(given)) for given in done.prompts)
        session.undo()
        self._queue = steps[:-1]


def prompt(session: Session, placed: Placed) -> None:
    """Give a session a prompt."""
    axis, given = placed.axis, placed.prompt
    if isinstance(given, Click):
        session.click(given.index, given.positive, axis)
    elif isinstance(given, Box):
        session.box(given.low, given.high, given.positive, axis)
    elif isinstance(given, Scribble):
        session.scribble(given.points, given.positive, axis)
    elif isinstance(given, Lasso):
        session.lasso(given.points, given.positive, axis)
    else:
        session.paint(given.mask, given.index, axis)


def _is_positive(given: object) -> bool:
    return bool(getattr(given, "positive", True))
