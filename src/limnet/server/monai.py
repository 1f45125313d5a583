"""MONAI Label's REST protocol, as its module for 3D Slicer and its Python client speak it.

    image (an annotation, under the client's own name for it) ─► label (an object) ─► points ─► mask as a file

Voxel indices are (i, j, k) of the file that was sent, and results are files on exactly its grid. There is
nothing to train here: the lists of trainers and scores are empty. Models:

    limnet            "deepgrow": points inside and outside, all of them every time (monai_infer.py)
    limnet-objects    "segmentation": what the annotator holds of the image, as labels with names
"""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, FastAPI, Form, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import HTTPException
from fastapi.responses import JSONResponse
from starlette.datastructures import FormData, UploadFile

import limnet
from limnet.server.api_volumes import nifti_response
from limnet.server.monai_files import (
    Made,
    as_form,
    extension_of,
    labels_file,
    mask_file,
    names_of,
    open_image,
    save_label,
)
from limnet.server.monai_infer import MonaiTalks, read_label, read_points
from limnet.server.monai_table import MonaiTable
from limnet.server.nni_wire import BadRequest, Body
from limnet.server.refusals import KeyNeeded, NotFound
from limnet.server.room import Room, RoomDep
from limnet.server.slots import Slot
from limnet.server.viewer_user import ViewerDep

POINTS, OBJECTS = "limnet", "limnet-objects"
STRATEGIES = {
    "first": "the image opened longest ago of which no label has been handed in",
    "latest": "the image that was opened last, such as the one in the annotator",
}
SEGMENT = "object"  # a first segment, so that there is one to point into
MAX_FILES = 5000  # of a DICOM series

router = APIRouter(include_in_schema=False)


def install(app: FastAPI, room: Room) -> None:
    """Let an application speak the protocol."""
    app.state.monai_table = MonaiTable(room.settings.work_dir / "monai")
    app.state.monai_talks = MonaiTalks(room)
    app.include_router(router)


def table_of(request: Request) -> MonaiTable:
    """The names of the server that was asked."""
    table: MonaiTable = request.app.state.monai_table
    return table


def talks_of(request: Request) -> MonaiTalks:
    """What was told so far."""
    talks: MonaiTalks = request.app.state.monai_talks
    return talks


TableDep = Annotated[MonaiTable, Depends(table_of)]
TalksDep = Annotated[MonaiTalks, Depends(talks_of)]


# Who, and what there is


@router.get("/auth/")
def auth(room: RoomDep) -> Body:
    """Whether a key is needed."""
    return {"enabled": room.needs_key, "client_id": "limnet", "realm": "limnet"}


@router.post("/auth/token")
def token(
    room: RoomDep, password: Annotated[str, Form()] = "", username: Annotated[str, Form()] = ""
) -> Body:
    """A key, given as password, is its own token."""
    if room.needs_key and room.keys.user_of(password) is None:
        raise KeyNeeded("this key is not known; give the key as password, any name will do")
    return {"access_token": password, "token_type": "bearer"}


@router.get("/auth/token/valid")
def token_is_valid(user: ViewerDep) -> Body:
    """200 when the key is known."""
    return {"username": user}


@router.get("/info/")
def info(user: ViewerDep, room: RoomDep, table: TableDep) -> Body:
    """The server and its models."""
    model = {"labels": [], "dimension": 3, "version": limnet.__version__, "config": {}}
    return {
        "name": "LIM-Net",
        "description": "Points to masks in three dimensions, without a graphics card",
        "version": limnet.__version__,
        "labels": [SEGMENT],
        "models": {
            POINTS: {
                "type": "deepgrow",
                "description": "points inside and outside of one structure",
                **model,
            },
            OBJECTS: {
                "type": "segmentation",
                "description": "what the annotator holds of the image",
                **model,
            },
        },
        "trainers": {},
        "strategies": {name: {"description": text, "config": {}} for name, text in STRATEGIES.items()},
        "scoring": {},
        "train_stats": {},
        "datastore": _stats(room, table, user),
        "config": {},
    }


@router.get("/logs/")
def logs(user: ViewerDep) -> Response:
    """There is no log to show: what happens is told where the server was started."""
    text = f"limnet {limnet.__version__}: messages are in the terminal in which limnet serve runs\n"
    return Response(text, media_type="text/plain")


@router.get("/train/")
@router.delete("/train/")
def no_training(user: ViewerDep) -> None:
    """No training runs: clients read that from the status."""
    raise NotFound("no training runs; the networks are trained already")


