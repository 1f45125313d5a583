"""/volumes: opening, showing, exporting, closing and deleting them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, StreamingResponse
from numpy.typing import NDArray
from starlette.background import BackgroundTask
from starlette.datastructures import UploadFile

from limnet.annotation import Annotation, Object
from limnet.sample import sample_volume_path
from limnet.server.formats import STRUCTURED
from limnet.server.models import DeleteIn, ExportIn, OpenIn, VolumeOut
from limnet.server.nifti_stream import nifti_pieces
from limnet.server.problems import problems
from limnet.server.reading import safe_name, store_upload
from limnet.server.refusals import Conflict, NotFound, Refusal
from limnet.server.room import Room, RoomDep, UserDep
from limnet.server.structures import write_structured
from limnet.server.views import object_out, volume_out
from limnet.volume import Volume, write_mask

MAX_FILES = 5000  # of one upload: a series of DICOM slices, a video's frames
NIFTI = "application/octet-stream"
UPLOAD_BODY = {
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
            }
        }
    },
    "required": True,
}
FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {NIFTI: {"schema": {"type": "string", "format": "binary"}}}, "description": "a file"}
}

router = APIRouter(prefix="/volumes", tags=["volumes"])


@router.get("", responses=problems())
def list_volumes(room: RoomDep, user: UserDep) -> list[VolumeOut]:
    """The user's volumes, open and closed, the last opened first."""
    return [volume_out(slot, None) for slot in room.workspace.list(user)]


@router.post("", status_code=201, responses=problems(413, 507), openapi_extra={"requestBody": UPLOAD_BODY})
async def upload_volume(room: RoomDep, user: UserDep, request: Request) -> VolumeOut:
    """Open a volume that is sent: one file, a header with its data file, or many frames or slices."""
    async with request.form(max_files=MAX_FILES, max_fields=10) as form:
        files = uploads(form.getlist("file"))
        return await run_in_threadpool(_store, room, user, files)


@router.post("/open", status_code=201, responses={200: {"model": VolumeOut}, **problems(409, 413, 507)})
def open_volume(room: RoomDep, user: UserDep, wanted: OpenIn, response: Response) -> VolumeOut:
    """Open a volume by path, the sample, or one that was closed, with all its work; 200 when it was open."""
    if [wanted.path is not None, wanted.sample, wanted.id is not None].count(True) != 1:
        raise Refusal("give exactly one of path, sample and id")
    before = {slot.record.id for slot in room.workspace.list(user) if not slot.record.is_closed}
    if wanted.id is not None:
        found = room.workspace.reopen(user, wanted.id)
    else:
        found = room.workspace.open_file(user, wanted.path or sample_volume_path())
    if found in before:
        response.status_code = 200
    room.audit.write(
        user, "open", volume=found, path=wanted.path or room.workspace.find(user, found).record.path
    )
    return volume_of(room, user, found)


@router.get("/{volume_id}", responses=problems())
def get_volume(room: RoomDep, user: UserDep, volume_id: str) -> VolumeOut:
    """A volume and its objects; of a closed one, null for the objects."""
    return volume_of(room, user, volume_id)


@router.delete("/{volume_id}", status_code=204, responses=problems(409))
def delete_volume(room: RoomDep, user: UserDep, volume_id: str, sure: DeleteIn) -> None:
    """Remove a volume from the work folder, with all its work; a file opened by path stays where it is."""
    name = room.workspace.find(user, volume_id).record.name
    if sure.confirm != name:
        raise Conflict(f"to delete this volume, confirm its name, {name!r}, got {sure.confirm[:100]!r}")
    room.sweeps.end(user, volume_id)
    room.workspace.delete(user, volume_id)
    room.audit.write(user, "delete", volume=volume_id, name=name)


@router.post("/{volume_id}/close", status_code=204, responses=problems())
def close_volume(room: RoomDep, user: UserDep, volume_id: str) -> None:
    """Put a volume away, cancelling sweeps; its work stays and comes back with POST /volumes/open."""
    room.workspace.find(user, volume_id)
    room.sweeps.end(user, volume_id)
    room.workspace.close(user, volume_id)
    room.audit.write(user, "close", volume=volume_id)


