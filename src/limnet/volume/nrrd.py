"""NRRD: a text header, then voxels, in one file (.nrrd) or two (.nhdr and the data file it names).

Read here rather than by SimpleITK for the reason given in metaimage.py; the tests hold both readers equal.
Geometry as ITK takes it: space directions in LPS (RAS and LAS are turned), space units ignored. Without space
directions there is no geometry, which is an error. Definition: https://teem.sourceforge.net/nrrd/format.html
"""

from __future__ import annotations

import gzip
import math
import re
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limnet.errors import GeometryError, LimNetWarning, VolumeError
from limnet.volume.geometry import Affine, affine_from_axes, swap_lps
from limnet.volume.payload import Packing, as_voxels, read_voxels
from limnet.volume.volume import Volume

LONGEST_HEADER = 1 << 22  # Slicer keeps a whole segmentation's description in it
TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
TYPE_OF_NAME = {name: code for code, names in TYPES.items() for name in names}
PACKINGS: dict[str, Packing] = {"raw": "raw", "gzip": "gzip", "gz": "gzip"}
COLOUR_KINDS = {"rgb-color", "rgba-color", "3-color", "4-color", "vector", "3-vector", "4-vector"}
SIGNS_TO_LPS = {  # how the world axes of a space turn into LPS
    "left-posterior-superior": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
}
SHORT_SPACES = {
    "lps": "left-posterior-superior",
    "ras": "right-anterior-superior",
    "las": "left-anterior-superior",
}


def looks_like_nrrd(start: bytes) -> bool:
    """Whether bytes start as NRRD does."""
    return start.startswith(b"NRRD")


def read_nrrd(path: Path) -> Volume:
    """Read .nrrd, or .nhdr with its data file; VolumeError or GeometryError when it cannot be one volume."""
    fields, length = _fields(path)
    sizes, colours = _sizes(fields, str(path))
    dtype = _dtype(fields, str(path))
    if colours > 1 and dtype != np.uint8:
        raise VolumeError(
            f"{path}: {colours} numbers of type {dtype} per voxel, must be one, or RGB as uint8"
        )
    affine = _affine(fields, str(path))
    shape = (*sizes, 1)[:3]
    wanted = math.prod(shape) * max(1, colours) * dtype.itemsize
    flat = _voxels(path, fields, length, wanted)
    array = as_voxels(flat, dtype, (colours, *shape) if colours else shape)
    return Volume(array[..., :3] if colours else array, affine, source=str(path))


def read_layers(path: Path) -> tuple[Volume, ...]:
    """The label maps of a file in which 3D Slicer keeps segments that overlap; none of any other file."""
    fields, length = _fields(path)
    if not fields.get("kinds", "").lower().startswith("list"):
        return ()
    sizes, count = _sizes(fields, str(path), is_layered=True)
    if not count:
        return ()
    dtype, affine, shape = _dtype(fields, str(path)), _affine(fields, str(path)), (*sizes, 1)[:3]
    flat = _voxels(path, fields, length, count * math.prod(shape) * dtype.itemsize)
    array = as_voxels(flat, dtype, (count, *shape))
    return tuple(Volume(array[..., n], affine, source=str(path)) for n in range(count))


