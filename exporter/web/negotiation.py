"""Which metrics format and which encoding a client wants, by its Accept and Accept-Encoding headers."""

from collections.abc import Iterator, Mapping
from typing import Final

_OPENMETRICS: Final = "application/openmetrics-text"
_ANY_TEXT: Final = ("text/plain", "text/*", "*/*")


def prefers_openmetrics(accept: str) -> bool:
    """Whether OpenMetrics 1.0.0 is asked for by name before the text format; the first of equals wins.

    Other versions (OpenMetrics 0.0.1, text 1.0.0) are not served and pass for nothing. A client that accepts neither
    format gets the text format all the same, as from every Prometheus client library.
    """
    accepted = [element for element in _weighted(accept) if element[0] > 0]
    # Sorting keeps the order among equal weights.
    for _, media_type, parameters in sorted(accepted, key=lambda element: -element[0]):
        version = parameters.get("version")
        if media_type == _OPENMETRICS and version in {None, "1.0.0"}:
            return True
        if media_type in _ANY_TEXT and version in {None, "0.0.4"}:
            return False
    return False


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether gzip may be sent, and sending it plain is not liked better."""
    weights = {coding: weight for weight, coding, _ in _weighted(accept_encoding)}
    gzip = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


def _weighted(header: str) -> Iterator[tuple[float, str, Mapping[str, str]]]:
    """Weight, name and parameters of every element, in the header's order."""
    for element in header.split(","):
        name, *rest = (part.strip().lower() for part in element.split(";"))
        pairs = (part.partition("=") for part in rest)
        parameters = {key.strip(): value.strip().strip('"') for key, _, value in pairs}
        yield _weight(parameters.get("q", "1")), name, parameters


def _weight(text: str) -> float:
    """Read a q value; what is none counts as not accepted."""
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
