"""Leases: who may speak nnInteractive's protocol now, about which image; a restart ends none.

Two clocks run for each lease: how long the client has been silent (it sends heartbeats), and how long its
user has done nothing. A silent client is not thrown out, it only makes room when somebody else needs the
place; an idle user is, after hours. Neither loses work: annotations are the workspace's, leases only point at
them.

Shared: the table of leases, under `Leases`' lock, which is held for moments and under which no other is
taken. Per client: a `Lease`, under its own lock, which one request holds at a time, and which is taken before
any lock of the workspace.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limnet.compat.dialogue import Dialogue
from limnet.errors import ConfigError
from limnet.server.keys import write_private
from limnet.server.refusals import Refusal
from limnet.server.settings import ServerSettings
from limnet.server.sweeps import Sweep

FILE = "leases.json"


class LeaseGone(Refusal):
    """A lease that is not known, of another user, or over; clients claim a new one."""

    status = 410
    title = "Session expired"


class AtCapacity(Refusal):
    """As many clients as there may be."""

    status = 503
    title = "At capacity"


@dataclass(frozen=True, kw_only=True)
class NniSettings:
    """How many clients, and how long everything may take."""

    max_sessions: int = 16  # clients at a time
    idle_seconds: float = 12 * 3600.0  # without an action; a lease costs nothing while nothing happens
    liveness_seconds: float = 60.0  # without a sign of life; after it a lease makes room when room is needed
    reply_seconds: float = 45.0  # after which what is there is sent; clients wait 60 s

    @classmethod
    def of(cls, settings: ServerSettings, **others: float) -> NniSettings:
        """As the server is told; `others` are fields that its settings do not know."""
        idle_seconds = settings.nni_idle_hours * 3600
        return cls(max_sessions=settings.nni_sessions, idle_seconds=idle_seconds, **others)

    def __post_init__(self) -> None:
        for name in ("max_sessions", "idle_seconds", "liveness_seconds"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, got {getattr(self, name)}")
        if not 0 <= self.reply_seconds < 60:
            raise ConfigError(f"reply_seconds must be 0 to below 60, got {self.reply_seconds}")


@dataclass(eq=False)
class Lease:
    """One client: what it works on, and what it has seen. Everything but the clocks is guarded by `lock`."""

    name: str  # SHA-256 of its token; the token itself is never kept
    user: str
    acted: float  # seconds since the epoch, of the last action
    heard: float  # of the last sign of life; both guarded by the table's lock
    volume_id: str | None = None
    num_channels: int = 1  # of the image, as the client sent it
    has_buffer: bool = False
    do_autozoom: bool = True
    resumes: bool = False  # the next image's last object is gone on with
    dialogue: Dialogue = field(default_factory=Dialogue)
    sweep: Sweep | None = None  # of this client, whose end it has not taken note of
    lock: threading.Lock = field(default_factory=threading.Lock)


class Leases:
    """All leases of a server; see the module for the locks."""

    def __init__(self, folder: Path, settings: NniSettings, clock: Callable[[], float] = time.time) -> None:
        """Bring back what `folder` holds; a damaged file is as good as none, since leases hold no work."""
        self.settings = settings
        self._path = folder / FILE
        self._clock = clock
        self._lock = threading.Lock()
        self._leases = {lease.name: lease for lease in _read(self._path, clock())}
        self._written = ""

    def claim(self, user: str) -> str:
        """A new lease's token. AtCapacity when every place is taken by a living client."""
        token = secrets.token_hex(32)
        with self._lock:
            self._make_room()
            now = self._clock()
            lease = Lease(_hash(token), user, acted=now, heard=now)
            self._leases[lease.name] = lease
        self.write()
        return token

    def find(self, user: str, token: str | None, *, is_action: bool) -> Lease:
        """The user's lease of that token; an action winds both clocks, else one. LeaseGone if none."""
        with self._lock:
            lease = self._leases.get(_hash(token or ""))
            if lease is None or lease.user != user or self._is_over(lease):
                raise LeaseGone("this session is not known any more; connect again, and nothing is lost")
            lease.heard = self._clock()
            if is_action:
                lease.acted = lease.heard
        return lease

    def remaining(self, lease: Lease) -> float:
        """Seconds until it is over, if its user does nothing."""
        return max(0.0, lease.acted + self.settings.idle_seconds - self._clock())

    def release(self, user: str, token: str | None) -> None:
        """End a lease; one that is not there has ended already."""
        with self._lock:
            lease = self._leases.get(_hash(token or ""))
            if lease is not None and lease.user == user:
                del self._leases[lease.name]
        self.write()

    def end(self, lease: Lease) -> None:
        """End a lease whose image is gone."""
        with self._lock:
            self._leases.pop(lease.name, None)
        self.write()

    def write(self) -> None:
        """Put the leases on disk, if what they point at has changed."""
        with self._lock:
            text = json.dumps([_table(lease) for lease in self._leases.values()])
            if text != self._written:
                write_private(self._path, text.encode())
                self._written = text

    def _make_room(self) -> None:
        """End what is over and, if that is not enough, the lease whose client has been silent longest."""
        for lease in [lease for lease in self._leases.values() if self._is_over(lease)]:
            del self._leases[lease.name]
        if len(self._leases) < self.settings.max_sessions:
            return
        silent = min(self._leases.values(), key=lambda lease: lease.heard)
        if self._clock() - silent.heard <= self.settings.liveness_seconds:
            raise AtCapacity(f"{len(self._leases)} clients are connected, the most allowed; try again soon")
        del self._leases[silent.name]

    def _is_over(self, lease: Lease) -> bool:
        return self._clock() - lease.acted > self.settings.idle_seconds


def _hash(token: str) -> str:
    """What a token is known by: 256 random bits need no salt, and looking up a hash leaks nothing."""
    return hashlib.sha256(token.encode()).hexdigest()


def _table(lease: Lease) -> dict[str, Any]:
    """What is kept of a lease. What was queued is not: it had no answer yet."""
    return {
        "name": lease.name,
        "user": lease.user,
        "volume_id": lease.volume_id,
        "num_channels": lease.num_channels,
        "has_buffer": lease.has_buffer,
        "do_autozoom": lease.do_autozoom,
        "resumes": lease.resumes,
        "object_id": lease.dialogue.object_id,
        "has_prompted": lease.dialogue.has_prompted,
    }


def _read(path: Path, now: float) -> list[Lease]:
    """The leases in a file. What their clients' buffers hold is not known: they get all of it again."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        leases = []
        for table in json.loads(path.read_text(encoding="utf-8")):
            dialogue = Dialogue(table.pop("object_id"))
            dialogue.has_prompted = table.pop("has_prompted")
            dialogue.seen = None
            leases.append(Lease(**table, acted=now, heard=now, dialogue=dialogue))
        return leases
    return []
