"""How large a compressed frame says it is, read before any decoder believes it.

A decoder allocates what the codestream claims, whatever the DICOM header says: both must agree first.
JPEG and JPEG-LS (ISO 10918-1, 14495-1): the start-of-frame marker. JPEG 2000 (ISO 15444-1): the SIZ marker.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

START_OF_FRAME = frozenset(
    (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7)
)
ALONE = frozenset((0x01, *range(0xD0, 0xD9)))  # JPEG markers without a length
SIZ_AFTER_START = b"\xff\x4f\xff\x51"  # JPEG 2000: start of codestream, then SIZ
FURTHEST_SIZ = 1 << 12  # bytes of boxes a JP2 file may have before its codestream


class FrameSize(NamedTuple):
    """What a codestream claims."""

    rows: int
    columns: int
    samples: int


def frame_size(data: bytes) -> FrameSize | None:
    """The size a JPEG, JPEG-LS or JPEG 2000 frame claims; None when it is none of these (such as RLE)."""
    start = data.find(SIZ_AFTER_START, 0, FURTHEST_SIZ)
    if start >= 0:
        return _jpeg2000_size(data, start)
    return _jpeg_size(data) if data[:2] == b"\xff\xd8" else None


def _jpeg2000_size(data: bytes, start: int) -> FrameSize | None:
    fields = data[start + 8 : start + 42]  # behind SIZ's length and capabilities
    if len(fields) < 34:
        return None
    right, bottom, left, top = struct.unpack(">4I", fields[:16])
    (samples,) = struct.unpack(">H", fields[32:34])
    return FrameSize(bottom - top, right - left, samples)


def _jpeg_size(data: bytes) -> FrameSize | None:
    at = 2
    while at + 9 < len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF or marker in ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in START_OF_FRAME:
            rows, columns, samples = struct.unpack(">HHB", data[at + 5 : at + 10])
            return FrameSize(rows, columns, samples)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
