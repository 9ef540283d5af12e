"""The alerts and what their promtool tests expect, read."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.deploy.rule_files import RULES, load, rules

ALERT_FILES: Final = tuple(file for file in RULES if file.name.startswith("alerts_"))
ALERTS: Final = tuple(rule for rule in rules(*ALERT_FILES) if rule.is_alert)
NAMES: Final = tuple(sorted({alert.name for alert in ALERTS}))
SEVERITIES: Final = ("critical", "warning", "info")


@dataclass(frozen=True, slots=True)
class ExpectedAlerts:
    """One question that a promtool test asks about an alert.

    Attributes:
        name: the alert's.
        severities: of the alerts that must fire, one each; none must fire where there is none.
    """

    name: str
    severities: tuple[str, ...]


def expected_alerts(*files: Path) -> Iterator[ExpectedAlerts]:
    """Yield every `alert_rule_test` of these promtool tests."""
    for file in files:
        for test in load(file)["tests"]:
            for question in test.get("alert_rule_test", ()):
                yield ExpectedAlerts(
                    question["alertname"], tuple(alert["exp_labels"]["severity"] for alert in question["exp_alerts"])
                )
