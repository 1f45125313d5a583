"""What nnInteractive's clients ask for, done: images, prompts, predictions, undo.

A prediction is a sweep of the server's own (`sweeps.py`), so that the annotator's page shows it as it goes,
and no two sweeps of an object ever run. A client waits 60 s for an answer: when a sweep takes longer it gets
the slices that are done, the sweep goes on, and the next answer brings the rest.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from limnet.annotation import Annotation
from limnet.compat import given
from limnet.compat.dialogue import Dialogue
from limnet.compat.given import Step
from limnet.compat.order import volume_of, voxel_of
from limnet.compat.seen import Patch
from limnet.compat.session import check_buffer
from limnet.errors import PromptError
from limnet.memory import SliceMask
from limnet.server import nnia
from limnet.server.models import SweepSlice
from limnet.server.nni_lease import Lease, LeaseGone
from limnet.server.refusals import Conflict, Full, NotFound, Refusal
from limnet.server.room import Room
from limnet.server.same_image import Said, reopen_same
from limnet.server.slices import mask_of
from limnet.server.sweeps import Sweep
from limnet.volume import Volume

RESUME = "limnet_resume"  # image property: continue the image's last object
SILENT_NAME = "image from a viewer"


class SweepFailed(Refusal):
    """A prediction that did not come to its end."""

    status = 500
    title = "Prediction failed"


@dataclass(frozen=True)
class Prediction:
    """What a client gets: whether anything ran, and what it is to paste."""

    has_run: bool
    patch: Patch | None


class Endings(Protocol):
    """Who must know that a lease's image is gone."""

    def end(self, lease: Lease) -> None:
        """It is."""


@contextmanager
def talking(room: Room, leases: Endings, lease: Lease, seconds: float) -> Iterator[Talk]:
    """Speak for a lease, alone, and answer within `seconds`; 0 waits for earlier requests without end.

    Conflict when an earlier request of it is still being answered then.
    """
    deadline = time.monotonic() + seconds
    if not lease.lock.acquire(timeout=seconds or -1):
        raise Conflict("an earlier request of this session is still being answered; wait for it")
    try:
        yield Talk(room, leases, lease, deadline)
    finally:
        lease.lock.release()


