"""What the applications send to AITracer: each traced call once, told so that its sums are the organization's."""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import httpx
import pytest
from aitracer import AITracerClient, cost, trace
from aitracer.exceptions import AITracerHTTPError
from aitracer.integrations.openai_agents import export_spans
from aitracer.integrations.otlp import export_resource_spans
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from exporter.command_line import main
from exporter.configuration.sections import TraceGateway
from exporter.simulator.aitracer import WORKSPACE_KEY
from exporter.simulator.applications import Applications, sending
from exporter.simulator.clock import SettableClock
from exporter.simulator.faults import Faults
from exporter.simulator.measures import openai_fields
from exporter.simulator.model_calls import estimated_usd, is_traced, model_calls, not_completed
from exporter.simulator.server import RunningSimulator, Simulator, running_simulator
from exporter.simulator.trace_bodies import INGESTS, NATIVE, OPENAI_AGENTS, OPENTELEMETRY, posts
from exporter.trace_gateway.counting import TraceCounter
from exporter.trace_gateway.exchange import Exchange
from tests.simulator.asking import DAY, TODAY, ask

EVENING = TODAY + 20 * 3600
# Seconds that a machine may be busy with others.
PATIENCE = 120

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def counters(page: bytes) -> Samples:
    """The counters of traces that are not at 0."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
        if sample.value
        and sample.name
        in {"aitracer_trace_tokens_total", "aitracer_trace_cost_usd_total", "aitracer_trace_requests_total"}
    }


@pytest.fixture(scope="module")
def small_day() -> Simulator:
    """A small organization at the end of a day."""
    clock = SettableClock(TODAY)
    simulator = Simulator(clock=clock, size=0.05)
    clock.set(TODAY + DAY - 1)
    return simulator


def test_the_gateway_counts_of_them_what_the_simulator_counts_itself(small_day: Simulator) -> None:
    """So a history of its own page goes on with a gateway's: same labels, same figures."""
    registry = CollectorRegistry()
    counter = TraceCounter(TraceGateway(), (), registry, lambda: 0.0)
    for identity, call in small_day.calls_since(TODAY).until(TODAY + DAY - 1):
        if is_traced(call):
            for post in posts(model_calls(identity, call)):
                assert counter.reads("POST", post.path)
                counter.count(Exchange(post.path, {}, json.dumps(post.body).encode(), {}, b""))
    # The first page shows new series at 0.
    generate_latest(registry)
    counted, page = counters(generate_latest(registry)), counters(small_day.trace_page())
    assert len(counted) > 100
    assert counted == pytest.approx(page, rel=1e-9)
    assert 'aitracer_gateway_duplicates_total{ingest="native"} 0.0' in generate_latest(registry).decode()


def test_a_batch_of_calls_is_divided_without_rest_and_every_call_is_another(small_day: Simulator) -> None:
    identities: set[str] = set()
    several = 0
    for identity, call in small_day.calls_since(TODAY).until(TODAY + DAY - 1):
        if is_traced(call):
            told = model_calls(identity, call)
            fields = openai_fields(call.stream.api, call.measures)
            several += fields["num_model_requests"] > 1
            assert sum(each.input_tokens for each in told) == fields["input_tokens"]
            assert sum(each.output_tokens for each in told) == fields.get("output_tokens", 0)
            assert sum(each.cached_tokens for each in told) == fields.get("input_cached_tokens", 0)
            assert all(each.cached_tokens <= each.input_tokens for each in told)
            assert sum((each.cost_usd or Decimal(0) for each in told), Decimal(0)) == estimated_usd(call)
            assert sum(each.status == "completed" for each in told) == fields["num_model_requests"]
            assert sum(each.status != "completed" for each in told) == not_completed(call)
            assert not identities & {each.identity for each in told}
            identities |= {each.identity for each in told}
    assert several > 100


def test_calls_are_handed_out_once_also_to_one_who_stops_in_between(small_day: Simulator) -> None:
    whole = list(small_day.calls_since(TODAY + 3600).until(EVENING))
    assert all(TODAY + 3600 < call.at <= EVENING for _, call in whole)
    calls = small_day.calls_since(TODAY + 3600)
    first = next(iter(calls.until(TODAY + 4 * 3600)))
    rest = [*calls.until(TODAY + 6 * 3600), *calls.until(TODAY + 6 * 3600), *calls.until(EVENING)]
    assert [first, *rest] == whole


@contextmanager
def unreliable(**faults: object) -> Iterator[RunningSimulator]:
    """A small organization in the evening, whose AITracer has these faults."""
    with running_simulator(clock=SettableClock(EVENING), size=0.01, counts_traces=False) as running:
        running.simulator.set_faults(Faults.model_validate({"prefix": "/api/", **faults}))
        yield running


def some_calls(running: RunningSimulator, *, retries: int) -> Applications:
    return Applications(running.root_url, running.simulator.calls_since(EVENING - 1800), patience=(0.0,) * retries)


def taken(running: RunningSimulator) -> dict[str, int]:
    answer: dict[str, dict[str, int]] = httpx.get(f"{running.root_url}/_simulator/traces").json()
    return answer["taken"]


