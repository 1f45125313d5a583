"""How a DICOMweb server is spoken to: who asks, whom to trust, how long to wait, how much to take."""

from __future__ import annotations

import netrc
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from limnet.errors import ConfigError
from limnet.volume.dicomweb.address import Address

if TYPE_CHECKING:
    import httpx

    Credentials = httpx.Auth | Callable[[httpx.Request], httpx.Request]

PREFIX = "LIMNET_DICOMWEB_"


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Settings of all requests to one server."""

    ca: Path | None = None  # PEM file of the only authorities to trust; None: the system's
    token_file: Path | None = None  # holds a bearer token
    token: str = field(default="", repr=False)  # the same in place
    user: str = field(default="", repr=False)  # for basic authentication
    password: str = field(default="", repr=False)
    wait_s: float = 60.0  # for a connection (15 at most), and between two pieces of an answer
    max_gib: float = 8.0  # of one series

    def __post_init__(self) -> None:
        if not 0 < self.wait_s <= 3600:
            raise ConfigError(f"timeout must be above 0 s and at most 3600, got {self.wait_s:g}")
        if not 0 < self.max_gib <= 1024:
            raise ConfigError(f"{PREFIX}MAX_GIB must be above 0 and at most 1024, got {self.max_gib:g}")
        if bool(self.user) != bool(self.password):
            raise ConfigError(f"set {PREFIX}USER and {PREFIX}PASSWORD together")

    @property
    def max_bytes(self) -> int:
        """The most bytes of one series."""
        return int(self.max_gib * 2**30)

    @classmethod
    def of(
        cls,
        environment: Mapping[str, str] | None = None,
        *,
        ca: Path | None = None,
        token_file: Path | None = None,
        wait_s: float | None = None,
    ) -> Connection:
        """What is given; else CA, TOKEN_FILE, TOKEN, USER, PASSWORD, TIMEOUT, MAX_GIB of the environment."""
        values = os.environ if environment is None else environment

        def path(name: str) -> Path | None:
            return Path(values[PREFIX + name]) if values.get(PREFIX + name) else None

        def number(name: str, otherwise: float) -> float:
            text = values.get(PREFIX + name) or str(otherwise)
            try:
                return float(text)
            except ValueError:
                raise ConfigError(f"{PREFIX}{name} must be a number, got {text!r}") from None

        return cls(
            ca=ca or path("CA"),
            token_file=token_file or path("TOKEN_FILE"),
            token=values.get(PREFIX + "TOKEN", ""),
            user=values.get(PREFIX + "USER", ""),
            password=values.get(PREFIX + "PASSWORD", ""),
            wait_s=number("TIMEOUT", cls.wait_s) if wait_s is None else wait_s,
            max_gib=number("MAX_GIB", cls.max_gib),
        )


def credentials(address: Address, connection: Connection) -> Credentials | None:
    """Who asks: a token, else user and password, else what ~/.netrc (or the file NETRC) says of the host."""
    import httpx

    token = connection.token
    if connection.token_file is not None:
        try:
            token = connection.token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise ConfigError(f"{connection.token_file}: cannot be read as a token; check the path") from None
    if token:
        if not token.isascii() or not token.isprintable() or " " in token:
            raise ConfigError("the bearer token must be one word without blanks; check its file")
        return _Bearer(token)
    if connection.user:
        return httpx.BasicAuth(connection.user, connection.password)
    return _from_netrc(address.host)


class _Bearer:
    """Puts a token into a request; never shown."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: httpx.Request) -> httpx.Request:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _from_netrc(host: str) -> Credentials | None:
    """User and password of a host, when a netrc file has some."""
    import httpx

    named = os.environ.get("NETRC")
    try:
        places = [Path(named)] if named else [Path.home() / ".netrc", Path.home() / "_netrc"]
        file = next((place for place in places if place.is_file()), None)
        found = netrc.netrc(file).authenticators(host) if file else None
    except netrc.NetrcParseError as error:
        raise ConfigError(f"{file}: line {error.lineno} is not what a netrc file has; correct it") from None
    except (OSError, RuntimeError, UnicodeDecodeError):  # RuntimeError: no home
        return None
    return httpx.BasicAuth(found[0], found[2] or "") if found else None
