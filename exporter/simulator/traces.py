"""The same traffic as AITracer's counters show it: in event time, nine tenths of it, one model at an old price."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from exporter.days import SECONDS_PER_DAY, day_of
from exporter.simulator.line_items import lines
from exporter.simulator.measures import openai_fields
from exporter.simulator.organization import Organization, Stream
from exporter.simulator.traffic import Call, Traffic

_LABELS: Final = ("workflow", "action_group", "environment", "provider", "model", "project_id")
_TRACED_APIS: Final = frozenset({"usage/completions", "usage/decisions", "usage/embeddings"})
# The applications still price this model by the list of the year before.
_OUTDATED_MODEL: Final = "gpt-5.6-terra"
_OUTDATED_FACTOR: Final = 1.4

_Labels = tuple[str, ...]


def is_traceable(stream: Stream) -> bool:
    """Whether the applications trace such calls at all."""
    return stream.api in _TRACED_APIS and stream.workflow.traced


def _labels(stream: Stream) -> _Labels:
    work = stream.workflow
    return (work.workflow, work.action_group, work.environment, "openai", stream.use.model, stream.project_id or "")


class TraceCounters(Collector):
    """Counters of the traced calls since `since`. They follow the clock and never fall."""

    def __init__(self, organization: Organization, traffic: Traffic, since: float) -> None:
        self._traffic = traffic
        self._day = day_of(since)
        # What came with the first second of a day belongs to it.
        self._after = since if since > self._day else self._day - 1
        self._position = 0
        traced = sorted({_labels(stream) for stream in organization.streams if is_traceable(stream)})
        # Every series exists from the start, so that its first increase is seen.
        self._tokens = {(*labels, kind): 0 for labels in traced for kind in ("input", "output", "input_cached")}
        self._requests = {(*labels, status): 0 for labels in traced for status in ("ok", "error")}
        self._cost = dict.fromkeys(traced, 0.0)

    def page(self, now: float) -> bytes:
        """The `/metrics` page at that time."""
        self._follow(now)
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
            cost.add_metric(labels, usd)
        requests = CounterMetricFamily("aitracer_trace_requests", "Traced model calls.", labels=(*_LABELS, "status"))
        for labels, count in self._requests.items():
            requests.add_metric(labels, count)
        yield from (tokens, cost, requests)

    def _follow(self, now: float) -> None:
        while self._day <= now:
            calls = self._traffic.day(self._day).calls
            while self._position < len(calls) and calls[self._position].at <= now:
                if calls[self._position].at > self._after:
                    self._count(calls[self._position])
                self._position += 1
            if now < self._day + SECONDS_PER_DAY:
                return
            self._day += SECONDS_PER_DAY
            self._position = 0

    def _count(self, call: Call) -> None:
        if not call.is_traced or not is_traceable(call.stream):
            return
        labels = _labels(call.stream)
        fields = openai_fields(call.stream.api, call.measures)
        self._tokens[*labels, "input"] += fields["input_tokens"]
        self._tokens[*labels, "output"] += fields.get("output_tokens", 0)
        self._tokens[*labels, "input_cached"] += fields.get("input_cached_tokens", 0)
        self._requests[*labels, "ok"] += fields["num_model_requests"]
        self._requests[*labels, "error"] += call.failed
        factor = _OUTDATED_FACTOR if call.stream.use.model == _OUTDATED_MODEL else 1.0
        billed = sum(line.quantity * float(line.unit_price) for line in lines(call.stream.use, call.measures))
        self._cost[labels] += billed * factor
