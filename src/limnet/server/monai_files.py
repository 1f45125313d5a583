"""Files of MONAI Label's protocol: images that come, label maps that go and come."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import Response
from numpy.typing import NDArray
from starlette.datastructures import UploadFile

from limnet.annotation import Annotation
from limnet.errors import PromptError
from limnet.server.monai_infer import LONGEST_LABEL, Inferred
from limnet.server.nni_wire import Body
from limnet.server.reading import safe_name, store_upload
from limnet.server.refusals import Conflict
from limnet.server.room import Room
from limnet.server.same_image import reopen_same
from limnet.server.structures import uploaded
from limnet.volume import write_mask
from limnet.volume.structure import Structure

EXTENSIONS = (".nrrd", ".nii.gz", ".nii", ".mha")
VALUE = re.compile(r"label (\d+)")  # how a label without a name is called
NOT_OBJECTS = ("background", "foreground_scribbles", "background_scribbles")  # segments of the module's own


@dataclass(frozen=True)
class Made:
    """A label map as a file, and what is said of it."""

    name: str
    content: bytes
    params: Body


def open_image(room: Room, user: str, files: Sequence[UploadFile], name: str = "") -> str:
    """The annotation of an image that was sent, new or, when it is here already, with all work; its id."""
    named = [(safe_name(file.filename), file.file) for file in files]
    shown = safe_name(name) if name else named[0][0]
    with room.workspace.opening(user):
        volume_id = room.workspace.open_upload(user, shown, lambda folder: store_upload(named, folder))
        with room.workspace.use(user, volume_id) as annotation:
            volume = annotation.volume
        known = reopen_same(room, user, volume, "place", but=volume_id)
        if known is not None:
            room.workspace.delete(user, volume_id)
    room.audit.write(user, "upload", volume=known or volume_id, name=shown, files=len(named))
    return known or volume_id


def extension_of(params: Body) -> str:
    """The format that a client wants its result in; what is not known here becomes NIfTI."""
    wanted = params.get("result_extension")
    return wanted if isinstance(wanted, str) and wanted in EXTENSIONS else ".nii.gz"


def mask_file(room: Room, user: str, volume_id: str, label: str, done: Inferred, ending: str) -> Made:
    """One object's mask, 0 and 1, on the image's grid."""
    params = {"label": label, "label_names": {label: 1}, "notes": list(done.notes)}
    return _made(room, user, volume_id, lambda _: done.mask, ending, params)


def labels_file(room: Room, user: str, volume_id: str, ending: str) -> Made:
    """All objects as labels 1, 2, ... in their order."""
    with room.workspace.use(user, volume_id) as annotation:
        params = {"label_names": names_of(annotation)}
    return _made(room, user, volume_id, numbered, ending, params)


def names_of(annotation: Annotation) -> dict[str, int]:
    """Number by name of the objects in `numbered`; a name that comes again is told by its id."""
    names: dict[str, int] = {}
    for number, item in enumerate(annotation.objects, start=1):
        names[item.name if item.name not in names else f"{item.name} ({item.id})"] = number
    return names


def numbered(annotation: Annotation) -> NDArray[Any]:
    """The objects as a label map (I, J, K) without gaps: 1 for the first, 2 for the second ..."""
    labels = annotation.labels()
    table = np.zeros(max([0, *(item.id for item in annotation.objects)]) + 1, labels.dtype)
    for number, item in enumerate(annotation.objects, start=1):
        table[item.id] = number
    return table[labels]


def as_form(made: Made) -> Response:
    """Both as the protocol has them by default: a form with `params` and a file."""
    boundary = secrets.token_hex(16)
    line = f"--{boundary}\r\nContent-Disposition: form-data; name="
    head = (
        f'{line}"params"\r\nContent-Type: application/json\r\n\r\n{json.dumps(made.params)}\r\n'
        f'{line}"image"; filename="{made.name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
    )
    body = b"".join([head.encode(), made.content, f"\r\n--{boundary}--\r\n".encode()])
    return Response(body, media_type=f"multipart/form-data; boundary={boundary}")


def save_label(room: Room, user: str, volume_id: str, file: UploadFile, params: Body) -> None:
    """Make every structure of a label map that differs from the object of its name a round of that.

    A name without an object makes one. All or nothing, as far as can be known before: Conflict when an object
    is locked, has prompts that wait, is being swept, or there would be too many.
    """
    if room.workspace.find(user, volume_id).record.is_closed:
        room.workspace.reopen(user, volume_id)
    with room.workspace.use(user, volume_id) as annotation:
        like = annotation.volume
    structures = [s for s in uploaded(room, [file], like) if s.block.size]
    names = [_name(structure, structures, params) for structure in structures]
    with room.workspace.use(user, volume_id) as annotation:
        known = {item.name: item for item in annotation.objects}
        wanted = [
            (name, structure)
            for name, structure in zip(names, structures, strict=True)
            if name not in NOT_OBJECTS and not (name in known and _is(known[name].session.mask, structure))
        ]
        for item in (known[name] for name, _ in wanted if name in known):
            room.sweeps.refuse_while_running(user, volume_id, item.id)
            if item.locked or item.session.pending:
                reason = "is locked" if item.locked else "has prompts that wait for a sweep"
                raise Conflict(f"{item.name!r} {reason} in the annotator; finish that there first")
        num_new = len({name for name, _ in wanted} - known.keys())
        if len(known) + num_new > room.settings.max_objects:
            raise Conflict(f"at most {room.settings.max_objects} objects are allowed; delete some first")
        for name, structure in wanted:
            item = known.get(name) or annotation.add(name, structure.colour)
            item.session.start_from(structure.mask)
    room.audit.write(user, "label from a viewer", volume=volume_id, objects=sorted({n for n, _ in wanted}))


def _name(structure: Structure, structures: Sequence[Structure], params: Body) -> str:
    """What a structure is called: as its file says, else as the `label_info` of the request does.

    3D Slicer numbers the segments that it exports 1, 2, ... in the order of `label_info`, whose own `idx`
    also counts segments that were left out; so `idx` counts only when the numbers are not of that kind.
    """
    match = VALUE.fullmatch(structure.name)
    if match is None:
        return " ".join(structure.name.split())[:LONGEST_LABEL] or "object"
    value = int(match[1])
    info = params.get("label_info") or []
    if not isinstance(info, list) or not all(isinstance(entry, dict) for entry in info):
        raise PromptError("label_info: expected a list of {'name': ..., 'idx': ...}")
    names = [entry.get("name") for entry in info]
    if not all(isinstance(name, str) for name in names):
        raise PromptError("label_info: every entry needs a 'name'")
    values = [int(m[1]) for m in (VALUE.fullmatch(s.name) for s in structures) if m]
    by_value = dict(enumerate(names, start=1))
    if max(values) > len(names):
        by_value = {entry.get("idx"): entry["name"] for entry in info}
    return " ".join(str(by_value.get(value, structure.name)).split())[:LONGEST_LABEL] or structure.name


def _is(mask: NDArray[Any], structure: Structure) -> bool:
    """Whether an object's mask is this structure."""
    return bool(
        int(mask.sum(dtype=np.int64)) == int(structure.block.sum())
        and np.array_equal(mask[structure.box] > 0, structure.block)
    )


def _made(
    room: Room,
    user: str,
    volume_id: str,
    labels_of: Callable[[Annotation], NDArray[Any]],
    ending: str,
    params: Body,
) -> Made:
    with room.workspace.use(user, volume_id) as annotation:
        labels, volume = labels_of(annotation), annotation.volume
    folder = Path(tempfile.mkdtemp(dir=room.settings.passing_dir))
    try:
        path = folder / f"limnet-{secrets.token_hex(8)}{ending}"
        write_mask(path, labels, like=volume)
        return Made(path.name, path.read_bytes(), params)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
