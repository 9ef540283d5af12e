"""A Prometheus that watched the simulated organization for days, and a reader who asks it what dashboards ask."""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from exporter.simulator.command import EXAMPLE_CONFIGURATION
from exporter.simulator.history.life import Life
from exporter.simulator.history.making import make_history, scraped
from exporter.simulator.history.moments import Watch
from tests.deploy.rule_files import PROMETHEUS, RULES
from tests.end_to_end.prometheus_server import PrometheusServer, prometheus
from tests.grafana.dashboard_files import PanelQuery, filled_in
from tests.prometheus_tools import program

MINUTE, DAY = 60, 86_400

END: Final = 1_789_542_030
"""2026-09-16 07:00:30 UTC, a Wednesday: fifteen days of its month are over, and a project was renamed yesterday."""
WATCH: Final = Watch(days=15, hourly_days=1, minutes=6)
LAST_LOOK: Final = max(at for run in WATCH.runs(END) for at in run.moments())
TODAY: Final = END // DAY * DAY
READ_OFF: Final = 2 * DAY - 10 * MINUTE
"""When a day's figures are read off, in seconds after the day began."""

# Every label and every directory is switched on: panels about them must have something to show.
CONFIGURATION: Final = f"labels: {{api_key: true, user: true}}\n{EXAMPLE_CONFIGURATION.read_text(encoding='utf-8')}"

Series = Mapping[tuple[tuple[str, str], ...], dict[int, float]]
"""Values by moment, by sorted label pairs."""

_SECONDS: Final = {"m": 60, "h": 3_600, "d": DAY, "w": 7 * DAY}
_LABEL_VALUES: Final = re.compile(r"label_values\((?P<selector>.*), (?P<label>\w+)\)")
_QUERY_RESULT: Final = re.compile(r"query_result\((.*)\)")
_POINTS: Final = 300


class Reader:
    """Asks Prometheus as Grafana would at `END`.

    Attributes:
        server: that is asked.
        chosen: by variable, what its choice is as a regular expression.
    """

    def __init__(self, server: PrometheusServer, dashboard: Mapping[str, Any]) -> None:
        self.server = server
        self._seconds = _seconds_shown(dashboard["time"]["from"])
        self.chosen: dict[str, str] = {}
        for variable in dashboard["templating"]["list"]:
            self.chosen[variable["name"]] = self._choose(variable)

    def ask(self, query: PanelQuery) -> Series:
        """Return what a panel's query shows."""
        span = _seconds(query.time_from) if query.time_from else self._seconds
        step = _seconds(query.interval) if query.interval else max(MINUTE, span // _POINTS)
        values = {
            **self.chosen,
            "__to": str(END),
            "__from": str(END - span),
            "__rate_interval": f"{max(4 * MINUTE, step + MINUTE)}s",
            "__interval": f"{step}s",
            "__range": f"{span}s",
        }
        parameters: dict[str, str | int] = {"query": filled_in(query.expression, values)}
        if query.is_instant:
            return _series(self._get("query", {**parameters, "time": END}))
        # Grafana cuts the range to whole steps.
        start, end = (END - span) // step * step, END // step * step
        return _series(self._get("query_range", {**parameters, "start": start, "end": end, "step": step}))

    def options(self, variable: Mapping[str, Any]) -> list[str]:
        """Return what a variable offers."""
        query: str = variable["query"]
        expression = _QUERY_RESULT.fullmatch(query)
        if expression:
            lines = (
                "{" + ",".join(f'{name}="{value}"' for name, value in pairs) + "}"
                for pairs in _series(self._get("query", {"query": filled_in(expression[1], self.chosen), "time": END}))
            )
            kept = re.compile(variable["regex"].strip("/"))
            return sorted({found[1] for line in lines if (found := kept.search(line))})
        asked = _LABEL_VALUES.fullmatch(query)
        assert asked, query
        answer = self.server.client.get(
            f"{self.server.url}/api/v1/label/{asked['label']}/values",
            params={
                "match[]": filled_in(asked["selector"], self.chosen),
                "start": str(END - self._seconds),
                "end": str(END),
            },
        )
        answer.raise_for_status()
        return [value for value in answer.json()["data"] if value]

    def _choose(self, variable: Mapping[str, Any]) -> str:
        if variable["type"] == "datasource":
            return ""
        if variable["type"] == "custom":
            return str(variable["current"]["value"])
        offered = self.options(variable)
        assert offered, f"{variable['name']} offers nothing"
        if not variable.get("multi"):
            return offered[0]
        return str(variable.get("allValue") or f"({'|'.join(map(_escaped, offered))})")

    def _get(self, path: str, parameters: Mapping[str, str | int]) -> list[dict[str, Any]]:
        answer: httpx.Response = self.server.client.post(f"{self.server.url}/api/v1/{path}", data=dict(parameters))
        content = answer.json()
        assert content["status"] == "success", (content.get("error"), parameters["query"])
        result: list[dict[str, Any]] = content["data"]["result"]
        return result


@contextmanager
def simulated_past(folder: Path) -> Iterator[PrometheusServer]:
    """Make the past in `folder`, and serve it."""
    program("promtool")
    configuration = folder / "exporter.yml"
    configuration.write_text(CONFIGURATION, encoding="utf-8")
    make_history(
        folder / "data",
        life=Life("acme", configuration, folder / "state"),
        watch=WATCH,
        end=END,
        scraped=scraped("127.0.0.1:10185", "127.0.0.1:10186"),
        rule_files=[*RULES, PROMETHEUS / "rules" / "adapters" / "aitracer.yml"],
    )
    with prometheus(folder) as server:
        yield server


def _series(result: list[dict[str, Any]]) -> Series:
    found: dict[tuple[tuple[str, str], ...], dict[int, float]] = {}
    for series in result:
        points = series.get("values") or [series["value"]]
        values = {int(at): float(value) for at, value in points if not math.isnan(float(value))}
        if values:
            found[tuple(sorted(series["metric"].items()))] = values
    return found


def _escaped(text: str) -> str:
    """Escape it for a regular expression within a string of PromQL."""
    return re.escape(text).replace("\\", r"\\")


def _seconds_shown(from_: str) -> int:
    span, slash, _ = from_.removeprefix("now-").partition("/")
    # `now-7d/d` begins with a day.
    return _seconds(span) + (END % DAY if slash else 0)


def _seconds(text: str) -> int:
    return int(text[:-1]) * _SECONDS[text[-1]]
