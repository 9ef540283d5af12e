"""A counter, fed with exchanges, and what its page says."""

import json
from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from exporter.configuration.sections import TraceGateway, WorkflowRule
from exporter.trace_gateway.counting import TraceCounter
from exporter.trace_gateway.exchange import Exchange, TraceCounting

NATIVE = "/api/traces"
AGENTS = "/api/integrations/openai-agents"
OTLP = "/api/integrations/otlp/v1/traces"


class Counted:
    """A counter with a clock that stands still, and pages of it."""

    def __init__(
        self, settings: TraceGateway | None = None, workflows: Sequence[WorkflowRule] = (), zero_for: float = 0.0
    ) -> None:
        self.now = 1_000.0
        self.registry = CollectorRegistry()
        self._counter = TraceCounter(
            settings or TraceGateway(), workflows, self.registry, lambda: self.now, zero_for=zero_for
        )
        self.counting: TraceCounting = self._counter

    def json(self, path: str, body: object, answer: object = None, **headers: str) -> None:
        self.body(
            path, json.dumps(body).encode(), json.dumps(answer).encode() if answer is not None else b"", **headers
        )

    def body(self, path: str, body: bytes | None, answer: bytes | None = b"", **headers: str) -> None:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        self.counting.count(Exchange(path, sent, body, {"content-type": "application/json"}, answer))

    def page(self) -> bytes:
        return generate_latest(self.registry)

    def samples(self) -> dict[str, list[tuple[Mapping[str, str], float]]]:
        """What the page says once every series was shown at 0, by the names of samples."""
        self.page()
        found: dict[str, list[tuple[Mapping[str, str], float]]] = {}
        for family in text_string_to_metric_families(self.page().decode()):
            for sample in family.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples of that name with those labels."""
        return sum(value for found, value in self.samples().get(name, []) if labels.items() <= found.items())

    def labels(self) -> list[Mapping[str, str]]:
        """The sets of labels that have series."""
        return [labels for labels, _ in self.samples().get("aitracer_trace_cost_usd_total", [])]

    def tokens(self, **labels: str) -> tuple[int, int, int]:
        """Input, output and cached input."""
        return (
            int(self.value("aitracer_trace_tokens_total", token_type="input", **labels)),
            int(self.value("aitracer_trace_tokens_total", token_type="output", **labels)),
            int(self.value("aitracer_trace_tokens_total", token_type="input_cached", **labels)),
        )

    def requests(self, **labels: str) -> tuple[int, int]:
        """Those that succeeded, and those that failed."""
        name = "aitracer_trace_requests_total"
        return int(self.value(name, status="ok", **labels)), int(self.value(name, status="error", **labels))

    def cost(self, **labels: str) -> float:
        return self.value("aitracer_trace_cost_usd_total", **labels)

    def unreadable(self) -> dict[tuple[str, str], int]:
        """Bodies that could not be read, by ingest and reason."""
        return {
            (labels["ingest"], labels["reason"]): int(value)
            for labels, value in self.samples()["aitracer_gateway_unreadable_bodies_total"]
            if value
        }

    def duplicates(self) -> int:
        return int(self.value("aitracer_gateway_duplicates_total"))
