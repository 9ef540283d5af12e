"""The connection to AITracer: requests go out and answers come back byte for byte, without retries or redirects."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from exporter.trace_gateway.early_answers import ListeningBackend
from exporter.trace_gateway.hop_by_hop import headers_for_upstream
from exporter.web.messages import RawHead, RawHeaders

# Servers mostly close idle connections after five seconds; a request must not meet a connection that just goes.
_KEPT_SECONDS: Final = 3.0

Trace = Callable[[str, Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class UpstreamAddress:
    """Where AITracer is.

    Attributes:
        scheme: http or https.
        host: a name, or an address without brackets.
        port: None for the scheme's own.
        netloc: host and port as Host tells them.
        prefix: stands in front of every path; without a slash at its end, empty for none.
    """

    scheme: str
    host: str
    port: int | None
    netloc: str
    prefix: str

    def target(self, target: bytes) -> bytes:
        """Put the prefix in front of a request's path."""
        return self.prefix.encode("ascii") + target


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds for a connection, and between two bytes of either direction."""

    connect: float = 10.0
    between_bytes: float = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of the upstream's answer, and the body as it comes."""

    status: int
    reason: bytes
    headers: RawHeaders
    pieces: AsyncIterator[bytes]
    close: Callable[[], Awaitable[None]]


class UpstreamFailedError(Exception):
    """The upstream did not answer, or not to the end.

    Attributes:
        reason: one of few words, for a label.
        status: what the client gets, if it got nothing yet.
        details: what the system says, for the log, about a connection that was not made; nothing of any message.
    """

    def __init__(self, reason: str, status: HTTPStatus, details: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.details = details


def upstream_address(text: str) -> UpstreamAddress:
    """Read an http or https URL.

    Raises:
        ValueError: it is none, or has parts that make no sense here.
    """
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("an http or https URL with a host is needed")
    if "@" in parts.netloc:
        raise ValueError("the clients' own Authorization is passed on; leave user and password out")
    if parts.query or parts.fragment:
        raise ValueError("every request has a query of its own; leave it out")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("only printable ASCII is possible")
    return UpstreamAddress(parts.scheme, parts.hostname, parts.port, parts.netloc, parts.path.rstrip("/"))


def proxy_of_environment(address: UpstreamAddress) -> str | None:
    """Return the URL of the proxy that HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY name for the upstream."""
    if proxy_bypass(address.host):
        return None
    proxies = getproxies()
    return proxies.get(address.scheme) or proxies.get("all")


class Upstream:
    """A bounded pool of connections to one upstream.

    Raises:
        ValueError: the proxy is neither http nor https.
    """

    def __init__(
        self, address: UpstreamAddress, *, proxy: str | None, connections: int, patience: Patience | None = None
    ) -> None:
        self._address = address
        # A proxy is asked for a whole URL, and that of the server itself ends with its name.
        self._itself = b"*" if proxy is None or address.scheme == "https" else b""
        self._patience = patience or Patience()
        self._pool = _pool(httpx.create_ssl_context(), proxy, connections)

    async def send(self, head: RawHead, content: AsyncIterator[bytes], trace: Trace) -> Answer:
        """Send a request; the answer must be closed.

        Args:
            head: as the client sent it.
            content: the body.
            trace: is told what the connection is about; the first word comes when there is one.

        Raises:
            UpstreamFailedError: there was no answer.
        """
        address, patience = self._address, self._patience
        target = self._itself if head.target == b"*" else address.target(head.target)
        request = httpcore.Request(
            head.method,
            httpcore.URL(scheme=address.scheme, host=address.host, port=address.port, target=target),
            headers=headers_for_upstream(head, address.netloc.encode("ascii")),
            content=content,
            extensions={
                "timeout": {
                    "connect": patience.connect,
                    "read": patience.between_bytes,
                    "write": patience.between_bytes,
                    "pool": patience.connect,
                },
                "trace": trace,
            },
        )
        try:
            response = await self._pool.handle_async_request(request)
        except _FAULTS as error:
            raise _failure(error) from error
        if response.status < HTTPStatus.OK:
            # Nobody asked for another protocol.
            await response.aclose()
            raise UpstreamFailedError("not_http", HTTPStatus.BAD_GATEWAY)
        return Answer(
            response.status,
            response.extensions.get("reason_phrase", b""),
            response.headers,
            _pieces(response),
            response.aclose,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


async def _pieces(response: httpcore.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in response.aiter_stream():
            yield piece
    except _FAULTS as error:
        raise _failure(error) from error


_FAULTS: Final = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    OSError,
)


def _failure(error: Exception) -> UpstreamFailedError:
    match error:
        case httpcore.PoolTimeout():
            return UpstreamFailedError("no_connection_free", HTTPStatus.SERVICE_UNAVAILABLE)
        case httpcore.TimeoutException():
            return UpstreamFailedError("timeout", HTTPStatus.GATEWAY_TIMEOUT)
        case httpcore.ConnectError(args=(ssl.SSLError() as refused, *_)):
            return UpstreamFailedError("tls", HTTPStatus.BAD_GATEWAY, _said(refused))
        case httpcore.ConnectError() | httpcore.ProxyError():
            return UpstreamFailedError("unreachable", HTTPStatus.BAD_GATEWAY, str(error))
        case httpcore.ProtocolError() if not ("disconnected" in str(error) or "closed connection" in str(error)):
            return UpstreamFailedError("not_http", HTTPStatus.BAD_GATEWAY)
        case _:
            return UpstreamFailedError("cut", HTTPStatus.BAD_GATEWAY)


def _said(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    return error.reason or type(error).__name__


def _pool(context: ssl.SSLContext, proxy: str | None, connections: int) -> httpcore.AsyncConnectionPool:
    if proxy is None:
        return httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=_KEPT_SECONDS,
            network_backend=ListeningBackend(),
        )
    # httpx knows the spellings of a proxy's URL, with user and password.
    known = httpx.Proxy(proxy if "://" in proxy else f"http://{proxy}")
    if known.url.scheme not in {"http", "https"}:
        raise ValueError("the proxy that the environment names for the upstream is neither http nor https")
    return httpcore.AsyncHTTPProxy(
        httpcore.URL(
            scheme=known.url.raw_scheme, host=known.url.raw_host, port=known.url.port, target=known.url.raw_path
        ),
        proxy_auth=known.raw_auth,
        proxy_headers=known.headers.raw,
        ssl_context=context,
        max_connections=connections,
        max_keepalive_connections=connections,
        keepalive_expiry=_KEPT_SECONDS,
        network_backend=ListeningBackend(),
    )
