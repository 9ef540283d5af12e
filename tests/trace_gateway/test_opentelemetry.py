"""OTLP exports: model calls by the GenAI conventions old and new, as JSON and protobuf, and nothing counted twice."""

import json
import sys
from typing import Any

import pytest

from exporter.trace_gateway import protobuf_spans
from tests.trace_gateway.counted import OTLP, Counted
from tests.trace_gateway.otlp_bodies import CHAT, RESOURCE, export, protobuf, span

AS_PROTOBUF = "application/x-protobuf"
ENCODINGS = pytest.mark.parametrize("encoding", ["json", "protobuf"])


def count(counted: Counted, body: dict[str, Any], encoding: str) -> None:
    if encoding == "protobuf":
        counted.body(OTLP, protobuf(body), content_type=AS_PROTOBUF)
    else:
        counted.json(OTLP, body, content_type="application/json")


@ENCODINGS
def test_a_model_call_is_counted_under_its_labels(encoding: str) -> None:
    counted = Counted()
    more = {"actionGroup": "support", "project_id": "proj_1", "gen_ai.usage.cost": 0.25, "gen_ai.prompt": "secret"}
    count(counted, export(span(1, CHAT | more | {"gen_ai.input.messages": ["secret"]})), encoding)
    assert counted.labels() == [
        {
            "workflow": "support-bot",
            "action_group": "support",
            "environment": "prod",
            "provider": "openai",
            "model": "gpt-5.6-terra-2026-06-01",
            "project_id": "proj_1",
        }
    ]
    assert counted.tokens() == (100, 20, 40)
    assert counted.requests() == (1, 0)
    assert counted.cost() == 0.25
    assert counted.value("aitracer_trace_latency_seconds_sum") == 2
    assert b"secret" not in counted.page()
    assert counted.unreadable() == {}


@ENCODINGS
def test_agents_tools_and_workflows_are_not_added_again(encoding: str) -> None:
    counted = Counted()
    around = [
        span(number, CHAT | {"gen_ai.operation.name": operation})
        for number, operation in enumerate(("invoke_agent", "create_agent", "execute_tool", "invoke_workflow"), 10)
    ]
    kinds = [
        span(number, CHAT | {"traceloop.span.kind": kind})
        for number, kind in enumerate(("workflow", "task", "agent", "tool"), 20)
    ]
    count(counted, export(*around, *kinds, span(1, CHAT, 10), span(2, CHAT, 20)), encoding)
    assert counted.requests() == (2, 0)
    assert counted.tokens() == (200, 40, 80)


@pytest.mark.parametrize("operation", ["chat", "text_completion", "generate_content", "embeddings", "Chat"])
def test_every_operation_of_a_model_counts(operation: str) -> None:
    counted = Counted()
    # Without usage, as a stream may be.
    counted.json(OTLP, export(span(1, {"gen_ai.operation.name": operation, "gen_ai.request.model": "m"})))
    assert counted.requests(model="m") == (1, 0)


def test_the_old_conventions_are_read_too() -> None:
    counted = Counted()
    old = {
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-4o",
        "llm.request.type": "chat",
        "gen_ai.usage.prompt_tokens": 100,
        "gen_ai.usage.completion_tokens": 20,
    }
    counted.json(OTLP, export(span(1, old), resource={"service.name": "s", "deployment.environment": "test"}))
    (labels,) = counted.labels()
    assert (labels["provider"], labels["model"], labels["environment"]) == ("openai", "gpt-4o", "test")
    assert counted.tokens() == (100, 20, 0)


@ENCODINGS
def test_without_an_operation_a_model_with_usage_is_a_call_unless_a_call_is_below_it(encoding: str) -> None:
    counted = Counted()
    unnamed = {key: value for key, value in CHAT.items() if key != "gen_ai.operation.name"}
    spans = [
        # A total of the calls below, in between a span that is none of ours.
        span(1, unnamed | {"gen_ai.usage.input_tokens": 110, "gen_ai.usage.output_tokens": 25}),
        span(2, {"http.method": "POST"}, 1),
        span(3, CHAT, 2),
        span(4, unnamed | {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5}, 2),
        # No usage, or no model: nothing that could be counted.
        span(5, {"gen_ai.request.model": "m"}),
        span(6, {"gen_ai.usage.input_tokens": 1_000}),
    ]
    count(counted, export(*spans), encoding)
    assert counted.requests() == (2, 0)
    assert counted.tokens() == (110, 25, 50)


