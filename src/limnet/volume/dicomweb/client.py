"""One DICOMweb server over HTTP: what is asked, what may come back, and what went wrong in one line.

Certificates are always verified; nothing is tried again, no redirection is followed. Every wait, every answer
and its pace are bounded. No message holds a credential, nor a query, which may name a patient; what httpx
would log of either is dropped. Proxies are those of the environment: HTTPS_PROXY, HTTP_PROXY, NO_PROXY.
"""

from __future__ import annotations

import logging
import ssl
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode
from urllib.request import getproxies, proxy_bypass

from limnet.errors import ConfigError, LimNetWarning, RemoteError
from limnet.volume.dicomweb.address import Address
from limnet.volume.dicomweb.connection import Connection, credentials

if TYPE_CHECKING:
    import httpx

CREDENTIALS = "give --token-file, LIMNET_DICOMWEB_USER and LIMNET_DICOMWEB_PASSWORD, or ~/.netrc"
STATUSES = {
    206: "it sends only a part; nothing is kept: ask again, or ask its operator",
    400: "it does not take that; is this the root of its DICOMweb services, such as /dicom-web of Orthanc?",
    401: f"it does not know you; {CREDENTIALS}",
    403: f"you may not do that there; {CREDENTIALS} of somebody who may",
    404: "there is no such thing; check the UIDs and the root, such as /dicom-web of Orthanc",
    406: "it cannot send DICOM files as multipart/related; ask its operator",
    407: "the proxy does not know you; give user and password in HTTPS_PROXY, or the host in NO_PROXY",
    413: "that is more than it takes; its operator sets the limit",
}
LONGEST_TEXT = 1 << 26  # bytes of an answer in JSON
SLOWEST = 4096  # bytes per second, on average, once `wait_s` is over
_silent: ContextVar[bool] = ContextVar("limnet_dicomweb_silent", default=False)
LOGGERS = ("httpx", *(f"httpcore.{name}" for name in ("connection", "http11", "http2", "proxy", "socks")))


class Server:
    """A DICOMweb server while the block runs; needs httpx, of the extra `dicom`."""

    def __init__(self, address: Address, connection: Connection) -> None:
        try:
            import httpx
        except ModuleNotFoundError as error:
            raise ConfigError(f"DICOMweb needs {error.name}: pip install 'limnet[dicom]'") from None
        for name in LOGGERS:
            if _drop_when_silent not in logging.getLogger(name).filters:
                logging.getLogger(name).addFilter(_drop_when_silent)
        self.address, self.connection = address, connection
        auth = credentials(address, connection)
        if not address.is_private:
            warnings.warn(
                f"{address.host}: credentials and images go unencrypted; ask for its https address",
                LimNetWarning,
                stacklevel=2,
            )
        wait = connection.wait_s
        try:
            self._client = httpx.Client(
                auth=auth,
                verify=_trust(connection),
                timeout=httpx.Timeout(wait, connect=min(wait, 15.0)),
                headers={"Accept-Encoding": "identity", "User-Agent": "limnet"},
            )
        except (ValueError, httpx.InvalidURL, ImportError) as error:  # ImportError: a SOCKS proxy
            raise ConfigError(
                f"a proxy of the environment cannot be used ({type(error).__name__});"
                f" check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
            ) from None

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    @contextmanager
    def answer(
        self,
        what: str,
        path: str = "",
        *,
        accept: str,
        query: Mapping[str, str] | None = None,
        body: Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        accepted: tuple[int, ...] = (200,),
    ) -> Iterator[httpx.Response]:
        """An answer whose body is still to be read with `chunks`; POST when there is a body.

        `what` is said in errors. RemoteError unless the status is one of `accepted`.
        """
        sent = {"Accept": accept, **(headers or {})}
        with self._explained(what):
            request = self._client.build_request(
                "GET" if body is None else "POST",
                f"{self.address.root}{path}{_search(query or {})}",
                content=body,
                headers=sent,
            )
            response = self._client.send(request, stream=True)
            try:
                if response.status_code not in accepted:
                    raise RemoteError(f"{self.address.root}: {what}: {_refusal(response)}")
                yield response
            finally:
                response.close()

    def chunks(self, response: httpx.Response, most: int) -> Iterator[bytes]:
        """The body in pieces; RemoteError beyond `most` bytes, or when it comes too slowly."""
        total, start, wait = 0, time.monotonic(), self.connection.wait_s
        for chunk in response.iter_bytes():  # as they come: of a size, they would be waited for
            total += len(chunk)
            if total > most:
                raise RemoteError(
                    f"{self.address.root}: sends more than {most / 2**30:.3g} GiB; if that is meant, raise"
                    f" LIMNET_DICOMWEB_MAX_GIB"
                )
            yield chunk
            seconds = time.monotonic() - start
            if seconds > wait and total < SLOWEST * seconds:
                raise RemoteError(
                    f"{self.address.root}: sends less than {SLOWEST >> 10} KiB a second; ask again later"
                )

    def text(self, response: httpx.Response) -> bytes:
        """A whole body that is no pixels."""
        return b"".join(self.chunks(response, LONGEST_TEXT))

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """What httpx raises, in one line that tells what to do."""
        import httpx

        where = f"{self.address.root}: {what}"
        _silent.set(True)
        try:
            yield
        except httpx.TimeoutException:
            raise RemoteError(
                f"{where}: no answer within {self.connection.wait_s:g} s; is the server up, does a firewall"
                f" or proxy block it? --timeout and LIMNET_DICOMWEB_TIMEOUT wait longer"
            ) from None
        except httpx.ProxyError:
            raise RemoteError(
                f"{where}: the proxy refuses; set NO_PROXY={self.address.host} for a server of the house"
            ) from None
        except httpx.ConnectError as error:
            raise RemoteError(f"{where}: {_unreachable(error, self.address)}") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise RemoteError(
                f"{where}: the connection broke, or it speaks no HTTP ({type(error).__name__}); ask again"
            ) from None
        finally:
            _silent.set(False)  # not reset: a generator may be closed in another context


