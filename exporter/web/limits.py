"""What one client, and all of them together, may take from the web server."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on connections, bytes and seconds.

    Attributes:
        max_connections: open at once. The default stays below the usual limit of 1024 open files.
        requests_in_flight: requests being answered at once. Fewer than the connections, so that one of those
            can always give way to a new client.
        large_answers: sent at once by a thread each, and never all of those in flight: enough for Prometheus, its
            twin, and two more. The event loop sends the others.
        head_bytes: of one request's head, give or take one read.
        body_bytes: of one request's body, unless the handler reads it as it comes.
        head_timeout: seconds for a whole request from its first byte; a new connection has as long for that byte.
        idle_timeout: seconds between two requests on one connection.
        write_timeout: seconds in which a client takes nothing of its answer.
        answer_timeout: seconds for taking a whole answer of known length: it holds memory until it is taken.
        body_timeout: seconds between two pieces of a body that is read as it comes, and what a client may be waited for
            in all beyond the time that its bytes had at `body_bytes_per_second`.
        body_bytes_per_second: below this a body trickles.
        stop_timeout: seconds that answers under way are given when the server stops.
    """

    max_connections: int = 512
    requests_in_flight: int = 128
    large_answers: int = 4
    head_bytes: int = 16 * 1024
    body_bytes: int = 64 * 1024
    head_timeout: float = 10.0
    idle_timeout: float = 120.0
    write_timeout: float = 10.0
    answer_timeout: float = 60.0
    body_timeout: float = 30.0
    body_bytes_per_second: int = 1024
    stop_timeout: float = 5.0

    def __post_init__(self) -> None:
        """Refuse limits under which a new client could find no room."""
        if not 0 < self.requests_in_flight < self.max_connections:
            raise ValueError("requests_in_flight must be at least 1 and below max_connections")


DEFAULT_LIMITS: Final = Limits()
