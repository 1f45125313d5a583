"""A server for tests: an application on the fake networks, behind a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from doubles import FakeLimNet
from limnet.model import LimNet
from limnet.server.app import create_app
from limnet.server.run import Server, listen
from limnet.server.settings import ServerSettings

API = "/api/v1"
INSIDE = [20, 16, 6]  # a voxel of the ball


class GatedLimNet(FakeLimNet):
    """Carries a mask to another slice only when it is let: `gate.set()`, or `gate.release()` once."""

    def __init__(self) -> None:
        super().__init__(size=64)
        self.gate = threading.Semaphore(0)
        self.is_open = False
        self.waiting = threading.Event()  # a sweep has come to its first carried slice

    def carry(self, *args: Any, **names: Any) -> Any:
        self.waiting.set()
        if not self.is_open:
            self.gate.acquire()
        return super().carry(*args, **names)

    def open(self) -> None:
        """From now on, let all pass."""
        self.is_open = True
        self.gate.release(100)


def settings_in(folder: Path, **more: Any) -> ServerSettings:
    """Settings of a server that works in `folder`/work and may open what lies in `folder`."""
    return ServerSettings(**{"work_dir": folder / "work", "allowed": (folder.resolve(),), **more})


@contextmanager
def listening(folder: Path, model: LimNet | None = None, **more: Any) -> Iterator[httpx.Client]:
    """A client of a server on a free port of 127.0.0.1."""
    app = create_app(settings_in(folder, **more), model or FakeLimNet(size=64))
    with listen("127.0.0.1", 0) as sock:
        config = uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=1)
        server = Server(config, app.state.room, lambda: None)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            address = f"http://127.0.0.1:{sock.getsockname()[1]}"
            with httpx.Client(base_url=address, timeout=20, trust_env=False) as client:
                yield client
        finally:
            app.state.room.stop()
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def open_ball(client: httpx.Client, path: Path) -> str:
    """Open a volume and add an object; the path of the object below the API."""
    volume = client.post(f"{API}/volumes/open", json={"path": str(path)}).json()
    made = client.post(f"{API}/volumes/{volume['id']}/objects", json={})
    assert made.status_code == 201, made.text
    return f"{API}/volumes/{volume['id']}/objects/{made.json()['id']}"


def click(client: httpx.Client, item: str, index: list[int] = INSIDE, **more: Any) -> httpx.Response:
    """A click on an object."""
    answer = client.post(f"{item}/clicks", json={"index": index, **more})
    assert answer.status_code == 201, answer.text
    return answer


def sweep(client: httpx.Client, item: str) -> list[tuple[str, dict[str, Any]]]:
    """Sweep an object to its end; its events as (kind, data)."""
    started = client.post(f"{item}/sweep")
    assert started.status_code == 202, started.text
    return [(kind, data) for _, kind, data in events_of(client.get(f"{item}/sweep/events").text)]


def events_of(text: str) -> list[tuple[str, str, dict[str, Any]]]:
    """(id, kind, data) of server-sent events; comments are left out."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["id"], lines["event"], json.loads(lines["data"])))
    return found
