"""Where something lies on a DICOMweb server: the root of its services, a study, a series.

https://pacs.example/dicom-web/studies/1.2.3/series/1.2.3.4
|----------- root -----------|         study        series
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from limnet.errors import ConfigError

LOCAL = ("localhost", "127.0.0.1", "::1")
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_PARTS = re.compile(r"(?P<root>.*?)(/studies/(?P<study>[^/]+)(/series/(?P<series>[^/]+))?)?")


def is_uid(text: str) -> bool:
    """Whether it is a DICOM unique identifier: numbers and dots, at most 64 characters.

    >>> is_uid("1.2.840.10008.1.1"), is_uid("../1.2")
    (True, False)
    """
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def url_in(path: Path) -> str | None:
    """The URL that was taken for a path, which lost one of its slashes; None of a real path.

    >>> url_in(Path("https://pacs.example/dicom-web"))
    'https://pacs.example/dicom-web'
    """
    found = re.fullmatch(r"(https?):/+(.*)", path.as_posix(), re.IGNORECASE)
    return f"{found[1].lower()}://{found[2]}" if found else None


@dataclass(frozen=True)
class Address:
    """A DICOMweb root, and what of it is meant."""

    root: str  # without a slash at its end
    study: str = ""  # UID; "" none
    series: str = ""  # UID; "" none

    @classmethod
    def of(cls, text: str) -> Address:
        """From a URL; ConfigError, which shows no password, when it is none of a DICOMweb server.

        >>> Address.of("http://localhost:8042/dicom-web/studies/1.2/series/1.3").series
        '1.3'
        """
        try:
            url = urlsplit(text.strip())
            host, port = url.hostname, url.port
        except ValueError:
            host, port = None, None
        if host is None or url.scheme not in ("http", "https"):
            raise ConfigError("no URL of a DICOMweb server; expected such as https://pacs.example/dicom-web")
        if url.username is not None or url.password is not None:
            raise ConfigError(
                f"the URL of {host} holds a user or password, which all users of this computer could see;"
                f" use --token-file, LIMNET_DICOMWEB_USER and LIMNET_DICOMWEB_PASSWORD, or ~/.netrc"
            )
        if url.query or url.fragment:
            raise ConfigError(f"the URL of {host} has a part after ? or #; leave it out")
        shown = f"[{host}]" if ":" in host else host
        place = shown if port is None else f"{shown}:{port}"
        found = _PARTS.fullmatch(url.path.rstrip("/"))
        study, series = (found["study"] or "", found["series"] or "") if found else ("", "")
        if not all(is_uid(uid) for uid in (study, series) if uid):
            raise ConfigError(
                f"the URL of {host} names no study or series by its UID;"
                f" expected .../studies/UID/series/UID; limnet dicomweb list URL shows them"
            )
        return cls(f"{url.scheme}://{place}{found['root'] if found else ''}", study, series)

    @property
    def host(self) -> str:
        """Name or address of the server."""
        return urlsplit(self.root).hostname or ""

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way can read what is sent."""
        return self.root.startswith("https:") or self.host in LOCAL

    def at(self, study: str, series: str = "") -> Address:
        """A study or series of the same server."""
        return replace(self, study=study, series=series)

    def __str__(self) -> str:
        study = f"/studies/{self.study}" if self.study else ""
        return f"{self.root}{study}" + (f"/series/{self.series}" if self.series else "")
