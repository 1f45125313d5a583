"""multipart/related as DICOMweb speaks it (RFC 2046, 2387): parts out of a stream, and parts into one.

Memory is bounded by one chunk and one part's header, whatever the size of a part. An answer is whole only
when its closing delimiter came: servers that send it in chunks, or end it by hanging up, promise no length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.message import Message

from limnet.errors import RemoteError

LONGEST_HEADER = 1 << 14  # bytes of a part's header
LONGEST_PREAMBLE = 1 << 16  # bytes before the first part


@dataclass(frozen=True)
class Begin:
    """A part begins; its bytes follow."""

    content_type: str  # in small letters, without parameters; "" when the part does not say


def media_type(header: str) -> tuple[str, dict[str, str]]:
    """A Content-Type in small letters, and its parameters.

    >>> media_type('multipart/related; type="application/dicom"; boundary=x')
    ('multipart/related', {'type': 'application/dicom', 'boundary': 'x'})
    """
    header = "".join(filter(str.isprintable, header))
    message = Message()
    message["Content-Type"] = header
    parameters = message.get_params(failobj=[])
    named = {name.lower(): value for name, value in parameters[1:] if isinstance(value, str)}
    return header.partition(";")[0].strip().lower(), named


def parts(chunks: Iterable[bytes], boundary: str, where: str) -> Iterator[Begin | bytes]:
    """The parts of a body in order: Begin, then its bytes in pieces, then the next Begin.

    RemoteError when the body ends before its closing delimiter, or is no multipart body.
    """
    delimiter = b"\r\n--" + boundary.encode("ascii", "replace")
    reader = _Reader(iter(chunks), where)
    reader.buffer += b"\r\n"  # the first delimiter needs no line end before it
    skipped = 0
    for piece in reader.until(delimiter):
        skipped += len(piece)
        if skipped > LONGEST_PREAMBLE:
            raise RemoteError(f"{where}: its multipart answer has no part; is this a DICOMweb server?")
    while not reader.is_last():
        yield Begin(_content_type(reader.header()))
        yield from reader.until(delimiter)


def _content_type(header: bytes) -> str:
    """Of a part's header, the media type."""
    for line in header.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-type":
            return media_type(value)[0]
    return ""


class _Reader:
    """Chunks of a body, and what of them is not used yet."""

    def __init__(self, chunks: Iterator[bytes], where: str) -> None:
        self._chunks, self._where = chunks, where
        self.buffer = bytearray()

    def until(self, delimiter: bytes) -> Iterator[bytes]:
        """What comes before the next delimiter, in pieces; stands behind the delimiter afterwards."""
        start = 0
        while True:
            found = self.buffer.find(delimiter, start)
            if found >= 0 and self._ends(found + len(delimiter)):
                if found:
                    yield bytes(self.buffer[:found])
                del self.buffer[: found + len(delimiter)]
                return
            if found >= 0:  # pixels that look like the delimiter, with other letters behind
                start = found + 1
                continue
            sure = len(self.buffer) - len(delimiter) + 1  # beyond it a delimiter may have begun
            if sure > 0:
                yield bytes(self.buffer[:sure])
                del self.buffer[:sure]
            start = 0
            self._more()

    def _ends(self, at: int) -> bool:
        """Whether at this place of the buffer a delimiter's line ends, or the whole body does."""
        while len(self.buffer) < at + 2:
            self._more()
        return self.buffer.startswith((b"--", b"\r\n", b" ", b"\t"), at)

    def is_last(self) -> bool:
        """Whether the delimiter just passed closes the body."""
        return self.buffer.startswith(b"--")

    def header(self) -> bytes:
        """A part's header; stands at its first byte afterwards."""
        while True:
            found = self.buffer.find(b"\r\n\r\n")
            if 0 <= found <= LONGEST_HEADER:
                header = bytes(self.buffer[:found])
                del self.buffer[: found + 4]
                return header
            if len(self.buffer) > LONGEST_HEADER:
                raise RemoteError(f"{self._where}: a part of its answer has no header; is this DICOMweb?")
            self._more()

    def _more(self) -> None:
        """Another chunk."""
        chunk = next(self._chunks, None)
        if chunk is None:
            raise RemoteError(f"{self._where}: its answer ends too early; ask again, or ask its operator")
        self.buffer += chunk
