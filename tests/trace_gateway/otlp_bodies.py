"""OTLP exports by hand: as JSON, and the same as protobuf."""

from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

TRACE_ID = "5b8efff798038103d269b633813fc60c"
STARTED = 1_800_000_000_000_000_000

Attributes = dict[str, Any]
RESOURCE: Attributes = {"service.name": "support-bot", "deployment.environment.name": "prod"}
CHAT: Attributes = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-5.6-terra",
    "gen_ai.response.model": "gpt-5.6-terra-2026-06-01",
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 20,
    "gen_ai.usage.cache_read.input_tokens": 40,
}


def span(number: int, attributes: Attributes, parent: int = 0, *, failed: bool = False) -> dict[str, Any]:
    """A span of two seconds, as OTLP's JSON spells it."""
    return {
        "traceId": TRACE_ID,
        "spanId": f"{number:016x}",
        "parentSpanId": f"{parent:016x}" if parent else "",
        "name": "call",
        "kind": 3,
        "startTimeUnixNano": str(STARTED),
        "endTimeUnixNano": str(STARTED + 2 * 10**9),
        "attributes": _json_attributes(attributes),
        "status": {"code": 2} if failed else {},
    }


def export(*spans: dict[str, Any], resource: Attributes | None = None) -> dict[str, Any]:
    """All of them from one resource."""
    attributes = _json_attributes(RESOURCE if resource is None else resource)
    return {"resourceSpans": [{"resource": {"attributes": attributes}, "scopeSpans": [{"spans": list(spans)}]}]}


def protobuf(body: dict[str, Any]) -> bytes:
    """The same export as protobuf."""
    return ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(
                resource=Resource(attributes=_protobuf_attributes(of_resource["resource"]["attributes"])),
                scope_spans=[
                    ScopeSpans(spans=[_protobuf_span(each) for each in scope["spans"]])
                    for scope in of_resource["scopeSpans"]
                ],
            )
            for of_resource in body["resourceSpans"]
        ]
    ).SerializeToString()


def _protobuf_span(one: dict[str, Any]) -> Span:
    return Span(
        trace_id=bytes.fromhex(one["traceId"]),
        span_id=bytes.fromhex(one["spanId"]),
        parent_span_id=bytes.fromhex(one["parentSpanId"]),
        name=one["name"],
        start_time_unix_nano=int(one["startTimeUnixNano"]),
        end_time_unix_nano=int(one["endTimeUnixNano"]),
        attributes=_protobuf_attributes(one["attributes"]),
        status=Status(code=Status.STATUS_CODE_ERROR if one["status"] else Status.STATUS_CODE_UNSET),
    )


def _json_attributes(attributes: Attributes) -> list[dict[str, Any]]:
    return [{"key": key, "value": _json_value(value)} for key, value in attributes.items()]


def _json_value(value: object) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list():
            return {"arrayValue": {"values": [_json_value(each) for each in value]}}
        case _:
            return {"stringValue": value}


def _protobuf_attributes(entries: Iterable[dict[str, Any]]) -> list[KeyValue]:
    return [KeyValue(key=entry["key"], value=_protobuf_value(entry["value"])) for entry in entries]


def _protobuf_value(value: dict[str, Any]) -> AnyValue:
    ((kind, said),) = value.items()
    match kind:
        case "boolValue":
            return AnyValue(bool_value=said)
        case "intValue":
            return AnyValue(int_value=int(said))
        case "doubleValue":
            return AnyValue(double_value=said)
        case "stringValue":
            return AnyValue(string_value=said)
        case _:
            return AnyValue()
