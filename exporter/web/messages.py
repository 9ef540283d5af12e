"""Requests and responses, as the pages see them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose head and body were read whole, within the server's limits.

    Attributes:
        method: upper case.
        path: percent-decoded, without the query.
        query: the raw text behind the question mark, possibly empty.
        headers: names in lower case; of a repeated header the values joined by ", ".
        body: at most the server's limit.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """What to send back.

    Attributes:
        status: HTTP status.
        body: chunks in order. An async iterator is sent as it comes, without a Content-Length; if it raises
            `ConnectionAbortedError` the connection is cut where it stands.
        content_type: the Content-Type header, None for none.
        headers: any others.
    """

    status: int
    body: Sequence[bytes] | AsyncIterator[bytes] = ()
    content_type: str | None = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Response]]
