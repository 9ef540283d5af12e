"""AITracer's own SDK sends through the gateway's process: AITracer gets every byte, and the page says what it took."""

import asyncio
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
from aitracer import AITracerClient, AsyncAITracerClient, trace
from aitracer.integrations.openai_agents import export_spans
from aitracer.integrations.otlp import export_resource_spans
from prometheus_client.parser import text_string_to_metric_families

from tests.trace_gateway.otlp_bodies import CHAT, export, span
from tests.trace_gateway.stand_in import CUT, StandIn, stand_in

CALL: dict[str, Any] = {
    "workflow": "support-bot",
    "model": "gpt-5.6-terra",
    "input_data": "a secret, ünïcode",
    "metrics": {"promptTokens": 120, "completionTokens": 30, "estimatedCostUsd": 0.25},
}
GENERATION = {"type": "generation", "model": "m", "usage": {"input_tokens": 7, "output_tokens": 3}}
AGENTS = {
    "data": [
        {"object": "trace", "id": "trace_1", "workflow_name": "claims"},
        {"object": "trace.span", "id": "span_1", "trace_id": "trace_1", "span_data": GENERATION},
    ]
}


@contextmanager
def gateway(upstream: StandIn, configuration: Path) -> Iterator[str]:
    """Start the command, and return where it listens."""
    configuration.write_text("scrape_interval: 1s\n", encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "exporter",
        "trace-gateway",
        "--upstream",
        upstream.url,
        "--config.file",
        str(configuration),
    ]
    with subprocess.Popen(
        [*command, "--web.listen-address", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            listening = re.search(r"address=(\S+)", process.stderr.readline())
            assert listening
            yield listening[1]
        finally:
            process.terminate()
            _, log = process.communicate(timeout=120)
        assert process.returncode == 0
        assert "secret" not in log


def send_everything(url: str, upstream: StandIn) -> list[Any]:
    """Send in every way there is, in between an answer of every kind; return the answers."""
    answers = []
    with AITracerClient("akt_secret", url, backoff_factor=0.0) as client:
        for statuses in ([], [503], [429, 502], [CUT]):
            upstream.statuses.extend(statuses)
            answers.append(trace.record(**CALL, client=client))
        answers += trace.batch_record([CALL | {"status": "failed"}] * 10, client=client)
        answers.append(export_spans(AGENTS, client=client))
        answers.append(export_resource_spans(export(span(1, CHAT)), client=client))
        # An exporter that did not hear that it was taken sends it again.
        answers.append(export_resource_spans(export(span(1, CHAT)), client=client))

    async def send() -> None:
        async with AsyncAITracerClient("akt_secret", url, backoff_factor=0.0) as client:
            upstream.statuses.append(503)
            answers.append(await trace.arecord(**CALL, client=client))
            answers.extend(await trace.batch_arecord([CALL] * 5, client=client))

    asyncio.run(send())
    return answers


def page(url: str) -> dict[tuple[str, ...], float]:
    """The sums of what a page says, by the name of a sample, the workflow, and token type or status.

    New series stand at 0 for a second: pages are read until they do not.
    """
    for _ in range(10_000):
        found = sums(httpx.get(f"{url}/metrics", timeout=60).text)
        if found["aitracer_trace_requests_total", "claims", "ok"]:
            return found
    raise AssertionError("nothing was counted")


def sums(text: str) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            kind = sample.labels.get("token_type") or sample.labels.get("status", "")
            found[sample.name, sample.labels.get("workflow", ""), kind] += sample.value
    return found


def test_what_the_sdk_sends_arrives_is_answered_and_is_counted_once(tmp_path: Path) -> None:
    with stand_in() as upstream, gateway(upstream, tmp_path / "exporter.yml") as url:
        answers = send_everything(url, upstream)
        samples = page(url)
    assert all(answer["trace"]["id"] == "t" for answer in answers)
    taken = [exchange for status, exchange in upstream.seen if status == HTTPStatus.OK]
    assert len(taken) == len(answers) == 4 + 10 + 3 + 6
    assert all(each.request_headers["authorization"] == "Bearer akt_secret" for _, each in upstream.seen)
    # What was sent again is the same, to the byte.
    assert len({exchange.request_body for _, exchange in upstream.seen}) == len(taken) - 1
    tokens = "aitracer_trace_tokens_total"
    requests = "aitracer_trace_requests_total"
    assert (samples[requests, "support-bot", "ok"], samples[requests, "support-bot", "error"]) == (4 + 6 + 1, 10)
    assert samples[tokens, "support-bot", "input"] == 20 * 120 + 100
    assert samples[tokens, "support-bot", "output"] == 20 * 30 + 20
    assert samples[tokens, "support-bot", "input_cached"] == 40
    assert samples["aitracer_trace_cost_usd_total", "support-bot", ""] == 20 * 0.25
    assert (samples[tokens, "claims", "input"], samples[tokens, "claims", "output"]) == (7, 3)
    assert samples["aitracer_gateway_duplicates_total", "", ""] == 1
    assert samples["aitracer_gateway_unreadable_bodies_total", "", ""] == 0
