"""Counts the traces that AITracer accepted: reads each exchange, forgets what it read, keeps sums."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from prometheus_client import CollectorRegistry

from exporter.configuration.consistency import owners
from exporter.configuration.sections import NOT_SET, TraceGateway, WorkflowRule
from exporter.trace_gateway.decoding import decoded, parsed
from exporter.trace_gateway.exchange import Exchange
from exporter.trace_gateway.model_calls import MetadataKeys, ModelCall, Reading, Unreadable, label
from exporter.trace_gateway.native import read_native
from exporter.trace_gateway.openai_agents import read_openai_agents
from exporter.trace_gateway.opentelemetry import read_spans
from exporter.trace_gateway.partial_success import rejected_spans
from exporter.trace_gateway.protobuf_spans import spans_of_protobuf
from exporter.trace_gateway.seen import Seen
from exporter.trace_gateway.series import LabelSet, TraceSeries
from exporter.trace_gateway.spans import spans_of_json

# AITracer may be served below a path of its own.
_INGESTS: Final = {
    "/api/traces": "native",
    "/api/integrations/openai-agents": "openai_agents",
    "/api/integrations/otlp/v1/traces": "otlp",
}


class TraceCounter:
    """The counting side of the trace gateway; it satisfies `TraceCounting`. Safe to use from several threads.

    A trace that comes again, with the same credentials and the same `requestId` or span id, counts once, as long as it
    is among the last of those that are remembered.

    Of an OTLP export that was accepted but for some spans nobody says which these are: all count, and those rejected
    are counted beside them, as the bound of what may be counted too much. If all were rejected, none counts.
    """

    def __init__(
        self,
        settings: TraceGateway,
        workflows: Sequence[WorkflowRule],
        registry: CollectorRegistry,
        clock: Callable[[], float],
        *,
        zero_for: float = 0.0,
    ) -> None:
        """Register the series.

        Args:
            settings: where metadata say what, and how many sets of labels there may be.
            workflows: give the action group of a workflow where a trace names none.
            registry: takes the series.
            clock: seconds that never go back.
            zero_for: seconds for which a new series stands at 0 after it was first shown: the scrape interval.
        """
        self._keys = MetadataKeys(settings.action_group_keys, settings.project_keys)
        self._action_groups = {workflow: owner["action_group"] for workflow, owner in owners(workflows).items()}
        self._seen = Seen()
        self._marks = Seen()
        self._series = TraceSeries(settings.label_sets, clock, zero_for, tuple(_INGESTS.values()))
        registry.register(self._series)

    def reads(self, method: str, path: str) -> bool:
        """Whether such requests carry traces."""
        return method.upper() == "POST" and _ingest(path) is not None

    def count(self, exchange: Exchange) -> None:
        """Count the traces of an exchange. Never raises for what a body holds."""
        ingest = _ingest(exchange.path)
        if ingest is None:
            return
        credentials = exchange.request_headers.get("authorization", "")
        try:
            reading = self._reading(ingest, exchange, credentials)
        except Unreadable as unreadable:
            self._series.unreadable(ingest, unreadable.reason)
            return
        for reason in reading.complaints:
            self._series.unreadable(ingest, reason)
        for mark in reading.marks:
            self._marks.is_new(credentials, mark)
        for call in reading.calls:
            if call.identity and not self._seen.is_new(ingest, credentials, call.identity):
                self._series.duplicate(ingest)
            else:
                self._series.add(self._labels(call), call)

    def _reading(self, ingest: str, exchange: Exchange, credentials: str) -> Reading:
        body = decoded(exchange.request_body, exchange.request_headers.get("content-encoding", ""))
        if ingest == "otlp":
            return self._export(body, exchange, credentials)
        if ingest == "openai_agents":
            return read_openai_agents(parsed(body), self._keys)
        trace = parsed(body)
        try:
            plain = _answer(exchange)
            answer = parsed(plain) if plain else None
        except Unreadable:
            reading = read_native(trace, None, self._keys)
            return replace(reading, complaints=reading.complaints | {"answer"})
        return read_native(trace, answer, self._keys)

    def _export(self, body: bytes, exchange: Exchange, credentials: str) -> Reading:
        is_protobuf = "protobuf" in exchange.request_headers.get("content-type", "").lower()
        spans = list(spans_of_protobuf(body) if is_protobuf else spans_of_json(body))
        complaints = frozenset[str]()
        try:
            rejected = rejected_spans(_answer(exchange), exchange.answer_headers.get("content-type", ""))
        except Unreadable:
            rejected, complaints = 0, frozenset({"answer"})
        # No more than there were, whatever it says.
        self._series.rejected(min(rejected, len(spans)))
        if rejected and rejected >= len(spans):
            return Reading((), complaints)
        reading = read_spans(spans, self._keys, lambda mark: self._marks.knows(credentials, mark))
        return replace(reading, complaints=reading.complaints | complaints)

    def _labels(self, call: ModelCall) -> LabelSet:
        action_group = call.action_group or self._action_groups.get(call.workflow, NOT_SET)
        return LabelSet(
            *map(label, (call.workflow, action_group, call.environment, call.provider, call.model, call.project_id))
        )


def _ingest(path: str) -> str | None:
    plain = path.rstrip("/")
    return next((name for ending, name in _INGESTS.items() if plain.endswith(ending)), None)


def _answer(exchange: Exchange) -> bytes:
    """Return an answer without its encoding; nothing where there is none."""
    body = exchange.answer_body
    return decoded(body, exchange.answer_headers.get("content-encoding", "")) if body else b""