def write_nrrd(
    path: Path, labels: NDArray[Any], like: Volume, pairs: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Write `labels`, (I, J, K) of `like`, gzip-packed, to .nrrd, or to .nhdr and .raw.gz beside it.

    `pairs` are the header's free keys and values.
    """
    detached = path.name.lower().endswith(".nhdr")
    data = path.with_name(path.name[:-5] + ".raw.gz")
    lps = swap_lps(like.affine)
    *axes, origin = ["(" + ",".join(f"{x:.17g}" for x in column[:3]) + ")" for column in lps.T]
    lines = [
        "NRRD0004",
        f"type: {labels.dtype.name}",
        "dimension: 3",
        "space: left-posterior-superior",
        "sizes: " + " ".join(str(side) for side in labels.shape),
        "space directions: " + " ".join(axes),
        "kinds: domain domain domain",
        "endian: little",
        "encoding: gzip",
        f"space origin: {origin}",
        *([f"data file: {data.name}"] if detached else []),
        *(f"{key}:={value}" for key, value in pairs.items()),
    ]
    with ExitStack() as stack:
        file = stack.enter_context(path.open("wb"))
        file.write(("\n".join(lines) + "\n\n").encode())
        target = stack.enter_context(data.open("wb")) if detached else file
        with gzip.GzipFile("", "wb", compresslevel=6, fileobj=target, mtime=0) as packer:
            for k in range(labels.shape[2]):
                packer.write(
                    labels[:, :, k].astype(labels.dtype.newbyteorder("<"), copy=False).tobytes(order="F")
                )


def nrrd_pairs(path: Path) -> dict[str, str]:
    """The free keys and values of a header."""
    with path.open("rb") as file:
        text = re.split(rb"\r?\n\r?\n", file.read(LONGEST_HEADER), maxsplit=1)[0]
    lines = text.decode("utf-8", errors="replace").splitlines()
    return {key: value for key, found, value in (line.partition(":=") for line in lines) if found}


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """The header's fields, by lower-case name without spaces, and its length in bytes with the empty line."""
    with path.open("rb") as file:
        head = file.read(LONGEST_HEADER)
    end = re.search(rb"\r?\n\r?\n", head)
    text = head[: end.start()] if end else head
    if not end and len(head) == LONGEST_HEADER:
        raise VolumeError(f"{path}: no empty line ends its NRRD header; is it damaged?")
    fields: dict[str, str] = {}
    for line in text.decode("utf-8", errors="replace").splitlines()[1:]:
        name, colon, value = line.partition(":")
        if colon and not line.startswith("#") and not value.startswith("="):
            fields[name.strip().lower().replace(" ", "")] = value.strip()
    return fields, end.end() if end else len(head)


def _field(fields: dict[str, str], name: str, where: str) -> str:
    value = fields.get(name.replace(" ", ""))
    if not value:
        raise VolumeError(f"{where}: NRRD header has no {name!r}; is it damaged?")
    return value


def _integer(text: str, name: str, where: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise VolumeError(f"{where}: NRRD {name} is {text[:40]!r}, must be a whole number")
    return int(text)


def _sizes(fields: dict[str, str], where: str, *, is_layered: bool = False) -> tuple[tuple[int, ...], int]:
    """Lengths of the two or three axes in space, and the number of colours, or layers (0: there are none)."""
    sizes = [_integer(word, "sizes", where) for word in _field(fields, "sizes", where).split()]
    rank = _integer(_field(fields, "dimension", where), "dimension", where)
    if len(sizes) != rank:
        raise VolumeError(
            f"{where}: NRRD header gives {len(sizes)} sizes for {rank} dimensions; is it damaged?"
        )
    if min(sizes) < 1:
        raise VolumeError(f"{where}: shape {tuple(sizes)} holds no voxel; every length must be at least 1")
    directions = _directions(fields, where)
    if len(directions) != rank:
        raise GeometryError(f"{where}: {len(directions)} space directions for {rank} axes; repair the header")
    kinds = (fields.get("kinds", "").lower().split() + ["???"] * rank)[:rank]
    colours = 0
    is_coloured = sizes[0] in (3, 4) and kinds[0] in COLOUR_KINDS
    if directions[0] is None and (is_layered or is_coloured):
        colours = sizes[0]
    other = [n for n, d in zip(sizes, directions, strict=True) if d is None][1 if colours else 0 :]
    space = tuple(n for n, d in zip(sizes, directions, strict=True) if d is not None)
    if any(n > 1 for n in other) or len(space) not in (2, 3):
        raise VolumeError(
            f"{where}: shape {tuple(sizes)} with {len(space)} axes in space, must be one 2D or 3D volume;"
            f" split it first and save each volume alone"
        )
    return space, colours


def _dtype(fields: dict[str, str], where: str) -> np.dtype[Any]:
    name = " ".join(_field(fields, "type", where).lower().split())
    if name not in TYPE_OF_NAME:
        raise VolumeError(
            f"{where}: voxels of NRRD type {name[:40]!r}, must be an integer type, float or double"
        )
    code = TYPE_OF_NAME[name]
    order = fields.get("endian", "little" if code in ("i1", "u1") else "").lower()
    if order not in ("little", "big"):
        raise VolumeError(f"{where}: NRRD endian is {order[:40]!r}, must be little or big")
    return np.dtype(("<" if order == "little" else ">") + code)


def _vector(text: str, where: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise GeometryError(f"{where}: {text[:60]!r} in the NRRD header is no vector of numbers") from None


def _directions(fields: dict[str, str], where: str) -> list[list[float] | None]:
    """One vector per axis, None for an axis that is not in space."""
    if "spacedirections" not in fields:
        raise GeometryError(
            f"{where}: no affine: the NRRD header has no space directions, so the place of the voxels is"
            f" unknown; save it again from a program that writes them, such as 3D Slicer"
        )
    words = re.findall(r"none|\([^()]*\)", fields["spacedirections"].lower())
    return [None if word == "none" else _vector(word[1:-1], where) for word in words]


def _affine(fields: dict[str, str], where: str) -> Affine:
    """Voxel index to mm, RAS+."""
    axes = [direction for direction in _directions(fields, where) if direction is not None]
    size = len(axes[0])
    space = fields.get("space", "").lower()
    signs = SIGNS_TO_LPS.get(SHORT_SPACES.get(space, space))
    if any(len(axis) != size for axis in axes) or size not in (2, 3) or size < len(axes):
        raise GeometryError(
            f"{where}: space directions {fields['spacedirections']!r}, must be 2D or 3D vectors"
        )
    if signs is None and size == 3:
        warnings.warn(
            f"{where}: NRRD space is {space or 'not named'!r}; taken as left-posterior-superior, as ITK does",
            LimNetWarning,
            stacklevel=2,
        )
    origin = [0.0] * size
    if "spaceorigin" in fields:
        origin = _vector(fields["spaceorigin"].strip("() "), where)
    else:
        warnings.warn(f"{where}: NRRD header has no space origin; taken as 0", LimNetWarning, stacklevel=2)
    if len(origin) != size:
        raise GeometryError(f"{where}: space origin {fields['spaceorigin']!r}, must hold {size} numbers")
    affine = affine_from_axes(axes, origin)
    affine[:3] *= np.array(signs or (1, 1, 1))[:, None]
    return swap_lps(affine)


def _voxels(path: Path, fields: dict[str, str], length: int, wanted: int) -> NDArray[np.uint8]:
    """The data as bytes, from behind the header or from the data file it names."""
    encoding = _field(fields, "encoding", str(path)).lower()
    if encoding not in PACKINGS:
        raise VolumeError(f"{path}: NRRD encoding {encoding[:40]!r} is not read; save it as gzip or raw")
    packing = PACKINGS[encoding]
    name = fields.get("datafile", "")
    data, start = (path.parent / name, 0) if name else (path, length)
    if name.startswith("LIST") or "%" in name:
        raise VolumeError(f"{path}: data in several files ({name[:40]!r}) is not read; save it as one .nrrd")
    if not data.is_file():
        raise VolumeError(f"{path}: its data file {data.name!r} is missing; keep both files in one folder")
    start = _after_lines(data, start, _integer(fields.get("lineskip", "0"), "line skip", str(path)))
    skip = _integer(fields.get("byteskip", "0"), "byte skip", str(path))
    if skip == -1 and packing == "raw":
        start, skip = max(start, data.stat().st_size - wanted), 0
    if skip < 0:
        raise VolumeError(f"{path}: NRRD byte skip is {skip}, must be 0 or more, or -1 with raw data")
    return read_voxels(data, wanted, packing, start=start, skip=skip)


def _after_lines(path: Path, start: int, lines: int) -> int:
    """Where the data begin once `lines` lines after `start` are skipped."""
    if lines <= 0:
        return start
    with path.open("rb") as file:
        file.seek(start)
        for _ in range(lines):
            if not file.readline():
                break
        return file.tell()
