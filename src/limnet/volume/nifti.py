"""NIfTI-1 and NIfTI-2 in one file (.nii, .nii.gz): header by nibabel, voxels straight into one array.

Geometry as nibabel decides it: sform when it has a code, else qform, else none, which is an error here:
a guessed geometry would put a mask in the wrong place. Units other than mm are converted.
"""

from __future__ import annotations

import gzip
import math
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from limnet.errors import GeometryError, VolumeError
from limnet.volume.geometry import Affine
from limnet.volume.payload import as_voxels, head, is_gzip, one_line, read_voxels
from limnet.volume.volume import Volume

Header = Any  # nibabel's Nifti1Header or Nifti2Header, which have no types

STARTS = {
    1: (b"\x5c\1\0\0", b"\0\0\1\x5c"),
    2: (b"\x1c\2\0\0", b"\0\0\2\x1c"),
}  # 348, 540 in either byte order
LONGEST_HEADER = 540  # bytes of NIfTI-2; NIfTI-1 has 348
LONGEST_SIDE = 32767  # NIfTI-1 counts voxels along an axis in int16
MM_PER_UNIT = {1: 1000.0, 2: 1.0, 3: 0.001}  # spatial part of xyzt_units: metre, mm, micron
PLACE_FIELDS = (
    "sform_code",
    "srow_x",
    "srow_y",
    "srow_z",
    "qform_code",
    "quatern_b",
    "quatern_c",
    "quatern_d",
    "qoffset_x",
    "qoffset_y",
    "qoffset_z",
)


def looks_like_nifti(start: bytes) -> bool:
    """Whether unpacked bytes start as a NIfTI header does: its own length, in either byte order."""
    return start[:4] in STARTS[1] + STARTS[2]


def read_nifti(path: Path) -> Volume:
    """Read one NIfTI file; VolumeError or GeometryError when it cannot be one volume."""
    start = head(path, LONGEST_HEADER)
    header = _header(start, str(path))
    shape, dtype = _layout(header, str(path))
    affine = _affine(header, str(path))
    array = _voxels(path, header, shape, dtype)
    return Volume(array, affine, source=str(path), nifti_header=start[: int(header["sizeof_hdr"])])


def write_nifti(path: Path, labels: NDArray[Any], like: Volume) -> None:
    """Write `labels`, (I, J, K) of `like`, to .nii or .nii.gz; sform and qform are copies of like's own.

    Without a NIfTI header of its own, the affine becomes the sform (code 2, aligned) and, when it is free of
    shear, the qform (code 1). Byte for byte the same each time: gzip's time stamp is left out.
    """
    header = _header_like(like, labels.shape)
    header.set_data_dtype(labels.dtype)
    with ExitStack() as stack:
        stream: IO[bytes] = stack.enter_context(path.open("wb"))
        if path.name.lower().endswith(".gz"):
            packer = gzip.GzipFile("", "wb", compresslevel=6, fileobj=stream, mtime=0)
            stream = stack.enter_context(packer)  # type: ignore[arg-type]  # writes like any stream
        stream.write(header.binaryblock.ljust(int(header["vox_offset"]), b"\0"))
        for k in range(labels.shape[2]):
            stream.write(labels[:, :, k].tobytes(order="F"))


