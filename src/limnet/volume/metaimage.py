"""MetaImage: a text header, then voxels, in one file (.mha) or two (.mhd and the data file it names).

Read here rather than by SimpleITK: of 400 slightly damaged headers, two ended the whole process in its reader
(2.5.7, SIGABRT and SIGSEGV); here they end in one line of text. The tests hold both readers equal.
Geometry as ITK takes it: TransformMatrix, Offset and ElementSpacing in LPS and mm. Without ElementSpacing
there is no geometry, which is an error. Definition: https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from __future__ import annotations

import math
import re
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limnet.errors import GeometryError, LimNetWarning, VolumeError
from limnet.volume.geometry import Affine, affine_from_axes, spacing_of, swap_lps
from limnet.volume.payload import Packing, as_voxels, read_voxels
from limnet.volume.volume import Volume

LONGEST_HEADER = 1 << 20
TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
FIRST_KEYS = (
    rb"ObjectType|ObjectSubType|Comment|Name|ID|NDims|DimSize|Binary\w+|Compressed\w+|Element\w+|Transform\w+"
)


def looks_like_metaimage(start: bytes) -> bool:
    """Whether bytes start with a line of MetaImage's header."""
    return re.match(rb"\s*(" + FIRST_KEYS + rb")[ \t]*=", start) is not None


def read_metaimage(path: Path) -> Volume:
    """Read .mha, or .mhd with its data file; VolumeError or GeometryError when it cannot be one volume."""
    fields, length = _fields(path)
    shape, rank = _shape(fields, str(path))
    dtype = _dtype(fields, str(path))
    (colours,) = _numbers(fields, "ElementNumberOfChannels", 1, str(path), default="1")
    if colours not in (1, 3, 4) or (colours > 1 and dtype != np.uint8):
        raise VolumeError(
            f"{path}: {colours:g} numbers of type {dtype} per voxel, must be one, or RGB as uint8"
        )
    affine = _affine(fields, rank, str(path))
    sides = (int(colours), *shape) if colours > 1 else shape
    flat = _voxels(path, fields, length, math.prod(sides) * dtype.itemsize)
    array = as_voxels(flat, dtype, sides)
    return Volume(array[..., :3] if colours > 1 else array, affine, source=str(path))


def write_metaimage(path: Path, labels: NDArray[Any], like: Volume) -> None:
    """Write `labels`, (I, J, K) of `like`, zlib-packed, to .mha, or to .mhd and .zraw beside it."""
    detached = path.name.lower().endswith(".mhd")
    data = path.with_name(path.name[:-4] + ".zraw")
    packer = zlib.compressobj(6)
    blocks = []  # in memory, since the header tells their size; masks shrink a hundredfold
    for k in range(labels.shape[2]):
        little = labels[:, :, k].astype(labels.dtype.newbyteorder("<"), copy=False)
        blocks.append(packer.compress(little.tobytes(order="F")))
    blocks.append(packer.flush())
    lps, spacing = swap_lps(like.affine), spacing_of(like.affine)
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True",
        "CompressedDataSize": str(sum(len(block) for block in blocks)),
        "TransformMatrix": _text((lps[:3, :3] / np.array(spacing)).T.ravel()),
        "Offset": _text(lps[:3, 3]),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": _text(spacing),
        "DimSize": " ".join(str(side) for side in labels.shape),
        "ElementType": "MET_UCHAR" if labels.dtype == np.uint8 else "MET_USHORT",
        "ElementDataFile": data.name if detached else "LOCAL",
    }
    header = "".join(f"{key} = {value}\n" for key, value in fields.items()).encode()
    if detached:
        data.write_bytes(b"".join(blocks))
        path.write_bytes(header)
    else:
        path.write_bytes(b"".join([header, *blocks]))


def _text(numbers: Any) -> str:
    return " ".join(f"{number:.17g}" for number in numbers)


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """The header's fields and its length in bytes: ElementDataFile is by definition its last line."""
    with path.open("rb") as file:
        head = file.read(LONGEST_HEADER)
    last = re.search(rb"(?:^|\n)[ \t]*ElementDataFile[ \t]*=[^\n]*(?:\n|$)", head)
    if not last:
        raise VolumeError(f"{path}: MetaImage header has no 'ElementDataFile'; is it cut short?")
    fields: dict[str, str] = {}
    for line in head[: last.end()].decode("utf-8", errors="replace").splitlines():
        name, _, value = line.partition("=")
        fields[name.strip()] = value.strip()
    return fields, last.end()


