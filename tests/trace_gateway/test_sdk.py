"""What AITracer's own SDK sends, in each of its ways and with its retries, is what counting understands."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from aitracer import AITracerClient, AsyncAITracerClient, trace
from aitracer.integrations.openai_agents import export_spans
from aitracer.integrations.otlp import export_resource_spans

from tests.trace_gateway.counted import Counted
from tests.trace_gateway.otlp_bodies import CHAT, export, span
from tests.trace_gateway.stand_in import CUT, StandIn, stand_in

METRICS = {"promptTokens": 120, "completionTokens": 30, "totalTokens": 150, "latencyMs": 800, "estimatedCostUsd": 0.25}
CALL: dict[str, Any] = {
    "workflow": "support-bot",
    "model": "gpt-5.6-terra",
    "input_data": {"question": "secret"},
    "output_data": "secret",
    "environment": "prod",
    "metrics": METRICS,
    "metadata": {"actionGroup": "support", "projectId": "proj_1"},
}
LABELS = {
    "workflow": "support-bot",
    "action_group": "support",
    "environment": "prod",
    "model": "gpt-5.6-terra",
    "project_id": "proj_1",
}


@pytest.fixture
def upstream() -> Iterator[StandIn]:
    with stand_in() as state:
        yield state


@pytest.fixture
def client(upstream: StandIn) -> Iterator[AITracerClient]:
    with AITracerClient("akt_secret", upstream.url, backoff_factor=0.0) as made:
        yield made


def counted(upstream: StandIn) -> Counted:
    """Count all that was accepted."""
    result = Counted()
    for exchange in upstream.accepted():
        assert result.counting.reads("POST", exchange.path)
        result.counting.count(exchange)
    assert result.unreadable() == {}
    assert b"secret" not in result.page()
    return result


def test_a_recorded_call_counts(upstream: StandIn, client: AITracerClient) -> None:
    trace.record(**CALL, provider={"name": "openai"}, client=client)
    result = counted(upstream)
    assert result.labels() == [LABELS | {"provider": "openai"}]
    assert result.tokens() == (120, 30, 0)
    assert result.requests() == (1, 0)
    assert result.cost() == 0.25
    assert result.value("aitracer_trace_latency_seconds_sum") == 0.8


def test_what_the_answer_knows_better_counts(upstream: StandIn, client: AITracerClient) -> None:
    upstream.metrics = {"promptTokens": 100, "completionTokens": 20, "estimatedCostUsd": 0.5}
    trace.record(workflow="w", model="m", client=client)
    result = counted(upstream)
    assert result.tokens() == (100, 20, 0)
    assert result.cost() == 0.5


def test_a_batch_counts_every_call_of_it(upstream: StandIn, client: AITracerClient) -> None:
    trace.batch_record(
        [CALL | {"status": "failed" if number % 4 == 0 else "completed"} for number in range(20)], client=client
    )
    result = counted(upstream)
    assert result.requests(**LABELS) == (15, 5)
    assert result.tokens() == (20 * 120, 20 * 30, 0)
    assert result.duplicates() == 0


def test_the_async_client_and_its_batches_count(upstream: StandIn) -> None:
    async def send() -> None:
        async with AsyncAITracerClient("akt_secret", upstream.url) as client:
            await trace.arecord(**CALL, client=client)
            await trace.batch_arecord([CALL] * 10, client=client, concurrency=4)

    asyncio.run(send())
    result = counted(upstream)
    assert result.requests(**LABELS) == (11, 0)
    assert result.cost() == 2.75


@pytest.mark.parametrize("statuses", [[503], [429, 502], [CUT], [CUT, 503, CUT]])
def test_what_the_sync_client_sends_again_counts_once(
    upstream: StandIn, client: AITracerClient, statuses: list[int]
) -> None:
    upstream.statuses.extend(statuses)
    trace.record(**CALL, client=client)
    assert len(upstream.seen) == len(statuses) + 1
    result = counted(upstream)
    assert result.requests() == (1, 0)
    assert result.tokens() == (120, 30, 0)
    assert result.duplicates() == statuses.count(CUT)


@pytest.mark.parametrize("statuses", [[503], [CUT, 429]])
def test_what_the_async_client_sends_again_counts_once(upstream: StandIn, statuses: list[int]) -> None:
    async def send() -> None:
        async with AsyncAITracerClient("akt_secret", upstream.url, backoff_factor=0.0) as client:
            await trace.arecord(**CALL, client=client)

    upstream.statuses.extend(statuses)
    asyncio.run(send())
    assert len(upstream.seen) == len(statuses) + 1
    result = counted(upstream)
    assert result.requests() == (1, 0)
    assert result.duplicates() == statuses.count(CUT)


def test_the_otlp_helper_counts(upstream: StandIn, client: AITracerClient) -> None:
    export_resource_spans(export(span(1, {"gen_ai.operation.name": "invoke_agent"}), span(2, CHAT, 1)), client=client)
    result = counted(upstream)
    assert result.requests(workflow="support-bot", provider="openai") == (1, 0)
    assert result.tokens() == (100, 20, 40)


def test_the_agents_helper_counts(upstream: StandIn, client: AITracerClient) -> None:
    generation = {"type": "generation", "model": "gpt-5.6-terra", "usage": {"input_tokens": 100, "output_tokens": 20}}
    export_spans(
        {
            "data": [
                {"object": "trace", "id": "trace_1", "workflow_name": "claims"},
                {"object": "trace.span", "id": "span_1", "trace_id": "trace_1", "span_data": generation},
            ]
        },
        client=client,
    )
    result = counted(upstream)
    assert result.requests(workflow="claims") == (1, 0)
    assert result.tokens() == (100, 20, 0)
