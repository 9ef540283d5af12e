"""The same traffic as AITracer's counters show it: in event time, nine tenths of it, one model at an old price."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from exporter.simulator.measures import openai_fields
from exporter.simulator.model_calls import PassingCalls, estimated_usd, is_traceable, is_traced, not_completed
from exporter.simulator.organization import Organization, Stream
from exporter.simulator.traffic import Call

_LABELS: Final = ("workflow", "action_group", "environment", "provider", "model", "project_id")

_Labels = tuple[str, ...]


def _labels(stream: Stream) -> _Labels:
    work = stream.workflow
    return (work.workflow, work.action_group, work.environment, "openai", stream.use.model, stream.project_id or "")


class TraceCounters(Collector):
    """Counters of the traced calls. They follow the clock and never fall."""

    def __init__(self, organization: Organization, calls: PassingCalls) -> None:
        self._calls = calls
        traced = sorted({_labels(stream) for stream in organization.streams if is_traceable(stream)})
        # Every series exists from the start, so that its first increase is seen.
        self._tokens = {(*labels, kind): 0 for labels in traced for kind in ("input", "output", "input_cached")}
        self._requests = {(*labels, status): 0 for labels in traced for status in ("ok", "error")}
        self._cost = dict.fromkeys(traced, Decimal(0))

    def page(self, now: float) -> bytes:
        """The `/metrics` page at that time."""
        for _, call in self._calls.until(now):
            if is_traced(call):
                self._count(call)
        return generate_latest(self)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The three families."""
        tokens = CounterMetricFamily(
            "aitracer_trace_tokens",
            "Tokens of traced model calls; input and output gross.",
            labels=(*_LABELS, "token_type"),
        )
        for labels, count in self._tokens.items():
            tokens.add_metric(labels, count)
        cost = CounterMetricFamily(
            "aitracer_trace_cost_usd", "Cost of traced model calls as the traces estimate it.", labels=_LABELS
        )
        for labels, usd in self._cost.items():
            cost.add_metric(labels, float(usd))
        requests = CounterMetricFamily("aitracer_trace_requests", "Traced model calls.", labels=(*_LABELS, "status"))
        for labels, count in self._requests.items():
            requests.add_metric(labels, count)
        yield from (tokens, cost, requests)

    def _count(self, call: Call) -> None:
        labels = _labels(call.stream)
        fields = openai_fields(call.stream.api, call.measures)
        self._tokens[*labels, "input"] += fields["input_tokens"]
        self._tokens[*labels, "output"] += fields.get("output_tokens", 0)
        self._tokens[*labels, "input_cached"] += fields.get("input_cached_tokens", 0)
        self._requests[*labels, "ok"] += fields["num_model_requests"]
        self._requests[*labels, "error"] += not_completed(call)
        self._cost[labels] += estimated_usd(call)