@router.post("/train/")
@router.post("/train/{model}")
def cannot_train(user: ViewerDep, model: str = "") -> None:
    """Training is not offered."""
    raise HTTPException(501, "training is not offered here: the networks are trained already (limnet train)")


# Images


@router.put("/session/")
async def create_session(request: Request, user: ViewerDep, room: RoomDep, table: TableDep) -> Body:
    """An image to work on; its session is its annotation, which has no end."""
    async with request.form(max_files=MAX_FILES, max_fields=10) as form:
        files = [file for file in form.getlist("files") if isinstance(file, UploadFile)]
        if not files:
            raise BadRequest("files: expected one file, or the slices of one series")
        volume_id = await run_in_threadpool(open_image, room, user, files)
    return {"session_id": volume_id, "session_info": _session(room.workspace.find(user, volume_id))}


@router.get("/session/{session_id}")
def get_session(user: ViewerDep, room: RoomDep, session_id: str, image: bool = False) -> Any:
    """What is known of a session, or its image."""
    slot = room.workspace.find(user, session_id)
    return _image(room, user, slot) if image else _session(slot)


@router.delete("/session/{session_id}")
def remove_session(user: ViewerDep, room: RoomDep, session_id: str) -> Body:
    """The client needs it no more; the work stays."""
    return _session(room.workspace.find(user, session_id))


@router.put("/datastore/")
@router.put("/datastore/image")
async def add_image(
    request: Request, user: ViewerDep, room: RoomDep, table: TableDep, image: str = ""
) -> Body:
    """An image under the client's name for it; one that is here already is not kept twice."""
    async with request.form(max_files=1, max_fields=10) as form:
        file = _file(form, "file")
        volume_id = await run_in_threadpool(open_image, room, user, [file], image)
    name = image or volume_id
    table.name(room.workspace, user, name, volume_id)
    return {"image": name}


@router.get("/datastore/")
def datastore(user: ViewerDep, room: RoomDep, table: TableDep, output: str = "stats") -> Any:
    """All images: how many ("stats"), or with their labels ("all")."""
    if output == "stats":
        return _stats(room, table, user)
    if output == "train":
        return []
    if output != "all":
        raise BadRequest(f"output {output[:40]!r}: expected stats, all or train")
    objects = {slot.record.id: _listed(table, user, slot) for slot in room.workspace.list(user)}
    return {"name": "limnet", "description": "annotations of this server", "objects": objects}


@router.head("/datastore/image")
@router.get("/datastore/image")
def image(user: ViewerDep, room: RoomDep, table: TableDep, image: str) -> Response:
    """An image as NIfTI."""
    return _image(room, user, table.find(room.workspace, user, image))


@router.get("/datastore/image/info")
def image_info(user: ViewerDep, room: RoomDep, table: TableDep, image: str) -> Body:
    """What is known of an image."""
    return _session(table.find(room.workspace, user, image))


@router.post("/activelearning/{strategy}")
def next_sample(user: ViewerDep, room: RoomDep, table: TableDep, strategy: str) -> Body:
    """The next image to work on; nothing when there is none."""
    if strategy not in STRATEGIES:
        raise NotFound(f"no strategy {strategy[:64]!r}; there are {', '.join(STRATEGIES)}")
    slots = [slot for slot in room.workspace.list(user) if not slot.record.facts.is_rgb]
    slots = [slot for slot in slots if not slot.record.is_closed]
    if strategy == "first":
        slots = [slot for slot in reversed(slots) if not table.saved(user, slot.record.id)]
    if not slots:
        return {}
    record = slots[0].record
    with room.workspace.use(user, record.id):  # loaded, so that the list of images names its labels
        pass
    return {"id": record.id, "name": f"{record.id}.nii", "PatientID": record.name}


# Labels


