"""What an answer to an OTLP export says of spans that were not accepted. Pure."""

from exporter.trace_gateway.decoding import parsed
from exporter.trace_gateway.model_calls import Unreadable, first_set, mapping


def rejected_spans(answer: bytes, content_type: str) -> int:
    """Return how many spans an answer of 2xx rejects: of protobuf or JSON as its content type says, else 0.

    Raises:
        Unreadable: it is not what its content type says.
    """
    kind = content_type.lower()
    if "protobuf" in kind:
        return _of_protobuf(answer)
    return _of_json(answer) if answer and "json" in kind else 0


def _of_json(answer: bytes) -> int:
    partial = mapping(first_set(mapping(parsed(answer)), ("partialSuccess", "partial_success")))
    rejected = first_set(partial, ("rejectedSpans", "rejected_spans"))
    # JSON has no 64-bit integers, so that they are sent as text.
    if isinstance(rejected, str) and rejected.isascii() and rejected.isdigit():
        rejected = _integer(rejected)
    if isinstance(rejected, int | None) and not isinstance(rejected, bool):
        return max(0, rejected or 0)
    raise Unreadable("answer")


def _integer(digits: str) -> int:
    try:
        return int(digits)
    except ValueError as error:
        # More digits than Python reads.
        raise Unreadable("answer") from error


def _of_protobuf(answer: bytes) -> int:
    try:
        # An optional package, and a slow one to load.
        from google.protobuf.message import DecodeError  # noqa: PLC0415
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse  # noqa: PLC0415
    except ImportError as error:
        raise Unreadable("no_protobuf") from error
    try:
        rejected = ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans
    except DecodeError as error:
        raise Unreadable("answer") from error
    return max(0, rejected)
