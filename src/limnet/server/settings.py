"""Settings of a server, checked once, at birth."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from math import inf
from pathlib import Path

from limnet.errors import ConfigError

PORT = 8127  # of the annotator
NNI_PORT = 1527  # where nnInteractive's clients look for a server


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Where a server listens, what it may touch and how much it may take."""

    work_dir: Path  # everything that outlives the server: annotations, uploads, keys, audit log
    host: str = "127.0.0.1"
    port: int = PORT
    nni_port: int = NNI_PORT
    allowed: tuple[Path, ...] = ()  # folders and files that may be opened by path
    threads: int | None = None  # CPU threads of one network; default: all cores
    weights: Path | None = None  # default: the shipped networks
    max_upload_mib: int = 2048  # of one upload, all its files together
    max_voxels: int = 512 * 2**20  # of one volume
    max_volumes: int = 1000  # that one user may keep, closed ones among them
    max_objects: int = 255  # of one volume
    memory_mib: int = 4096  # of all volumes in memory; the least recently used are unloaded beyond it
    idle_minutes: float = 30.0  # after which a volume is unloaded
    nni_sessions: int = 16  # viewers at a time that have sessions, of each protocol
    nni_idle_hours: float = 12.0  # after which the session of a viewer whose user does nothing is over
    is_tls: bool = False  # cookies are then sent over TLS only
    hosts: tuple[str, ...] = ()  # further names by which the server is reached, for the Host header's check

    def __post_init__(self) -> None:
        for name in (
            "max_upload_mib",
            "max_voxels",
            "max_volumes",
            "max_objects",
            "memory_mib",
            "nni_sessions",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, got {getattr(self, name)}")
        for name in ("idle_minutes", "nni_idle_hours"):
            if not 0 < getattr(self, name) < inf:
                raise ConfigError(f"{name} must be above 0 and finite, got {getattr(self, name)}")
        for name in ("port", "nni_port"):
            if not 0 <= getattr(self, name) <= 65535:
                raise ConfigError(f"{name} must be 0 (any free one) to 65535, got {getattr(self, name)}")

    @property
    def passing_dir(self) -> Path:
        """For files that live no longer than a request; emptied at every start."""
        return self.work_dir / "passing"

    @property
    def is_local(self) -> bool:
        """Whether only this computer can reach it."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a name or address is this computer's own.

    >>> [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
