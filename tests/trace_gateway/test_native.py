"""Traces of AITracer's own ingest: what a body and its answer say, and nothing else, is counted."""

from typing import Any

import pytest

from exporter.configuration.sections import TraceGateway, WorkflowRule
from tests.trace_gateway.counted import NATIVE, Counted


def trace(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    return {
        "actionName": "support-bot",
        "model": "gpt-5.6-terra",
        "environment": "prod",
        "status": "completed",
        "requestId": "r1",
        "prompt": "a secret prompt",
        "response": "a secret response",
        "metrics": {"promptTokens": 120, "completionTokens": 30, "totalTokens": 150, "latencyMs": 800},
    } | changes


def test_a_trace_is_counted_under_its_labels() -> None:
    counted = Counted()
    counted.json(
        NATIVE,
        trace(
            provider={"name": "openai"},
            metadata={"actionGroup": "support", "projectId": "proj_1"},
            metrics={"promptTokens": 120, "completionTokens": 30, "latencyMs": 800, "estimatedCostUsd": 0.0125},
        ),
    )
    assert counted.labels() == [
        {
            "workflow": "support-bot",
            "action_group": "support",
            "environment": "prod",
            "provider": "openai",
            "model": "gpt-5.6-terra",
            "project_id": "proj_1",
        }
    ]
    assert counted.tokens() == (120, 30, 0)
    assert counted.requests() == (1, 0)
    assert counted.cost() == 0.0125
    assert counted.value("aitracer_trace_uncosted_requests_total") == 0
    assert counted.value("aitracer_trace_latency_seconds_count") == 1
    assert counted.value("aitracer_trace_latency_seconds_sum") == 0.8
    assert counted.value("aitracer_trace_latency_seconds_bucket", le="0.5") == 0
    assert counted.value("aitracer_trace_latency_seconds_bucket", le="1.0") == 1
    assert counted.unreadable() == {}


def test_neither_prompts_nor_responses_nor_credentials_are_on_the_page() -> None:
    counted = Counted()
    counted.json(NATIVE, trace(), authorization="Bearer akt_very_secret")
    counted.page()
    page = counted.page()
    assert b"support-bot" in page
    assert b"secret" not in page


def test_what_a_trace_does_not_say_has_its_default() -> None:
    counted = Counted()
    counted.json(NATIVE, {"model": "gpt-5.6-terra", "requestId": "r1"})
    (labels,) = counted.labels()
    assert dict(labels) == {
        "workflow": "(none)",
        "action_group": "(none)",
        "environment": "dev",
        "provider": "",
        "model": "gpt-5.6-terra",
        "project_id": "",
    }
    assert counted.requests() == (1, 0)
    assert counted.value("aitracer_trace_uncosted_requests_total") == 1


@pytest.mark.parametrize(
    ("status", "failed"),
    [
        ("completed", 0),
        ("success", 0),
        ("deferred", 0),
        ("", 0),
        (None, 0),
        (7, 0),
        ("error", 1),
        ("FAILED", 1),
        ("timeout", 1),
        ("timed_out", 1),
        ("model_error", 1),
        ("cancelled", 1),
    ],
)
def test_a_status_that_tells_of_a_failure_is_an_error(status: object, failed: int) -> None:
    counted = Counted()
    counted.json(NATIVE, trace(status=status))
    assert counted.requests() == (1 - failed, failed)
    # It may have been billed all the same.
    assert counted.tokens() == (120, 30, 0)
    assert counted.value("aitracer_trace_uncosted_requests_total") == 1 - failed


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        ("mistral", "small-4", "mistral"),
        ({"name": "openai", "region": "eu"}, "m", "openai"),
        ({}, "openai/gpt-5.6-terra", "openai"),
        (None, "litellm/mistral/large", "mistral"),
        (None, "gpt-5.6-terra", ""),
        (3, "gpt-5.6-terra", ""),
    ],
)
def test_the_provider_is_who_is_named_else_how_the_model_begins(provider: object, model: str, expected: str) -> None:
    counted = Counted()
    counted.json(NATIVE, trace(provider=provider, model=model))
    assert [labels["provider"] for labels in counted.labels()] == [expected]


@pytest.mark.parametrize(
    "metrics",
    [
        {"promptTokens": 200, "completionTokens": 50, "latencyMs": 2000, "estimatedCostUsd": 0.5},
        {"prompt_tokens": 200, "completion_tokens": 50, "latency_ms": 2000, "estimated_cost_usd": 0.5},
    ],
)
def test_the_last_record_of_the_answer_wins(metrics: dict[str, Any]) -> None:
    counted = Counted()
    records = [{"metrics": {"promptTokens": 7, "estimatedCostUsd": 9}}, {"metrics": metrics}]
    counted.json(NATIVE, trace(), {"trace": {"id": "t", "executionRecords": records}})
    assert counted.tokens() == (200, 50, 0)
    assert counted.cost() == 0.5
    assert counted.value("aitracer_trace_latency_seconds_sum") == 2


def test_an_answer_that_knows_no_more_changes_nothing() -> None:
    counted = Counted()
    nothing = {"promptTokens": 0, "completionTokens": None, "estimatedCostUsd": 0}
    counted.json(NATIVE, trace(), {"trace": {"executionRecords": [{"metrics": nothing}]}})
    assert counted.tokens() == (120, 30, 0)
    # A zero that nobody worked out is no cost.
    assert counted.value("aitracer_trace_uncosted_requests_total") == 1


