"""/volumes/{v}/objects: objects, prompts, undo and redo, rounds, quality, mask."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from limnet.annotation import Object
from limnet.brush import brushed
from limnet.lens import plane_of
from limnet.memory import SliceMask
from limnet.prompt import in_plane
from limnet.server.api_volumes import UPLOAD_BODY, object_of, uploads
from limnet.server.models import (
    Answer,
    BoxIn,
    ClickIn,
    ObjectChange,
    ObjectIn,
    ObjectOut,
    PointsIn,
    QualityOut,
    RoundOut,
    StrokeIn,
)
from limnet.server.problems import problems
from limnet.server.refusals import Conflict, NotFound, Refusal
from limnet.server.room import Room, RoomDep, UserDep
from limnet.server.slices import slice_out
from limnet.server.structures import add_from_files, uploaded
from limnet.server.thumbnails import thumbnail
from limnet.server.views import object_out, quality_out, rounds_out
from limnet.session import Session

router = APIRouter(prefix="/volumes/{volume_id}/objects", tags=["objects"])
BINARY = "application/octet-stream"
BOX_WORDS = "i0,i1,j0,j1,k0,k1, half-open"


@router.post("", status_code=201, responses=problems(409, 507))
def add_object(room: RoomDep, user: UserDep, volume_id: str, wanted: ObjectIn) -> ObjectOut:
    """A new, empty object."""
    with room.workspace.use(user, volume_id) as annotation:
        if len(annotation.objects) >= room.settings.max_objects:
            raise Conflict(
                f"the volume has {room.settings.max_objects} objects, the most allowed; delete one first"
            )
        return object_out(annotation.add(wanted.name, wanted.colour), sweeping=False)


@router.patch("/{object_id}", responses=problems(409))
def change_object(
    room: RoomDep, user: UserDep, volume_id: str, object_id: int, wanted: ObjectChange
) -> ObjectOut:
    """Change an object's name, colour, lock or visibility."""
    with room.workspace.use(user, volume_id) as annotation:
        object_of(annotation, object_id)
        changed = annotation.change(object_id, **wanted.model_dump(exclude_none=True))
        return object_out(changed, sweeping=room.sweeps.is_running(user, volume_id, object_id))


@router.delete("/{object_id}", status_code=204, responses=problems(409))
def delete_object(room: RoomDep, user: UserDep, volume_id: str, object_id: int) -> None:
    """Remove an object and its work; a running sweep of it is cancelled."""
    room.sweeps.end(user, volume_id, object_id)
    with room.workspace.use(user, volume_id) as annotation:
        annotation.remove(object_id)
    room.audit.write(user, "delete object", volume=volume_id, object=object_id)


@router.post("/{object_id}/clicks", status_code=201, responses=problems(409))
def add_click(room: RoomDep, user: UserDep, volume_id: str, object_id: int, click: ClickIn) -> Answer:
    """Mark one voxel as object or background; answers with its slice's new mask."""

    def give(session: Session) -> tuple[int, int]:
        session.click(click.index, click.positive, click.axis)
        return session.axis, click.index[session.axis]

    return prompted(room, user, volume_id, object_id, give)


@router.post("/{object_id}/boxes", status_code=201, responses=problems(409))
def add_box(room: RoomDep, user: UserDep, volume_id: str, object_id: int, box: BoxIn) -> Answer:
    """Draw a box around the object, or around what is none of it, on one slice."""

    def give(session: Session) -> tuple[int, int]:
        session.box(box.low, box.high, box.positive, box.axis)
        return session.axis, box.low[session.axis]

    return prompted(room, user, volume_id, object_id, give)


@router.post("/{object_id}/scribbles", status_code=201, responses=problems(409))
def add_scribble(room: RoomDep, user: UserDep, volume_id: str, object_id: int, line: PointsIn) -> Answer:
    """Draw a line on the object or on the background, on one slice."""

    def give(session: Session) -> tuple[int, int]:
        session.scribble(line.points, line.positive, line.axis)
        return session.axis, line.points[0][session.axis]

    return prompted(room, user, volume_id, object_id, give)