UNNAMED = {key: value for key, value in CHAT.items() if key != "gen_ai.operation.name"}
UNANSWERED = {key: value for key, value in UNNAMED.items() if not key.startswith("gen_ai.response")}


@ENCODINGS
def test_what_comes_after_the_calls_below_it_is_not_added_again(encoding: str) -> None:
    counted = Counted()
    for body in (
        export(span(5, CHAT, 4)),
        # A server's span, of which nobody knows that it is about models.
        export(span(4, {"http.method": "POST"}, 3)),
        export(span(3, UNNAMED, 2)),
        export(span(2, UNNAMED, 1), span(6, UNNAMED, 1)),
        export(span(1, CHAT | {"gen_ai.operation.name": "invoke_agent"})),
    ):
        count(counted, body, encoding)
    assert counted.requests() == (2, 0)
    assert counted.tokens() == (200, 40, 80)


@ENCODINGS
def test_a_call_that_two_instruments_tell_in_bodies_of_their_own_counts_once(encoding: str) -> None:
    counted = Counted()
    for body in (
        export(span(4, {}, 3), span(5, CHAT, 4)),
        export(span(3, CHAT, 2)),
        # The next call of the same chain, as large as that one; and one that is not.
        export(span(6, CHAT, 2), span(2, CHAT | {"gen_ai.usage.input_tokens": 101}, 1)),
    ):
        count(counted, body, encoding)
    assert counted.requests() == (3, 0)
    assert counted.tokens() == (301, 60, 120)


def test_spans_without_ids_are_not_taken_for_each_other() -> None:
    counted = Counted()
    one = span(1, CHAT, 2) | {"spanId": ""}
    for _ in range(2):
        counted.json(OTLP, export(one, one))
    assert counted.requests() == (4, 0)


def test_what_another_sender_says_of_the_same_ids_changes_nothing() -> None:
    counted = Counted()
    counted.json(OTLP, export(span(2, CHAT, 1)), authorization="Bearer akt_1")
    counted.json(OTLP, export(span(1, UNNAMED)), authorization="Bearer akt_2")
    assert counted.requests() == (2, 0)


def test_a_call_without_usage_leaves_the_usage_to_what_is_around_it() -> None:
    counted = Counted()
    streamed = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
    counted.json(OTLP, export(span(2, streamed, 1)))
    counted.json(OTLP, export(span(1, UNNAMED)))
    assert counted.tokens() == (100, 20, 40)


@pytest.mark.parametrize(
    ("attributes", "counts"),
    [
        (UNANSWERED, True),
        (UNNAMED | {"gen_ai.agent.name": "a"}, True),
        (UNNAMED | {"gen_ai.operation.name": "rerank"}, True),
        (UNANSWERED | {"gen_ai.agent.name": "a"}, False),
        (UNANSWERED | {"gen_ai.agent.id": "a"}, False),
        (UNANSWERED | {"gen_ai.tool.name": "t"}, False),
        (UNNAMED | {"openinference.span.kind": "CHAIN"}, False),
        (UNNAMED | {"openinference.span.kind": "LLM"}, True),
        (CHAT | {"openinference.span.kind": "AGENT"}, False),
    ],
)
def test_a_span_that_names_no_known_operation_counts_unless_it_shows_what_else_it_is(
    attributes: dict[str, Any], *, counts: bool
) -> None:
    counted = Counted()
    counted.json(OTLP, export(span(1, attributes)))
    assert counted.requests() == (counts, 0)


def test_a_span_that_is_its_own_parent_is_not_below_itself() -> None:
    counted = Counted()
    counted.json(OTLP, export(span(1, UNNAMED, 1)))
    assert counted.requests() == (1, 0)


@ENCODINGS
def test_a_call_that_two_instruments_tell_counts_once(encoding: str) -> None:
    counted = Counted()
    count(counted, export(span(1, CHAT), span(2, CHAT, 1), span(3, CHAT, 2)), encoding)
    assert counted.requests() == (1, 0)
    assert counted.tokens() == (100, 20, 40)


def test_equal_calls_side_by_side_are_two() -> None:
    counted = Counted()
    counted.json(OTLP, export(span(1, {}), span(2, CHAT, 1), span(3, CHAT, 1)))
    assert counted.requests() == (2, 0)


@ENCODINGS
def test_a_status_or_a_type_of_error_is_an_error(encoding: str) -> None:
    counted = Counted()
    count(counted, export(span(1, CHAT, failed=True), span(2, CHAT | {"error.type": "429"}), span(3, CHAT)), encoding)
    assert counted.requests() == (1, 2)


