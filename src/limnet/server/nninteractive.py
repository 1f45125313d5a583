"""nnInteractive's protocol as its clients 2.6 speak it: napari-nninteractive, 3D Slicer, scripts.

    request ─► user (key) ─► lease (token) ─► talk ─► dialogue (compat/) ─► annotation of the workspace
      JSON, or an NNIA array with its metadata in X-Meta           answer: the box that changed, to be pasted

What is shared and which lock guards it: `nni_lease.py`. Paths and names are the protocol's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response
from fastapi.exceptions import HTTPException
from starlette.concurrency import run_in_threadpool

from limnet.compat import given
from limnet.compat.capabilities import Capabilities, capabilities
from limnet.server import nnia
from limnet.server.nni_lease import AtCapacity, Lease, Leases, NniSettings
from limnet.server.nni_talk import Talk, shape_of, talking
from limnet.server.nni_wire import BadRequest, Body, ProtocolRoute, flag, read, reply, table_of
from limnet.server.room import Room, UserDep, room_of

MIB = 2**20
RETRY_SECONDS = 10  # after which a client that found no place may try again
SMALL = MIB  # of a JSON body
LARGEST_VOXEL = 8  # bytes

router = APIRouter(route_class=ProtocolRoute, include_in_schema=False)


def install(app: FastAPI, room: Room, settings: NniSettings | None = None) -> None:
    """Let an application speak the protocol."""
    limits = settings or NniSettings.of(room.settings)
    app.state.leases = Leases(room.settings.work_dir / "nninteractive", limits)
    app.include_router(router)


def leases_of(request: Request) -> Leases:
    """The leases of the server that was asked."""
    leases: Leases = request.app.state.leases
    return leases


LeasesDep = Annotated[Leases, Depends(leases_of)]
Token = Annotated[str | None, Header(alias="X-Lease-Token")]
RoomDep = Annotated[Room, Depends(room_of)]


# Leases


@router.get("/healthz")
def healthz() -> dict[str, bool]:
    """Whether somebody is here; needs no key."""
    return {"ok": True}


@router.post("/claim")
def claim(user: UserDep, leases: LeasesDep) -> Body:
    """A place, and a token that stands for it."""
    settings = leases.settings
    try:
        token = leases.claim(user)
    except AtCapacity as error:
        raise HTTPException(503, str(error), headers={"Retry-After": str(RETRY_SECONDS)}) from None
    return {
        "lease_token": token,
        "idle_timeout_seconds": settings.idle_seconds,
        "liveness_timeout_seconds": settings.liveness_seconds,
        "max_sessions": settings.max_sessions,
    }


@router.post("/release")
def release(user: UserDep, leases: LeasesDep, token: Token = None) -> dict[str, bool]:
    """Give a place back; the work stays."""
    leases.release(user, token)
    return {"released": True}


@router.get("/capabilities", response_model=None)  # pydantic knows TypedDict from Python 3.12 on
def read_capabilities(user: UserDep, leases: LeasesDep, token: Token = None) -> Capabilities:
    """What LIM-Net can do."""
    leases.find(user, token, is_action=False)
    return capabilities()


@router.post("/heartbeat")
def heartbeat(user: UserDep, leases: LeasesDep, token: Token = None) -> dict[str, float]:
    """The client is alive; its user need not be."""
    return {"remaining_seconds": leases.remaining(leases.find(user, token, is_action=False))}


@router.get("/lease_status")
def lease_status(user: UserDep, leases: LeasesDep, token: Token = None) -> dict[str, float]:
    """How long the lease lasts if nothing happens."""
    remaining = leases.remaining(leases.find(user, token, is_action=False))
    return {"remaining_seconds": remaining, "idle_timeout_seconds": leases.settings.idle_seconds}


# Actions: each takes the lease's lock, in a thread of its own


def lease_of(user: UserDep, leases: LeasesDep, token: Token = None) -> Lease:
    """The lease of whoever acts."""
    return leases.find(user, token, is_action=True)


LeaseDep = Annotated[Lease, Depends(lease_of)]


async def json_of(request: Request) -> Body:
    """A JSON body; BadRequest when it is none."""
    return table_of(await read(request, SMALL), "body")


async def meta_of(request: Request) -> Body:
    """The metadata of a binary body."""
    return table_of(request.headers.get("x-meta", "{}").encode("latin-1"), "X-Meta header")


JsonDep = Annotated[Body, Depends(json_of)]
MetaDep = Annotated[Body, Depends(meta_of)]


@router.post("/set_image")
async def set_image(
    request: Request, room: RoomDep, leases: LeasesDep, lease: LeaseDep, meta: MetaDep
) -> Body:
    """A new image (C, k, j, i)."""
    properties = meta.get("image_properties") or {}
    if not isinstance(properties, dict):
        raise BadRequest("image_properties: expected an object, such as {'spacing': [3.0, 1.0, 1.0]}")
    limit = room.settings.max_upload_mib * MIB
    body = await read(request, limit)

    def work() -> Body:
        largest = min(limit, room.settings.max_voxels * LARGEST_VOXEL)
        with _talk(room, leases, lease) as talk:
            notes = talk.set_image(nnia.unpack(body, largest), properties)
            return {"original_image_shape": shape_of(lease, talk.shape), "notes": notes}

    return await run_in_threadpool(work)


@router.post("/set_target_buffer")
def set_target_buffer(room: RoomDep, leases: LeasesDep, lease: LeaseDep, body: JsonDep) -> Body:
    """The client has a new buffer, all zero."""
    with _talk(room, leases, lease) as talk:
        talk.set_target_buffer(body.get("shape"), body.get("dtype"))
    return {}


@router.post("/set_do_autozoom")
def set_do_autozoom(room: RoomDep, leases: LeasesDep, lease: LeaseDep, body: JsonDep) -> Body:
    """Kept, without effect: the view always fits the object."""
    with _talk(room, leases, lease):
        lease.do_autozoom = flag(body, "do_autozoom")
    return {}


@router.post("/reset_interactions")
def reset_interactions(room: RoomDep, leases: LeasesDep, lease: LeaseDep) -> Body:
    """The next object; the client has emptied its buffer."""
    with _talk(room, leases, lease) as talk:
        talk.reset()
    return {}


@router.post("/undo")
def undo(room: RoomDep, leases: LeasesDep, lease: LeaseDep) -> Response:
    """Take back the last call."""
    with _talk(room, leases, lease) as talk:
        return reply(talk.undo())


@router.post("/predict")
def predict(room: RoomDep, leases: LeasesDep, lease: LeaseDep, body: JsonDep) -> Response:
    """Carry what waits."""
    with _talk(room, leases, lease) as talk:
        return reply(talk.predict(refine=flag(body, "force_full_refine", False)))


@router.post("/add_point_interaction")
def add_point(room: RoomDep, leases: LeasesDep, lease: LeaseDep, body: JsonDep) -> Response:
    """A point."""
    positive, runs = flag(body, "include_interaction"), flag(body, "run_prediction", True)
    with _talk(room, leases, lease) as talk:
        step = partial(given.point, coordinates=body.get("coordinates"), positive=positive)
        return reply(talk.add(step, runs))


@router.post("/add_bbox_interaction")
def add_bbox(room: RoomDep, leases: LeasesDep, lease: LeaseDep, body: JsonDep) -> Response:
    """A box on one slice."""
    positive, runs = flag(body, "include_interaction"), flag(body, "run_prediction", True)
    with _talk(room, leases, lease) as talk:
        step = partial(given.box, coords=body.get("bbox_coords"), positive=positive)
        return reply(talk.add(step, runs))


@router.post("/add_scribble_interaction")
async def add_scribble(
    request: Request, room: RoomDep, leases: LeasesDep, lease: LeaseDep, meta: MetaDep
) -> Response:
    """A drawing on one slice."""
    return await _add_drawing(given.scribble, request, room, leases, lease, meta)


@router.post("/add_lasso_interaction")
async def add_lasso(
    request: Request, room: RoomDep, leases: LeasesDep, lease: LeaseDep, meta: MetaDep
) -> Response:
    """A closed line on one slice, or the area in it."""
    return await _add_drawing(given.lasso, request, room, leases, lease, meta)


@router.post("/add_initial_seg_interaction")
async def add_initial_seg(
    request: Request, room: RoomDep, leases: LeasesDep, lease: LeaseDep, meta: MetaDep
) -> Response:
    """A mask to start from."""
    runs = flag(meta, "run_prediction", False)
    body = await read(request, room.settings.max_upload_mib * MIB)

    def work() -> Response:
        with _talk(room, leases, lease) as talk:
            return reply(talk.start_from(nnia.unpack(body, _largest(talk)), runs))

    return await run_in_threadpool(work)


async def _add_drawing(
    step_of: Callable[..., given.Step],
    request: Request,
    room: Room,
    leases: Leases,
    lease: Lease,
    meta: Body,
) -> Response:
    """A scribble or a lasso, which come as images."""
    positive, runs = flag(meta, "include_interaction"), flag(meta, "run_prediction", True)
    body = await read(request, room.settings.max_upload_mib * MIB)

    def work() -> Response:
        with _talk(room, leases, lease) as talk:
            image = nnia.unpack(body, _largest(talk))
            step = partial(step_of, image=image, bbox=meta.get("interaction_bbox"), positive=positive)
            return reply(talk.add(step, runs))

    return await run_in_threadpool(work)


# How


@contextmanager
def _talk(room: Room, leases: Leases, lease: Lease) -> Iterator[Talk]:
    """Speak for a lease, alone; what changed of it is on disk afterwards."""
    try:
        with talking(room, leases, lease, leases.settings.reply_seconds) as talk:
            yield talk
    finally:
        leases.write()


def _largest(talk: Talk) -> int:
    """Bytes of the largest array that may belong to an image's voxels."""
    i, j, k = talk.shape
    return i * j * k * LARGEST_VOXEL