@router.post("/{object_id}/lassos", status_code=201, responses=problems(409))
def add_lasso(room: RoomDep, user: UserDep, volume_id: str, object_id: int, outline: PointsIn) -> Answer:
    """Draw an outline around the object, or around what is none of it, on one slice."""

    def give(session: Session) -> tuple[int, int]:
        session.lasso(outline.points, outline.positive, outline.axis)
        return session.axis, outline.points[0][session.axis]

    return prompted(room, user, volume_id, object_id, give)


@router.post("/{object_id}/strokes", status_code=201, responses=problems(409))
def add_stroke(room: RoomDep, user: UserDep, volume_id: str, object_id: int, stroke: StrokeIn) -> Answer:
    """Paint or erase on one slice with a round brush; the slice is taken as it then is."""

    def give(session: Session) -> tuple[int, int]:
        axis, index = stroke.axis, stroke.points[0][stroke.axis]
        plane, shape = plane_of(session.volume, axis), session.volume.shape
        if any(point[axis] != index for point in stroke.points) or (np.array(stroke.points) >= shape).any():
            raise Refusal(
                f"a stroke's points must lie on one slice along axis {axis} of a volume of shape {shape}"
            )
        line = [in_plane(point, axis) for point in stroke.points]
        touched = brushed(plane.shape, line, stroke.radius_mm, plane.spacing_mm)
        before = session.slice_mask(index, axis)
        session.paint(before & ~touched if stroke.erase else before | touched, index, axis)
        return axis, index

    return prompted(room, user, volume_id, object_id, give)


@router.post(
    "/{object_id}/initial-mask",
    status_code=201,
    responses=problems(409, 413, 507),
    openapi_extra={"requestBody": UPLOAD_BODY},
)
async def start_from_mask(
    room: RoomDep, user: UserDep, volume_id: str, object_id: int, request: Request
) -> ObjectOut:
    """Start from an existing mask, object where the file has any: it becomes a round of its own."""
    async with request.form(max_files=100, max_fields=10) as form:
        files = uploads(form.getlist("file"))
        return await run_in_threadpool(_start_from, room, user, volume_id, object_id, files)


@router.post(
    "/import",
    status_code=201,
    responses=problems(409, 413, 507),
    openapi_extra={"requestBody": UPLOAD_BODY},
)
async def import_objects(room: RoomDep, user: UserDep, volume_id: str, request: Request) -> list[ObjectOut]:
    """A new object for every structure of a segmentation: DICOM-SEG, RTSTRUCT, .seg.nrrd or a label map."""
    async with request.form(max_files=100, max_fields=10) as form:
        files = uploads(form.getlist("file"))
        return await run_in_threadpool(_import, room, user, volume_id, files)


@router.post("/{object_id}/undo", responses=problems(409))
def undo(room: RoomDep, user: UserDep, volume_id: str, object_id: int) -> ObjectOut:
    """Take back the last prompt or, when none is pending, the last round."""
    return changed(room, user, volume_id, object_id, Session.undo)


@router.post("/{object_id}/redo", responses=problems(409))
def redo(room: RoomDep, user: UserDep, volume_id: str, object_id: int) -> ObjectOut:
    """Bring back what the last undo took."""
    return changed(room, user, volume_id, object_id, Session.redo)


@router.post("/{object_id}/rounds/{number}/go", responses=problems(409))
def go_to_round(room: RoomDep, user: UserDep, volume_id: str, object_id: int, number: int) -> ObjectOut:
    """Undo or redo until this many rounds are done, 0 for none, and nothing is pending."""
    return changed(room, user, volume_id, object_id, lambda session: session.go_to_round(number))


@router.get("/{object_id}/rounds", responses=problems(409))
def rounds(room: RoomDep, user: UserDep, volume_id: str, object_id: int) -> list[RoundOut]:
    """All rounds; undone ones, which redo would bring back, are last."""
    with room.workspace.use(user, volume_id) as annotation:
        return rounds_out(object_of(annotation, object_id).session)