def _header(start: bytes, where: str) -> Header:
    """The header, in whichever byte order and version; VolumeError when it is none."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header
    from nibabel.spatialimages import HeaderDataError

    kind: Any
    second = start[:4] in STARTS[2]
    kind, length, magic = (Nifti2Header, 540, b"n+2") if second else (Nifti1Header, 348, b"n+1")
    if len(start) < length:
        raise VolumeError(f"{where}: cut short inside its NIfTI header; copy or download the file again")
    try:
        header: Header = kind(start[:length], check=False)
    except (HeaderDataError, ValueError) as error:
        raise VolumeError(f"{where}: not a NIfTI header ({one_line(error)})") from None
    found = bytes(header["magic"])
    if found[:3] in (b"ni1", b"ni2"):
        raise VolumeError(f"{where}: half of a two-file NIfTI (.hdr and .img); convert it to .nii.gz")
    if found[:3] != magic:
        raise VolumeError(f"{where}: not NIfTI: magic is {found!r}, must be {magic!r}")
    return header


def _layout(header: Header, where: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """((I, J, K) or (3, I, J, K), dtype) of the stored voxels; VolumeError when they are not one volume."""
    rank = int(header["dim"][0])
    if not 1 <= rank <= 7:
        raise VolumeError(f"{where}: NIfTI header gives {rank} dimensions, must be 2 or 3; is it damaged?")
    sizes = [int(n) for n in header["dim"][1 : rank + 1]]
    if min(sizes) < 1:
        raise VolumeError(f"{where}: shape {tuple(sizes)} holds no voxel; every length must be at least 1")
    dtype = _dtype(header, where)
    if rank == 5 and sizes[3:] == [1, 3] and dtype == np.uint8:
        raise VolumeError(f"{where}: colours stored as a vector image; write them as RGB24 or as frames")
    if rank < 2 or any(n > 1 for n in sizes[3:]):
        raise VolumeError(
            f"{where}: shape {tuple(sizes)}, must be one 2D or 3D volume; split it first,"
            f" e.g. with nibabel.four_to_three"
        )
    shape: tuple[int, ...] = (*sizes[:3], 1)[:3]
    if dtype.names:  # ('R', 'G', 'B') or with 'A'
        return (len(dtype.names), *shape), np.dtype(np.uint8)
    return shape, dtype


def _dtype(header: Header, where: str) -> np.dtype[Any]:
    from nibabel.spatialimages import HeaderDataError

    code = int(header["datatype"])
    try:
        dtype: np.dtype[Any] = header.get_data_dtype()
    except (HeaderDataError, KeyError):
        raise VolumeError(
            f"{where}: NIfTI data type {code} is unknown; convert to int16 or float32"
        ) from None
    if (dtype.names is None and dtype.kind not in "iuf") or dtype.itemsize == 0:
        raise VolumeError(
            f"{where}: voxels of NIfTI data type {code} ({dtype}), must be integers, floats or RGB;"
            f" export e.g. the magnitude as float32"
        )
    return dtype


def _affine(header: Header, where: str) -> Affine:
    """Voxel index to mm, RAS+, from sform or qform."""
    from nibabel.spatialimages import HeaderDataError

    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        raise GeometryError(
            f"{where}: no affine: sform_code and qform_code are 0, so the place of the voxels is unknown;"
            f" set one, e.g. image.set_sform(affine, code=1) in nibabel"
        )
    try:
        with np.errstate(all="ignore"):
            if int(header["sform_code"]) == 0 and header["pixdim"][0] not in (-1, 1):
                header = header.copy()
                header["pixdim"][0] = 1  # the standard: anything but -1 counts as 1
            affine: Affine = np.array(header.get_best_affine(), dtype=np.float64)
    except (HeaderDataError, ValueError) as error:
        raise GeometryError(f"{where}: qform cannot be used ({one_line(error)}); repair the header") from None
    unit = MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)
    affine[:3] *= unit
    return affine


def _voxels(path: Path, header: Header, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The voxels in their stored type, or as floats when slope and intercept say so."""
    length = int(header["sizeof_hdr"])
    start = float(header["vox_offset"])
    if not np.isfinite(start) or 0 != start < length:
        raise VolumeError(f"{path}: voxels start at byte {start:g}, must be {length + 4} or more")
    offset = int(start) or length + 4
    wanted = math.prod(shape) * dtype.itemsize
    flat = read_voxels(path, wanted, "gzip" if is_gzip(path) else "raw", skip=offset)
    array = as_voxels(flat, dtype, shape)
    if array.ndim == 4:
        return array[..., :3]  # alpha is dropped
    if dtype.itemsize > 8:
        array = array.astype(np.float64)  # no network and no other format knows 128-bit floats
    return _scaled(array, header, str(path))


def _scaled(array: NDArray[Any], header: Header, where: str) -> NDArray[Any]:
    """slope * voxel + intercept in float32 (float64 for wide types); the same array when that is trivial."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not np.isfinite(slope) or (slope, inter) == (1, 0):
        return array
    if not np.isfinite(inter):
        raise VolumeError(f"{where}: scl_inter is {inter}, must be finite; repair the header")
    wide = array.dtype.itemsize > 2 and array.dtype != np.float32
    out: NDArray[Any] = array.astype(np.float64 if wide else np.float32)
    with np.errstate(all="ignore"):
        np.multiply(out, slope, out=out)
        np.add(out, inter, out=out)
    return out


def _header_like(like: Volume, shape: tuple[int, ...]) -> Header:
    """A header that puts `shape` where `like` lies."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    own = _header(like.nifti_header, like.source) if like.nifti_header else None
    if own is not None and not np.array_equal(_affine(own, like.source), like.affine):
        own = None  # the volume was moved since
    second = max(shape) > LONGEST_SIDE or (own is not None and int(own["sizeof_hdr"]) == 540)
    kind: Any = Nifti2Header if second else Nifti1Header
    header: Header = kind()
    header.set_data_shape(shape)
    header["vox_offset"] = int(header["sizeof_hdr"]) + 4
    if own is not None:
        for name in PLACE_FIELDS:
            header[name] = own[name]
        header["pixdim"][:4] = own["pixdim"][:4]
        header["xyzt_units"] = int(own["xyzt_units"]) & 7
        return header
    header.set_xyzt_units("mm")
    header.set_qform(like.affine, code=1)
    if np.abs((header.get_qform() - like.affine)[:3, :3]).max() > 1e-4 * min(like.spacing):
        header["qform_code"] = 0  # sheared: no quaternion says that
    header.set_sform(like.affine, code=2)
    return header
