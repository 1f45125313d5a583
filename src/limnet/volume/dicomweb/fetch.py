"""WADO-RS: a series of a server as DICOM files in a folder, as they are stored there."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from limnet.errors import LimNetWarning, OutputError, RemoteError
from limnet.volume.dicom.reading import looks_like_dicom, opened
from limnet.volume.dicomweb.client import Server
from limnet.volume.dicomweb.multipart import Begin, media_type, parts
from limnet.volume.dicomweb.query import Listed

FILE = "application/dicom"
ACCEPT = f'multipart/related; type="{FILE}"; transfer-syntax=*'  # *: as stored, compressed or not
MOST_FILES = 100_000  # of a series whose size the server does not tell
SPARE = 1 << 28  # bytes that stay free on the disk


def fetch(server: Server, series: Listed, folder: Path) -> Iterator[int]:
    """Make `folder`, with one file per instance; yields how many there are so far.

    Complete or not at all: files come into a folder beside it, which gets its name at the end. RemoteError
    when the server sends fewer or more instances than it lists, others, a part of its answer, or anything
    but DICOM; OutputError when the folder exists or the disk is full.
    """
    if folder.exists():
        raise OutputError(f"{folder}: exists already; name a new folder")
    if not folder.parent.is_dir():
        raise OutputError(f"{folder}: folder {folder.parent} does not exist; make it first")
    place = None
    try:
        place = Path(tempfile.mkdtemp(prefix=".limnet-", dir=folder.parent))
        yield from _received(server, series, place)
        _check(server, series, place)
        place.rename(folder)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written: {error.strerror or type(error).__name__}; choose another place"
        ) from None
    finally:
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)


def _received(server: Server, series: Listed, place: Path) -> Iterator[int]:
    """The answer's parts as files 000001.dcm, 000002.dcm ..."""
    address, what = series.address, f"series {series.address.series}"
    most = MOST_FILES if series.count is None else series.count
    path = f"/studies/{address.study}/series/{address.series}"
    with server.answer(what, path, accept=ACCEPT) as response:
        chunks = _with_room(server.chunks(response, server.connection.max_bytes), place)
        kind, parameters = media_type(response.headers.get("content-type", ""))
        if kind == FILE:  # as some servers send a single instance
            pieces: Iterator[Begin | bytes] = _single(chunks)
        elif kind == "multipart/related" and parameters.get("boundary"):
            pieces = parts(chunks, parameters["boundary"], str(address.root))
        else:
            raise RemoteError(
                f"{address.root}: {what} comes as {kind[:60] or 'nothing known'}, expected multipart/related"
                f" with {FILE}; is this a DICOMweb server?"
            )
        count, file = 0, None
        try:
            for piece in pieces:
                if isinstance(piece, bytes):
                    assert file is not None
                    file.write(piece)
                    continue
                if piece.content_type not in (FILE, "", "application/octet-stream"):
                    raise RemoteError(
                        f"{address.root}: {what} has a part of {piece.content_type[:60]}, expected {FILE}"
                    )
                if file is not None:
                    file.close()
                    yield count
                count += 1
                if count > most:
                    raise RemoteError(
                        f"{address.root}: {what} comes with more than the {most:,} instances it lists;"
                        f" ask again when nobody sends to it"
                    )
                file = _new(place / f"{count:06d}.dcm")
        finally:
            if file is not None:
                file.close()
        yield count


def _new(path: Path) -> BinaryIO:
    return path.open("xb")


def _single(chunks: Iterator[bytes]) -> Iterator[Begin | bytes]:
    """A body that is one file."""
    yield Begin(FILE)
    yield from chunks


def _with_room(chunks: Iterator[bytes], place: Path) -> Iterator[bytes]:
    """The same, as long as the disk has room for them."""
    for number, chunk in enumerate(chunks):
        if number % 64 == 0 and shutil.disk_usage(place).free < SPARE:
            raise OutputError(f"{place.parent}: less than {SPARE >> 20} MiB are free; choose another disk")
        yield chunk


def _check(server: Server, series: Listed, place: Path) -> None:
    """RemoteError unless the files are exactly the instances of this series."""
    where, uid = server.address.root, series.address.series
    instances: set[str] = set()
    files = sorted(place.iterdir())
    for path in files:
        with path.open("rb") as file:
            if not looks_like_dicom(file.read(132)):
                raise RemoteError(
                    f"{where}: series {uid}: instance {len(instances) + 1} is no DICOM file; ask its operator"
                )
        with opened(path) as (header, _):
            instances.add(str(header.get("SOPInstanceUID", "")))
            if str(header.get("SeriesInstanceUID", "")) != uid:
                raise RemoteError(f"{where}: series {uid}: it sent an instance of another series")
    if series.count is None:
        warnings.warn(
            f"{where}: does not tell how many instances series {uid} has; {len(instances)} came",
            LimNetWarning,
            stacklevel=4,
        )
    elif not len(instances) == len(files) == series.count:
        twice = len(files) - len(instances)
        raise RemoteError(
            f"{where}: series {uid}: {len(instances)} instances came, it lists {series.count}"
            + (f" ({twice} came twice)" if twice else "")
            + "; it may still be arriving: ask again later, or ask its operator"
        )
