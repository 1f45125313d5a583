"""ITK-SNAP's protocol for segmentation servers, as its versions 4.4 (v1 paths) and later (v2) speak it.

    model ─► session (a lease, its token in the path) ─► image ─► points, scribbles, lassos
                                                   answer: the object's mask, all of it, every time

ITK-SNAP erases its label wherever an answer is 0, so that answers are never partial. It has no undo towards
the server and no time limit of its own. "Reset" comes when the user takes another label: the next object.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from limnet.compat import given
from limnet.compat.order import voxel_of
from limnet.server.itksnap_wire import Placed, read_drawing, read_image, read_placed, reply
from limnet.server.nni_lease import Lease, LeaseGone, Leases, NniSettings
from limnet.server.nni_talk import Talk, talking
from limnet.server.nni_wire import BadRequest, Body, ProtocolRoute
from limnet.server.refusals import NotFound
from limnet.server.room import Room, RoomDep
from limnet.server.viewer_user import ViewerDep

VERSION = "0.1.6"  # of the protocol; ITK-SNAP asks for 0.1.2 or later
NEW, CONTINUED = "limnet", "limnet-continue"
ALIASES = ("nnInteractive",)  # what programs ask for that do not read the list
PROMPTS = ["point", "scribble", "lasso"]
REPLY_SECONDS = 600.0  # for a whole answer; beyond it comes what is done
LIVENESS_SECONDS = 600.0  # it sends no sign of life but its requests


class SnapRoute(ProtocolRoute):
    """A session that is not known is "not found" here; ITK-SNAP opens a new one then."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's function, whose errors are the protocol's."""
        answer = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await answer(request)
            except LeaseGone as error:
                raise NotFound(f"invalid session: {error}") from None

        return answered


router = APIRouter(route_class=SnapRoute, include_in_schema=False)


def install(app: FastAPI, room: Room) -> None:
    """Let an application speak the protocol."""
    limits = NniSettings.of(room.settings, liveness_seconds=LIVENESS_SECONDS)
    app.state.snap_leases = Leases(room.settings.work_dir / "itksnap", limits)
    app.include_router(router)


def leases_of(request: Request) -> Leases:
    """The sessions of the server that was asked."""
    leases: Leases = request.app.state.snap_leases
    return leases


LeasesDep = Annotated[Leases, Depends(leases_of)]


Talker = Callable[[], AbstractContextManager[Talk]]


def talk_of(user: ViewerDep, room: RoomDep, leases: LeasesDep, session_id: str) -> Talker:
    """Who speaks for the session in the path."""
    return partial(_talk, room, leases, leases.find(user, session_id, is_action=True))


TalkDep = Annotated[Talker, Depends(talk_of)]


# Sessions


@router.get("/status")
def status() -> dict[str, str]:
    """Whether somebody is here, and what is spoken; needs no key."""
    return {"status": "ok", "version": VERSION}


@router.get("/v2/models")
def models(user: ViewerDep) -> Body:
    """What may be chosen: to begin an object, or to go on with the image's last one."""
    facts = {"channels": [1, 3], "dimensions": 3, "interactions": PROMPTS}
    return {"models": [{"id": name, **facts} for name in (NEW, CONTINUED)]}


@router.get("/start_session")
def start(user: ViewerDep, leases: LeasesDep) -> dict[str, str]:
    """A session; 503 when there are too many."""
    return {"session_id": leases.claim(user)}


@router.get("/v2/start_session/{model_id:path}")
def start_with(user: ViewerDep, leases: LeasesDep, model_id: str) -> dict[str, str]:
    """A session that begins an object, or goes on with one."""
    if model_id not in (NEW, CONTINUED, *ALIASES):
        raise NotFound(f"no model {model_id[:64]!r}; there are {NEW} and {CONTINUED}")
    token = leases.claim(user)
    leases.find(user, token, is_action=True).resumes = model_id == CONTINUED
    leases.write()
    return {"session_id": token}


@router.get("/end_session/{session_id}")
@router.get("/v2/end_session/{session_id}")
def end(user: ViewerDep, leases: LeasesDep, session_id: str) -> dict[str, str]:
    """Give a session back; the work stays."""
    leases.release(user, session_id)
    return {"message": "Session ended"}


@router.get("/reset_interactions/{session_id}")
@router.get("/v2/reset_interactions/{session_id}")
def reset(talk_with: TalkDep) -> dict[str, str]:
    """The next object."""
    with talk_with() as talk:
        talk.reset()
    return {"status": "success"}


# Images and prompts


@router.post("/upload_raw/{session_id}")
@router.post("/v2/upload_raw/{session_id}")
async def upload(request: Request, room: RoomDep, talk_with: TalkDep) -> dict[str, str]:
    """A new image."""
    async with uploaded(request, room) as (placed, file):

        def work() -> dict[str, str]:
            with talk_with() as talk:
                talk.open(read_image(file.file, placed), placed.said, num_channels=placed.num_channels)
            return {"message": "image received"}

        return await run_in_threadpool(work)


@router.get("/process_point_interaction/{session_id}")
def point(talk_with: TalkDep, x: int, y: int, z: int, foreground: bool = False) -> Body:
    """A point (x, y, z)."""
    return _add(talk_with, partial(given.point, coordinates=(z, y, x), positive=foreground))


@router.get("/v2/process_point_interaction/{session_id}")
def point_v2(
    talk_with: TalkDep,
    point: Annotated[list[int], Query(min_length=3, max_length=3)],
    foreground: bool = False,
) -> Body:
    """A point, as three values of one name: x, y, z."""
    return _add(talk_with, partial(given.point, coordinates=voxel_of(point), positive=foreground))


@router.post("/process_scribble_interaction/{session_id}")
@router.post("/v2/process_scribble_interaction/{session_id}")
async def scribble(request: Request, room: RoomDep, talk_with: TalkDep, foreground: bool = False) -> Body:
    """A drawing in a volume of the image's size."""
    return await _add_drawing(given.scribble, request, room, talk_with, foreground)


@router.post("/process_lasso_interaction/{session_id}")
@router.post("/v2/process_lasso_interaction/{session_id}")
async def lasso(request: Request, room: RoomDep, talk_with: TalkDep, foreground: bool = False) -> Body:
    """A closed line or the area in it, likewise."""
    return await _add_drawing(given.lasso, request, room, talk_with, foreground)


# How


@contextmanager
def _talk(room: Room, leases: Leases, lease: Lease) -> Iterator[Talk]:
    """Speak for a session, alone; what changed of it is on disk afterwards."""
    try:
        with talking(room, leases, lease, REPLY_SECONDS) as talk:
            yield talk
    finally:
        leases.write()


@asynccontextmanager
async def uploaded(request: Request, room: Room) -> AsyncIterator[tuple[Placed, UploadFile]]:
    """The two parts of an upload, `metadata` and `file`."""
    async with request.form(max_files=1, max_fields=4) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise BadRequest("file: expected a part with the gzipped voxels")
        yield read_placed(form.get("metadata"), room.settings.max_voxels), file


def _add(talk_with: Talker, step_of: Callable[..., given.Step]) -> Body:
    with talk_with() as talk:
        talk.dialogue.show_anything()
        return reply(talk.add(step_of, run_prediction=True), talk)


async def _add_drawing(
    step_of: Callable[..., given.Step], request: Request, room: Room, talk_with: Talker, positive: bool
) -> Body:
    async with uploaded(request, room) as (placed, file):

        def work() -> Body:
            drawn = read_drawing(file.file, placed)
            return _add(talk_with, partial(step_of, image=drawn, bbox=None, positive=positive))

        return await run_in_threadpool(work)
