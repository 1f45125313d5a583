"""Voxel bytes from a file as one array: bounded, checked for truncation, no second copy.

Large uncompressed voxels are not read but mapped: the operating system fetches what is looked at and may let
it go again, so that a volume larger than memory can be opened.

Headers lie. Nothing is allocated before the number of bytes a header promises has been compared with what the
file can hold; a compressed file is trusted up to deflate's largest ratio, and its pages are only touched as
bytes arrive.
"""

from __future__ import annotations

import gzip
import mmap
import os
import re
import zlib
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from limnet.errors import VolumeError
from limnet.volume.limits import check_limits

Packing = Literal["raw", "gzip", "zlib"]

DEFLATE_RATIO = 1032  # no deflate stream unpacks to more than this times its size
MAPPED = 1 << 27  # bytes of uncompressed voxels from which on a file is mapped
CHUNK = 1 << 18  # bytes per read
LONGEST_TAIL = 1 << 26  # bytes read past the voxels to reach a gzip checksum
DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, OSError)


def is_gzip(path: Path) -> bool:
    """Whether the file starts as gzip does, whatever its name."""
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def head(path: Path, length: int) -> bytes:
    """The first `length` bytes, unpacked; fewer when the file is shorter. VolumeError when it is damaged."""
    try:
        with gzip.open(path, "rb") if is_gzip(path) else path.open("rb") as stream:
            return stream.read(length)
    except EOFError:
        raise VolumeError(f"{path}: gzip stream is cut short; copy or download the file again") from None
    except DAMAGED as error:
        raise VolumeError(f"{path}: cannot be read ({one_line(error)}); copy or download it again") from None


def read_voxels(
    path: Path, wanted: int, packing: Packing, *, start: int = 0, skip: int = 0
) -> NDArray[np.uint8]:
    """Exactly `wanted` bytes of a file, as a new uint8 array, or read-only where a large file is mapped.

    They lie `skip` bytes into what byte `start` of the file begins: plain bytes, a gzip or a zlib stream.
    VolumeError when the file is too short, cut short, damaged or larger than memory.
    """
    check_limits(path, wanted)
    size = path.stat().st_size
    room = (size - start) * (1 if packing == "raw" else DEFLATE_RATIO)
    if skip + wanted > room:
        raise VolumeError(
            f"{path}: {size:,} bytes are too few for the {wanted:,} bytes of voxels its header promises;"
            f" it is truncated or not what it says: copy or download it again"
        )
    try:
        with path.open("rb") as file:
            if packing == "raw" and wanted >= MAPPED:
                return np.asarray(np.memmap(file, np.uint8, "r", start + skip, (wanted,)))
            file.seek(start)
            if packing == "zlib":
                return _unzip(file, wanted)
            stream = gzip.GzipFile(fileobj=file) if packing == "gzip" else file
            return _read(stream, wanted, skip)
    except EOFError:
        raise VolumeError(
            f"{path}: truncated: fewer than the {wanted:,} bytes of voxels its header promises, or no"
            f" checksum after them; copy or download the file again"
        ) from None
    except MemoryError:
        raise VolumeError(
            f"{path}: {wanted:,} bytes of voxels do not fit into memory; crop it first"
        ) from None
    except DAMAGED as error:
        raise VolumeError(f"{path}: damaged ({one_line(error)}); copy or download the file again") from None


def as_voxels(flat: NDArray[np.uint8], dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Bytes as voxels in the machine's byte order, in place; i runs fastest in the file.

    `shape` is (I, J, K), or (3, I, J, K) for colours, which come back as (I, J, K, 3).
    """
    voxels: NDArray[Any] = flat.view(dtype)
    if not dtype.isnative:
        voxels = voxels.byteswap(inplace=voxels.flags.writeable).view(dtype.newbyteorder("="))
    voxels = voxels.reshape(shape, order="F")
    return np.moveaxis(voxels, 0, -1) if len(shape) == 4 else voxels


def release(array: NDArray[Any]) -> None:
    """Let the memory of a mapped file go; what is looked at again is fetched again. Else nothing happens."""
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap) and not array.flags.writeable and hasattr(owner, "madvise"):
        owner.madvise(mmap.MADV_DONTNEED)


def one_line(error: BaseException) -> str:
    """The first line of what a library said, without addresses in memory."""
    text = str(error).strip() or type(error).__name__
    return re.sub(r" ?<[^<>]* at 0x[0-9a-f]+>", "", text.splitlines()[0])


def _read(stream: gzip.GzipFile | IO[bytes], wanted: int, skip: int) -> NDArray[np.uint8]:
    """`wanted` bytes after `skip`, and gzip's checksum compared; EOFError when there are fewer."""
    stream.seek(skip, os.SEEK_CUR)
    voxels = np.empty(wanted, np.uint8)
    target = voxels.data
    filled = 0
    while filled < wanted:
        got = stream.readinto(target[filled : filled + CHUNK])  # type: ignore[union-attr]  # binary IO has it
        if not got:
            raise EOFError
        filled += got
    if isinstance(stream, gzip.GzipFile):  # it compares its checksum at the end; a long tail is left unread
        for _ in range(LONGEST_TAIL // CHUNK):
            if not stream.read(CHUNK):
                break
    return voxels


def _unzip(stream: IO[bytes], wanted: int) -> NDArray[np.uint8]:
    """`wanted` bytes out of a zlib (or gzip) stream, its checksum compared; EOFError when there are fewer."""
    voxels = np.empty(wanted, np.uint8)
    unpacker, filled = zlib.decompressobj(wbits=47), 0  # 47: zlib or gzip, whichever it is
    while not unpacker.eof:
        packed = unpacker.unconsumed_tail or stream.read(CHUNK)
        if not packed:
            raise EOFError
        piece = unpacker.decompress(packed, max(1, min(CHUNK, wanted - filled)))
        if filled + len(piece) > wanted:
            break  # more than the header promises: as with gzip, the tail is left unread
        voxels[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
        filled += len(piece)
    if filled < wanted:
        raise EOFError
    return voxels
