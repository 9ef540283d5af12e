"""What the forwarding side hands to the counting side: one request that AITracer accepted, with its answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that the upstream answered with 2xx.

    Attributes:
        path: percent-decoded, without the query.
        request_headers: names in lower case; of a repeated header the values joined by ", ".
        request_body: as it was sent, still in its Content-Encoding; None where it was too large to keep a copy.
        answer_headers: as `request_headers`.
        answer_body: as it came, still in its Content-Encoding; None where it was too large, or ended before its end.
    """

    path: str
    request_headers: Mapping[str, str]
    request_body: bytes | None
    answer_headers: Mapping[str, str]
    answer_body: bytes | None


class TraceCounting(Protocol):
    """The counting side, as far as forwarding knows it."""

    def reads(self, method: str, path: str) -> bool:
        """Whether such requests carry traces, so that copies of body and answer are worth keeping."""

    def count(self, exchange: Exchange) -> None:
        """Count the traces of an exchange. Never raises for what a body holds: what cannot be read is counted, too."""
