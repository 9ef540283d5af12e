"""The dashboards' JSON, read; and their queries with every variable filled in."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

DASHBOARDS: Final = tuple(sorted((Path(__file__).parents[2] / "grafana" / "dashboards").glob("*.json")))

_VARIABLE: Final = re.compile(r"\$\{([a-z_]+)(?::([a-z:]+))?\}|\$([a-z_]+)")


def read(file: Path) -> dict[str, Any]:
    """Return a dashboard's JSON."""
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


@dataclass(frozen=True, slots=True)
class PanelQuery:
    """One query of a panel.

    Attributes:
        uid: of the dashboard.
        panel: its id.
        title: of the panel.
        expression: as it stands in the JSON.
        legend: such as `{{project}}`; empty where there is none.
        is_instant: evaluated once, at the end of the range.
        interval: the least step, such as `1d`; empty for Grafana's choice.
        time_from: the panel's own range, such as `91d`; empty for the dashboard's.
    """

    uid: str
    panel: int
    title: str
    expression: str
    legend: str
    is_instant: bool
    interval: str
    time_from: str


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every panel that shows something, those in collapsed rows too."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels") or []
        else:
            yield panel


def queries(dashboard: Mapping[str, Any]) -> Iterator[PanelQuery]:
    """Yield every query of every panel."""
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            yield PanelQuery(
                dashboard["uid"],
                panel["id"],
                panel["title"],
                target["expr"],
                target.get("legendFormat", ""),
                bool(target.get("instant")),
                target.get("interval", ""),
                panel.get("timeFrom") or "",
            )


def filled_in(expression: str, values: Mapping[str, str]) -> str:
    """Put values for Grafana's variables; `${name:format}` and `$name` are looked up by name."""

    def value(match: re.Match[str]) -> str:
        return values[match[1] or match[3]]

    return _VARIABLE.sub(value, expression)
