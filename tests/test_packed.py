"""Packed arrays from anybody: what numpy and gzip write is read, everything else is one line."""

from __future__ import annotations

import gzip
import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from limnet.server.packed import BadArray, gunzip, gunzip_exactly, read_npy
from limnet.server.refusals import TooLarge

TYPES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "int64", "float16", "float32", "float64"]
LARGEST = 1 << 16


def npy(array: NDArray[Any], version: tuple[int, int] | None = None) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version)
    return buffer.getvalue()


@pytest.mark.parametrize("dtype", [*TYPES, ">i2", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_what_numpy_writes_is_read(dtype: str, order: Any, version: tuple[int, int]) -> None:
    array = np.asarray(np.arange(24).reshape(2, 3, 4).astype(dtype), order=order)
    found = read_npy(npy(array, version), LARGEST, "array")
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype.newbyteorder("=")


@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 0, 3), (1, 2, 3, 4)])
def test_any_shape_is_read(shape: tuple[int, ...]) -> None:
    assert read_npy(npy(np.zeros(shape, np.uint8)), LARGEST, "array").shape == shape


def test_no_change_of_a_byte_of_the_header_raises_anything_else() -> None:
    whole = npy(np.zeros((2, 3, 4), np.int16))
    start = len(whole) - 48
    survived = 0
    for place in range(start):
        for change in range(1, 256):
            damaged = bytearray(whole)
            damaged[place] ^= change
            try:
                found = read_npy(bytes(damaged), LARGEST, "array")
            except (BadArray, TooLarge) as error:
                assert "\n" not in str(error)
            else:
                assert found.nbytes == 48
                survived += 1
    assert survived < 0.05 * start * 255


def test_no_cut_of_a_file_raises_anything_else() -> None:
    whole = npy(np.zeros((2, 3, 4), np.int16))
    for end in range(len(whole)):
        with pytest.raises(BadArray):
            read_npy(whole[:end], LARGEST, "array")


@pytest.mark.parametrize("array", [np.array([{}, 1], object), np.zeros(3, "U4"), np.zeros(3, "i2,f4")])
def test_objects_text_and_records_are_refused(array: NDArray[Any]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    with pytest.raises(BadArray):
        read_npy(buffer.getvalue(), LARGEST, "array")


def test_more_than_the_largest_is_refused() -> None:
    with pytest.raises(TooLarge):
        read_npy(npy(np.zeros(LARGEST + 1, np.uint8)), LARGEST, "array")


@pytest.mark.parametrize("size", [0, 1, 1000, 600_000])
def test_what_gzip_writes_is_read(size: int) -> None:
    raw = np.random.default_rng(0).integers(0, 9, size, np.uint8).tobytes()
    for level in (0, 1, 9):
        packed = gzip.compress(raw, level)
        assert gunzip(io.BytesIO(packed), size, "it") == raw
        assert gunzip_exactly(io.BytesIO(packed), size, "it").tobytes() == raw


def test_one_byte_more_or_less_is_refused() -> None:
    packed = gzip.compress(bytes(1000))
    with pytest.raises(TooLarge):
        gunzip(io.BytesIO(packed), 999, "it")
    for wanted in (999, 1001):
        with pytest.raises(BadArray):
            gunzip_exactly(io.BytesIO(packed), wanted, "it")


def test_no_damage_of_a_stream_raises_anything_else() -> None:
    raw = np.random.default_rng(0).integers(0, 9, 300, np.uint8).tobytes()
    packed = gzip.compress(raw)
    for place in range(len(packed)):
        for change in (1, 2, 16, 128, 255):
            damaged = bytearray(packed)
            damaged[place] ^= change
            try:
                found = gunzip_exactly(io.BytesIO(bytes(damaged)), 300, "it").tobytes()
            except BadArray:
                continue
            assert found == raw  # only what gzip does not check was hit: its time, its system
    for end in range(len(packed)):
        with pytest.raises(BadArray):
            gunzip_exactly(io.BytesIO(packed[:end]), 300, "it")
        with pytest.raises(BadArray):
            gunzip(io.BytesIO(packed[:end]), 300, "it")