def _search(query: Mapping[str, str]) -> str:
    """The part behind ? of a URL; * and ? of wildcards stay as they are, which Orthanc 1.10 needs.

    >>> _search({"PatientID": "A 7*"})
    '?PatientID=A%207*'
    """
    return f"?{urlencode(query, safe='*?,', quote_via=quote)}" if query else ""


def _drop_when_silent(_: logging.LogRecord) -> bool:
    """A log filter: httpx would quote queries, which may name a patient."""
    return not _silent.get()


def _trust(connection: Connection) -> ssl.SSLContext:
    """Which certificates are trusted: the system's and certifi's, or those of one file only."""
    if connection.ca is not None:
        try:
            return ssl.create_default_context(cafile=str(connection.ca))
        except (OSError, ssl.SSLError):
            raise ConfigError(
                f"{connection.ca}: no file of certificates; give the authority's certificate as PEM"
            ) from None
    import certifi  # comes with httpx

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _unreachable(error: Exception, address: Address) -> str:
    """Why no connection came about."""
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return (
            "its certificate is signed by nobody known, has expired, or is another host's; give the"
            " certificate of the house's authority with --ca FILE or LIMNET_DICOMWEB_CA"
        )
    if "SSL" in text:
        return "speaks no TLS that is secure; is it an http:// address?"
    scheme = address.root.partition(":")[0]
    if scheme in getproxies() and not proxy_bypass(address.host):
        return f"the proxy of the environment does not answer; set NO_PROXY={address.host} to do without"
    if "refused" in text.lower():
        return "nobody listens there; is the server up, is the port right?"
    return f"cannot be reached; check the name {address.host!r}, the network, and HTTPS_PROXY and NO_PROXY"


def _refusal(response: httpx.Response) -> str:
    """What a status means, and what to do."""
    code = response.status_code
    if 300 <= code < 400:
        target = response.headers.get("location", "").partition("?")[0]
        shown = "".join(filter(str.isprintable, target))[:200] or "another place"
        return f"{code}, it points to {shown}; give that address if you trust it"
    known = STATUSES.get(code)
    return f"{code}, {known or ('the server failed' if code >= 500 else 'it refuses') + '; ask its operator'}"