@router.post("/infer/{model}")
async def infer(
    request: Request,
    user: ViewerDep,
    room: RoomDep,
    table: TableDep,
    talks: TalksDep,
    model: str,
    image: str = "",
    session_id: str = "",
    output: str = "",
) -> Response:
    """A label of an image as a file; with `output` "json" only what is said of it, with "image" only it."""
    if model not in (POINTS, OBJECTS):
        raise NotFound(f"no model {model[:64]!r}; there are {POINTS} and {OBJECTS}")
    if output not in ("", "all", "image", "json"):
        raise BadRequest(f"output {output[:40]!r}: expected all, image or json")
    async with request.form(max_files=2, max_fields=10) as form:
        params = _params(form)
        if form.get("label") is not None:
            raise BadRequest("label: scribbles are not taken here; place points instead")
        sent = form.get("file")

        def work() -> Made:
            if session_id:
                volume_id = room.workspace.find(user, session_id).record.id
            elif isinstance(sent, UploadFile):
                volume_id = open_image(room, user, [sent])
            else:
                volume_id = table.find(room.workspace, user, image).record.id
            if room.workspace.find(user, volume_id).record.is_closed:
                room.workspace.reopen(user, volume_id)
            ending = extension_of(params)
            if model == OBJECTS:
                return labels_file(room, user, volume_id, ending)
            label, points = read_label(params), read_points(params)
            done = talks.infer(user, volume_id, label, points)
            return mask_file(room, user, volume_id, label, done, ending)

        made = await run_in_threadpool(work)
    if output == "json":
        return JSONResponse(made.params)
    if output == "image":
        return _download(made)
    return as_form(made)


@router.put("/datastore/label")
async def put_label(
    request: Request, user: ViewerDep, room: RoomDep, table: TableDep, image: str, tag: str = "final"
) -> Body:
    """A finished label map: every structure in it that differs becomes a round of its object."""
    slot = table.find(room.workspace, user, image)
    async with request.form(max_files=1, max_fields=10) as form:
        params, file = _params(form), _file(form, "label")
        await run_in_threadpool(save_label, room, user, slot.record.id, file, params)
    table.save(user, slot.record.id, tag or "final")
    return {"image": image, "label": slot.record.id}


@router.head("/datastore/label")
@router.get("/datastore/label")
def get_label(
    user: ViewerDep, room: RoomDep, table: TableDep, label: str = "", image: str = "", tag: str = ""
) -> Response:
    """The objects of an image as a label map; there is one state of them, whatever the tag."""
    slot = table.find(room.workspace, user, label or image)
    room.audit.write(user, "export", volume=slot.record.id, file="labels.nii.gz", objects=None)
    if slot.record.is_closed:
        room.workspace.reopen(user, slot.record.id)
    return _download(labels_file(room, user, slot.record.id, ".nii.gz"))


@router.get("/datastore/label/info")
def label_info(user: ViewerDep, room: RoomDep, table: TableDep, label: str, tag: str = "") -> Body:
    """The names in a label map."""
    slot = table.find(room.workspace, user, label)
    with room.workspace.use(user, slot.record.id) as annotation:
        return {"params": {"label_names": names_of(annotation)}}


# How


def _stats(room: Room, table: MonaiTable, user: str) -> Body:
    slots = room.workspace.list(user)
    tags: dict[str, int] = {}
    finished = 0
    for slot in slots:
        saved = table.saved(user, slot.record.id)
        finished += bool(saved)
        for tag in saved:
            tags[tag] = tags.get(tag, 0) + 1
    return {"total": len(slots), "completed": finished, "label_tags": tags}


def _listed(table: MonaiTable, user: str, slot: Slot) -> Body:
    """An image in the list of all; its names only when it is loaded, for reading every journal takes long."""
    with slot.lock:
        names = names_of(slot.annotation) if slot.annotation is not None else {}
    tags: list[str] = [*table.saved(user, slot.record.id), *(["original"] if names else [])]
    info = {"params": {"label_names": names}}
    return {
        "image": {"ext": ".nii", "info": _session(slot)},
        "labels": {tag: {"ext": ".nii.gz", "info": info} for tag in tags},
    }


def _session(slot: Slot) -> Body:
    record = slot.record
    facts = {"shape": record.facts.shape, "spacing": record.facts.spacing_mm}
    return {"name": record.id, "image": record.name, "creation": record.created, "meta": facts, "expiry": 0}


def _image(room: Room, user: str, slot: Slot) -> Response:
    if slot.record.is_closed:
        room.workspace.reopen(user, slot.record.id)
    with room.workspace.use(user, slot.record.id) as annotation:
        volume = annotation.volume
    response = nifti_response(volume.array, volume)
    response.headers["Content-Disposition"] = f'attachment; filename="{slot.record.id}.nii"'
    return response


def _download(made: Made) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{quote(made.name)}"'}
    return Response(made.content, media_type="application/octet-stream", headers=headers)


def _params(form: FormData) -> Body:
    text = form.get("params") or "{}"
    try:
        params = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        params = None
    if not isinstance(params, dict):
        raise BadRequest("params: expected a JSON object")
    return params


def _file(form: FormData, name: str) -> UploadFile:
    file = form.get(name)
    if not isinstance(file, UploadFile):
        raise BadRequest(f"{name}: expected a part with a file")
    return file
