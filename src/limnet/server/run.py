"""Running the application: sockets, uvicorn, and an end within a second."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from limnet.errors import ConfigError, ServerError
from limnet.server.room import Room

BACKLOG = 128
GRACE_SECONDS = 1  # for answers that are on their way when the server is told to stop

_log = logging.getLogger("limnet.server")


class Server(uvicorn.Server):
    """uvicorn that tells the room at once when it is to stop, so that open event streams end."""

    def __init__(self, config: uvicorn.Config, room: Room, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._room = room
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        self._started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ctrl+C or a signal."""
        self._room.stop()
        super().handle_exit(sig, frame)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; ServerError with one clear line when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except (OSError, UnicodeError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ServerError(f"cannot listen on {host}:{port}: {reason}") from None
    return listening


def serve(
    app: FastAPI,
    sockets: Sequence[socket.socket],
    *,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    started: Callable[[], None] = lambda: None,
) -> None:
    """Serve until Ctrl+C or a signal; `started` is called once requests are answered."""
    try:
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            ssl_certfile=tls_cert,
            ssl_keyfile=tls_key,
            timeout_graceful_shutdown=GRACE_SECONDS,
            lifespan="on",
        )
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"--tls-cert {tls_cert}, --tls-key {tls_key}: cannot be used ({error})") from None
    Server(config, app.state.room, started).run(sockets=list(sockets))
