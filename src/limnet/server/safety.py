"""What every request passes before anything looks at it, and the headers that every answer carries.

Three attacks on a server that listens on a user's own computer: a page of another site that posts to it
(Origin and Sec-Fetch-Site are checked), a name of another site that resolves to 127.0.0.1 (DNS rebinding:
Host is checked), and a body without end (its length is bounded while it arrives).
"""

from __future__ import annotations

import socket
from ipaddress import ip_address

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limnet.server.problems import problem
from limnet.server.settings import ServerSettings

MIB = 2**20
SMALL_BODY = 4 * MIB  # of everything that is no upload; 20,000 points of a lasso take 0.4 MiB
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# The page is all its own files; NiiVue draws its fonts and colour maps from data: pictures.
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Safety:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self.app = app
        self.settings = settings
        self.names = known_names(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or pass on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        guarded = _with_headers(send, scope["path"])
        refusal = self._refusal(scope, headers)
        if refusal:
            status, title, detail = refusal
            await problem(status, title, detail, scope["path"])(scope, receive, guarded)
            return
        await self.app(scope, self._bounded(scope, receive), guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str, str] | None:
        """(status, title, detail) of what is wrong with a request, if anything."""
        host = headers.get("host", "")
        if not is_known(host, self.names):
            return 421, "Wrong host", f"{host[:100]!r} is no name of this server; see limnet serve --name"
        if scope["method"] not in SAFE_METHODS and is_foreign(headers):
            return 403, "Forbidden", "the request comes from a page of another site; use the annotator's own"
        length = headers.get("content-length", "0")
        limit = self._limit(scope)
        if length.isdecimal() and int(length) > limit:
            return 413, "Too large", too_large(limit)
        return None

    def _limit(self, scope: Scope) -> int:
        """How many bytes a body may have: few, but for the API's uploads and nnInteractive's arrays."""
        is_form = Headers(scope=scope).get("content-type", "").startswith("multipart/form-data")
        is_small = scope["path"].startswith("/api/v1/") and not is_form
        return SMALL_BODY if is_small else self.settings.max_upload_mib * MIB

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """`receive`, which stops with 413 once a body is longer than it may be, whatever its headers say."""
        limit, count = self._limit(scope), 0

        async def bounded() -> Message:
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            if count > limit:
                raise HTTPException(413, too_large(limit))
            return message

        return bounded


def too_large(limit: int) -> str:
    """The words for a body beyond the limit."""
    return f"the request's body is larger than {limit // MIB} MiB, the most this server takes"


def is_foreign(headers: Headers) -> bool:
    """Whether a browser sent the request for a page of another origin; other clients send no such header."""
    origin = headers.get("origin")
    if origin is not None:
        return origin.partition("://")[2] != headers.get("host", "")
    return headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")


def known_names(settings: ServerSettings) -> frozenset[str]:
    """The names by which this server may be called."""
    names = {"localhost", settings.host, *settings.hosts}
    if not settings.is_local:
        names |= {socket.gethostname(), socket.getfqdn()}
    return frozenset(name.lower() for name in names)


def is_known(host: str, names: frozenset[str]) -> bool:
    """Whether a Host header names this server: a known name or any address, which no DNS can turn.

    >>> [is_known(host, frozenset(["localhost"])) for host in ("localhost:80", "[::1]:80", "evil.example")]
    [True, True, False]
    """
    name = host.rsplit(":", 1)[0] if host.rpartition(":")[2].isdecimal() else host
    if name.lower() in names:
        return True
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _with_headers(send: Send, path: str) -> Send:
    """`send`, which adds the headers of every answer; the page's files are kept but asked for anew."""
    caching = "no-store" if path.startswith("/api/") else "no-cache"

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", caching)
        await send(message)

    return guarded
