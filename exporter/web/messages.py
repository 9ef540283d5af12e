"""Requests and responses, as the pages see them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

RawHeaders = Sequence[tuple[bytes, bytes]]
"""Names and values as they are on the wire, in order, with repeated ones."""


class RequestEndedError(Exception):
    """The client left, or cannot be understood any longer, amid a body that is read as it comes.

    A handler that meets it lets it pass: the server knows what to do.
    """


@dataclass(frozen=True, slots=True)
class RawHead:
    """The head of a request as it came.

    Attributes:
        method: as the client spelled it.
        target: path and query, not decoded; "*" for the server itself. Of the absolute form only these.
        headers: without any that HTTP/1.1 forbids.
        http_version: such as b"1.1".
    """

    method: bytes
    target: bytes
    headers: RawHeaders
    http_version: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose head was read whole, and its body too unless the handler wants it as it comes.

    Attributes:
        method: upper case.
        path: percent-decoded, without the query.
        query: the raw text behind the question mark, possibly empty.
        headers: names in lower case; of a repeated header the values joined by ", ".
        body: at most the server's limit; empty where the body is read as it comes.
        head: the head as it came; only where the body is read as it comes.
        content: the body as it comes, of any length; None where it was read whole. It raises RequestEndedError.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""
    head: RawHead | None = None
    content: AsyncIterator[bytes] | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """What to send back.

    Attributes:
        status: HTTP status.
        body: chunks in order. An async iterator is sent as it comes, without a Content-Length unless the headers
            have one; if it raises `ConnectionAbortedError` the connection is cut where it stands. If it has
            `aclose` this is called in the end, also where nothing was read of it.
        content_type: the Content-Type header, None for none.
        headers: any others.
        raw_headers: are sent as they are instead of any of these, and nothing beside them but what HTTP/1.1 needs to
            tell where the body and the connection end.
        reason: the reason phrase; None for the usual one.
    """

    status: int
    body: Sequence[bytes] | AsyncIterator[bytes] = ()
    content_type: str | None = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    raw_headers: RawHeaders | None = None
    reason: bytes | None = None


Handler = Callable[[Request], Awaitable[Response]]

WantsStream = Callable[[Request], bool]
"""Tells from a request's head whether the handler reads the body as it comes."""


def wants_none(_: Request) -> bool:
    """Read every body whole."""
    return False
