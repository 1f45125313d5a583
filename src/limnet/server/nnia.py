"""The array container of nnInteractive's protocol, "NNIA", read from anybody and written for its clients.

```
4s   "NNIA"                                    little-endian throughout
u8   version, 1        u8  codec, 1 zstd or 2 lz4: a label, the frames know for themselves
u8   number of axes    u8  length of the type's name
     the type's name, ASCII: numpy's ("uint8", "int16", "float32", "bool")
i64  length of each axis
u32  number of chunks
     per chunk: u64 its bytes unpacked, u64 its bytes packed, then a Blosc2 chunk of at most 1 GiB unpacked
```
What arrives is not trusted: every number is checked against the body and against `max_bytes` before anything
is allocated, and only chunks of Blosc2's own codecs and filters are unpacked, since a chunk may name plugins
that the library would then look for (chunk format: README_CHUNK_FORMAT.rst of C-Blosc2).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import blosc2
import numpy as np
from numpy.typing import NDArray

from limnet.server.refusals import Refusal

MAGIC = b"NNIA"
VERSION = 1
ZSTD, LZ4 = 1, 2
CHUNK_BYTES = 2**30  # unpacked; a C int32 holds the length
MAX_AXES = 8  # four are used
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
TYPES = frozenset(("bool", *INTEGERS, "float16", "float32", "float64"))  # no others, no objects

CHUNK_HEADER = struct.Struct("<BBBBiii 6s BB 6s BB")  # of Blosc2: its 16 bytes and the 16 of version 2
EXTENDED = 0x05  # both shuffle flags: the header has its second half
CODECS = (0, 1, 3, 4)  # BloscLZ, LZ4, zlib, Zstandard
LAST_FILTER = 4  # none, shuffle, bit shuffle, delta, truncation
SPECIAL = 0x70  # a whole chunk of one value; the other flags are dictionaries, longer headers, lazy chunks


class TooLarge(Refusal):
    """An array larger than what it is for."""

    status = 413
    title = "Too large"


class BadArray(Refusal):
    """Bytes that are no NNIA array, or not the array that was asked for."""

    title = "Bad array"


@dataclass(frozen=True)
class _Header:
    """What precedes the chunks."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    num_chunks: int
    length: int  # bytes

    @property
    def nbytes(self) -> int:
        """Of the array, unpacked."""
        return math.prod(self.shape) * self.dtype.itemsize


def pack(array: NDArray[Any]) -> bytes:
    """An array as an NNIA container; any shape, C order, types of `TYPES`."""
    array = np.ascontiguousarray(array).reshape(array.shape)  # ascontiguousarray makes 0 axes 1
    name = array.dtype.name.encode("ascii")
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    raw = little.reshape(-1).view(np.uint8).data
    starts = range(0, raw.nbytes, CHUNK_BYTES)
    parts = [
        struct.pack("<4sBBBB", MAGIC, VERSION, ZSTD, array.ndim, len(name)),
        name,
        struct.pack(f"<{array.ndim}qI", *array.shape, len(starts)),
    ]
    for start in starts:
        piece = raw[start : start + CHUNK_BYTES]
        packed = blosc2.compress2(
            piece,
            typesize=array.itemsize,  # with another one Blosc2 cannot read its own chunks of zeros
            codec=blosc2.Codec.ZSTD,
            clevel=3,
            filters=[blosc2.Filter.NOFILTER],  # masks pack best without
        )
        parts += [struct.pack("<QQ", piece.nbytes, len(packed)), packed]
    return b"".join(parts)


