"""The protocol of nnInteractive's plugins for 3D Slicer up to 0.3.2: one image, one user, no sessions.

    upload_image ─► upload_segment (empty: the next object; else this one) ─► points, boxes, drawings
                                                          answer: one bit per voxel of the whole volume

Four paths are those of the protocol that followed it (`nninteractive.py`), whose clients always show a lease;
who shows none, and speaks the words of the older one, is answered here. Errors are answers with status 200:
"No image uploaded" makes a plugin send its image and segment again and repeat what it asked, which is how it
goes on after a restart of the server. For an image that cannot be used it would do so for ever; so for a
while after one was refused, the reason is told instead.
"""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import HTTPException
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.routing import Match
from starlette.types import Scope

from limnet.compat import given
from limnet.compat.order import turned, volume_of
from limnet.errors import LimNetError
from limnet.server.nni_lease import Lease, LeaseGone
from limnet.server.nni_talk import Prediction, Talk, talking
from limnet.server.nni_wire import BadRequest, Body, read, table_of
from limnet.server.packed import gunzip, read_npy
from limnet.server.refusals import Forbidden, KeyNeeded, Refusal
from limnet.server.room import Room, RoomDep
from limnet.server.viewer_user import ViewerDep

MIB = 2**20
SMALL = MIB  # of a JSON body
LARGEST_VOXEL = 8  # bytes
HEADER_ROOM = 4096 + 12  # bytes before the voxels of an NPY file
REPLY_SECONDS = 600.0  # plugins wait for ever
TOLD_SECONDS = 60.0  # for which it is told why an image was refused; later the plugin may try again
EFFORT = 1  # of gzip
NO_IMAGE = "No image uploaded"  # the plugin looks for these words
SOURCE = "image from a viewer"
SIGNS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
LATER_WORDS = ("coordinates", "bbox_coords")  # of the protocol that followed


class LegacyRoute(APIRoute):
    """A route for requests without a lease, whose errors are answers with status 200."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether a request is for this route: none that shows a lease is."""
        if "x-lease-token" in Headers(scope=scope):
            return Match.NONE, {}
        return super().matches(scope)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's function, whose errors are the protocol's."""
        answer = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await answer(request)
            except _NoImage:
                return _error(NO_IMAGE)
            except LeaseGone:
                raise
            except (KeyNeeded, Forbidden):
                raise
            except LimNetError as error:
                return _error(str(error))
            except HTTPException as error:
                return _error(str(error.detail))

        return answered


class DrawingRoute(LegacyRoute):
    """Likewise, for forms only: the later protocol's drawings are plain bytes."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether a request is for this route."""
        if not Headers(scope=scope).get("content-type", "").startswith("multipart/form-data"):
            return Match.NONE, {}
        return super().matches(scope)


class _NoImage(Refusal):
    """The plugin is to send its image."""


class LegacyTalks:
    """What each user's plugin works on; its lock is held for moments, no other is taken under it."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._lock = threading.Lock()
        self._leases: dict[str, Lease] = {}
        self._refused: dict[str, tuple[str, float]] = {}  # by user: why the last image was, and when

    def end(self, lease: Lease) -> None:
        """Forget an image that is gone."""
        with self._lock:
            self._leases.pop(lease.user, None)

    def refuse(self, user: str, reason: str) -> None:
        """The user's image could not be used; no prompt may go to the one before it."""
        with self._lock:
            self._leases.pop(user, None)
            self._refused[user] = reason, time.monotonic()

    @contextmanager
    def talk(self, user: str, *, is_new: bool = False) -> Iterator[Talk]:
        """Speak for a user, alone; `is_new` when an image comes, else there must be one."""
        with self._lock:
            reason, when = self._refused.get(user, ("", -TOLD_SECONDS))
            if not is_new and time.monotonic() - when < TOLD_SECONDS:
                raise BadRequest(f"the image was refused: {reason}")
            self._refused.pop(user, None)
            now = time.time()
            lease = self._leases.setdefault(user, Lease("legacy", user, acted=now, heard=now))
        try:
            with talking(self._room, self, lease, REPLY_SECONDS) as talk:
                if lease.volume_id is None and not is_new:
                    raise _NoImage(NO_IMAGE)
                yield talk
        except LeaseGone:
            raise _NoImage(NO_IMAGE) from None  # deleted in the annotator: the plugin sends it again


plain = APIRouter(route_class=LegacyRoute, include_in_schema=False)
forms = APIRouter(route_class=DrawingRoute, include_in_schema=False)


def install(app: FastAPI, room: Room) -> None:
    """Let an application speak the protocol; before the later one, whose paths it shares."""
    app.state.legacy_talks = LegacyTalks(room)
    app.include_router(plain)
    app.include_router(forms)


def talks_of(request: Request) -> LegacyTalks:
    """Who works on what."""
    talks: LegacyTalks = request.app.state.legacy_talks
    return talks


TalksDep = Annotated[LegacyTalks, Depends(talks_of)]


