"""OTLP's spans out of protobuf, piece by piece: to take all of a hostile body apart at once could fill any memory."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from exporter.trace_gateway.model_calls import Entries, Unreadable
from exporter.trace_gateway.spans import ERROR_CODES, Attributes, Span

if TYPE_CHECKING:
    from google.protobuf.message import Message

# What is read of OTLP's messages: field, number, type, and "*" for a field that repeats. What else they hold, such as
# events, and lists in attributes, stays unread. What repeats, and could do so a million times, is taken as bytes first.
_MESSAGES: Final = {
    "Export": "resource_spans 1 bytes *",
    "ResourceSpans": "resource 1 bytes; scope_spans 2 bytes *",
    "Resource": "attributes 1 bytes *",
    "ScopeSpans": "spans 2 bytes *",
    "Span": "trace_id 1 bytes; span_id 2 bytes; parent_span_id 4 bytes; start_time_unix_nano 7 fixed64;"
    " end_time_unix_nano 8 fixed64; attributes 9 bytes *; status 15 Status",
    "Status": "code 3 int32",
    "KeyValue": "key 1 string; value 2 AnyValue",
    "AnyValue": "string_value 1 string; bool_value 2 bool; int_value 3 int64; double_value 4 double",
}
# So many come with each entry anyway.
_ATTRIBUTES_OF_AN_ENTRY: Final = 32


class _Parse(Protocol):
    """Parses a message of one kind. It has the fields above."""

    def __call__(self, kind: str, content: bytes) -> Any:  # noqa: ANN401 - made when the program runs
        """Raise Unreadable where the bytes are no such message."""


def spans_of_protobuf(body: bytes) -> Iterator[Span]:
    """Return the spans of an export.

    Raises:
        Unreadable: it is none, or has too many, or the package that reads protobuf is not installed.
    """
    parse = _parser()
    entries = Entries()

    def attributes_of(pieces: Sequence[bytes]) -> Attributes:
        entries.add(len(pieces) // _ATTRIBUTES_OF_AN_ENTRY)
        attributes: dict[str, object] = {}
        for piece in pieces:
            attribute = parse("KeyValue", piece)
            # Lists and maps hold prompts and responses, which are nobody's business here.
            kind = attribute.value.WhichOneof("value")
            if kind is not None:
                attributes[attribute.key] = getattr(attribute.value, kind)
        return attributes

    for of_resource in parse("Export", body).resource_spans:
        entries.add()
        resource_spans = parse("ResourceSpans", of_resource)
        resource = attributes_of(parse("Resource", resource_spans.resource).attributes)
        for of_scope in resource_spans.scope_spans:
            entries.add()
            for piece in parse("ScopeSpans", of_scope).spans:
                entries.add()
                span = parse("Span", piece)
                yield Span(
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    attributes_of(span.attributes),
                    resource,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.status.code in ERROR_CODES,
                )


@cache
def _parser() -> _Parse:
    try:
        # An optional package, and a slow one to load.
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # noqa: PLC0415
        from google.protobuf.message import DecodeError  # noqa: PLC0415
    except ImportError as error:
        raise Unreadable("no_protobuf") from error
    file = descriptor_pb2.FileDescriptorProto(name="spans.proto", package="spans", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for each in fields.split("; "):
            field_name, number, kind, *repeats = each.split()
            field = message.field.add(name=field_name, number=int(number))
            field.label = field.LABEL_REPEATED if repeats else field.LABEL_OPTIONAL
            if kind in _MESSAGES:
                field.type, field.type_name = field.TYPE_MESSAGE, f".spans.{kind}"
            else:
                field.type = descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
            if name == "AnyValue":
                field.oneof_index = 0
        if name == "AnyValue":
            message.oneof_decl.add(name="value")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    classes = {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"spans.{name}")) for name in _MESSAGES}

    def parse(kind: str, content: bytes) -> "Message":
        try:
            return classes[kind].FromString(content)
        except DecodeError as error:
            raise Unreadable("protobuf") from error

    return cast("_Parse", parse)
