"""STOW-RS: DICOM files onto a server, and what the server says it did with each."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limnet.errors import LimNetWarning, OutputError, RemoteError, VolumeError
from limnet.volume.dicom.instance import kind_name
from limnet.volume.dicom.reading import PREAMBLE, opened
from limnet.volume.dicomweb.client import Server
from limnet.volume.dicomweb.fetch import FILE
from limnet.volume.dicomweb.query import JSON, decoded, items_of, value_of

INSTANCE, FAILED, STORED = "00081155", "00081198", "00081199"
FAILURE, WARNING = "00081197", "00081196"
CHUNK = 1 << 18  # bytes read from a file at once
BATCH = 1 << 26  # bytes of one request, unless a file alone has more
REASONS = {  # PS3.18 table I.2-2, PS3.4 B.2.3; A7xx, A9xx and Cxxx are families
    0x0110: "it failed while processing it",
    0x0111: "it has that instance already",
    0x0122: "it does not take this kind of object",
    0x0124: "you may not store there",
    0xC122: "it does not take this transfer syntax",
    0xA700: "it is out of space",
    0xA900: "the object does not fit its kind",
    0xC000: "it cannot understand the object",
}


@dataclass(frozen=True)
class Item:
    """A file to be stored."""

    path: Path
    uid: str  # SOP instance
    kind: str  # name of its SOP class
    size: int  # bytes


def items_to_store(paths: Sequence[Path]) -> list[Item]:
    """What is to be sent, looked at first; VolumeError when a file is no DICOM file, or given twice."""
    items: list[Item] = []
    for path in paths:
        if not path.is_file():
            raise VolumeError(f"{path}: no such file; give DICOM files")
        with path.open("rb") as file:
            if file.read(PREAMBLE + 4)[PREAMBLE:] != b"DICM":
                raise VolumeError(f"{path}: no DICOM file; limnet export -o RESULT.dcm makes one of a mask")
        with opened(path) as (header, _):
            uid = str(header.get("SOPInstanceUID", ""))
            items.append(Item(path, uid, kind_name(header), path.stat().st_size))
        twin = next((item.path for item in items[:-1] if item.uid == uid), None)
        if not uid or twin is not None:
            raise VolumeError(
                f"{path}: {'the same instance as ' + str(twin) if uid else 'has no SOP instance UID'};"
                f" leave it out"
            )
    return items


def store(server: Server, items: Sequence[Item]) -> Iterator[Item]:
    """Send files in requests of some 64 MiB; yields each that the server says it stored.

    OutputError when the server refuses one, with its reason; the rest of that request may be stored, and
    what comes after is not sent. RemoteError when it does not say what it did.
    """
    for batch in _batches(items):
        answer = _sent(server, batch)
        stored = {value_of(item, INSTANCE): item for item in items_of(answer, STORED)}
        failed = {value_of(item, INSTANCE): value_of(item, FAILURE) for item in items_of(answer, FAILED)}
        for item in batch:
            if item.uid in stored:
                if value_of(stored[item.uid], WARNING):
                    warnings.warn(
                        f"{item.path}: stored, but {server.address.root} changed or left out elements of it",
                        LimNetWarning,
                        stacklevel=2,
                    )
                yield item
        missing = [item for item in batch if item.uid not in stored]
        if missing:
            first = missing[0]
            reason = _reason(failed[first.uid]) if first.uid in failed else "it does not say why"
            raise OutputError(
                f"{first.path}: {server.address.root} did not store it: {reason}"
                + (f"; nor {len(missing) - 1} more of this request" if len(missing) > 1 else "")
                + "; ask its operator"
            )


def _batches(items: Sequence[Item]) -> Iterator[list[Item]]:
    batch: list[Item] = []
    for item in items:
        if batch and sum(other.size for other in batch) + item.size > BATCH:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def _sent(server: Server, batch: Sequence[Item]) -> dict[str, Any]:
    """The server's word on one request."""
    boundary = f"limnet-{secrets.token_hex(16)}"  # 128 random bits: in no file
    head = f"--{boundary}\r\nContent-Type: {FILE}\r\n\r\n".encode()
    tail = f"--{boundary}--\r\n".encode()
    length = sum(len(head) + item.size + 2 for item in batch) + len(tail)
    study = server.address.study
    what = "storing"
    with server.answer(
        what,
        f"/studies/{study}" if study else "/studies",
        accept=JSON,
        body=_body(batch, head, tail),
        headers={
            "Content-Type": f'multipart/related; type="{FILE}"; boundary={boundary}',
            "Content-Length": str(length),
        },
        accepted=(200, 202, 409),  # all, some, none stored
    ) as response:
        body = server.text(response)
        kind = response.headers.get("content-type", "")
    answer = decoded(server, "its word on what it stored", kind, body)
    answer = answer[0] if isinstance(answer, list) and len(answer) == 1 else answer
    if not isinstance(answer, dict):
        raise RemoteError(f"{server.address.root}: does not say what it stored; look there")
    return answer


def _body(batch: Sequence[Item], head: bytes, tail: bytes) -> Iterator[bytes]:
    for item in batch:
        yield head
        with item.path.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
        yield b"\r\n"
    yield tail


def _reason(code: str) -> str:
    """A failure's code in words.

    >>> _reason("43264"), _reason("7")
    ('the object does not fit its kind (A900)', 'reason 7')
    """
    if not code.isdecimal():
        return "it does not say why"
    number = int(code)
    words = (
        REASONS.get(number)
        or REASONS.get(number & 0xFF00)
        or (REASONS[0xC000] if number >> 12 == 0xC else "")
    )
    return f"{words} ({number:04X})" if words else f"reason {number:X}"