def _numbers(
    fields: dict[str, str], name: str, count: int, where: str, *, default: str | None = None
) -> list[float]:
    """`count` numbers of a field; VolumeError when it is missing without a default or malformed."""
    text = fields.get(name, default)
    if text is None:
        raise VolumeError(f"{where}: MetaImage header has no {name!r}; is it damaged?")
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise VolumeError(
            f"{where}: MetaImage {name} is {text[:60]!r}, must be {count} numbers; is it damaged?"
        )
    return numbers


def _shape(fields: dict[str, str], where: str) -> tuple[tuple[int, ...], int]:
    """((I, J, K), number of dimensions in the file)."""
    (dims,) = _numbers(fields, "NDims", 1, where)
    if dims not in (2, 3, 4, 5):
        raise VolumeError(f"{where}: MetaImage of {dims:g} dimensions, must be 2 or 3")
    rank = int(dims)
    sizes = _numbers(fields, "DimSize", rank, where)
    if not all(1 <= size < 2**48 and size.is_integer() for size in sizes):
        raise VolumeError(
            f"{where}: shape {fields['DimSize']!r} holds no voxel; every length must be at least 1"
        )
    if any(size > 1 for size in sizes[3:]):
        raise VolumeError(
            f"{where}: shape ({', '.join(fields['DimSize'].split())}), must be one 2D or 3D volume;"
            f" split it first and save each volume alone"
        )
    return tuple(int(size) for size in (*sizes[:3], 1)[:3]), rank


def _dtype(fields: dict[str, str], where: str) -> np.dtype[Any]:
    name = fields.get("ElementType", "").removesuffix("_ARRAY")
    if name not in TYPES:
        raise VolumeError(
            f"{where}: voxels of MetaImage type {name[:40]!r}, must be one of {', '.join(TYPES)}"
        )
    big = _is_true(fields, "BinaryDataByteOrderMSB") or _is_true(fields, "ElementByteOrderMSB")
    return np.dtype((">" if big else "<") + TYPES[name])


def _is_true(fields: dict[str, str], name: str) -> bool:
    return fields.get(name, "False")[:1] in ("T", "t", "1")


def _affine(fields: dict[str, str], rank: int, where: str) -> Affine:
    """Voxel index to mm, RAS+; of a 4D header with one volume, its first three axes."""
    spacing_name = "ElementSpacing" if "ElementSpacing" in fields else "ElementSize"
    if spacing_name not in fields:
        raise GeometryError(
            f"{where}: no affine: the MetaImage header has no ElementSpacing, so the size of the voxels is"
            f" unknown; add the line 'ElementSpacing = ' with edge lengths in mm"
        )
    spacing = np.array(_numbers(fields, spacing_name, rank, where))
    found = {"TransformMatrix": "", "Offset": ""}
    for name, others in (
        ("TransformMatrix", ("Rotation", "Orientation")),
        ("Offset", ("Position", "Origin")),
    ):
        known = [key for key in (name, *others) if key in fields]
        found[name] = known[0] if known else name
        if not known and rank > 2:
            standard = "the identity" if name == "TransformMatrix" else "0"
            warnings.warn(
                f"{where}: MetaImage header has no {name}; taken as {standard}", LimNetWarning, stacklevel=2
            )
    identity = " ".join(str(x) for x in np.eye(rank).ravel())
    matrix = _numbers(fields, found["TransformMatrix"], rank * rank, where, default=identity)
    origin = _numbers(fields, found["Offset"], rank, where, default="0 " * rank)
    axes = np.array(matrix).reshape(rank, rank) * spacing[:, None]  # one row per voxel axis
    return swap_lps(affine_from_axes(axes[:3, :3], origin[:3]))


def _voxels(path: Path, fields: dict[str, str], length: int, wanted: int) -> NDArray[np.uint8]:
    """The data as bytes, from behind the header or from the data file it names."""
    if fields.get("BinaryData", "True")[:1] in ("F", "f", "0"):
        raise VolumeError(f"{path}: MetaImage with voxels as text is not read; save it as binary")
    name = fields["ElementDataFile"]
    local = name.upper() == "LOCAL"
    data = path if local else path.parent / name
    if name.startswith("LIST") or "%" in name:
        raise VolumeError(f"{path}: data in several files ({name[:40]!r}) is not read; save it as one .mha")
    if not data.is_file():
        raise VolumeError(f"{path}: its data file {data.name!r} is missing; keep both files in one folder")
    packing: Packing = "zlib" if _is_true(fields, "CompressedData") else "raw"
    (skip,) = _numbers(fields, "HeaderSize", 1, str(path), default="0")
    start = length if local else 0
    if skip == -1 and packing == "raw":
        start = max(start, data.stat().st_size - wanted)
    elif 0 < skip < 2**48 and not local:
        start = int(skip)
    return read_voxels(data, wanted, packing, start=start)
