"""Which headers a gateway passes on: all but those that belong to one connection (RFC 9110, 7.6)."""

from collections.abc import Iterator
from typing import Final

from exporter.web.messages import RawHead, RawHeaders

PSEUDONYM: Final = b"openai-usage-exporter"
"""What the gateway calls itself in Via."""

_OF_ONE_CONNECTION: Final = frozenset(
    {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
# A Connection header that names these would change what the message is.
_NEVER_NAMED: Final = frozenset({b"host", b"content-length"})


def headers_for_upstream(head: RawHead, host: bytes) -> list[tuple[bytes, bytes]]:
    """Return a request's headers as the upstream gets them.

    Args:
        head: as the client sent it.
        host: of the upstream, with its port if it is not the scheme's own.
    """
    passed = [(name, host if name.lower() == b"host" else value) for name, value in _end_to_end(head.headers)]
    if not any(name.lower() == b"host" for name, _ in passed):
        # HTTP/1.0 may come without.
        passed.insert(0, (b"Host", host))
    if _is_chunked(head.headers):
        passed.append((b"Transfer-Encoding", b"chunked"))
    return [*passed, (b"Via", head.http_version + b" " + PSEUDONYM)]


def headers_for_client(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """Return an answer's headers as the client gets them."""
    return list(_end_to_end(headers))


def _end_to_end(headers: RawHeaders) -> Iterator[tuple[bytes, bytes]]:
    named = {
        option.strip().lower()
        for name, value in headers
        if name.lower() == b"connection"
        for option in value.split(b",")
    } - _NEVER_NAMED
    chunked = _is_chunked(headers)
    for name, value in headers:
        key = name.lower()
        if key in _OF_ONE_CONNECTION or key in named or key.startswith(b"proxy-"):
            continue
        if key == b"content-length" and chunked:
            # Of the two the coding holds; both would let others see another end of the body.
            continue
        yield name, value


def _is_chunked(headers: RawHeaders) -> bool:
    return any(name.lower() == b"transfer-encoding" for name, _ in headers)
