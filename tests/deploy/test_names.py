"""Every metric and label that a rule uses exists: in the catalogue, in an adapter or in another rule."""

import re
from pathlib import Path
from typing import Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter.simulator.clock import SettableClock
from exporter.simulator.server import Simulator
from tests.deploy.promql_labels import labels_of, labels_of_rules
from tests.deploy.rule_files import ADAPTED, ADAPTERS, PROMETHEUS, RULES, Rule, rules, scraped

# Spellings of others stand in their adapter and nowhere else.
FOREIGN: Final = {"opentelemetry.yml": "gen_ai_", "litellm.yml": "litellm_"}
TABLE_ROW: Final = re.compile(r"^\| `((?:openai|aitracer):[a-z0-9_:]+)` \| ([a-z_, ]*?) ?\|", re.MULTILINE)
KNOWN: Final = {**scraped(), **ADAPTED}


def recorded(expression: str, name: str = "openai:test", **labels: str) -> Rule:
    return Rule(Path("made-up.yml"), name, expression, labels=labels)


def problems_of(*made_up: Rule) -> list[str]:
    return labels_of_rules(made_up, KNOWN)[1]


def test_every_metric_and_label_in_the_rules_exists() -> None:
    assert labels_of_rules(rules(*RULES), KNOWN)[1] == []


def test_labels_that_alerts_show_exist() -> None:
    series, _ = labels_of_rules(rules(*RULES), KNOWN)
    for alert in rules(*RULES):
        if alert.is_alert:
            there = labels_of(alert.expression, {**KNOWN, **series}) | alert.labels.keys()
            texts = [*alert.labels.values(), *alert.annotations.values()]
            shown = {name for text in texts for name in re.findall(r"\$labels\.(\w+)", text)}
            assert shown <= there, f"{alert.name} shows {sorted(shown - there)}"


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("sum(openai_cost_total)", "there is no metric 'openai_cost_total'"),
        ("sum by (team) (openai_cost_usd_total)", "what is under sum has no label 'team'"),
        ('openai_cost_day_usd{month="current"}', "openai_cost_day_usd has no label 'month'"),
        (
            "openai_cost_day_usd * on (workflow) group_left (owner) openai_workflow_info",
            "the one side has no label 'owner'",
        ),
        ("openai_up and on (model) openai_cost_day_usd", "the left of and has no label 'model'"),
        (
            "sum by (model) (openai_cost_day_usd) / sum by (project) (openai_cost_day_usd)",
            "/ matches on all labels, but only one side has model, project",
        ),
        (
            'label_replace(openai_up, "a", "$1", "model", "(.*)")',
            "what is under label_replace has no label 'model'",
        ),
        ("sum_over_time(openai:nobody:records:it[7d:1d])", "there is no metric 'openai:nobody:records:it'"),
        ("sum by (le) (openai_exporter_http_requests_total)", "what is under sum has no label 'le'"),
    ],
)
def test_what_does_not_exist_is_named(expression: str, problem: str) -> None:
    assert problems_of(recorded(expression)) == [f"made-up.yml: openai:test: {problem}"]


def test_a_rule_may_use_what_another_or_it_itself_records() -> None:
    first = recorded(
        'sum by (model) (openai_cost_usd_total) or openai:first{kind="a"} offset 1d', "openai:first", kind="a"
    )
    second = recorded("sum by (model, kind) (openai:first)", "openai:second")
    series, problems = labels_of_rules([second, first], KNOWN)
    assert problems == []
    assert series == {"openai:first": {"model", "kind"}, "openai:second": {"model", "kind"}}


def test_opt_in_labels_of_usage_and_histograms_of_the_exporter_are_known() -> None:
    assert problems_of(recorded("sum by (api_key, service_tier) (openai_usage_tokens_total)")) == []
    assert problems_of(recorded("sum by (api, le) (openai_exporter_http_request_duration_seconds_bucket)")) == []


def test_the_native_adapter_reads_what_the_simulator_shows() -> None:
    page = Simulator(clock=SettableClock(1_793_264_400)).trace_page().decode()
    shown = {
        sample.name: frozenset(sample.labels)
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    series, problems = labels_of_rules(rules(PROMETHEUS / "rules" / "adapters" / "aitracer.yml"), shown)
    assert problems == []
    assert {name: labels | {"job", "instance"} for name, labels in series.items()} == ADAPTED


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda file: file.stem)
def test_an_adapter_copies_and_never_adds_up(adapter: Path) -> None:
    for rule in rules(adapter):
        assert rule.name in ADAPTED
        assert rule.labels["source"] == adapter.stem
        assert set(re.findall(r"\b([a-z_]+) ?\(", re.sub(r'"[^"]*"', "", rule.expression))) <= {"label_replace"}


def test_spellings_of_others_stand_in_their_adapter_only() -> None:
    for file in (*RULES, *ADAPTERS):
        for owner, prefix in FOREIGN.items():
            named = any(prefix in rule.expression for rule in rules(file))
            assert named == (file.name == owner), (file.name, prefix)


def test_the_readme_names_every_recorded_series_with_its_labels() -> None:
    table = {
        name: frozenset(labels.split(", ")) - {""}
        for name, labels in TABLE_ROW.findall((PROMETHEUS / "README.md").read_text(encoding="utf-8"))
    }
    series, _ = labels_of_rules(rules(*RULES), KNOWN)
    # Thresholds stand with a word on each in their own file, and what is recorded for alerts alone beside them.
    described_elsewhere = {rule.name for rule in rules(*RULES) if rule.file.name.startswith(("alerts", "thresholds"))}
    # What adapters make carries foreign labels, too; the table names those of the comparison.
    adapted = {name: labels - {"job", "instance"} for name, labels in ADAPTED.items()}
    expected = {name: labels for name, labels in series.items() if name not in described_elsewhere}
    assert table == {**expected, **adapted}
