"""The server room: what all routes share, made once when the server starts; and who asks."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from limnet.server.audit import AuditLog
from limnet.server.keys import LOCAL_USER, Keyring
from limnet.server.refusals import KeyNeeded
from limnet.server.settings import ServerSettings
from limnet.server.sweeps import Sweeps
from limnet.server.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Room:
    """Everything that lives as long as the server."""

    settings: ServerSettings
    keys: Keyring
    audit: AuditLog
    workspace: Workspace
    sweeps: Sweeps
    server_id: str = field(default_factory=lambda: secrets.token_hex(8))
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def needs_key(self) -> bool:
        """Whether nobody is let in without one: beyond this computer always, else once there are keys."""
        return not self.settings.is_local or bool(self.keys.entries)

    def stop(self) -> None:
        """Cancel sweeps and let listeners go, without waiting for either."""
        self.stopping.set()
        self.sweeps.cancel_all()

    def close(self) -> None:
        """Put everything away; what was acknowledged is on disk already."""
        self.stop()
        self.sweeps.close()
        self.workspace.close_all()


def room_of(request: Request) -> Room:
    """The room of the server that was asked."""
    room: Room = request.app.state.room
    return room


def cookie_name(settings: ServerSettings) -> str:
    """Cookies do not tell ports apart, so that the name must.

    >>> from pathlib import Path
    >>> cookie_name(ServerSettings(work_dir=Path(), port=8127))
    'limnet-8127'
    """
    return f"limnet-{settings.port}"


def user_of(request: Request) -> str:
    """Who asks, by key or cookie; KeyNeeded when it is nobody."""
    room = room_of(request)
    if not room.needs_key:
        return LOCAL_USER
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        user = room.keys.user_of(key.strip())
        if user is None:
            raise KeyNeeded("this key is not known; ask whoever runs the server for one")
        return user
    user = room.keys.user_of_cookie(request.cookies.get(cookie_name(room.settings), ""))
    if user is None:
        raise KeyNeeded("a key is needed: send 'Authorization: Bearer KEY', or open /?key=KEY in the browser")
    return user


RoomDep = Annotated[Room, Depends(room_of)]
UserDep = Annotated[str, Depends(user_of)]
