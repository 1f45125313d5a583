"""One DICOM file, opened with care: bounded, silent, its values in no message.

Headers lie and patients have names. A file is read through a stream that never reads past its end nor more
than a header may hold; a deflated one is unpacked up to a limit. Whatever pydicom raises becomes one
VolumeError that names the file and the kind of error, never a value. What pydicom would log or warn of is
dropped, since it may quote the patient.
"""

from __future__ import annotations

import io
import logging
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from limnet.errors import ConfigError, LimNetError, VolumeError
from limnet.volume.limits import check_limits
from limnet.volume.payload import DEFLATE_RATIO

if TYPE_CHECKING:
    from pydicom import Dataset

PREAMBLE = 128  # bytes before the letters DICM
DEFLATED = b"1.2.840.10008.1.2.1.99"
PLAIN = b"1.2.840.10008.1.2.1\0\0\0"  # explicit little endian, as long as DEFLATED
LONGEST_DEFLATED = 1 << 27  # bytes a deflated file may unpack to
LONGEST_HEADER = 1 << 26  # bytes before the pixels
MOST_READS = 1_000_000  # of a header; a sequence without a length takes two or more per element
MOST_ITEMS = 300_000  # of its sequences, 1 KiB each once parsed; ten thousand frames may have 30 each
ITEM, ITEM_BIG = b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00"  # how an item begins, in either byte order
LIBRARIES = ("pydicom", "highdicom", "pylibjpeg", "openjpeg")

_silent: ContextVar[bool] = ContextVar("limnet_dicom_silent", default=False)


class _Unwarned:
    """Python's warnings are off while anybody is in here.

    All threads share one list of filters: with `catch_warnings` in each, who leaves first would turn them on
    again for the others. So the first one in turns them off, and the last one out on.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._before.__exit__(None, None, None)


_unwarned = _Unwarned()


def looks_like_dicom(start: bytes) -> bool:
    """Whether the first 132 bytes are DICOM's: the letters DICM, or a first element of group 2 or 8."""
    return start[PREAMBLE : PREAMBLE + 4] == b"DICM" or _starts_with_element(start)


def _starts_with_element(start: bytes) -> bool:
    """Files without preamble, as old programs write them: (0002,0000) or an early element of group 8."""
    if start[:4] == b"\2\0\0\0":
        return True
    return start[:2] == b"\x08\0" and start[2:4] in (
        b"\0\0",
        b"\1\0",
        b"\5\0",
        b"\x08\0",
        b"\x16\0",
        b"\x18\0",
    )


class BoundedStream:
    """A binary file as pydicom reads it: `read` stops at the end, and counts until `release()`.

    pydicom turns what `read` raises into errors of its own; `refusal` keeps what was meant.
    """

    def __init__(self, file: BinaryIO, size: int, name: str) -> None:
        self._file, self._size, self.name = file, size, name
        self._reads = self._bytes = self._items = 0
        self._counts = True
        self.refusal: VolumeError | None = None

    def read(self, length: int = -1) -> bytes:
        """Up to `length` bytes; VolumeError once a header has grown absurd."""
        left = max(0, self._size - self._file.tell())
        data = self._file.read(left if length is None or length < 0 else min(length, left))
        if self._counts:
            self._reads += 1
            self._bytes += len(data)
            self._items += data.count(ITEM) + data.count(ITEM_BIG)
            if self._reads > MOST_READS or self._bytes > LONGEST_HEADER or self._items > MOST_ITEMS:
                self.refusal = VolumeError(
                    f"{self.name}: its DICOM header is absurdly large ({self._bytes:,} bytes, {self._items:,}"
                    f" items of sequences); the file is damaged, or not meant to be read"
                )
                raise self.refusal
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """As a file's."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As a file's."""
        return self._file.tell()

    def close(self) -> None:
        """As a file's."""
        self._file.close()

    def release(self) -> None:
        """The header is read: pixels may be as many as the file holds."""
        self._counts = False

    @property
    def size(self) -> int:
        """Bytes, after inflation."""
        return self._size


@contextmanager
def opened(path: Path) -> Iterator[tuple[Dataset, BoundedStream]]:
    """The header of a DICOM file, and the stream that stands where its pixels begin.

    Inside, all is silent, our own warnings too, and pydicom's errors are VolumeErrors. ConfigError when
    pydicom is not installed.
    """
    check_limits(path, 0)
    with guarded(path), path.open("rb") as file:
        stream = _stream(file, path)
        try:
            header = _header(stream)
        finally:
            if stream.refusal is not None:
                raise stream.refusal from None
        stream.release()
        yield header, stream


@contextmanager
def guarded(where: Path | str) -> Iterator[None]:
    """Silence around pydicom; any error in it is one VolumeError without values."""
    require()
    token = _silent.set(True)
    try:
        with _unwarned:
            yield
    except (LimNetError, FileNotFoundError, PermissionError):
        raise
    except MemoryError:
        raise VolumeError(f"{where}: does not fit into memory; is it damaged? else crop it first") from None
    except Exception as error:  # any: what damaged values raise inside pydicom is not bounded
        raise VolumeError(
            f"{where}: damaged, or not DICOM as the standard has it ({type(error).__name__});"
            f" copy it again from its source"
        ) from None
    finally:
        _silent.reset(token)


def require(extra: str = "pydicom") -> None:
    """ConfigError when a library of the extra `dicom` is missing."""
    import importlib

    try:
        importlib.import_module(extra)
    except ModuleNotFoundError as error:
        raise ConfigError(f"DICOM needs {error.name}: pip install 'limnet[dicom]'") from None
    for name, logger in list(
        logging.root.manager.loggerDict.items()
    ):  # a filter does not go down to children
        if name.partition(".")[0] in LIBRARIES and isinstance(logger, logging.Logger):
            logger.addFilter(_drop_when_silent)  # once: one that is there is not added again


def _drop_when_silent(_: logging.LogRecord) -> bool:
    """A log filter: pydicom may quote a patient in what it logs."""
    return not _silent.get()


def _header(stream: BoundedStream) -> Dataset:
    """All elements before the pixels."""
    from pydicom import dcmread

    return dcmread(stream, stop_before_pixels=True, force=True)


def _stream(file: BinaryIO, path: Path) -> BoundedStream:
    """The file's bytes, a deflated file's unpacked."""
    size = path.stat().st_size
    start = file.read(1 << 12)
    file.seek(0)
    if start[PREAMBLE : PREAMBLE + 4] != b"DICM" or DEFLATED not in start[:1024]:
        return BoundedStream(file, size, str(path))
    meta_length = int.from_bytes(start[140:144], "little")  # the value of (0002,0000), counted from byte 144
    body = 144 + meta_length
    if not 0 < meta_length < 1 << 16:
        raise VolumeError(f"{path}: damaged: its DICOM meta header has no length; copy it again")
    file.seek(body)
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    packed = file.read(min(size - body, LONGEST_DEFLATED))
    unpacked = unpacker.decompress(packed, min(LONGEST_DEFLATED, len(packed) * DEFLATE_RATIO))
    if unpacker.unconsumed_tail:
        raise VolumeError(
            f"{path}: unpacks to more than {LONGEST_DEFLATED >> 20} MiB; it is no sane DICOM file"
        )
    file.seek(0)
    content = file.read(body).replace(DEFLATED, PLAIN, 1) + unpacked
    return BoundedStream(io.BytesIO(content), len(content), str(path))