class Talk:
    """The protocol's verbs for one lease, whose lock is held."""

    def __init__(self, room: Room, leases: Endings, lease: Lease, deadline: float) -> None:
        """`deadline` is when an answer must go out, on the clock of `time.monotonic`."""
        self.room = room
        self.leases = leases
        self.lease = lease
        self.deadline = deadline

    @property
    def dialogue(self) -> Dialogue:
        """Of the lease."""
        return self.lease.dialogue

    # Images

    def set_image(self, image: NDArray[Any], properties: dict[str, Any]) -> tuple[str, ...]:
        """A new image (C, k, j, i); what had to be assumed, in words."""
        volume, notes = volume_of(image, properties.get("spacing"), source=SILENT_NAME)
        said: Said = "nothing" if properties.get("spacing") is None else "spacing"
        self.lease.resumes = properties.get(RESUME) is True
        self.open(volume, said, num_channels=len(image))
        return notes

    def open(self, volume: Volume, said: Said, *, num_channels: int = 1) -> None:
        """A new image, of whose grid the client said so much.

        One that this user has already, sent or opened, comes with the objects made on it.
        """
        lease, room = self.lease, self.room
        if np.prod(volume.shape) > room.settings.max_voxels:
            raise nnia.TooLarge(
                f"image of shape {volume.shape}: at most {room.settings.max_voxels} voxels are taken"
            )
        with room.workspace.opening(lease.user):
            volume_id = reopen_same(room, lease.user, volume, said)
            if volume_id is None:
                name = f"{SILENT_NAME}, {' x '.join(map(str, volume.shape))}"
                volume_id = room.workspace.open_volume(lease.user, volume, name)
        with room.workspace.use(lease.user, volume_id) as annotation:
            last = annotation.objects[-1].id if annotation.objects and lease.resumes else None
        lease.volume_id, lease.num_channels, lease.has_buffer = volume_id, num_channels, False
        lease.dialogue, lease.sweep = Dialogue(last), None
        room.audit.write(lease.user, "image from a viewer", volume=volume_id)

    def set_target_buffer(self, shape: object, dtype: object) -> None:
        """The client has a new buffer, all zero."""
        check_buffer(shape, dtype, self.shape)
        self.lease.has_buffer = True
        self.dialogue.show_nothing()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the image, in our order; PromptError when there is none."""
        if self.lease.volume_id is None:
            raise PromptError("no image; send one with set_image first")
        with self._found():
            return self.room.workspace.find(self.lease.user, self.lease.volume_id).record.facts.shape

    # Prompts

    def add(self, step_of: Callable[[Volume], Step], run_prediction: bool) -> Prediction:
        """Queue a prompt and, if asked, predict."""
        with self._volume() as volume:
            self.dialogue.add(step_of(volume))
        return self.predict() if run_prediction else Prediction(False, None)

    def start_from(self, image: NDArray[Any], run_prediction: bool) -> Prediction:
        """An initial segmentation (k, j, i); it wipes the prompts; the client's buffer holds it already."""
        self._end_sweep()
        with self.annotation() as annotation:
            mask = given.whole_mask(annotation.volume, image)
            self.check_room(len(annotation.objects))
            self.dialogue.start_from(annotation, mask)
        return self.predict(refine=True) if run_prediction else Prediction(False, None)

    def reset(self) -> None:
        """The next object. A sweep of the former one goes on."""
        if self.lease.volume_id is None:
            return
        self.lease.sweep = None
        with self.annotation() as annotation:
            self.dialogue.reset(annotation)

    def undo(self) -> Prediction:
        """Take back the last call; has not run when there is none."""
        self._end_sweep()
        with self.annotation() as annotation:
            if self.dialogue.object_id is not None:
                self._refuse_others()
            has_run = self.dialogue.undo(annotation)
            return Prediction(has_run, self.dialogue.answer(annotation) if has_run else None)

    def predict(self, *, refine: bool = False) -> Prediction:
        """Carry what waits; with `refine` and nothing waiting, all of the object anew."""
        has_run = self.lease.sweep is not None
        if not self._settled():
            return self._so_far()
        if refine and not self.dialogue.is_waiting:
            with self.annotation() as annotation:
                self.dialogue.refine(annotation)
        while self._give():
            has_run = True
            if not self._carry():
                return self._so_far()
            if self.lease.sweep is not None:  # cancelled by somebody else: its prompts stay pending
                break
        with self.annotation() as annotation:
            patch = self.dialogue.answer(annotation)
        return Prediction(has_run or patch is not None, patch)

    # How

    def _give(self) -> bool:
        """Give the session what waits for one axis; whether a sweep is to follow."""
        with self._found(), self.room.workspace.work(self.lease.user, self._volume_id) as annotation:
            if self.dialogue.object_id is None and self.dialogue.is_waiting:
                self.check_room(len(annotation.objects))
            return self.dialogue.give(annotation)

    def _carry(self) -> bool:
        """Run the sweep of what is pending; False when time is up before its end."""
        object_id = self.dialogue.object_id
        assert object_id is not None, "prompts are pending in no object"
        self.lease.sweep = self.room.sweeps.start(self.lease.user, self._volume_id, object_id)
        return self._settled()

    def _settled(self) -> bool:
        """Wait until no sweep of the object runs, note how this client's ended; False when time is up."""
        sweep = self.lease.sweep or self._running()
        if sweep is None:
            return True
        if not sweep.wait(max(0.0, self.deadline - time.monotonic())):
            return False
        if sweep is self.lease.sweep:
            self._note(sweep)
        return True

    def _note(self, sweep: Sweep) -> None:
        """A sweep of this client has ended."""
        end = sweep.events[-1]
        if end.kind == "cancelled":
            return
        self.lease.sweep = None
        with self.annotation() as annotation:
            if end.kind == "done":
                self.dialogue.carried(annotation)
                return
            self.dialogue.drop(annotation)
        raise SweepFailed(json.loads(end.data).get("detail", "the sweep failed"))

    def _end_sweep(self) -> None:
        """Stop this client's own sweep: what it would have brought is not wanted any more."""
        if self.lease.sweep is not None:
            self.lease.sweep.cancel()
            self.lease.sweep.wait()
            self._note(self.lease.sweep)
            self.lease.sweep = None

    def _so_far(self) -> Prediction:
        """What a running sweep has told already."""
        sweep = self.lease.sweep or self._running()
        told = [event.data for event in (sweep.events[:] if sweep else []) if event.kind == "slice"]
        with self.annotation() as annotation:
            return Prediction(True, self.dialogue.answer(annotation, map(_slice_mask, told)))

    def _running(self) -> Sweep | None:
        """A running sweep of the object, whoever began it."""
        if self.dialogue.object_id is None:
            return None
        sweep = self.room.sweeps.last(self.lease.user, self._volume_id, self.dialogue.object_id)
        return sweep if sweep is not None and sweep.is_running else None

    def _refuse_others(self) -> None:
        if self._running() is not None:
            raise Conflict(
                "a sweep of this object runs in the annotator; cancel it there, or wait for its end"
            )

    def check_room(self, num_objects: int) -> None:
        """Full when the image has as many objects as there may be."""
        limit = self.room.settings.max_objects
        if num_objects >= limit:
            raise Full(f"the image has {limit} objects, the most allowed; delete some in the annotator")

    @property
    def _volume_id(self) -> str:
        if self.lease.volume_id is None:
            raise PromptError("no image; send one with set_image first")
        return self.lease.volume_id

    @contextmanager
    def annotation(self) -> Iterator[Annotation]:
        """The annotation under its lock, opened again when somebody closed it."""
        with self._found(), self.room.workspace.use(self.lease.user, self._volume_id) as annotation:
            yield annotation

    @contextmanager
    def _volume(self) -> Iterator[Volume]:
        with self.annotation() as annotation:
            yield annotation.volume

    @contextmanager
    def _found(self) -> Iterator[None]:
        """An image that was closed is opened again; one that was deleted ends the lease."""
        user, volume_id = self.lease.user, self._volume_id
        try:
            if self.room.workspace.find(user, volume_id).record.is_closed:
                self.room.workspace.reopen(user, volume_id)
            yield
        except NotFound:
            self.leases.end(self.lease)
            raise LeaseGone(
                "this image was deleted in the annotator; connect again and send it anew"
            ) from None


def _slice_mask(data: str) -> SliceMask:
    """A slice as a sweep told it."""
    found = SweepSlice.model_validate_json(data)
    return SliceMask(found.axis, found.index, mask_of(found.runs, found.shape))


def shape_of(lease: Lease, shape: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """The image's shape as the client sent it, (C, k, j, i)."""
    return (lease.num_channels, *voxel_of(shape))
