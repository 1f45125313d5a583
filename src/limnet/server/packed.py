"""Arrays that viewers send packed: gzip streams and NPY files, bounded before anything is allocated."""

from __future__ import annotations

import math
import re
import zlib
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from limnet.server.refusals import Refusal, TooLarge

CHUNK = 1 << 18  # bytes per read
GZIP = 31  # zlib's number for a gzip stream
RATIO = 1032  # no deflate stream unpacks to more than this times its size
MAGIC = b"\x93NUMPY"
MOST_AXES = 8
HEADER = 12  # bytes in which the length of an NPY header is told
LONGEST_HEADER = 4096  # a plain array's takes 118
DESCRIPTION = re.compile(  # as numpy writes one; nothing in it is evaluated
    r"\{'descr': '([<>|=]?(?:b1|[iu][1248]|f[248]))', 'fortran_order': (True|False),"
    r" 'shape': \(((?:\d{1,12}, ?)*(?:\d{1,12})?)\),? ?\}\s*"
)


class BadArray(Refusal):
    """Bytes that are not the array that was asked for."""

    title = "Bad array"


def gunzip_exactly(stream: IO[bytes], wanted: int, what: str) -> NDArray[np.uint8]:
    """The `wanted` bytes that a gzip stream holds, (wanted,) uint8. BadArray when it holds more or fewer."""
    _check_ratio(stream, wanted, what)
    buffer = np.empty(wanted, np.uint8)
    target, filled, unpacker = buffer.data, 0, zlib.decompressobj(GZIP)
    while not unpacker.eof:
        packed = unpacker.unconsumed_tail or stream.read(CHUNK)
        if not packed:
            break
        try:
            piece = unpacker.decompress(packed, CHUNK)
        except zlib.error:
            raise BadArray(f"{what}: not a gzip stream, or damaged; send it again") from None
        if filled + len(piece) > wanted:
            raise BadArray(f"{what}: more than the {wanted} bytes that its size says; send it again")
        target[filled : filled + len(piece)] = piece
        filled += len(piece)
    if filled < wanted or not unpacker.eof:
        raise BadArray(f"{what}: {filled} of {wanted} bytes, the stream is cut off; send it again")
    return buffer


def gunzip(stream: IO[bytes], largest: int, what: str) -> bytes:
    """What a gzip stream holds. TooLarge beyond `largest` bytes, BadArray when it is damaged."""
    parts, length, unpacker = [], 0, zlib.decompressobj(GZIP)
    while not unpacker.eof:
        packed = unpacker.unconsumed_tail or stream.read(CHUNK)
        if not packed:
            raise BadArray(f"{what}: the gzip stream is cut off after {length} bytes; send it again")
        try:
            parts.append(unpacker.decompress(packed, CHUNK))
        except zlib.error:
            raise BadArray(f"{what}: not a gzip stream, or damaged; send it again") from None
        length += len(parts[-1])
        if length > largest:
            raise TooLarge(f"{what}: unpacks to more than {largest} bytes, the most taken here")
    return b"".join(parts)


def read_npy(data: bytes, largest: int, what: str) -> NDArray[Any]:
    """The array in an NPY file (versions 1 to 3) of numbers or bools, never objects.

    BadArray when it is none, TooLarge when it would hold more than `largest` bytes.
    """
    dtype, shape, is_fortran, start = _npy_header(data, what)
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes > largest:
        raise TooLarge(f"{what}: shape {shape} and type {dtype} take {nbytes} bytes, at most {largest}")
    if len(data) - start != nbytes:
        raise BadArray(
            f"{what}: {len(data) - start} bytes of voxels, must be {nbytes} for shape {shape}, type {dtype}"
        )
    flat: NDArray[Any] = np.frombuffer(data, dtype, offset=start)
    return flat.astype(dtype.newbyteorder("="), copy=False).reshape(shape, order="F" if is_fortran else "C")


def _npy_header(data: bytes, what: str) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """(type, shape, whether in Fortran's order, where the voxels start) of an NPY file."""
    if len(data) < HEADER or data[:6] != MAGIC or data[6] not in (1, 2, 3):
        raise BadArray(f"{what}: not an NPY file; send what numpy.save writes")
    width = 2 if data[6] == 1 else 4
    length = int.from_bytes(data[8 : 8 + width], "little")
    text = data[8 + width : 8 + width + length]
    if length > LONGEST_HEADER or len(text) < length:
        raise BadArray(f"{what}: an NPY header of {length} bytes; send what numpy.save writes")
    match = DESCRIPTION.fullmatch(text.decode("latin-1"))
    if match is None:
        raise BadArray(f"{what}: its NPY header does not tell a plain array; send integers, floats or bools")
    shape = tuple(int(n) for n in match[3].split(",") if n.strip())
    if len(shape) > MOST_AXES:
        raise BadArray(f"{what}: an array of {len(shape)} axes is no volume")
    return np.dtype(match[1]), shape, match[2] == "True", 8 + width + length


def _check_ratio(stream: IO[bytes], wanted: int, what: str) -> None:
    """BadArray when a stream is too short to hold so much, whatever is in it."""
    here = stream.tell()
    size = stream.seek(0, 2) - here
    stream.seek(here)
    if wanted > size * RATIO:
        raise BadArray(f"{what}: {size} packed bytes cannot hold the {wanted} that its size says")
