"""Exports of the OpenAI Agents SDK: the model calls among the spans count once, with what their trace says."""

from typing import Any

import pytest

from tests.trace_gateway.counted import AGENTS, Counted

USAGE = {"input_tokens": 100, "output_tokens": 20, "input_tokens_details": {"cached_tokens": 40}}


def span(number: int, span_data: dict[str, Any], **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    return {
        "object": "trace.span",
        "id": f"span_{number}",
        "trace_id": "trace_1",
        "parent_id": "span_0",
        "started_at": "2026-11-20T12:00:00.000000+00:00",
        "ended_at": "2026-11-20T12:00:01.500000+00:00",
        "error": None,
        "span_data": span_data,
    } | changes


TRACE = {
    "object": "trace",
    "id": "trace_1",
    "workflow_name": "claims",
    "group_id": None,
    "metadata": {"actionGroup": "insurance", "projectId": "proj_1", "environment": "prod"},
}
GENERATION = {"type": "generation", "model": "gpt-5.6-terra", "input": [{"content": "secret"}], "usage": USAGE}


def test_model_calls_count_and_what_is_around_them_does_not() -> None:
    counted = Counted()
    others = [
        span(number, {"type": kind, "name": "x", "model": "gpt-5.6-terra", "usage": USAGE})
        for number, kind in enumerate(("agent", "function", "handoff", "guardrail", "task", "turn", "custom"), 10)
    ]
    counted.json(AGENTS, {"data": [TRACE, *others, span(1, GENERATION)]})
    assert counted.labels() == [
        {
            "workflow": "claims",
            "action_group": "insurance",
            "environment": "prod",
            "provider": "",
            "model": "gpt-5.6-terra",
            "project_id": "proj_1",
        }
    ]
    assert counted.tokens() == (100, 20, 40)
    assert counted.requests() == (1, 0)
    assert counted.value("aitracer_trace_uncosted_requests_total") == 1
    assert counted.value("aitracer_trace_latency_seconds_sum") == 1.5
    assert b"secret" not in counted.page()


@pytest.mark.parametrize(
    "span_data",
    [
        {"type": "response", "response_id": "resp_1", "model": "gpt-5.6-terra", "usage": USAGE},
        {"type": "response", "response": {"id": "resp_1", "model": "gpt-5.6-terra", "usage": USAGE}},
        {
            "type": "generation",
            "model": "gpt-5.6-terra",
            "usage": {"prompt_tokens": 100, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 40}},
        },
        {
            "type": "generation",
            "model": "gpt-5.6-terra",
            "usage": {"inputTokens": 100, "outputTokens": 20, "cachedTokens": 40},
        },
    ],
)
def test_usage_is_found_in_every_spelling(span_data: dict[str, Any]) -> None:
    counted = Counted()
    counted.json(AGENTS, {"data": [TRACE, span(1, span_data)]})
    assert counted.tokens(model="gpt-5.6-terra") == (100, 20, 40)


@pytest.mark.parametrize(
    "body",
    [
        [span(1, GENERATION)],
        {"spans": [span(1, GENERATION)]},
        {"items": [span(1, GENERATION)]},
        {"trace": TRACE | {"spans": [span(1, GENERATION)]}},
        {"traces": [TRACE | {"spans": [span(1, GENERATION)]}]},
        {"data": {"spans": [span(1, GENERATION)]}},
        span(1, GENERATION),
        {"spans": [{"spanId": "s", "traceId": "t", "spanData": GENERATION}]},
    ],
)
def test_spans_are_found_wherever_an_exporter_puts_them(body: object) -> None:
    counted = Counted()
    counted.json(AGENTS, body)
    assert counted.tokens() == (100, 20, 40)
    assert counted.requests() == (1, 0)
    assert counted.unreadable() == {}


def test_the_body_says_what_neither_span_nor_trace_does() -> None:
    counted = Counted()
    body = {"workflowName": "claims", "environment": "staging", "metadata": {"action_group": "insurance"}}
    counted.json(AGENTS, body | {"spans": [span(1, GENERATION)]})
    (labels,) = counted.labels()
    assert (labels["workflow"], labels["environment"], labels["action_group"]) == ("claims", "staging", "insurance")


def test_the_spans_of_two_traces_keep_their_workflows() -> None:
    counted = Counted()
    other = TRACE | {"id": "trace_2", "workflow_name": "search"}
    spans = [span(1, GENERATION), span(2, GENERATION, trace_id="trace_2"), span(3, GENERATION, trace_id="unknown")]
    counted.json(AGENTS, {"data": [*spans, TRACE, other]})
    assert {name: counted.requests(workflow=name)[0] for name in ("claims", "search", "(none)")} == {
        "claims": 1,
        "search": 1,
        "(none)": 1,
    }


def test_a_span_with_an_error_failed() -> None:
    counted = Counted()
    counted.json(AGENTS, {"data": [span(1, {"type": "generation", "model": "m"}, error={"message": "no"})]})
    assert counted.requests() == (0, 1)


def test_an_export_sent_again_counts_once() -> None:
    counted = Counted()
    for _ in range(3):
        counted.json(AGENTS, {"data": [TRACE, span(1, GENERATION), span(2, GENERATION)]})
    assert counted.requests() == (2, 0)
    assert counted.duplicates() == 4


@pytest.mark.parametrize("ended", ["2026-11-20T11:00:00+00:00", "2026-11-20T12:00:01", "soon"])
def test_a_duration_that_is_none_is_left_out_and_told(ended: str) -> None:
    counted = Counted()
    counted.json(AGENTS, {"data": [span(1, GENERATION, ended_at=ended)]})
    assert counted.requests() == (1, 0)
    assert counted.value("aitracer_trace_latency_seconds_count") == 0
    assert counted.unreadable() == {("openai_agents", "figure"): 1}


@pytest.mark.parametrize(
    ("body", "unreadable"),
    [({"data": []}, {}), ({}, {("openai_agents", "shape"): 1}), ("spans", {("openai_agents", "shape"): 1})],
)
def test_nothing_is_fine_and_what_is_no_export_is_told(body: object, unreadable: dict[tuple[str, str], int]) -> None:
    counted = Counted()
    counted.json(AGENTS, body)
    assert counted.requests() == (0, 0)
    assert counted.unreadable() == unreadable