def unpack(body: bytes, max_bytes: int) -> NDArray[Any]:
    """The array in an NNIA container.

    BadArray when it is malformed, TooLarge when it would hold more than `max_bytes`; nothing has been
    allocated then.
    """
    header = _read_header(body)
    if header.nbytes > max_bytes:
        raise TooLarge(
            f"array of shape {header.shape} and type {header.dtype} takes {header.nbytes} bytes,"
            f" at most {max_bytes} are taken here"
        )
    chunks = _read_chunks(body, header)
    raw = np.empty(header.nbytes, np.uint8)
    start = 0
    for nbytes, chunk in chunks:
        try:
            blosc2.decompress2(chunk, dst=raw[start : start + nbytes])
        except (RuntimeError, ValueError) as error:
            raise BadArray(f"a chunk cannot be unpacked ({error}); send the array again") from None
        start += nbytes
    if header.dtype.kind == "b":
        return np.not_equal(raw, 0).reshape(header.shape)
    array: NDArray[Any] = raw.view(header.dtype.newbyteorder("<")).astype(header.dtype, copy=False)
    return array.reshape(header.shape)


def _read_header(body: bytes) -> _Header:
    """Everything before the first chunk."""
    if len(body) < 8 or body[:4] != MAGIC:
        raise BadArray(f"a body of {len(body)} bytes is no array: it must start with 'NNIA' and a header")
    version, codec, num_axes, name_length = struct.unpack_from("<4B", body, 4)
    if version != VERSION or codec not in (ZSTD, LZ4):
        raise BadArray(
            f"NNIA version {version} with codec {codec}; version 1 with codec 1 or 2 is known here"
        )
    if num_axes > MAX_AXES:
        raise BadArray(f"an array of {num_axes} axes; at most {MAX_AXES} are taken")
    length = 8 + name_length + 8 * num_axes + 4
    if len(body) < length:
        raise BadArray(f"the header is cut off: {len(body)} bytes of {length}")
    name = body[8 : 8 + name_length].decode("ascii", "replace")
    if name not in TYPES:
        raise BadArray(f"voxels of type {name[:40]!r}; taken are {', '.join(sorted(TYPES))}")
    *shape, num_chunks = struct.unpack_from(f"<{num_axes}qI", body, 8 + name_length)
    if any(n < 0 for n in shape):
        raise BadArray(f"shape {tuple(shape)} has a negative length")
    return _Header(np.dtype(name), tuple(shape), num_chunks, length)


def _read_chunks(body: bytes, header: _Header) -> list[tuple[int, memoryview]]:
    """(bytes unpacked, Blosc2 chunk) of each chunk; together they must give exactly the array."""
    view, start, total = memoryview(body), header.length, 0
    chunks: list[tuple[int, memoryview]] = []
    for _ in range(header.num_chunks):
        if len(body) < start + 16:
            raise BadArray(f"chunk {len(chunks)} of {header.num_chunks} is missing; send the array again")
        nbytes, packed = struct.unpack_from("<QQ", body, start)
        chunk = view[start + 16 : start + 16 + packed]
        if not 0 < nbytes <= CHUNK_BYTES or len(chunk) != packed or not _is_plain(chunk, nbytes):
            raise BadArray(
                f"chunk {len(chunks)} is not a whole Blosc2 chunk of {nbytes} bytes; send the array again"
            )
        chunks.append((nbytes, chunk))
        start, total = start + 16 + packed, total + nbytes
        if total > header.nbytes:
            break
    if total != header.nbytes or start != len(body):
        raise BadArray(
            f"{total} bytes in {len(chunks)} chunks and {len(body) - start} bytes behind them,"
            f" must be {header.nbytes} and none for shape {header.shape} and type {header.dtype}"
        )
    return chunks


def _is_plain(chunk: memoryview, nbytes: int) -> bool:
    """Whether a Blosc2 chunk is whole, gives `nbytes` and needs only Blosc2's own codecs and filters."""
    if len(chunk) < CHUNK_HEADER.size:
        return False
    facts = CHUNK_HEADER.unpack_from(chunk)
    _, _, flags, typesize, unpacked, block, packed, filters, _, _, _, _, more = facts
    return (
        flags & EXTENDED == EXTENDED
        and flags >> 5 in CODECS
        and typesize > 0
        and unpacked == nbytes
        and 0 < block <= nbytes
        and packed == len(chunk)
        and max(filters) <= LAST_FILTER
        and more & ~SPECIAL == 0
    )
