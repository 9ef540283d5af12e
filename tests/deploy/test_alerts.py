"""Every alert says what is wrong, how bad it is and where to look, stands on named thresholds, and is tested."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.deploy.alert_files import ALERT_FILES, ALERTS, NAMES, SEVERITIES, expected_alerts
from tests.deploy.rule_files import PROMETHEUS, RULE_TESTS, Rule, rules
from tests.prometheus_tools import program

RUNBOOKS: Final = "https://runbooks.example.com/openai-usage-exporter"
DASHBOARDS: Final = "https://grafana.example.com/d"
DASHBOARD: Final = re.compile(
    rf"{DASHBOARDS}/(?:openai-spend|openai-usage|openai-aitracer|openai-exporter)"
    r"\?viewPanel=[1-9][0-9]+(?:&var-[a-z]+=[^&]+)*"
)
CAMEL_CASE: Final = re.compile(r"(?:OpenAI|AITracer)(?:[A-Z][a-z]+)+")
THRESHOLD: Final = re.compile(r"openai:threshold:\w+")
THRESHOLDS: Final = PROMETHEUS / "rules" / "thresholds.yml"
EXPECTED: Final = tuple(expected_alerts(*RULE_TESTS))

every_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert.name}-{alert.labels.get('severity')}")


@every_alert
def test_an_alert_has_a_name_a_severity_and_words_with_figures_or_names(alert: Rule) -> None:
    assert CAMEL_CASE.fullmatch(alert.name)
    assert alert.labels["severity"] in SEVERITIES
    assert alert.annotations.keys() == {"summary", "description", "runbook_url", "dashboard_url"}
    # What is not loaded at all has no figure and no name.
    assert "{{" in alert.annotations["description"] or alert.name == "OpenAIThresholdsMissing"


@every_alert
def test_an_alert_links_to_its_place_in_the_runbook_and_to_a_dashboard(alert: Rule) -> None:
    assert alert.annotations["runbook_url"] == f"{RUNBOOKS}#{alert.name.lower()}"
    assert DASHBOARD.fullmatch(alert.annotations["dashboard_url"])


@every_alert
def test_an_alert_is_shown_to_fire_with_this_severity(alert: Rule) -> None:
    assert any(expected.name == alert.name and alert.labels["severity"] in expected.severities for expected in EXPECTED)


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_is_shown_not_to_fire(name: str) -> None:
    assert any(expected.name == name and not expected.severities for expected in EXPECTED)


def test_promtool_tests_know_no_other_alert() -> None:
    assert {expected.name for expected in EXPECTED} == set(NAMES)


def test_values_in_addresses_are_escaped() -> None:
    for alert in ALERTS:
        for value in re.findall(r"\{\{(.*?)\}\}", alert.annotations["dashboard_url"]):
            assert value.strip().endswith("| urlquery"), (alert.name, value)


def test_every_threshold_that_alerts_use_is_recorded_and_every_one_recorded_is_used() -> None:
    recorded = [rule.name for rule in rules(THRESHOLDS)]
    others = [file for file in (PROMETHEUS / "rules").glob("*.yml") if file != THRESHOLDS]
    used = {name for rule in rules(*others) for name in THRESHOLD.findall(rule.expression)}
    assert len(recorded) == len(set(recorded))
    assert used == set(recorded)


def test_a_missing_threshold_silences_an_alert_instead_of_failing_it() -> None:
    # scalar() of nothing is NaN, which nothing is above or below. What is only asked for must be there.
    for rule in rules(*ALERT_FILES):
        bare = re.sub(r"scalar\(openai:threshold:\w+\)|and on \(\) openai:threshold:\w+", "", rule.expression)
        assert "threshold" not in bare.replace("absent(openai:threshold:budget_exceeded_ratio)", ""), rule.name


def test_every_threshold_stands_under_a_word_on_how_to_tune_it() -> None:
    for block in THRESHOLDS.read_text(encoding="utf-8").split("\n\n")[1:]:
        if "record:" in block:
            assert block.lstrip().startswith("#"), block


def test_the_command_of_the_runbook_puts_addresses_in_place_of_the_placeholders(tmp_path: Path) -> None:
    command = re.search(r"^sed .*?alerts_\*\.yml$", runbook(), re.MULTILINE | re.DOTALL)
    assert command is not None
    (tmp_path / "rules").mkdir()
    for file in ALERT_FILES:
        (tmp_path / "rules" / file.name).write_bytes(file.read_bytes())
    files = [f"rules/{file.name}" for file in ALERT_FILES]
    words = shlex.split(command[0].replace("\\\n", " "))
    assert words.pop() == "rules/alerts_*.yml"
    subprocess.run([*words, *files], cwd=tmp_path, check=True, timeout=60)
    text = "".join((tmp_path / file).read_text(encoding="utf-8") for file in files)
    assert "example.com" not in text
    assert text.count("https://wiki.your.org/openai-runbook#") == text.count("runbook_url:")
    subprocess.run(
        [program("promtool"), "check", "rules", *files], cwd=tmp_path, check=True, capture_output=True, timeout=60
    )


def runbook() -> str:
    return (PROMETHEUS / "runbook.md").read_text(encoding="utf-8")
