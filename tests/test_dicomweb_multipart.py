"""multipart/related: whatever the pieces it comes in, the parts are the same; cut anywhere, it is refused."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnet.errors import RemoteError
from limnet.volume.dicomweb.multipart import Begin, parts

BOUNDARY = "xy"
NASTY = [b"\r", b"\n", b"-", b"x", b"y", b"\r\n--x", b"\r\n--xyz", b"--xy--", b"\r\n\r\n", b" ", b"\0"]
contents = st.lists(st.sampled_from(NASTY), max_size=12).map(b"".join).filter(lambda data: not _ends(data))


def _ends(data: bytes) -> bool:
    """Whether a real delimiter is in it, as a sender must not let happen."""
    whole = b"\r\n" + data + b"\r\n"
    return any(b"\r\n--xy" + tail in whole for tail in (b"\r\n", b"--", b" ", b"\t"))


def body_of(files: list[bytes], header: bytes = b"Content-Type: Application/DICOM; x=y") -> bytes:
    return b"".join(b"--xy\r\n" + header + b"\r\n\r\n" + data + b"\r\n" for data in files) + b"--xy--\r\n"


def files_in(body: bytes, step: int) -> list[bytes]:
    """The parts of a body that comes in chunks of `step` bytes."""
    found: list[bytes] = []
    chunks = (body[start : start + step] for start in range(0, len(body), step))
    for piece in parts(chunks, BOUNDARY, "here"):
        if isinstance(piece, Begin):
            assert piece.content_type == "application/dicom"
            found.append(b"")
        else:
            found[-1] += piece
    return found


@given(st.lists(contents, min_size=1, max_size=4), st.integers(1, 40), st.sampled_from([b"", b"before\r\n"]))
def test_parts_are_the_same_in_whatever_pieces_they_come(
    files: list[bytes], step: int, before: bytes
) -> None:
    assert files_in(before + body_of(files) + b"afterwards", step) == files


@given(st.lists(contents, min_size=1, max_size=3), st.integers(1, 40), st.data())
def test_a_body_cut_anywhere_is_refused(files: list[bytes], step: int, data: st.DataObject) -> None:
    body = body_of(files).removesuffix(b"--\r\n")
    kept = data.draw(st.integers(0, len(body)))
    with pytest.raises(RemoteError, match="ends too early"):
        files_in(body[:kept], step)


def test_blanks_behind_a_delimiter_and_parts_without_header_are_taken() -> None:
    pieces = list(parts([b"--xy \t\r\n\r\none\r\n--xy--"], BOUNDARY, "here"))
    assert pieces[0] == Begin("")
    assert b"".join(piece for piece in pieces if isinstance(piece, bytes)) == b"one"


def test_memory_is_bounded_by_the_chunk_and_not_by_the_part() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"--xy\r\n\r\n"
        for _ in range(256):
            yield bytes(1 << 18)
        yield b"\r\n--xy--"

    tracemalloc.start()
    total = sum(len(piece) for piece in parts(chunks(), BOUNDARY, "here") if isinstance(piece, bytes))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 1 << 26
    assert peak < 1 << 21
