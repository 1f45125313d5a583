"""Addresses of series on a DICOMweb server where commands take a volume: fetched, used, deleted."""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from limnet.cli.terminal import progress_bar
from limnet.errors import ConfigError, LimNetError
from limnet.volume.dicomweb import Address, Connection, Listed, Server, fetch, find_series, url_in

FETCHED = ("volume", "dicom")  # what of a command may be an address

T = TypeVar("T")


@contextmanager
def on_disk(command: T) -> Iterator[T]:
    """The command with a folder in place of a series' address; the folder goes with the block.

    How the server is reached is said by the environment: LIMNET_DICOMWEB_CA and others, see docs/dicom.md.
    ConfigError when an address stands where none is fetched.
    """
    found = dict(_urls(command))
    for name, url in found.items():
        if name not in FETCHED:
            raise ConfigError(
                f"{Address.of(url)}: an address cannot stand here; fetch it first:"
                f" limnet dicomweb get URL -o FOLDER"
            )
    if not found:
        yield command
        return
    with unwound(), tempfile.TemporaryDirectory(prefix="limnet-") as place:
        folders: dict[str, Any] = {}
        names: dict[str, str] = {}
        for name, url in found.items():
            address, folder = _fetched(url, getattr(command, "series", None) or "", Path(place) / name)
            folders[name], names[str(folder)] = folder, str(address)
        try:
            yield replace(command, **folders)  # type: ignore[type-var]  # it has fields
        except LimNetError as error:
            text = str(error)
            for shown, meant in names.items():
                text = text.replace(shown, meant)
            raise type(error)(text) from None


@contextmanager
def unwound() -> Iterator[None]:
    """Within the block SIGTERM ends the program as Ctrl-C does: no patient's images stay behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _fetched(url: str, series: str, place: Path) -> tuple[str, Path]:
    """Fetch the series that a URL or `series` names; its address, and its folder inside the new `place`."""
    place.mkdir()
    with Server(Address.of(url), Connection.of()) as server:
        listed = find_series(server, series)
        folder = place / listed.address.series
        fetch_with_bar(server, listed, folder)
    return str(listed.address), folder


def fetch_with_bar(server: Server, listed: Listed, folder: Path) -> int:
    """Fetch a series into a new folder, with a bar; how many files it has."""
    count = 0
    with unwound(), progress_bar("fetching", total=listed.count) as (bar, task):
        for count in fetch(server, listed, folder):
            bar.update(task, completed=count)
    return count


def _urls(command: object) -> Iterator[tuple[str, str]]:
    """Which paths of a command are URLs."""
    if not is_dataclass(command):
        return
    for field in fields(command):
        value = getattr(command, field.name)
        for path in value if isinstance(value, tuple) else (value,):
            url = url_in(path) if isinstance(path, Path) else None
            if url:
                yield field.name, url