@router.get(
    "/{object_id}/rounds/{number}/thumbnail.png",
    response_class=Response,
    responses={
        200: {
            "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
            "description": "a picture",
        },
        **problems(409),
    },
)
def round_thumbnail(room: RoomDep, user: UserDep, volume_id: str, object_id: int, number: int) -> Response:
    """The prompt slice with the outline of the mask after round `number`."""
    facts = room.workspace.find(user, volume_id).record.facts
    with room.workspace.use(user, volume_id) as annotation:
        item = object_of(annotation, object_id)
        count = len(item.session.rounds) + len(item.session.undone_rounds)
        if not 1 <= number <= count:
            raise NotFound(f"round {number} does not exist: object {object_id} has {count}")
        return Response(thumbnail(item.session, number, facts, item.colour), media_type="image/png")


@router.get("/{object_id}/quality", responses=problems(409))
def quality(room: RoomDep, user: UserDep, volume_id: str, object_id: int) -> QualityOut:
    """The Dice that the network expects of each slice, and the slice most worth a look."""
    with room.workspace.use(user, volume_id) as annotation:
        return quality_out(object_of(annotation, object_id).session)


@router.get(
    "/{object_id}/mask",
    response_class=Response,
    responses={
        200: {
            "content": {BINARY: {"schema": {"type": "string", "format": "binary"}}},
            "description": "uint8 of 0 and 1, in C order (i slowest), of the box in X-Mask-Box",
            "headers": {"X-Mask-Box": {"schema": {"type": "string"}, "description": BOX_WORDS}},
        },
        **problems(409),
    },
)
def mask(room: RoomDep, user: UserDep, volume_id: str, object_id: int, request: Request) -> Response:
    """The mask, in the box that holds it; an empty mask has the box 0,0,0,0,0,0 and no bytes."""
    with room.workspace.use(user, volume_id) as annotation:
        history = object_of(annotation, object_id).session.history
        low, high = history.extent() or ((0, 0, 0), (0, 0, 0))
        content = history.part(low, high).tobytes()
    box = ",".join(f"{a},{b}" for a, b in zip(low, high, strict=True))
    headers = {"X-Mask-Box": box, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        content, headers["Content-Encoding"] = gzip.compress(content, 1, mtime=0), "gzip"
    return Response(content, media_type=BINARY, headers=headers)


def prompted(
    room: Room, user: str, volume_id: str, object_id: int, give: Callable[[Session], tuple[int, int]]
) -> Answer:
    """Give a prompt in a turn of its own; `give` answers with the axis and index of its slice."""
    room.sweeps.refuse_while_running(user, volume_id, object_id)  # before waiting for a turn
    with room.workspace.work(user, volume_id) as annotation:
        item = object_of(annotation, object_id)
        room.sweeps.refuse_while_running(user, volume_id, object_id)
        axis, index = give(item.session)
        slice_mask = SliceMask(axis, index, item.session.slice_mask(index, axis))
        return Answer(object=object_out(item, sweeping=False), slice=slice_out(slice_mask))


def changed(
    room: Room, user: str, volume_id: str, object_id: int, change: Callable[[Session], object]
) -> ObjectOut:
    """Make a change that runs no network."""
    room.sweeps.refuse_while_running(user, volume_id, object_id)
    with room.workspace.use(user, volume_id) as annotation:
        item: Object = object_of(annotation, object_id)
        room.sweeps.refuse_while_running(user, volume_id, object_id)
        change(item.session)
        return object_out(item, sweeping=False)


def _start_from(room: Room, user: str, volume_id: str, object_id: int, files: list[UploadFile]) -> ObjectOut:
    with room.workspace.use(user, volume_id) as annotation:
        like = annotation.volume
    given = np.zeros(like.shape, bool)
    for structure in uploaded(room, files, like):
        given[structure.box] |= structure.block
    return changed(room, user, volume_id, object_id, lambda session: session.start_from(given))


def _import(room: Room, user: str, volume_id: str, files: list[UploadFile]) -> list[ObjectOut]:
    added = add_from_files(room, user, volume_id, files)
    room.audit.write(user, "import", volume=volume_id, objects=added)
    with room.workspace.use(user, volume_id) as annotation:
        return [object_out(object_of(annotation, id), sweeping=False) for id in added]
