"""A DICOMweb server on a free port that answers as a test says, well or badly."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_files import write_series

STUDY, SERIES = "1.2.3", "1.2.3.4"
BOUNDARY = "a-boundary"
MULTIPART = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
DICOM_JSON = "application/dicom+json"

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Bad:
    """What it answers, and what it was asked."""

    root: str
    search: Answer
    retrieve: Answer
    store: Answer
    others: Answer  # searches for studies and instances
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"{self.root}/studies/{STUDY}/series/{SERIES}"


def plain(body: bytes | str, kind: str = DICOM_JSON, status: int = 200, **headers: str) -> Answer:
    """An answer that is as long as it says; `headers` have _ for -."""
    data = body.encode() if isinstance(body, str) else body

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def until_closed(pieces: Iterable[bytes], kind: str = MULTIPART) -> Answer:
    """An answer of unknown length, which ends when the server hangs up, as Orthanc's do."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Connection", "close")
        handler.end_headers()
        for piece in pieces:
            handler.wfile.write(piece)
            handler.wfile.flush()
        handler.close_connection = True

    return answer


def multipart(files: list[bytes], kind: str = "application/dicom") -> bytes:
    """Files as one body."""
    parts = [f"--{BOUNDARY}\r\nContent-Type: {kind}\r\n\r\n".encode() + data + b"\r\n" for data in files]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def entry(count: int | None, study: str = STUDY, series: str = SERIES, patient: str = "") -> dict[str, Any]:
    """A series as QIDO tells of it."""
    values: dict[str, Any] = {"0020000D": study, "0020000E": series, "00080060": "CT"}
    values |= {} if count is None else {"00201209": count}
    values |= {"00100020": patient} if patient else {}
    return {tag: {"vr": "UI", "Value": [value]} for tag, value in values.items()}


def listing(*entries: dict[str, Any]) -> Answer:
    """A list of series."""
    return plain(json.dumps(entries))


@contextmanager
def serving(certificate: Path | None = None) -> Iterator[Bad]:
    """The server while the block runs; it knows nothing until the test says what.

    `certificate` holds certificate and key for localhost in one PEM file: then it speaks TLS.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            bad.requests.append((self.path, dict(self.headers), b""))
            level = self.path.partition("?")[0].rpartition("/")[2]
            searches = {"series": bad.search, "studies": bad.others, "instances": bad.others}
            searches.get(level, bad.retrieve)(self)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bad.requests.append((self.path, dict(self.headers), body))
            bad.store(self)

        def log_message(self, *_: object) -> None:
            pass

        def finish(self) -> None:
            with suppress(OSError):  # the client had enough
                super().finish()

        def handle(self) -> None:
            with suppress(OSError):
                super().handle()

    nothing = plain("", status=404)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    start = "http://127.0.0.1"
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        start = "https://localhost"
    bad = Bad(f"{start}:{server.server_address[1]}/dicom-web", nothing, nothing, nothing, nothing)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield bad
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CA", "TOKEN", "TOKEN_FILE", "USER", "PASSWORD", "TIMEOUT", "MAX_GIB"):
        monkeypatch.delenv(f"LIMNET_DICOMWEB_{name}", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture
def bad() -> Iterator[Bad]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """A series of three slices."""
    array = np.arange(5 * 4 * 3, dtype=np.int16).reshape(5, 4, 3)
    folder = tmp_path_factory.mktemp("series")
    paths = write_series(folder, array, np.diag([1, 2, 3, 1.0]), modality="CT", series=SERIES, study=STUDY)
    return [path.read_bytes() for path in paths]