def told_by_applications(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "exporter.simulator.applications"]


def test_what_is_refused_for_a_moment_is_sent_again() -> None:
    with unreliable(burst_429={"count": 3}) as running:
        applications = some_calls(running, retries=3)
        applications.send_until(EVENING)
        applications.close()
        assert applications.sent.model_calls >= sum(taken(running).values()) > 3
    assert (applications.sent.retries, applications.sent.given_up) == (3, 0)


def test_what_is_not_accepted_is_given_up_counted_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with unreliable(status=[{"prefix": "/api/", "status": 503}]) as running, caplog.at_level(logging.INFO):
        applications = some_calls(running, retries=2)
        applications.send_until(EVENING)
        given_up = applications.sent.given_up
        assert given_up > 3
        assert applications.sent.model_calls == 0
        assert told_by_applications(caplog) == ["traces are not accepted, and are lost"]
        running.simulator.set_faults(Faults())
        applications.send_until(EVENING + 3600)
        applications.close()
        assert applications.sent.model_calls > 0
    assert applications.sent.given_up == given_up
    assert told_by_applications(caplog)[1:] == ["traces are accepted again"]


def test_an_aitracer_that_is_not_there_is_survived() -> None:
    with unreliable() as running:
        applications = Applications("http://127.0.0.1:9", running.simulator.calls_since(EVENING - 1800), patience=())
        applications.send_until(EVENING)
        applications.close()
    assert applications.sent.given_up > 0


def test_traces_are_sent_as_the_clock_goes_on_until_it_ends() -> None:
    clock = SettableClock(EVENING)
    with running_simulator(clock=clock, size=0.01, counts_traces=False) as running:
        with sending(running.root_url, running.simulator.calls_since(EVENING), clock):
            clock.advance(600)
            arrived = threading.Event()
            for _ in range(PATIENCE * 10):
                if sum(taken(running).values()) > 0:
                    break
                arrived.wait(0.1)
        before = taken(running)
        clock.advance(600)
        assert taken(running) == before
    assert sum(before.values()) > 0


def test_where_traces_are_sent_the_simulator_does_not_show_them_counted_too() -> None:
    page = Simulator(clock=SettableClock(EVENING), counts_traces=False).trace_page()
    assert all(line.startswith(b"#") for line in page.splitlines())


def test_aitracer_s_own_sdk_reads_the_stand_in_s_answers() -> None:
    metrics = {"promptTokens": 70, "completionTokens": 5, "estimatedCostUsd": 0.25}
    with unreliable() as running, AITracerClient(WORKSPACE_KEY, running.root_url) as client:
        answer = trace.record(workflow="w", model="m", metrics=metrics, client=client)
        summary = cost.from_ingest_response(answer)
        assert (summary["prompt_tokens"], summary["estimated_cost_usd"]) == (70, 0.25)
        export_spans({"data": []}, client=client)
        export_resource_spans({"resourceSpans": []}, client=client)
        assert taken(running) == dict.fromkeys(INGESTS, 1)
        with AITracerClient("another", running.root_url) as stranger, pytest.raises(AITracerHTTPError) as refused:
            trace.record(workflow="w", model="m", client=stranger)
        assert refused.value.status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", NATIVE, b"", 405),
        ("POST", "/api/other", b"{}", 404),
        ("POST", NATIVE, b"no JSON", 400),
        ("POST", OPENAI_AGENTS, b"[]", 400),
        ("POST", OPENTELEMETRY, b"{}", 200),
    ],
)
def test_the_stand_in_refuses_what_is_no_trace(
    small_day: Simulator, method: str, path: str, body: bytes, status: int
) -> None:
    assert ask(small_day, path, key=WORKSPACE_KEY, method=method, body=body).status == status


def test_a_cut_answer_is_one_of_a_trace_that_was_taken(small_day: Simulator) -> None:
    before = ask(small_day, "/_simulator/traces").json["taken"][NATIVE]
    small_day.set_faults(Faults(prefix="/api/", cut_probability=1))
    reply = ask(small_day, NATIVE, key=WORKSPACE_KEY, method="POST", body=b"{}")
    small_day.set_faults(Faults())
    assert (reply.status, reply.was_cut) == (200, True)
    assert ask(small_day, "/_simulator/traces").json["taken"][NATIVE] == before + 1


def test_faults_of_openai_s_api_leave_aitracer_alone(small_day: Simulator) -> None:
    small_day.set_faults(Faults(error_rate=1))
    reply = ask(small_day, NATIVE, key=WORKSPACE_KEY, method="POST", body=b"{}")
    small_day.set_faults(Faults())
    assert reply.status == 200


@pytest.mark.parametrize("url", ["127.0.0.1:10187", "http://", "http://gateway?x", "ftp://gateway"])
def test_what_is_no_base_url_is_refused_at_once(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["simulate", f"--traces.send-to={url}"])
    assert refused.value.code == 2
    assert "is no base URL" in capsys.readouterr().err
