"""limnet dicomweb: what a hospital's server has, a series from it, results onto it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg, subcommand

from limnet.cli.options import Count, File, SeriesName
from limnet.cli.remote import fetch_with_bar
from limnet.errors import ConfigError
from limnet.volume.dicomweb import (
    Address,
    Connection,
    Server,
    find_series,
    items_to_store,
    list_series,
    store,
)

Url = Annotated[Positional[str], arg(metavar="URL")]
Files = Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE ...", help_behavior_hint="")]
Word = Annotated[str, arg(metavar="ID", help_behavior_hint="")]
Uid = Annotated[str, arg(metavar="UID", help_behavior_hint="")]
Kind = Annotated[str, arg(metavar="CT|MR|SEG|...", help_behavior_hint="")]
Seconds = Annotated[float | None, arg(metavar="SECONDS", help_behavior_hint="")]


@dataclass(frozen=True, kw_only=True)
class _Connecting:
    """What all of them need to reach a server."""

    url: Url  # the server's DICOMweb root, such as https://pacs.example/dicom-web
    ca: File = None  # certificate (PEM) of the authority to trust; default: the system's
    token_file: File = None  # holds a bearer token; else user and password of the environment or ~/.netrc
    timeout: Seconds = None  # longest wait for a sign of life; default: 60

    @contextmanager
    def server(self) -> Iterator[Server]:
        """The server, as long as the block runs."""
        connection = Connection.of(ca=self.ca, token_file=self.token_file, wait_s=self.timeout)
        with Server(Address.of(self.url), connection) as server:
            yield server


@dataclass(frozen=True, kw_only=True)
class ListSeries(_Connecting):
    """List the series of a server, each with the address by which other commands take it."""

    patient: Word = ""  # only of the patient with this id; * stands for any letters
    study: Uid = ""  # only of this study
    modality: Kind = ""  # only of this kind
    describe: bool = False  # show dates and descriptions, in which patients may be named
    limit: Count = 100  # show at most so many

    def run(self) -> int:
        """Print one line per series."""
        with self.server() as server:
            found = list_series(
                server, patient=self.patient, study=self.study, modality=self.modality, limit=self.limit
            )
        header = ("kind", "number", "files", *(("date", "description") if self.describe else ()), "address")
        rows = tuple(
            (
                *(series.modality or "?", series.number or "-"),
                "?" if series.count is None else str(series.count),
                *((series.date or "-", series.description or "-") if self.describe else ()),
                str(series.address),
            )
            for series in found.series
        )
        print(_columns((header, *rows)) if rows else "no series that match")
        if found.is_cut:
            print(f"and more; narrow it with --patient, --study or --modality, or raise --limit {self.limit}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Get(_Connecting):
    """Fetch a series into a new folder, as it is stored; URL may end in /studies/UID/series/UID."""

    output: Annotated[Path, arg(aliases=["-o"], metavar="DIR")]  # is made; all files of the series, or none
    series: SeriesName = None  # which one, when URL does not say

    def run(self) -> int:
        """Fetch, check, tell."""
        with self.server() as server:
            count = fetch_with_bar(server, find_series(server, self.series or ""), self.output)
        print(f"files   {count}\nfolder  {self.output}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Store(_Connecting):
    """Store DICOM files, such as limnet export makes, on a server."""

    files: Files = ()  # DICOM-SEG, RTSTRUCT or any other

    def run(self) -> int:
        """Send, and tell what the server says of each."""
        if not self.files:
            raise ConfigError("nothing to store: give DICOM files after the URL")
        items = items_to_store(self.files)
        with self.server() as server:
            for item in store(server, items):
                print(f"stored  {item.path}  ({item.kind}, {item.size:,} bytes)")
        return 0


@dataclass(frozen=True)
class Dicomweb:
    """List, fetch and store DICOM on a hospital's server; needs pip install 'limnet[dicom]'."""

    action: (
        Annotated[ListSeries, subcommand("list")]
        | Annotated[Get, subcommand("get")]
        | Annotated[Store, subcommand("store")]
    )

    def run(self) -> int:
        """Do it."""
        return self.action.run()


def _columns(lines: Sequence[Sequence[str]]) -> str:
    """Words in columns, all to the left; the last one, an address, is as long as it is."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)][:-1]
    return "\n".join(
        "  ".join((*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]))
        for line in lines
    )
