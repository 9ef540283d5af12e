"""Counting as a whole: which requests, once each, under a bounded number of labels, whatever a body holds."""

import gzip
import json
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from exporter.configuration.sections import TraceGateway
from exporter.trace_gateway import model_calls
from tests.trace_gateway.counted import AGENTS, NATIVE, OTLP, Counted
from tests.trace_gateway.otlp_bodies import CHAT, export, protobuf, span


def trace(number: int, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    metrics = {"promptTokens": 10, "completionTokens": 5, "estimatedCostUsd": 0.5, "latencyMs": 100}
    return {"actionName": "support-bot", "model": "m", "requestId": f"r{number}", "metrics": metrics} | changes


@pytest.mark.parametrize(
    ("method", "path", "reads"),
    [
        ("POST", NATIVE, True),
        ("post", NATIVE, True),
        ("POST", NATIVE + "/", True),
        ("POST", "/below/another/path" + NATIVE, True),
        ("POST", AGENTS, True),
        ("POST", OTLP, True),
        ("GET", NATIVE, False),
        ("POST", "/api/integrations/openai-guardrails", False),
        ("POST", "/api/traces/7", False),
        ("POST", "/v1/traces", False),
        ("POST", "/", False),
    ],
)
def test_only_traces_are_read(method: str, path: str, *, reads: bool) -> None:
    assert Counted().counting.reads(method, path) is reads


def test_an_exchange_without_traces_counts_nothing() -> None:
    counted = Counted()
    counted.body("/api/integrations/openai-guardrails", b"{")
    assert counted.requests() == (0, 0)
    assert counted.unreadable() == {}


def test_a_retry_counts_once_and_is_told() -> None:
    counted = Counted()
    for number in (1, 1, 2, 1):
        counted.json(NATIVE, trace(number))
    assert counted.requests() == (2, 0)
    assert counted.tokens() == (20, 10, 0)
    assert counted.cost() == 1
    assert counted.duplicates() == 2


def test_the_same_id_of_another_workspace_or_of_another_ingest_is_another_trace() -> None:
    counted = Counted()
    for key in ("Bearer akt_1", "Bearer akt_2", "Bearer akt_1"):
        counted.json(NATIVE, trace(1), authorization=key)
    counted.json(AGENTS, {"spans": [{"id": "r1", "span_data": {"type": "generation"}}]}, authorization="Bearer akt_1")
    assert counted.requests() == (3, 0)
    assert counted.duplicates() == 1


def test_traces_without_an_id_all_count() -> None:
    counted = Counted()
    for _ in range(3):
        counted.json(NATIVE, trace(1, requestId=None))
    assert counted.requests() == (3, 0)


def test_what_was_compressed_or_not_kept_is_counted_or_told() -> None:
    counted = Counted()
    body = gzip.compress(json.dumps(trace(1)).encode())
    counted.body(NATIVE, body, content_encoding="gzip")
    counted.body(NATIVE, body, content_encoding="br")
    counted.body(NATIVE, None)
    assert counted.requests() == (1, 0)
    assert counted.unreadable() == {("native", "encoding"): 1, ("native", "too_large"): 1}


@pytest.mark.parametrize("text", ["x" * 201, "a\nb", "\x00", "\ud800", "a\u200bb"])
def test_a_text_that_is_no_label_becomes_other(text: str) -> None:
    counted = Counted()
    counted.json(NATIVE, trace(1, actionName=text, model=text, environment=text, provider=text))
    (labels,) = counted.labels()
    assert [labels[name] for name in ("workflow", "model", "environment", "provider")] == ["(other)"] * 4


def test_a_text_of_200_characters_and_any_letters_is_a_label() -> None:
    counted = Counted()
    counted.json(NATIVE, trace(1, actionName="ü" * 200, model='a"b\\c'))
    (labels,) = counted.labels()
    assert (labels["workflow"], labels["model"]) == ("ü" * 200, 'a"b\\c')


def test_ten_thousand_models_keep_the_page_bounded_and_no_call_is_lost() -> None:
    counted = Counted(TraceGateway(label_sets=20))
    counted.json(NATIVE, [trace(number, model=f"model-{number}") for number in range(10_000)])
    first = len(counted.page())
    counted.json(NATIVE, [trace(number, model=f"model-{number}") for number in range(10_000, 11_000)])
    # What has series of its own keeps them.
    counted.json(NATIVE, trace(11_000, model="model-7"))
    assert len(counted.labels()) == 21
    assert len(counted.page()) < first * 1.5
    assert counted.requests() == (11_001, 0)
    assert counted.requests(model="(other)", project_id="(other)", workflow="support-bot") == (10_980, 0)
    assert counted.requests(model="model-7") == (2, 0)
    assert counted.tokens() == (110_010, 55_005, 0)
    assert counted.cost() == 5_500.5
    family = "aitracer_trace_requests_total"
    assert counted.value("aitracer_gateway_series", family=family) == 42
    assert counted.value("aitracer_gateway_series_limit", family=family) == 40
    assert counted.value("aitracer_gateway_series_overflow_total", family=family) == 10_980


def test_ten_thousand_workflows_keep_the_page_bounded_too() -> None:
    counted = Counted(TraceGateway(label_sets=20))
    counted.json(NATIVE, [trace(number, actionName=f"workflow-{number}") for number in range(10_000)])
    assert len(counted.labels()) == 20 + 2 + 1
    assert counted.requests() == (10_000, 0)
    assert counted.requests(workflow="(other)", environment="(other)", action_group="(other)") == (9_978, 0)


def test_what_the_page_says_of_series_is_what_is_on_it() -> None:
    counted = Counted()
    for number in range(3):
        counted.json(NATIVE, trace(number, model=f"m{number}"))
    samples = counted.samples()
    for labels, value in samples["aitracer_gateway_series"]:
        family = labels["family"]
        names = {family, f"{family}_bucket", f"{family}_sum", f"{family}_count"}
        assert value == sum(len(found) for name, found in samples.items() if name in names) > 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (NATIVE, [trace(number) for number in range(11)]),
        (AGENTS, [{"id": str(number), "span_data": {"type": "generation"}} for number in range(11)]),
        (AGENTS, {"spans": [0] * 11}),
        (OTLP, export(*[span(number, CHAT) for number in range(1, 10)])),
        (OTLP, {"resourceSpans": [{}] * 11}),
        (OTLP, {"resourceSpans": [{"scopeSpans": [{}] * 10}]}),
    ],
)
def test_a_body_of_more_than_anybody_sends_is_not_read_to_the_end(
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    body: Any,  # noqa: ANN401 - any JSON
) -> None:
    monkeypatch.setattr(model_calls, "MOST_ENTRIES", 10)
    counted = Counted()
    counted.json(path, body)
    assert counted.requests() == (0, 0)
    assert [reason for _, reason in counted.unreadable()] == ["too_large"]