@pytest.mark.parametrize("answer", [b"", b"{}", b"[]", b'{"trace": {"executionRecords": []}}', b'{"trace": [1]}', None])
def test_an_answer_without_records_is_nothing_unusual(answer: bytes | None) -> None:
    counted = Counted()
    counted.body(NATIVE, b'{"actionName": "a", "metrics": {"promptTokens": 5}}', answer)
    assert counted.tokens() == (5, 0, 0)
    assert counted.unreadable() == {}


def test_an_answer_that_is_no_json_is_told_and_the_body_still_counts() -> None:
    counted = Counted()
    counted.body(NATIVE, b'{"actionName": "a", "metrics": {"promptTokens": 5}}', b"<html>")
    assert counted.tokens() == (5, 0, 0)
    assert counted.unreadable() == {("native", "answer"): 1}


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"promptTokens": 100, "totalTokens": 140}, (100, 40, 0)),
        ({"completionTokens": 40, "totalTokens": 140}, (100, 40, 0)),
        ({"totalTokens": 140}, (140, 0, 0)),
        ({"promptTokens": 100, "completionTokens": 40, "totalTokens": 999}, (100, 40, 0)),
        ({"promptTokens": 100, "totalTokens": 40}, (100, 0, 0)),
        ({"promptTokens": 100, "cachedTokens": 60}, (100, 0, 60)),
        ({"promptTokens": 100, "cachedTokens": 600}, (100, 0, 100)),
        ({"promptTokens": 100.0}, (100, 0, 0)),
    ],
)
def test_input_and_output_are_told_apart_as_far_as_the_figures_go(
    metrics: dict[str, Any], expected: tuple[int, int, int]
) -> None:
    counted = Counted()
    counted.json(NATIVE, trace(metrics=metrics))
    assert counted.tokens() == expected
    assert counted.unreadable() == {}


@pytest.mark.parametrize(
    "figure", ["-1", "NaN", "Infinity", "1e999", "1e300", "1" + "0" * 400, '"12"', "true", "[1]", "0.5"]
)
def test_a_figure_that_is_none_is_left_out_and_told(figure: str) -> None:
    counted = Counted()
    counted.body(
        NATIVE, b'{"actionName": "a", "metrics": {"promptTokens": %s, "completionTokens": 4}}' % figure.encode()
    )
    assert counted.tokens() == (0, 4, 0)
    assert counted.unreadable() == {("native", "figure"): 1}


@pytest.mark.parametrize("cost", ["-0.5", "NaN", "1e7", '"0.5"'])
def test_a_cost_that_is_none_is_left_out_and_told(cost: str) -> None:
    counted = Counted()
    counted.body(NATIVE, b'{"actionName": "a", "metrics": {"estimatedCostUsd": %s}}' % cost.encode())
    assert counted.cost() == 0
    assert counted.value("aitracer_trace_uncosted_requests_total") == 1
    assert counted.unreadable() == {("native", "figure"): 1}


def test_small_costs_add_up_exactly() -> None:
    counted = Counted()
    for number in range(1_000):
        counted.json(NATIVE, trace(requestId=f"r{number}", metrics={"estimatedCostUsd": 0.1}))
    assert counted.cost() == 100


def test_configuration_says_which_metadata_give_action_group_and_project() -> None:
    counted = Counted(TraceGateway(action_group_keys=("team", "squad"), project_keys=("openai",)))
    metadata = {"actionGroup": "no", "projectId": "no", "team": "", "squad": "blue", "openai": "proj_2"}
    counted.json(NATIVE, trace(metadata=metadata))
    (labels,) = counted.labels()
    assert (labels["action_group"], labels["project_id"]) == ("blue", "proj_2")


def test_the_action_group_of_the_configured_workflow_stands_in() -> None:
    rules = [WorkflowRule(workflow="support-bot", action_group="support"), WorkflowRule(workflow="search")]
    counted = Counted(workflows=rules)
    counted.json(NATIVE, trace())
    counted.json(NATIVE, trace(requestId="r2", actionName="search"))
    counted.json(NATIVE, trace(requestId="r3", metadata={"action_group": "its own"}))
    groups = {labels["workflow"] + "/" + labels["action_group"] for labels in counted.labels()}
    assert groups == {"support-bot/support", "search/(none)", "support-bot/its own"}


def test_a_list_of_traces_counts_each_and_takes_no_answer_for_all() -> None:
    counted = Counted()
    answer = {"trace": {"executionRecords": [{"metrics": {"promptTokens": 1_000}}]}}
    counted.json(NATIVE, [trace(), trace(requestId="r2"), "no trace"], answer)
    assert counted.requests() == (2, 0)
    assert counted.tokens() == (240, 60, 0)
    assert counted.unreadable() == {("native", "shape"): 1}


@pytest.mark.parametrize("body", [b"{}", b"[]", b'"text"', b"3", b"null", b'[{"something": 1}]'])
def test_what_is_no_trace_is_told(body: bytes) -> None:
    counted = Counted()
    counted.body(NATIVE, body)
    assert counted.requests() == (0, 0)
    assert counted.unreadable() == {("native", "shape"): 1}
