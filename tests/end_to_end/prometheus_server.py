"""A real Prometheus over samples that carry their own timestamps."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from exporter.simulator.history.programs import running_prometheus
from tests.prometheus_tools import program

_RULES_SECONDS = 120


@dataclass(frozen=True, slots=True)
class PrometheusServer:
    """A running Prometheus.

    Attributes:
        url: its root.
        client: what asks it; kept, because making one takes longer than an answer.
    """

    url: str
    client: httpx.Client

    def query(self, expression: str, at: float) -> dict[tuple[tuple[str, str], ...], float]:
        """Evaluate an instant query; return values by sorted label pairs."""
        answer = self.client.get(f"{self.url}/api/v1/query", params={"query": expression, "time": str(at)})
        answer.raise_for_status()
        return {
            tuple(sorted(series["metric"].items())): float(series["value"][1])
            for series in answer.json()["data"]["result"]
        }

    def targets(self) -> list[dict[str, str]]:
        """Return the active targets with their health and last error."""
        answer = self.client.get(f"{self.url}/api/v1/targets", params={"state": "active"})
        targets: list[dict[str, str]] = answer.json()["data"]["activeTargets"]
        return targets

    def wait_for_rules(self, *, rounds: int) -> None:
        """Wait until every group of rules was evaluated that many times."""
        deadline = time.monotonic() + _RULES_SECONDS
        while time.monotonic() < deadline:
            page = self.client.get(f"{self.url}/metrics").text
            evaluated = re.findall(r"^prometheus_rule_group_iterations_total\{.*\} (\S+)$", page, re.MULTILINE)
            if evaluated and min(map(float, evaluated)) >= rounds:
                return
            # A foreign process: there is no clock of ours that could say when it is done.
            time.sleep(0.1)
        raise AssertionError(f"Prometheus did not evaluate its rules {rounds} times")

    def rule_errors(self) -> tuple[int, dict[str, str]]:
        """Return how many rules are loaded, and what went wrong with those that did not evaluate."""
        groups = self.client.get(f"{self.url}/api/v1/rules").json()["data"]["groups"]
        loaded = [rule for group in groups for rule in group["rules"]]
        return len(loaded), {
            rule["name"]: rule.get("lastError", rule["health"]) for rule in loaded if rule["health"] != "ok"
        }


@contextmanager
def prometheus(folder: Path, configuration: str = "") -> Iterator[PrometheusServer]:
    """Run Prometheus over `folder`/data until the block ends."""
    with (
        running_prometheus(folder, configuration, find=program) as url,
        httpx.Client(timeout=60) as client,
    ):
        yield PrometheusServer(url, client)
