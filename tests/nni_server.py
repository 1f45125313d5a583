"""A real server on a free port, for tests with nnInteractive's real client."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from doubles import FakeLimNet
from limnet.model import LimNet
from limnet.server.app import create_app
from limnet.server.nni_lease import Leases, NniSettings
from limnet.server.run import listen
from limnet.server.settings import ServerSettings


@contextmanager
def serving(
    work_dir: Path,
    model: LimNet,
    settings: NniSettings | None = None,
    clock: Callable[[], float] | None = None,
    port: int = 0,
    **limits: Any,
) -> Iterator[tuple[str, FastAPI]]:
    """(address, application) while the block runs."""
    app = create_app(ServerSettings(work_dir=work_dir, **limits), model)
    if settings or clock:
        leases = app.state.leases
        extra = {} if clock is None else {"clock": clock}
        app.state.leases = Leases(work_dir / "nninteractive", settings or leases.settings, **extra)
    sock = listen("127.0.0.1", port)
    config = uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}", app
    finally:
        server.should_exit = True
        app.state.room.stop()
        thread.join(20)
        sock.close()
    assert not thread.is_alive()


@contextmanager
def serving_viewers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server for all tests of a module; its users may open what tests have written."""
    allowed = (tmp_path_factory.getbasetemp().resolve(),)
    work = tmp_path_factory.mktemp("work")
    with serving(work, FakeLimNet(size=64), allowed=allowed, nni_sessions=200) as (url, _):
        yield url


def emptied(address: str) -> str:
    """The address of a server that several tests share, once nothing is left of the ones before."""
    with httpx.Client(base_url=f"{address}/api/v1", trust_env=False) as client:
        for volume in client.get("volumes").json():
            sure = {"confirm": volume["name"]}
            assert client.request("DELETE", f"volumes/{volume['id']}", json=sure).status_code == 204
    return address


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
