"""What the exporter says of itself: requests, polls, health. Appended to the page at every scrape."""

import collections
import platform
import threading
from collections.abc import Mapping
from importlib.metadata import version
from os import environ
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, openmetrics
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from exporter.metrics import catalogue
from exporter.metrics.catalogue import Family

# Set by the container's build; there is no other way to know it there.
REVISION_VARIABLE: Final = "OPENAI_USAGE_EXPORTER_REVISION"

_END_MARKER: Final = b"# EOF\n"
_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class _Process(Collector):
    """What the library tells of this process, as it was when somebody last looked.

    To look takes some thirty calls of the system. A scrape would wait for the interpreter after each of them while a
    large poll is applied.
    """

    def __init__(self) -> None:
        self._collector = ProcessCollector(registry=None)
        self.look()

    def look(self) -> None:
        """Look again."""
        self._seen = list(self._collector.collect())

    def collect(self) -> list[Metric]:
        """Return what was seen."""
        return self._seen


class _One(Collector):
    """A registry of one family."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> list[Metric]:
        """Return it."""
        return [self._metric]


def _spelled(metric: Metric, openmetrics_format: bool) -> bytes:  # noqa: FBT001 - which of the two formats
    if not openmetrics_format:
        return prometheus_client.generate_latest(_One(metric))
    text: bytes = openmetrics.exposition.generate_latest(_One(metric))  # type: ignore[no-untyped-call]  # the library's gap
    return text.removesuffix(_END_MARKER)


class SelfMetrics:
    """A registry of its own with every family that is about the exporter. Safe to use from several threads."""

    def __init__(self) -> None:
        # `_created` series would double the page for a fact nobody asks for.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's gap
        self._registry = CollectorRegistry()
        self._texts: dict[tuple[str, bool], tuple[list[Sample], bytes]] = {}
        self._sent: collections.Counter[str] = collections.Counter()
        self._sent_lock = threading.Lock()
        self._process = _Process()
        self._registry.register(self._process)
        self.up = self._gauge(catalogue.UP)
        self.poll_success = self._gauge(catalogue.POLL_SUCCESS)
        self.poll_last_success = self._gauge(catalogue.POLL_LAST_SUCCESS)
        self.poll_duration = self._gauge(catalogue.POLL_DURATION)
        self.poll_interval = self._gauge(catalogue.POLL_INTERVAL)
        self.polls_postponed = self._counter(catalogue.POLLS_POSTPONED)
        self.request_budget = self._gauge(catalogue.REQUEST_BUDGET)
        self.requests_used = self._gauge(catalogue.REQUESTS_USED)
        self.data_timestamp = self._gauge(catalogue.DATA_TIMESTAMP)
        self.auth_failed = self._gauge(catalogue.AUTH_FAILED)
        self.grouping_enabled = self._gauge(catalogue.GROUPING_ENABLED)
        self.state_restored = self._gauge(catalogue.STATE_RESTORED)
        self.state_commit = self._gauge(catalogue.STATE_COMMIT)
        self.state_bytes = self._gauge(catalogue.STATE_BYTES)
        self.config_reload_success = self._gauge(catalogue.CONFIG_RELOAD_SUCCESS)
        self.config_reload_timestamp = self._gauge(catalogue.CONFIG_RELOAD_TIMESTAMP)
        self.revisions = self._counter(catalogue.REVISIONS)
        self.rows_rejected = self._counter(catalogue.ROWS_REJECTED)
        self.series_overflow = self._counter(catalogue.SERIES_OVERFLOW)
        self._requests = self._counter(catalogue.HTTP_REQUESTS)
        self._retries = self._counter(catalogue.HTTP_RETRIES)
        self._request_duration = Histogram(
            catalogue.HTTP_DURATION.name,
            catalogue.HTTP_DURATION.help,
            catalogue.HTTP_DURATION.labels,
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._gauge(catalogue.BUILD_INFO).labels(
            version("openai-usage-exporter"), environ.get(REVISION_VARIABLE, "unknown"), platform.python_version()
        ).set(1)

    def look_at_process(self) -> None:
        """Read anew what the page says of this process: its memory, processor time and open files."""
        self._process.look()

    def answered(self, api: str, code: str, seconds: float) -> None:
        """Count one HTTP attempt."""
        with self._sent_lock:
            self._sent[api] += 1
        self._requests.labels(api, code).inc()
        self._request_duration.labels(api).observe(seconds)

    def requests_sent(self, api: str | None = None) -> int:
        """Return how many HTTP attempts there were so far, for one API or, for None, in all."""
        with self._sent_lock:
            return self._sent.total() if api is None else self._sent[api]

    def retried(self, api: str, code: str) -> None:
        """Count one further attempt, by what made it necessary."""
        self._retries.labels(api, code).inc()

    def expect(self, api: str) -> None:
        """Expose an API's counters at 0 before anything happens, so that `increase()` sees the first event."""
        for direction in ("up", "down"):
            self.revisions.labels(api, direction)
        self.polls_postponed.labels(api)

    def add_each(self, counter: Counter, api: str, amounts: Mapping[str, int]) -> None:
        """Add amounts by their second label to a counter labelled by API."""
        for label, amount in amounts.items():
            counter.labels(api, label).inc(amount)

    def render(self, openmetrics_format: bool) -> bytes:  # noqa: FBT001 - the one choice there is
        """Return the page's end: these families, and OpenMetrics' end marker where it is due."""
        texts = [self._text(metric, openmetrics_format) for metric in self._registry.collect()]
        return b"".join([*texts, _END_MARKER] if openmetrics_format else texts)

    def _text(self, metric: Metric, openmetrics_format: bool) -> bytes:  # noqa: FBT001 - the same choice
        """Spell one family. From one scrape to the next most of them stay the same, and spelling them is what takes."""
        known = self._texts.get((metric.name, openmetrics_format))
        if known is None or known[0] != metric.samples:
            known = metric.samples, _spelled(metric, openmetrics_format)
            self._texts[metric.name, openmetrics_format] = known
        return known[1]

    def _gauge(self, family: Family) -> Gauge:
        return Gauge(family.name, family.help, family.labels, registry=self._registry)

    def _counter(self, family: Family) -> Counter:
        return Counter(family.name, family.help, family.labels, registry=self._registry)
