"""Structures in and out of every format: DICOM-SEG, RTSTRUCT, and label maps with names and colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from limnet.errors import GeometryError, OutputError, VolumeError
from limnet.volume.dicom.instance import LABEL_MAP, SEGMENTATION, STRUCTURES, kind_name
from limnet.volume.dicom.reading import looks_like_dicom, opened
from limnet.volume.dicom.segmentation import read_segmentation, write_segmentation
from limnet.volume.dicom.source import Source
from limnet.volume.dicom.structure_set import read_structure_set, write_structure_set
from limnet.volume.files import read_label_layers
from limnet.volume.label_file import structures_in, write_label_file
from limnet.volume.placing import placed
from limnet.volume.structure import Mask, Structure
from limnet.volume.volume import Volume

Kind = Literal["seg", "labelmap-seg", "rtstruct", "labels"]


def read_structures(path: str | Path, like: Volume) -> tuple[Structure, ...]:
    """What an existing segmentation holds, on the grid of `like`, one structure per segment, region or label.

    DICOM-SEG and RTSTRUCT (with the extra `dicom`), and label maps in any format of `read_volume`; axes may
    be swapped or flipped against `like`, and a map may cover a part of it. GeometryError when it lies on
    another grid or was made for another scan; VolumeError when it is damaged or no segmentation.
    """
    path = Path(path)
    if not path.is_file():
        raise VolumeError(f"{path}: no such file; give a segmentation: DICOM-SEG, RTSTRUCT or a label map")
    try:
        with path.open("rb") as file:
            is_dicom = looks_like_dicom(file.read(132))
    except OSError as error:
        raise VolumeError(f"{path}: cannot be read: {error.strerror}; check its permissions") from None
    if not is_dicom:
        layers, affine = read_label_layers(path)
        return tuple(
            structure
            for n, labels in enumerate(layers)
            for structure in structures_in(placed(labels, affine, like, str(path)), path, layer=n)
        )
    with opened(path) as (header, _):
        kind, name = str(header.get("SOPClassUID", "")), kind_name(header)
    if kind in (SEGMENTATION, LABEL_MAP):
        return read_segmentation(path, like)
    if kind == STRUCTURES:
        return read_structure_set(path, like)
    raise VolumeError(f"{path}: DICOM, but no segmentation ({name}); give a DICOM-SEG or RTSTRUCT file")


def write_structures(
    path: str | Path,
    structures: Sequence[Structure],
    like: Volume,
    *,
    kind: Kind | None = None,
    source: Source | None = None,
) -> None:
    """Write structures, all of them on the grid of `like`, as one file.

    `kind` follows from the ending of `path` when it is None: .dcm is a DICOM-SEG; others are label maps.
    DICOM needs `source`, the series that `like` was read from. The file appears complete or not at all.
    OutputError when it cannot be written, GeometryError when grids differ.
    """
    path = Path(path)
    kind = kind or ("seg" if path.suffix.lower() == ".dcm" else "labels")
    for structure in structures:
        if structure.shape != like.shape:
            raise GeometryError(
                f"{structure.name}: mask of shape {structure.shape} does not fit {like.source}"
                f" of shape {like.shape}"
            )
    if kind == "labels":
        write_label_file(path, structures, like)
        return
    if source is None:
        raise OutputError(
            f"{path}: DICOM results refer to a series; name the DICOM folder they were made from"
        )
    source.check(like)
    if kind == "rtstruct":
        write_structure_set(path, structures, source)
    else:
        write_segmentation(path, structures, source, kind="binary" if kind == "seg" else "labelmap")


def start_mask(path: str | Path, like: Volume) -> Mask:
    """The one structure of a file as a mask (I, J, K), to start a session from.

    VolumeError when the file holds several, or none that has a voxel.
    """
    structures = [s for s in read_structures(path, like) if s.block.size]
    if len(structures) != 1:
        names = ", ".join(structure.name for structure in structures[:8]) or "none"
        raise VolumeError(
            f"{path}: {len(structures)} structures ({names}), must be one to start from; the annotator"
            f" (limnet serve SCAN --start FILE) takes them all"
        )
    return structures[0].mask
