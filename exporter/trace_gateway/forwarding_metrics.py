"""What the gateway tells of itself."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ForwardingMetrics:
    """The series of the forwarding side."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "aitracer_gateway_requests",
            "Requests forwarded, by the status that the client got; 499 where the client left before it had one.",
            ["code"],
            registry=registry,
        )
        self.in_flight = Gauge(
            "aitracer_gateway_requests_in_flight", "Requests that are being forwarded now.", registry=registry
        )
        self.upstream_errors = Counter(
            "aitracer_gateway_upstream_errors",
            "Requests that the upstream did not answer, or not to the end.",
            ["reason"],
            registry=registry,
        )
        self.added_latency = Histogram(
            "aitracer_gateway_added_latency_seconds",
            "Seconds that a request spent in the gateway while it waited neither for the upstream nor for the client.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.counting_failures = Counter(
            "aitracer_gateway_counting_failures",
            "Forwarded requests whose traces were not counted because of a fault in the gateway.",
            registry=registry,
        )
