"""An application that OpenTelemetry's SDK and its instrumentation for OpenAI watch exports through the gateway."""

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import openai
import pytest
from opentelemetry.exporter.otlp.common.http import Compression as JsonCompression
from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter as JsonExporter
from opentelemetry.exporter.otlp.proto.http import Compression as ProtobufCompression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as ProtobufExporter
from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.trace import Tracer

from tests.trace_gateway.counted import OTLP, Counted
from tests.trace_gateway.forwarded import running_forwarding
from tests.trace_gateway.model_server import BROKEN, model_server
from tests.trace_gateway.stand_in import StandIn, stand_in

PATIENCE = 60.0
CHAT, EMBEDDING = "gpt-5.6-terra", "text-embedding-4"
# Two answers of a chat, one of them streamed, and an embedding.
INPUT, OUTPUT = 120 + 120 + 8, 30 + 30
ALL_OF_IT: dict[str, str | int] = {
    "gen_ai.request.model": CHAT,
    "gen_ai.response.model": CHAT,
    "gen_ai.usage.input_tokens": INPUT,
    "gen_ai.usage.output_tokens": OUTPUT,
}
MakeExporter = Callable[[str], SpanExporter]


def json(url: str) -> SpanExporter:
    return JsonExporter(url, timeout=PATIENCE)


def json_compressed(url: str) -> SpanExporter:
    return JsonExporter(url, timeout=PATIENCE, compression=JsonCompression.GZIP)


def protobuf(url: str) -> SpanExporter:
    return ProtobufExporter(url, timeout=PATIENCE, headers={"Authorization": "Bearer akt_secret"})


def protobuf_compressed(url: str) -> SpanExporter:
    return ProtobufExporter(url, timeout=PATIENCE, compression=ProtobufCompression.Gzip)


def in_one_body(exporter: SpanExporter) -> SpanProcessor:
    """Export at the end, and not when a timer says so."""
    return BatchSpanProcessor(exporter, schedule_delay_millis=3_600_000)


@pytest.fixture(scope="module")
def models() -> Iterator[str]:
    with model_server() as url:
        yield url


@contextmanager
def watched(processor: SpanProcessor) -> Iterator[Tracer]:
    """Hand all spans to the processor until the end, those of the instrumentation too."""
    resource = Resource({"service.name": "support-bot", "deployment.environment.name": "prod"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    instrumentor = OpenAIInstrumentor()  # type: ignore[no-untyped-call] # theirs is not annotated
    instrumentor.instrument(tracer_provider=provider)
    try:
        yield provider.get_tracer("application")
    finally:
        instrumentor.uninstrument()
        provider.shutdown()


def run_application(models: str, tracer: Tracer) -> None:
    """A request that an agent answers, with everything around it that repeats the usage of its calls."""
    agent = {**ALL_OF_IT, "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "helper"}
    with (
        openai.OpenAI(api_key="sk-secret", base_url=models, max_retries=0) as client,
        tracer.start_as_current_span("POST /answer", attributes={"http.request.method": "POST"}),
        tracer.start_as_current_span("run", attributes=ALL_OF_IT),
        tracer.start_as_current_span("invoke_agent helper", attributes=agent),
    ):
        client.chat.completions.create(model=CHAT, messages=[{"role": "user", "content": "secret"}])
        with tracer.start_as_current_span("execute_tool search", attributes={"gen_ai.operation.name": "execute_tool"}):
            client.embeddings.create(model=EMBEDDING, input="secret")
        for _ in client.chat.completions.create(
            model=CHAT,
            messages=[{"role": "user", "content": "secret"}],
            stream=True,
            stream_options={"include_usage": True},
        ):
            pass
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model=BROKEN, messages=[{"role": "user", "content": "secret"}])


def assert_counted_once(counted: Counted) -> None:
    assert counted.tokens() == (INPUT, OUTPUT, 0)
    assert counted.requests() == (3, 1)
    assert counted.requests(model=BROKEN) == (0, 1)
    assert counted.requests(model=f"{EMBEDDING}-2026-06-01", workflow="support-bot") == (1, 0)
    assert counted.tokens(model=f"{CHAT}-2026-06-01", environment="prod", provider="openai") == (240, 60, 0)
    assert counted.value("aitracer_trace_latency_seconds_count") == 4
    assert counted.unreadable() == {}
    assert b"secret" not in counted.page()


@contextmanager
def gateway(upstream: StandIn, counted: Counted) -> Iterator[str]:
    with running_forwarding(upstream.url, counting=counted.counting) as running:
        yield f"http://{running.address[0]}:{running.address[1]}{OTLP}"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the exporters, which both use the standard library's client, write to their connections."""
    written: list[bytes] = []
    send = http.client.HTTPConnection.send

    def note(connection: http.client.HTTPConnection, data: bytes) -> None:
        written.append(bytes(data))
        send(connection, data)

    monkeypatch.setattr(http.client.HTTPConnection, "send", note)
    return written


@pytest.mark.parametrize("exporter", [json, json_compressed, protobuf, protobuf_compressed])
def test_an_export_arrives_byte_for_byte_and_its_model_calls_count_once(
    exporter: MakeExporter, models: str, sent: list[bytes]
) -> None:
    counted = Counted()
    with (
        stand_in() as upstream,
        gateway(upstream, counted) as url,
        watched(in_one_body(exporter(url))) as tracer,
    ):
        run_application(models, tracer)
    ((_, exchange),) = upstream.seen
    assert exchange.request_body in sent
    assert exchange.request_headers.get("content-encoding") == ("gzip" if "compressed" in exporter.__name__ else None)
    assert exchange.request_headers.get("authorization") == ("Bearer akt_secret" if exporter is protobuf else None)
    assert_counted_once(counted)


@pytest.mark.parametrize("exporter", [json, protobuf_compressed])
def test_calls_and_what_is_around_them_may_come_in_bodies_of_their_own(exporter: MakeExporter, models: str) -> None:
    counted = Counted()
    with (
        stand_in() as upstream,
        gateway(upstream, counted) as url,
        watched(SimpleSpanProcessor(exporter(url))) as tracer,
    ):
        run_application(models, tracer)
    assert len(upstream.seen) == 8
    assert_counted_once(counted)


@pytest.mark.parametrize("exporter", [json_compressed, protobuf])
def test_a_batch_that_is_tried_again_counts_once(exporter: MakeExporter, models: str) -> None:
    counted = Counted()
    with stand_in() as upstream, gateway(upstream, counted) as url:
        upstream.statuses.extend([503, 429])
        with watched(in_one_body(exporter(url))) as tracer:
            run_application(models, tracer)
    assert [status for status, _ in upstream.seen] == [503, 429, 200]
    assert len({exchange.request_body for _, exchange in upstream.seen}) == 1
    assert counted.duplicates() == 0
    assert_counted_once(counted)
