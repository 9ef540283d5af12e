"""OTLP's spans, as far as counting needs them, out of JSON. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from exporter.trace_gateway.decoding import parsed
from exporter.trace_gateway.model_calls import Entries, Unreadable, first_set, first_text, mapping, sequence

ERROR_CODES: Final = (2, "STATUS_CODE_ERROR")
"""A status that is an error, as protobuf and JSON spell it."""

_LONGEST_INTEGER: Final = 20

Attributes = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Span:
    """One span.

    Attributes:
        trace_id: with `span_id`, opaque; either is "" if it is missing.
        parent_id: "" for a root.
        attributes: text, numbers and booleans; what is none of these is left out.
        resource: the attributes of what sent it.
        started: nanoseconds since 1970, 0 if not known; `ended` the same.
        failed: whether its status is an error.
    """

    trace_id: str
    span_id: str
    parent_id: str
    attributes: Attributes
    resource: Attributes
    started: int
    ended: int
    failed: bool


def spans_of_json(body: bytes) -> Iterator[Span]:
    """Return the spans of an export.

    Raises:
        Unreadable: it is none, or has too many.
    """
    document = parsed(body)
    resources = first_set(mapping(document), ("resourceSpans", "resource_spans"))
    if not isinstance(resources, list):
        # An export of nothing is an empty object.
        if document == {}:
            return iter(())
        raise Unreadable("shape")
    return _of_json(resources)


def _of_json(resources: list[object]) -> Iterator[Span]:
    found = Entries()
    for of_resource in map(mapping, resources):
        found.add()
        resource = _json_attributes(mapping(of_resource.get("resource")))
        scopes = first_set(of_resource, ("scopeSpans", "scope_spans", "instrumentationLibrarySpans"))
        for scope in map(mapping, sequence(scopes)):
            found.add()
            for span in filter(None, map(mapping, sequence(scope.get("spans")))):
                found.add()
                yield Span(
                    first_text(first_set(span, ("traceId", "trace_id"))),
                    first_text(first_set(span, ("spanId", "span_id"))),
                    first_text(first_set(span, ("parentSpanId", "parent_span_id"))),
                    _json_attributes(span),
                    resource,
                    _json_time(first_set(span, ("startTimeUnixNano", "start_time_unix_nano"))),
                    _json_time(first_set(span, ("endTimeUnixNano", "end_time_unix_nano"))),
                    mapping(span.get("status")).get("code") in ERROR_CODES,
                )


def _json_attributes(owner: Mapping[str, object]) -> Attributes:
    attributes: dict[str, object] = {}
    for entry in map(mapping, sequence(owner.get("attributes"))):
        key, value = entry.get("key"), mapping(entry.get("value"))
        if isinstance(key, str):
            attributes[key] = _json_value(value)
    return attributes


def _json_value(value: Mapping[str, object]) -> object:
    integer = value.get("intValue")
    # JSON has no 64-bit integers, so that they are sent as text.
    if isinstance(integer, str):
        return _integer(integer, otherwise=integer)
    said = first_set(value, ("stringValue", "intValue", "doubleValue", "boolValue"))
    return said if isinstance(said, str | int | float) else None


def _json_time(value: object) -> int:
    if isinstance(value, str):
        value = _integer(value, otherwise=0)
    return value if isinstance(value, int) else 0


def _integer(text: str, otherwise: int | str) -> int | str:
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= _LONGEST_INTEGER else otherwise
