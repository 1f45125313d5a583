"""The NNIA container: what the real client packs is read, and what is malformed is refused, never trusted."""

from __future__ import annotations

import struct
from typing import Any

import blosc2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nnInteractive.inference.remote.serialization import pack_array, unpack_array
from numpy.typing import NDArray

from limnet.server.nnia import TYPES, BadArray, TooLarge, pack, unpack

LIMIT = 10**6  # bytes
BODY = pack_array((np.arange(6000) % 97).astype(np.int16).reshape(1, 20, 30, 10))


def header(shape: tuple[int, ...], dtype: bytes = b"uint8", version: int = 1, codec: int = 1) -> bytes:
    start = struct.pack("<4sBBBB", b"NNIA", version, codec, len(shape), len(dtype))
    return start + dtype + struct.pack(f"<{len(shape)}q", *shape)


def body_of(array: NDArray[Any], chunk: bytes) -> bytes:
    """A container whose only chunk is the given one."""
    start = header(array.shape, array.dtype.name.encode())
    return start + struct.pack("<IQQ", 1, array.nbytes, len(chunk)) + chunk


@pytest.mark.parametrize("dtype", sorted(TYPES))
def test_what_the_client_packs_is_read(dtype: str) -> None:
    array = (np.arange(210).reshape(1, 5, 6, 7) % 3).astype(dtype)
    found = unpack(pack_array(array), LIMIT)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("array", [np.zeros((707658,), np.uint8), np.ones((3, 1, 4), bool), np.eye(3)])
def test_the_client_reads_what_is_packed(array: NDArray[Any]) -> None:
    found = unpack_array(pack(array))
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_an_array_without_voxels_has_no_chunk() -> None:
    assert unpack(pack(np.zeros((0, 3), np.int16)), LIMIT).shape == (0, 3)


def test_an_array_beyond_the_limit_is_refused_whatever_its_body_holds() -> None:
    with pytest.raises(TooLarge, match="takes 2147483648 bytes"):
        unpack(header((1, 2048, 1024, 1024)) + struct.pack("<I", 1), LIMIT)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "is no array"),
        (b"PNG and more", "is no array"),
        (header((3,), version=2) + bytes(4), "version 2"),
        (header((3,), codec=7) + bytes(4), "codec 7"),
        (header((3,), dtype=b"object") + bytes(4), "type 'object'"),
        (header((3,), dtype=b"\xff\xfe") + bytes(4), "type"),
        (header((1,) * 9) + bytes(4), "9 axes"),
        (header((3, -1)) + bytes(4), "negative"),
        (header((3,)), "cut off"),
        (header((3,)) + struct.pack("<I", 0), "must be 3 and none"),
        (header((3,)) + struct.pack("<I", 1), "chunk 0 of 1 is missing"),
        (header((3,)) + struct.pack("<IQQ", 1, 3, 2**63), "not a whole Blosc2 chunk"),
        (BODY[:-1], "not a whole Blosc2 chunk"),
        (BODY + b"x", "1 bytes behind them"),
    ],
)
def test_what_is_malformed_is_refused_with_a_reason(body: bytes, words: str) -> None:
    with pytest.raises(BadArray, match=words):
        unpack(body, LIMIT)


def test_a_chunk_that_gives_less_than_the_array_is_refused() -> None:
    array = np.zeros((100,), np.uint8)
    short = blosc2.compress2(np.zeros((50,), np.uint8), typesize=1)
    with pytest.raises(BadArray, match="not a whole Blosc2 chunk of 100 bytes"):
        unpack(body_of(array, short), LIMIT)


@pytest.mark.parametrize(("byte", "value"), [(2, 0xC5), (16, 35), (31, 0x08), (31, 0x01)])
def test_a_chunk_that_asks_for_a_plugin_a_file_or_a_dictionary_is_refused(byte: int, value: int) -> None:
    array = np.arange(1000).astype(np.int16)
    chunk = bytearray(blosc2.compress2(array, typesize=2))
    unpack(body_of(array, bytes(chunk)), LIMIT)  # as it came it is fine
    chunk[byte] = value
    with pytest.raises(BadArray):
        unpack(body_of(array, bytes(chunk)), LIMIT)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_bytes_are_changed_the_result_is_an_array_or_a_refusal(data: st.DataObject) -> None:
    body = bytearray(BODY)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(body) - 1))
        match data.draw(st.sampled_from(["set", "cut", "insert", "number"])):
            case "set":
                body[place] = data.draw(st.integers(0, 255))
            case "cut":
                del body[place : place + data.draw(st.integers(1, 9))]
            case "insert":
                body[place:place] = data.draw(st.binary(max_size=9))
            case _:
                number = data.draw(st.sampled_from([0, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1]))
                body[place : place + 8] = struct.pack("<Q", number)
        if not body:
            break
    try:
        found = unpack(bytes(body), LIMIT)
    except (BadArray, TooLarge):
        return
    assert found.nbytes <= LIMIT
