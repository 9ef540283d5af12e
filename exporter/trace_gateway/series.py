"""The series of traced calls: how many there may be, and when their first value is shown."""

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from exporter.exact import EXACT
from exporter.trace_gateway.model_calls import OTHER, REASONS, ModelCall

LABELS: Final = ("workflow", "action_group", "environment", "provider", "model", "project_id")
BUCKETS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0)
"""Seconds of a model call."""

_TOKENS: Final = "aitracer_trace_tokens_total"
_COST: Final = "aitracer_trace_cost_usd_total"
_REQUESTS: Final = "aitracer_trace_requests_total"
_UNCOSTED: Final = "aitracer_trace_uncosted_requests_total"
_LATENCY: Final = "aitracer_trace_latency_seconds"

# How many series one set of labels has in each family.
_SERIES_OF_A_SET: Final = {_TOKENS: 3, _COST: 1, _REQUESTS: 2, _UNCOSTED: 1, _LATENCY: len(BUCKETS) + 3}


class LabelSet(NamedTuple):
    """The labels of a call, fit to be shown."""

    workflow: str
    action_group: str
    environment: str
    provider: str
    model: str
    project_id: str


@dataclass(slots=True)
class _Sums:
    """What is added up under one set of labels. The latencies are by bucket, not cumulated."""

    shown_since: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    ok: int = 0
    errors: int = 0
    uncosted: int = 0
    latencies: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    latency_sum: float = 0.0

    def copy(self) -> "_Sums":
        return replace(self, latencies=self.latencies.copy())

    def add(self, call: ModelCall) -> None:
        self.input_tokens += call.input_tokens
        self.output_tokens += call.output_tokens
        self.cached_tokens += call.cached_tokens
        if call.failed:
            self.errors += 1
        else:
            self.ok += 1
            self.uncosted += call.cost_usd is None
        if call.cost_usd is not None:
            self.cost_usd = EXACT.add(self.cost_usd, call.cost_usd)
        if call.latency_seconds is not None:
            self.latencies[bisect_left(BUCKETS, call.latency_seconds)] += 1
            self.latency_sum += call.latency_seconds