@router.get("/{volume_id}/data.nii", response_class=Response, responses=FILE | problems(409))
def volume_data(room: RoomDep, user: UserDep, volume_id: str) -> StreamingResponse:
    """The volume as NIfTI; RGB as rgb24."""
    with room.workspace.use(user, volume_id) as annotation:
        volume = annotation.volume
    return nifti_response(volume.array, volume)


@router.get("/{volume_id}/labels.nii", response_class=Response, responses=FILE | problems(409))
def volume_labels(room: RoomDep, user: UserDep, volume_id: str) -> StreamingResponse:
    """All objects as one NIfTI map: every voxel's object id, 0 for none."""
    with room.workspace.use(user, volume_id) as annotation:
        labels, volume = annotation.labels(), annotation.volume
    return nifti_response(labels, volume)


@router.post("/{volume_id}/export", response_class=Response, responses=FILE | problems(409, 507))
def export(room: RoomDep, user: UserDep, volume_id: str, wanted: ExportIn) -> FileResponse:
    """A file on the volume's grid: a map of object ids, a mask of all that the objects cover, structures."""
    record = room.workspace.find(user, volume_id).record
    stem = record.name.split(".")[0] or "volume"
    is_structured = wanted.format in STRUCTURED
    name = f"{stem}.{wanted.format}" if is_structured else f"{stem}-{wanted.kind}.{wanted.format}"
    folder = Path(tempfile.mkdtemp(dir=room.settings.passing_dir))
    try:
        if is_structured:
            write_structured(room, user, volume_id, wanted, folder / f"mask.{wanted.format}")
        else:
            with room.workspace.use(user, volume_id) as annotation:
                array, volume = exported(annotation, wanted), annotation.volume
            write_mask(folder / f"mask.{wanted.format}", array, like=volume)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    room.audit.write(user, "export", volume=volume_id, file=name, objects=wanted.objects)
    return FileResponse(
        folder / f"mask.{wanted.format}",
        filename=name,
        media_type=NIFTI,
        background=BackgroundTask(shutil.rmtree, folder, ignore_errors=True),
    )


def exported(annotation: Annotation, wanted: ExportIn) -> NDArray[Any]:
    """The array (I, J, K) of an export; NotFound when it names an object that is not there."""
    items = annotation.objects
    if wanted.objects is not None:
        items = tuple(object_of(annotation, id) for id in wanted.objects)
    if wanted.kind == "labels":
        labels = annotation.labels()
        return labels if wanted.objects is None else np.where(np.isin(labels, wanted.objects), labels, 0)
    mask = np.zeros(annotation.volume.shape, np.uint8)
    for item in items:
        np.maximum(mask, item.session.mask, out=mask)
    return mask


def object_of(annotation: Annotation, object_id: int) -> Object:
    """The object of that id; NotFound when there is none."""
    for item in annotation.objects:
        if item.id == object_id:
            return item
    raise NotFound(f"object {object_id} does not exist; GET /api/v1/volumes/VOLUME lists those there are")


def volume_of(room: Room, user: str, volume_id: str) -> VolumeOut:
    """A volume with its objects."""
    slot = room.workspace.find(user, volume_id)
    if slot.record.is_closed:
        return volume_out(slot, None)
    with room.workspace.use(user, volume_id) as annotation:
        objects = [
            object_out(item, sweeping=room.sweeps.is_running(user, volume_id, item.id))
            for item in annotation.objects
        ]
    return volume_out(slot, objects)


def uploads(files: Sequence[UploadFile | str]) -> list[UploadFile]:
    """The files of a form's field; Refusal when there is none or one of them is text."""
    found = [file for file in files if isinstance(file, UploadFile)]
    if not found or len(found) != len(files):
        raise Refusal("the form must hold one or more files, each in a field named 'file'")
    return found


def nifti_response(array: NDArray[Any], like: Volume) -> StreamingResponse:
    """An array as a NIfTI file, sent slice by slice."""
    length, pieces = nifti_pieces(array, like)
    return StreamingResponse(pieces, media_type=NIFTI, headers={"Content-Length": str(length)})


def _store(room: Room, user: str, files: list[UploadFile]) -> VolumeOut:
    named = [(safe_name(file.filename), file.file) for file in files]
    name = named[0][0]
    found = room.workspace.open_upload(user, name, lambda folder: store_upload(named, folder))
    room.audit.write(user, "upload", volume=found, name=name, files=len(named))
    return volume_of(room, user, found)
