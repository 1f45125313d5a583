"""Limits on what reading a volume may take, for whoever reads files of others: a server.

They hold for the block `with limited(...)` in the same thread. They are asked where voxels are about to be
allocated and where a file is about to be opened that another one names. Without such a block there are none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from limnet.errors import VolumeError


class OversizeError(VolumeError):
    """A volume larger than this reader may take."""


@dataclass(frozen=True)
class Limits:
    """What may be read."""

    max_bytes: int  # of voxels
    inside: tuple[Path, ...]  # folders or files, symbolic links followed


_limits: ContextVar[Limits | None] = ContextVar("limits", default=None)


@contextmanager
def limited(max_bytes: int, inside: Sequence[Path]) -> Iterator[None]:
    """Within this block no volume of more bytes is read, and nothing outside these folders and files."""
    token = _limits.set(Limits(max_bytes, tuple(path.resolve() for path in inside)))
    try:
        yield
    finally:
        _limits.reset(token)


def check_limits(path: Path, num_bytes: int) -> None:
    """OversizeError or VolumeError when `num_bytes` of voxels, or this file at all, must not be read."""
    limits = _limits.get()
    if limits is None:
        return
    target = path.resolve()
    if not any(target == root or root in target.parents for root in limits.inside):
        raise VolumeError(f"{path.name}: lies outside the folder of its volume; keep all files in one folder")
    if num_bytes > limits.max_bytes:
        raise OversizeError(
            f"{path.name}: {num_bytes:,} bytes of voxels, at most {limits.max_bytes:,} are taken here;"
            f" crop it first"
        )