class TraceSeries(Collector):
    """Every series that counting exposes. Safe to use from several threads.

    A set of labels appears with 0 in all its families. What was counted under it is held back until a page has shown
    that 0, and for `zero_for` seconds after that page, so that `increase()` sees the first value too, also if several
    Prometheus servers scrape. Nothing is lost by it but what a gateway counted before it ended unscraped.

    Over the limit new calls keep their series but for model and project, which become `(other)`; when a tenth more sets
    of labels came of those, all six labels do.
    """

    def __init__(self, limit: int, clock: Callable[[], float], zero_for: float, ingests: tuple[str, ...]) -> None:
        self._limit = limit
        self._limit_without_model = limit + max(1, limit // 10)
        self._clock = clock
        self._zero_for = zero_for
        self._lock = threading.Lock()
        self._sums: dict[LabelSet, _Sums] = {}
        self._overflow = 0
        self._rejected = 0
        self._duplicates: dict[str, int] = dict.fromkeys(ingests, 0)
        self._unreadable = {(ingest, reason): 0 for ingest in ingests for reason in REASONS}

    def add(self, labels: LabelSet, call: ModelCall) -> None:
        """Count a call."""
        with self._lock:
            self._of(labels).add(call)

    def duplicate(self, ingest: str) -> None:
        """Count a call that was counted already."""
        with self._lock:
            self._duplicates[ingest] += 1

    def rejected(self, spans: int) -> None:
        """Count spans that AITracer rejected of an export that it accepted."""
        with self._lock:
            self._rejected += spans

    def unreadable(self, ingest: str, reason: str) -> None:
        """Count a body that could not be read, or not all of it."""
        with self._lock:
            self._unreadable[ingest, reason] += 1

    def describe(self) -> Iterator[Metric]:
        """The families, without a page being shown."""
        yield from (*_families({}), *self._own_families())

    def collect(self) -> Iterator[Metric]:
        """The page."""
        with self._lock:
            now = self._clock()
            # Counting goes on while the page is made of this.
            shown = {labels: self._shown(sums, now) for labels, sums in self._sums.items()}
            own = self._own_families()
        yield from (*_families(shown), *own)

    def _of(self, labels: LabelSet) -> _Sums:
        if labels not in self._sums and len(self._sums) >= self._limit:
            self._overflow += 1
            labels = labels._replace(model=OTHER, project_id=OTHER)
            if labels not in self._sums and len(self._sums) >= self._limit_without_model:
                labels = LabelSet(*[OTHER] * len(LABELS))
        return self._sums.setdefault(labels, _Sums())

    def _shown(self, sums: _Sums, now: float) -> _Sums:
        if sums.shown_since is None:
            sums.shown_since = now
            return _Sums()
        return sums.copy() if now - sums.shown_since >= self._zero_for else _Sums()

    def _own_families(self) -> tuple[Metric, ...]:
        unreadable = CounterMetricFamily(
            "aitracer_gateway_unreadable_bodies_total",
            "Bodies that AITracer accepted and that could not be read, or not all of them.",
            labels=("ingest", "reason"),
        )
        for (ingest, reason), count in self._unreadable.items():
            unreadable.add_metric((ingest, reason), count)
        duplicates = CounterMetricFamily(
            "aitracer_gateway_duplicates_total", "Model calls that had been counted already.", labels=("ingest",)
        )
        for ingest, count in self._duplicates.items():
            duplicates.add_metric((ingest,), count)
        rejected = CounterMetricFamily(
            "aitracer_gateway_rejected_spans_total",
            "Spans that AITracer rejected of OTLP exports that it accepted; where it took others, all are counted.",
            value=self._rejected,
        )
        series = GaugeMetricFamily("aitracer_gateway_series", "Series exposed, by metric family.", labels=("family",))
        limit = GaugeMetricFamily(
            "aitracer_gateway_series_limit",
            "The most series a family may have before new ones become (other).",
            labels=("family",),
        )
        overflow = CounterMetricFamily(
            "aitracer_gateway_series_overflow_total",
            "Model calls that were counted under (other).",
            labels=("family",),
        )
        for family, of_a_set in _SERIES_OF_A_SET.items():
            series.add_metric((family,), len(self._sums) * of_a_set)
            limit.add_metric((family,), self._limit * of_a_set)
            overflow.add_metric((family,), self._overflow)
        return unreadable, duplicates, rejected, series, limit, overflow


def _families(shown: Mapping[LabelSet, _Sums]) -> tuple[Metric, ...]:
    tokens = CounterMetricFamily(
        _TOKENS,
        "Tokens of traced model calls; input and output gross, cached input is part of input.",
        labels=(*LABELS, "token_type"),
    )
    cost = CounterMetricFamily(_COST, "Cost of traced model calls as the traces estimate it.", labels=LABELS)
    requests = CounterMetricFamily(_REQUESTS, "Traced model calls.", labels=(*LABELS, "status"))
    uncosted = CounterMetricFamily(_UNCOSTED, "Traced model calls that succeeded and have no cost.", labels=LABELS)
    latency = HistogramMetricFamily(_LATENCY, "Duration of traced model calls that tell it.", labels=LABELS)
    for labels, sums in shown.items():
        for token_type, count in (
            ("input", sums.input_tokens),
            ("output", sums.output_tokens),
            ("input_cached", sums.cached_tokens),
        ):
            tokens.add_metric((*labels, token_type), count)
        cost.add_metric(labels, float(sums.cost_usd))
        requests.add_metric((*labels, "ok"), sums.ok)
        requests.add_metric((*labels, "error"), sums.errors)
        uncosted.add_metric(labels, sums.uncosted)
        latency.add_metric(labels, _cumulated(sums.latencies), sums.latency_sum)
    return tokens, cost, requests, uncosted, latency


def _cumulated(counts: list[int]) -> list[tuple[str, float]]:
    buckets: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), counts, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets
