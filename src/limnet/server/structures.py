"""Objects of an annotation as structures of a file, and structures of a file as objects.

Structured formats name and colour what they hold; the DICOM ones refer to the series that the volume was
read from, so that they are offered for such volumes alone.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from starlette.datastructures import UploadFile

from limnet.annotation import Annotation, Object
from limnet.errors import LimNetError
from limnet.server.formats import STRUCTURED, formats_of
from limnet.server.models import ExportIn
from limnet.server.reading import safe_name, store_upload
from limnet.server.refusals import Conflict, NotFound, Refusal
from limnet.server.room import Room
from limnet.server.slots import Slot
from limnet.volume import Volume, read_mask
from limnet.volume.dicom.anatomy import known_anatomy
from limnet.volume.dicom.source import Source, read_source
from limnet.volume.exchange import read_structures, write_structures
from limnet.volume.limits import limited
from limnet.volume.structure import COLOURS, Structure

DESCRIPTION = ".labels.txt"  # ITK-SNAP's names and colours, beside a label map
MAX_NAME = 100  # characters, as the API takes them


def write_structured(room: Room, user: str, volume_id: str, wanted: ExportIn, path: Path) -> None:
    """Write the objects of an annotation as structures, each with its name, colour and what it is.

    Refusal when the volume is not DICOM and the format is; Conflict when there is nothing to write.
    """
    slot = room.workspace.find(user, volume_id)
    if wanted.format not in formats_of(slot):
        raise Refusal(
            f"{slot.record.name} did not come from a DICOM series, to which {wanted.format} would refer;"
            f" export nii.gz, nrrd, mha or seg.nrrd"
        )
    kind = STRUCTURED[wanted.format]
    with room.workspace.use(user, volume_id) as annotation:
        structures = structures_of(annotation, wanted, is_exclusive=kind in ("labels", "labelmap-seg"))
        volume = annotation.volume
    if not any(structure.block.size for structure in structures):
        raise Conflict("nothing to export: every object is empty; segment one first")
    source = None if kind == "labels" else _source(room, slot, volume)
    write_structures(path, structures, volume, kind=kind, source=source)


def structures_of(annotation: Annotation, wanted: ExportIn, *, is_exclusive: bool) -> list[Structure]:
    """The objects wanted, one structure each, or with `kind` "mask" all of them as one.

    `is_exclusive`: every voxel belongs to the one object that the label map gives it to.
    """
    items = _items(annotation, wanted.objects)
    labels = annotation.labels() if is_exclusive else None
    structures = []
    for item in items:
        mask = item.session.mask if labels is None else labels == item.id
        structures.append(Structure.of(item.name, mask, item.colour, known_anatomy(item.name)))
    if wanted.kind == "labels" or len(structures) < 2:
        return structures
    whole = np.zeros(annotation.volume.shape, bool)
    for structure in structures:
        whole[structure.box] |= structure.block
    return [Structure.of("mask", whole, structures[0].colour)]


def add_from_files(room: Room, user: str, volume_id: str, files: Sequence[UploadFile]) -> list[int]:
    """A new object for every structure of an uploaded segmentation; see `add_structures`."""
    with room.workspace.use(user, volume_id) as annotation:
        like = annotation.volume
    return add_structures(room, user, volume_id, uploaded(room, files, like))


def add_from_path(room: Room, user: str, volume_id: str, path: Path) -> list[int]:
    """Likewise, of a file of the server's owner; nothing when the volume has objects already."""
    with room.workspace.use(user, volume_id) as annotation:
        if annotation.objects:
            return []
        structures = read_structures(path, annotation.volume)
    return add_structures(room, user, volume_id, structures)


def add_structures(room: Room, user: str, volume_id: str, given: Sequence[Structure]) -> list[int]:
    """A new object for every structure, with its mask as a round; their ids.

    Empty ones are left out. All or nothing: Conflict when there are more than the volume may have.
    """
    structures = [item for item in given if item.block.size]
    if not structures:
        raise Refusal("the file holds no structure with a voxel in this volume; choose another file")
    with room.workspace.use(user, volume_id) as annotation:
        most = room.settings.max_objects
        if len(annotation.objects) + len(structures) > most:
            raise Conflict(
                f"the file holds {len(structures)} objects, and the volume has {len(annotation.objects)}; at"
                f" most {most} are allowed: delete some first"
            )
        added = []
        for structure in structures:
            name = " ".join(structure.name.split())[:MAX_NAME].strip() or None
            item = annotation.add(name, structure.colour)
            item.session.start_from(structure.mask)
            added.append(item.id)
    return added


def uploaded(room: Room, files: Sequence[UploadFile], like: Volume) -> tuple[Structure, ...]:
    """The structures of uploaded files on the grid of `like`: DICOM-SEG, RTSTRUCT, a label map, slices."""
    named = [(safe_name(file.filename), file.file) for file in files]
    folder = Path(tempfile.mkdtemp(dir=room.settings.passing_dir))
    try:
        target = store_upload(named, folder / "mask")
        maps = [name for name, _ in named if not name.lower().endswith(DESCRIPTION)]
        if target.is_dir() and len(maps) == 1:
            target = target / maps[0]
        with limited(room.settings.max_voxels * 8, [folder]):
            if target.is_dir():  # one picture per slice
                mask = read_mask(target, like=like)
                return (Structure.of("", mask, COLOURS[0]),)
            return read_structures(target, like)
    except LimNetError as error:  # nobody need know where uploads lie
        raise type(error)(str(error).replace(f"{folder / 'mask'}/", "")) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _items(annotation: Annotation, ids: Sequence[int] | None) -> tuple[Object, ...]:
    if ids is None:
        return annotation.objects
    known = {item.id: item for item in annotation.objects}
    unknown = [id for id in ids if id not in known]
    if unknown:
        raise NotFound(
            f"object {unknown[0]} does not exist; GET /api/v1/volumes/VOLUME lists those there are"
        )
    return tuple(known[id] for id in dict.fromkeys(ids))


def _source(room: Room, slot: Slot, volume: Volume) -> Source:
    """The series of an annotation, read once more for its headers."""
    path, inside = room.workspace.files_of(slot)
    with limited(room.settings.max_voxels * 8, inside):
        source = read_source(path)
    source.check(volume)
    return source