@forms.post("/upload_image")
async def upload_image(request: Request, user: ViewerDep, room: RoomDep, talks: TalksDep) -> Body:
    """A new image, as a plain NPY file (k, j, i), or (k, j, i, 3) in colours."""
    try:
        async with request.form(max_files=1, max_fields=2) as form:
            file = _file(form)
            largest = min(room.settings.max_upload_mib * MIB, room.settings.max_voxels * LARGEST_VOXEL)

            def work() -> Body:
                array = read_npy(file.file.read(), largest, "image")
                volume, _ = volume_of(_channels_first(array), source=SOURCE)
                with talks.talk(user, is_new=True) as talk:
                    talk.open(volume, "nothing", num_channels=3 if volume.is_rgb else 1)
                return {"status": "ok"}

            return await run_in_threadpool(work)
    except (LimNetError, HTTPException) as error:
        talks.refuse(user, str(error.detail if isinstance(error, HTTPException) else error))
        raise


@forms.post("/upload_segment")
async def upload_segment(request: Request, user: ViewerDep, talks: TalksDep) -> Body:
    """The segment that is worked on; one without a voxel is the next object."""
    async with request.form(max_files=1, max_fields=2) as form:
        file = _file(form)

        def work() -> Body:
            with talks.talk(user) as talk:
                mask = _mask(file, talk)
                if mask.any():
                    talk.start_from(mask, run_prediction=False)
                else:
                    talk.reset()
            return {"status": "ok"}

        return await run_in_threadpool(work)


@plain.post("/add_point_interaction")
async def add_point(request: Request, user: ViewerDep, talks: TalksDep) -> Response:
    """A point (k, j, i)."""
    body = await _json(request)
    step = partial(
        given.point, coordinates=body.get("voxel_coord"), positive=_sign(body.get("positive_click"))
    )
    return await run_in_threadpool(_add, talks, user, lambda _: step)


@plain.post("/add_bbox_interaction")
async def add_bbox(request: Request, user: ViewerDep, talks: TalksDep) -> Response:
    """A box on one slice, by two opposite corners that belong to it."""
    body = await _json(request)
    corners = [_corner(body, name) for name in ("outer_point_one", "outer_point_two")]
    bounds = [[min(pair), max(pair) + 1] for pair in zip(*corners, strict=True)]
    step = partial(given.box, coords=bounds, positive=_sign(body.get("positive_click")))
    return await run_in_threadpool(_add, talks, user, lambda _: step)


@forms.post("/add_scribble_interaction")
async def add_scribble(request: Request, user: ViewerDep, talks: TalksDep) -> Response:
    """A drawing, as a mask of the whole volume."""
    return await _add_drawing(given.scribble, request, user, talks)


@forms.post("/add_lasso_interaction")
async def add_lasso(request: Request, user: ViewerDep, talks: TalksDep) -> Response:
    """A closed line or the area in it, likewise."""
    return await _add_drawing(given.lasso, request, user, talks)


# How


async def _add_drawing(
    step_of: Callable[..., given.Step], request: Request, user: str, talks: LegacyTalks
) -> Response:
    async with request.form(max_files=1, max_fields=4) as form:
        file, positive = _file(form), _sign(form.get("positive_click"))

        def step(talk: Talk) -> Callable[[Any], given.Step]:
            return partial(step_of, image=_mask(file, talk), bbox=None, positive=positive)

        return await run_in_threadpool(_add, talks, user, step)


def _add(talks: LegacyTalks, user: str, step_of: Callable[[Talk], Callable[[Any], given.Step]]) -> Response:
    with talks.talk(user) as talk:
        talk.dialogue.show_anything()
        return _reply(talk.add(step_of(talk), run_prediction=True))


def _reply(prediction: Prediction) -> Response:
    """The whole mask, a bit per voxel of (k, j, i), the highest first, packed for the client to unpack."""
    assert prediction.patch is not None, "all of the volume was asked for"
    bits = np.packbits(turned(prediction.patch.block), axis=None)
    packed = gzip.compress(bits.tobytes(), EFFORT)
    return Response(packed, media_type="application/octet-stream", headers={"Content-Encoding": "gzip"})


def _mask(file: UploadFile, talk: Talk) -> NDArray[Any]:
    """A packed mask (k, j, i) of the image's voxels."""
    i, j, k = talk.shape
    largest = i * j * k * LARGEST_VOXEL
    return read_npy(gunzip(file.file, largest + HEADER_ROOM, "mask"), largest, "mask")


def _channels_first(array: NDArray[Any]) -> NDArray[Any]:
    """(C, k, j, i) of (k, j, i) or (k, j, i, C)."""
    return np.moveaxis(array, -1, 0) if array.ndim == 4 else array[None]


def _file(form: FormData) -> UploadFile:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise BadRequest("file: expected a part with an NPY file")
    return file


async def _json(request: Request) -> Body:
    """A body in the words of this protocol; LeaseGone for those of the later one, which need a lease."""
    body = table_of(await read(request, SMALL), "body")
    if any(word in body for word in LATER_WORDS):
        raise LeaseGone("this session is not known any more; connect again, and nothing is lost")
    return body


def _sign(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in SIGNS:
        return SIGNS[value.lower()]
    raise BadRequest(f"positive_click: expected true or false, got {value!r:.40}")


def _corner(body: Body, name: str) -> list[int]:
    corner = body.get(name)
    if not isinstance(corner, list) or len(corner) != 3 or not all(type(n) is int for n in corner):
        raise BadRequest(f"{name}: expected [k, j, i], got {corner!r:.80}")
    return corner


def _error(message: str) -> Response:
    return JSONResponse({"status": "error", "message": " ".join(message.split())})
