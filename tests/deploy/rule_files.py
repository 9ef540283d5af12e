"""The rule files, read; and what a page that Prometheus scrapes can hold."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from exporter.metrics.catalogue import FAMILIES, OPT_IN_LABELS, Kind
from tests.deploy.gateway_series import gateway_series

PROMETHEUS: Final = Path(__file__).parents[2] / "deploy" / "prometheus"
RULES: Final = tuple(sorted((PROMETHEUS / "rules").glob("*.yml")))
ADAPTERS: Final = tuple(sorted((PROMETHEUS / "rules" / "adapters").glob("*.yml")))
RULE_TESTS: Final = tuple(sorted((PROMETHEUS / "tests").glob("*.yml")))

# Of libyaml, ten times as fast; PyYAML can be built without it.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Prometheus adds these to all that it scrapes.
_TARGET: Final = frozenset({"job", "instance"})

ADAPTED: Final = {
    name: frozenset(
        {"source", "workflow", "action_group", "project_id", "environment", "provider", "model", *extra} | _TARGET
    )
    for name, extra in {
        "aitracer:tokens:total": ("token_type",),
        "aitracer:cost_usd:total": (),
        "aitracer:requests:total": ("status",),
    }.items()
}
"""What adapters make, and the labels that the comparison may rely on. Foreign labels stay on, and are nobody's."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A recording or alerting rule.

    Attributes:
        file: where it stands.
        name: what it records, or the alert's name.
        expression: PromQL.
        is_alert: whether it is an alert.
        labels: that the rule itself sets.
        annotations: of an alert.
    """

    file: Path
    name: str
    expression: str
    is_alert: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


def load(file: Path) -> dict[str, Any]:
    """Read a file of rules, or of promtool's tests of them."""
    read: dict[str, Any] = yaml.load(file.read_text(encoding="utf-8"), _LOADER)  # noqa: S506 - either loader is a safe one
    return read


def rules(*files: Path) -> Iterator[Rule]:
    """Yield the rules of these files, which nobody writes meanwhile, in their order."""
    for file in files:
        yield from _rules(file)


@cache
def _rules(file: Path) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            file,
            rule.get("record") or rule["alert"],
            str(rule["expr"]),
            "alert" in rule,
            rule.get("labels", {}),
            rule.get("annotations", {}),
        )
        for group in load(file)["groups"]
        for rule in group["rules"]
    )


def scraped() -> dict[str, frozenset[str]]:
    """Return every sample name that a scrape of exporter or trace gateway brings, with all the labels it can have."""
    opt_in = {name for _, names in OPT_IN_LABELS.values() for name in names}
    known = {"up": _TARGET, **{name: labels | _TARGET for name, labels in gateway_series().items()}}
    for family in FAMILIES:
        labels = frozenset(family.labels) | _TARGET
        # Only what comes from rows of usage and costs, and prices, which follow them, can carry opt-in labels.
        if "workflow" in family.labels:
            labels |= opt_in
        if family.kind is Kind.HISTOGRAM:
            known |= {f"{family.name}_bucket": labels | {"le"}}
            known |= dict.fromkeys((f"{family.name}_sum", f"{family.name}_count"), labels)
        else:
            known[family.name] = labels
    return known