@ENCODINGS
def test_an_export_sent_again_counts_once(encoding: str) -> None:
    counted = Counted()
    for _ in range(3):
        count(counted, export(span(1, CHAT), span(2, CHAT)), encoding)
    assert counted.requests() == (2, 0)
    assert counted.duplicates() == 4


@pytest.mark.parametrize(
    ("attributes", "resource", "workflow"),
    [
        ({"traceloop.workflow.name": "w", "gen_ai.agent.name": "a"}, RESOURCE, "w"),
        ({"gen_ai.agent.name": "a"}, RESOURCE, "a"),
        ({}, RESOURCE, "support-bot"),
        ({}, {}, "(none)"),
    ],
)
def test_the_workflow_is_named_as_the_rules_for_metrics_name_it(
    attributes: dict[str, Any], resource: dict[str, Any], workflow: str
) -> None:
    counted = Counted()
    counted.json(OTLP, export(span(1, CHAT | attributes), resource=resource))
    assert [labels["workflow"] for labels in counted.labels()] == [workflow]


@pytest.mark.parametrize("figure", ["-3", "1" + "0" * 19, "many", ""])
def test_a_figure_that_is_none_is_left_out_and_told(figure: str) -> None:
    counted = Counted()
    one = span(1, CHAT)
    one["attributes"][4]["value"] = {"intValue": figure}
    counted.json(OTLP, export(one))
    assert counted.tokens() == (0, 20, 0)
    assert counted.unreadable() == {("otlp", "figure"): 1}


def test_a_span_that_ends_before_it_starts_has_no_duration() -> None:
    counted = Counted()
    counted.json(OTLP, export(span(1, CHAT) | {"endTimeUnixNano": 1}))
    assert counted.value("aitracer_trace_latency_seconds_count") == 0
    assert counted.unreadable() == {("otlp", "figure"): 1}


@pytest.mark.parametrize("value", [{"stringValue": {}}, {"stringValue": []}, {"arrayValue": {}}, [], None])
def test_an_attribute_that_is_no_text_is_as_if_it_were_not_there(value: object) -> None:
    counted = Counted()
    one = span(1, CHAT)
    one["attributes"].append({"key": "traceloop.span.kind", "value": value})
    counted.json(OTLP, export(one))
    assert counted.requests() == (1, 0)


def test_spans_that_are_each_others_parents_end() -> None:
    counted = Counted()
    counted.json(OTLP, export(span(1, CHAT, 2), span(2, CHAT, 1), span(3, CHAT, 3), span(4, {}, 4)))
    assert counted.requests() == (1, 0)


def test_a_single_chain_of_many_spans_is_read_in_good_time() -> None:
    counted = Counted()
    calls = [span(number, CHAT | {"gen_ai.usage.input_tokens": number}, number - 1) for number in range(1, 2_001)]
    counted.json(OTLP, export(*calls))
    assert counted.requests() == (2_000, 0)


def test_protobuf_without_the_package_that_reads_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    protobuf_spans._parser.cache_clear()
    counted = Counted()
    counted.body(OTLP, protobuf(export(span(1, CHAT))), content_type=AS_PROTOBUF)
    counted.json(OTLP, export(span(2, CHAT)))
    assert counted.requests() == (1, 0)
    assert counted.unreadable() == {("otlp", "no_protobuf"): 1}


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b"\xff\xff\xff", AS_PROTOBUF, "protobuf"),
        (b"{", "application/json", "json"),
        (b"[]", "application/json", "shape"),
        (b'{"resourceSpans": {}}', "application/json", "shape"),
        (b'{"spans": []}', "application/json", "shape"),
    ],
)
def test_what_is_no_export_is_told(body: bytes, content_type: str, reason: str) -> None:
    counted = Counted()
    counted.body(OTLP, body, content_type=content_type)
    assert counted.unreadable() == {("otlp", reason): 1}


@pytest.mark.parametrize(
    ("body", "content_type"), [(b"", AS_PROTOBUF), (b"{}", ""), (json.dumps(export()).encode(), "")]
)
def test_an_export_of_nothing_is_fine(body: bytes, content_type: str) -> None:
    counted = Counted()
    counted.body(OTLP, body, content_type=content_type)
    assert counted.requests() == (0, 0)
    assert counted.unreadable() == {}