@pytest.mark.parametrize("scopes", [[{}] * 10, [{"spans": [span(number, CHAT) for number in range(1, 10)]}]])
def test_protobuf_of_more_than_anybody_sends_is_not_read_to_the_end(
    monkeypatch: pytest.MonkeyPatch, scopes: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(model_calls, "MOST_ENTRIES", 10)
    body = export() | {
        "resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"spans": []} | each for each in scopes]}]
    }
    counted = Counted()
    counted.body(OTLP, protobuf(body), content_type="application/x-protobuf")
    assert counted.unreadable() == {("otlp", "too_large"): 1}


@pytest.mark.parametrize(
    "owner", [ResourceSpans(resource=Resource()), ResourceSpans(scope_spans=[ScopeSpans(spans=[Span()])])]
)
def test_attributes_of_protobuf_are_counted_before_they_are_read(
    monkeypatch: pytest.MonkeyPatch, owner: ResourceSpans
) -> None:
    monkeypatch.setattr(model_calls, "MOST_ENTRIES", 10)
    for of_scope in owner.scope_spans:
        of_scope.spans[0].attributes.extend(KeyValue() for _ in range(32 * 11))
    if not owner.scope_spans:
        owner.resource.attributes.extend(KeyValue() for _ in range(32 * 11))
    counted = Counted()
    body = ExportTraceServiceRequest(resource_spans=[owner]).SerializeToString()
    counted.body(OTLP, body, content_type="application/x-protobuf")
    assert counted.unreadable() == {("otlp", "too_large"): 1}


def test_what_else_a_span_of_protobuf_holds_stays_unread() -> None:
    body = ExportTraceServiceRequest.FromString(protobuf(export(span(1, CHAT))))
    one = body.resource_spans[0].scope_spans[0].spans[0]
    one.events.add(name="secret", attributes=[KeyValue(key="gen_ai.usage.input_tokens", value=AnyValue(int_value=7))])
    one.links.add(trace_id=b"1" * 16, span_id=b"1" * 8)
    one.attributes.add(key="bytes", value=AnyValue(bytes_value=b"secret"))
    one.attributes.add(key="list").value.array_value.values.add(string_value="secret")
    one.attributes.add(key="map").value.kvlist_value.values.add(key="secret")
    one.attributes.add(key="nothing")
    counted = Counted()
    counted.body(OTLP, body.SerializeToString(), content_type="application/x-protobuf")
    assert (counted.requests(), counted.tokens()) == ((1, 0), (100, 20, 40))
    assert counted.unreadable() == {}
    # Were the events read, this would be found out.
    one.events[0].name = "x"
    no_text = body.SerializeToString().replace(b"\x12\x01x", b"\x12\x01\xff")
    with pytest.raises(DecodeError):
        ExportTraceServiceRequest.FromString(no_text)
    counted.body(OTLP, no_text, content_type="application/x-protobuf")
    assert counted.duplicates() == 1


def test_a_new_set_of_labels_shows_zero_first_and_then_everything() -> None:
    counted = Counted()
    counted.json(NATIVE, trace(1))
    series = (
        b'aitracer_trace_requests_total{action_group="(none)",environment="dev",model="m",project_id="",provider="",'
    )
    series += b'status="ok",workflow="support-bot"} '
    assert series + b"0.0\n" in counted.page()
    counted.json(NATIVE, trace(2))
    assert series + b"2.0\n" in counted.page()
    counted.json(NATIVE, trace(3))
    assert series + b"3.0\n" in counted.page()


def test_a_new_set_of_labels_stands_at_zero_as_long_as_it_was_asked_for() -> None:
    counted = Counted(zero_for=60)
    counted.json(NATIVE, trace(1))
    counted.page()
    assert counted.requests() == (0, 0)
    counted.now += 59
    assert counted.requests() == (0, 0)
    counted.now += 1
    assert counted.requests() == (1, 0)
    # Only the new one waits.
    counted.json(NATIVE, trace(2, model="new"))
    counted.json(NATIVE, trace(3))
    assert (counted.requests(model="m"), counted.requests(model="new")) == ((2, 0), (0, 0))


def test_every_reason_and_ingest_stands_on_the_page_from_the_start() -> None:
    samples = Counted().samples()
    assert len(samples["aitracer_gateway_unreadable_bodies_total"]) == 3 * 8
    assert len(samples["aitracer_gateway_duplicates_total"]) == 3


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
KEY_NAMES = (
    "actionName model metrics requestId status provider metadata actionGroup promptTokens totalTokens latencyMs"
    " estimatedCostUsd trace executionRecords name data spans span_data usage type response error id trace_id"
    " started_at ended_at input_tokens input_tokens_details cached_tokens cost object workflow_name"
    " resourceSpans resource scopeSpans attributes key value stringValue intValue doubleValue traceId spanId"
    " parentSpanId startTimeUnixNano endTimeUnixNano code"
)
KEYS = st.sampled_from(KEY_NAMES.split())
WORDS = st.sampled_from(
    [
        "generation",
        "response",
        "trace",
        "chat",
        "gen_ai.operation.name",
        "gen_ai.usage.input_tokens",
        "traceloop.span.kind",
    ]
)
NEARLY = st.recursive(
    JSON | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=25,
)
PATHS = st.sampled_from([NATIVE, AGENTS, OTLP])


@given(NEARLY, NEARLY, PATHS)
def test_whatever_json_holds_it_is_counted_or_told_and_nothing_is_raised(
    body: object, answer: object, path: str
) -> None:
    counted = Counted()
    counted.json(path, body, answer)
    counted.json(path, body, answer)
    assert counted.page()


def _damaged(whole: object, places: list[int], garbage: object) -> object:
    """Replace what is found by going down the path of places."""
    if not places or not isinstance(whole, list | dict) or not whole:
        return garbage
    if isinstance(whole, list):
        index = places[0] % len(whole)
        return [*whole[:index], _damaged(whole[index], places[1:], garbage), *whole[index + 1 :]]
    key = list(whole)[places[0] % len(whole)]
    return whole | {key: _damaged(whole[key], places[1:], garbage)}


WHOLE = {
    NATIVE: trace(1, provider={"name": "p"}, metadata={"actionGroup": "g"}),
    AGENTS: {
        "data": [
            {"object": "trace", "id": "t", "workflow_name": "w", "metadata": {}},
            {
                "id": "s",
                "trace_id": "t",
                "started_at": "2026-11-20T12:00:00Z",
                "ended_at": "2026-11-20T12:00:01Z",
                "span_data": {"type": "generation", "model": "m", "usage": {"input_tokens": 1, "output_tokens": 2}},
            },
        ]
    },
    OTLP: export(span(1, CHAT), span(2, CHAT, 1)),
}


@given(PATHS, st.lists(st.integers(0, 20), max_size=8), NEARLY)
@example(NATIVE, [1], [])
def test_a_body_with_garbage_anywhere_in_it_is_counted_or_told(path: str, places: list[int], garbage: object) -> None:
    counted = Counted()
    counted.json(path, _damaged(WHOLE[path], places, garbage))
    assert counted.page()


@given(st.binary(max_size=300), PATHS, st.sampled_from(["", "application/json", "application/x-protobuf"]))
def test_whatever_bytes_a_body_is_it_is_counted_or_told(body: bytes, path: str, content_type: str) -> None:
    counted = Counted()
    counted.body(path, body, body, content_type=content_type)
    assert counted.page()


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_protobuf_body_with_a_wrong_byte_is_counted_or_told(place: int, byte: int) -> None:
    body = bytearray(protobuf(export(span(1, CHAT), span(2, CHAT, 1))))
    body[place % len(body)] = byte
    counted = Counted()
    counted.body(OTLP, bytes(body), content_type="application/x-protobuf")
    assert counted.page()
