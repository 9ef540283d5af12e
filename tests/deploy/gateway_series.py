"""What a scrape of the trace gateway can bring: every sample name with its labels, read off its own metrics."""

from collections.abc import Mapping
from functools import cache

from exporter.trace_gateway.forwarding_metrics import ForwardingMetrics
from tests.trace_gateway.counted import NATIVE, Counted


@cache
def gateway_series() -> Mapping[str, frozenset[str]]:
    """Return the labels of every sample by its name, without those that Prometheus adds."""
    counted = Counted()
    for metric in vars(ForwardingMetrics(counted.registry)).values():
        # A series with labels is there once something happened to it.
        if metric._labelnames:
            metric.labels(*metric._labelnames)
    counted.json(NATIVE, {"actionName": "chat", "model": "gpt-5", "metrics": {"promptTokens": 1, "latencyMs": 1}})
    counted.page()
    return {
        sample.name: frozenset(sample.labels)
        for family in counted.registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
