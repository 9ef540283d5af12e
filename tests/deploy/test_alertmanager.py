"""The Alertmanager configuration: accepted, routed by team and severity, without secrets, and nothing told twice."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import pytest
import yaml

from tests.deploy.alert_files import ALERTS, NAMES
from tests.deploy.alertmanager_server import (
    SHIPPED,
    AlertmanagerServer,
    Receivers,
    alertmanager,
    for_the_test,
    receivers,
    shipped_configuration,
    wait_until,
)
from tests.deploy.promql_labels import labels_of, labels_of_rules
from tests.deploy.rule_files import ADAPTED, RULES, rules, scraped
from tests.end_to_end.prometheus_server import PrometheusServer, prometheus
from tests.prometheus_tools import program

CONFIGURATION: Final = SHIPPED / "alertmanager.yml"

# What a page says whose exporter has a refused key, a budget that is used up and a project whose limit is enforced. All
# its polls failed, at the beginning of time.
PAGE: Final = """
openai_exporter_build_info{version="1",revision="a",python_version="3.13"} 1
openai_exporter_auth_failed 1
openai_exporter_poll_success{api="costs"} 0
openai_exporter_poll_last_success_timestamp_seconds{api="costs"} 1000000
openai_exporter_config_reload_timestamp_seconds 1000000
openai_exporter_grouping_enabled{api="costs",dimension="api_key_id"} 0
openai_exporter_config_reload_success 0
openai_workflow_info{workflow="support-bot",action_group="support",team="customer-care",business_unit="retail"} 1
openai_workflow_info{workflow="search",action_group="find",team="platform",business_unit="retail"} 1
openai_budget_limit_usd{budget="support \\"bot\\" & co",scope="workflow=support-bot"} 1500
openai_budget_estimated_spend_usd{budget="support \\"bot\\" & co",scope="workflow=support-bot"} 1600.5
openai_budget_limit_usd{budget="fine",scope="organization"} 1000000
openai_budget_estimated_spend_usd{budget="fine",scope="organization"} 5
openai_project_info{project_id="proj_a",project="core",status="active"} 1
openai_cost_month_usd{project_id="proj_a",project="core",model="m",workflow="search",line_item="m",month="current"} 990
openai_cost_month_usd{project_id="proj_a",project="core",model="m",workflow="search",line_item="m",month="previous"} 1
openai_spend_limit_usd{project_id="proj_a",project="core"} 1000
openai_spend_limit_enforcing{project_id="proj_a",project="core"} 1
"""

DELIVERED: Final = (
    ("customer-care-pager", "is used up"),
    ("owners-pager", "OpenAI refuses the admin key"),
    ("owners-pager", "OpenAI refuses calls of core"),
    ("owners-chat", "The exporter refused its changed configuration"),
    ("owners-mail", "OpenAI does not split costs by api_key_id"),
)
STATES: Final = {
    ("OpenAIBudgetExceeded", "critical"): "active",
    ("OpenAIKeyRefused", "critical"): "active",
    ("OpenAISpendLimitEnforcing", "critical"): "active",
    ("OpenAIPollsFailing", "warning"): "suppressed",
    ("OpenAIDataStale", "warning"): "suppressed",
    ("OpenAIDataStale", "critical"): "suppressed",
    ("OpenAISpendLimitNear", "warning"): "suppressed",
    ("OpenAISpendLimitNear", "critical"): "suppressed",
}


class Told(NamedTuple):
    """Prometheus with the shipped rules, Alertmanager with the shipped configuration, and those who are told."""

    server: PrometheusServer
    manager: AlertmanagerServer
    receivers: Receivers


def test_amtool_accepts_the_configuration_and_its_template() -> None:
    done = subprocess.run(
        [program("amtool"), "check-config", str(CONFIGURATION)], capture_output=True, check=False, timeout=60, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 templates" in done.stdout


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("alertname=OpenAIExporterDown severity=critical job=openai instance=a", "owners-pager"),
        ("alertname=OpenAIKeyRefused severity=critical job=openai instance=a", "owners-pager"),
        ("alertname=OpenAIDataStale severity=warning job=openai instance=a api=costs", "owners-chat"),
        ("alertname=OpenAIGroupingRefused severity=info job=openai instance=a", "owners-mail"),
        ("alertname=OpenAIBudgetExceeded severity=critical budget=b team=customer-care", "customer-care-pager"),
        ("alertname=OpenAISpendAnomaly severity=warning project=p team=customer-care", "customer-care-chat"),
        ("alertname=AITracerWorkflowUntraced severity=info workflow=w team=customer-care", "customer-care-mail"),
        # A team that nobody gave a route, and what has none.
        ("alertname=OpenAIBudgetExceeded severity=critical budget=b team=platform", "owners-pager"),
        ("alertname=OpenAISpendAnomaly severity=warning project=p team=(none)", "owners-chat"),
        ("alertname=AITracerWorkflowUntraced severity=info workflow=w team=platform", "owners-mail"),
        # Somebody else's.
        ("alertname=NodeDown severity=page", "owners-chat"),
    ],
)
def test_alerts_are_routed_by_team_and_severity(labels: str, receiver: str) -> None:
    command = ["config", "routes", "test", f"--config.file={CONFIGURATION}", f"--verify.receivers={receiver}"]
    done = subprocess.run(
        [program("amtool"), *command, *labels.split()], capture_output=True, check=False, timeout=60, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == [receiver]


def test_no_secret_stands_in_the_configuration() -> None:
    secret = re.compile(r"(key|token|password|secret|credentials|api_url)$")
    for name, value in _leaves(shipped_configuration()):
        assert not secret.search(name), f"{name}: {value}"
    files = [str(value) for name, value in _leaves(shipped_configuration()) if name.endswith("_file")]
    assert len(files) >= 5
    assert all(file.startswith("/etc/alertmanager/secrets/") for file in files)


def test_what_inhibits_and_what_is_inhibited_exists() -> None:
    known = {**scraped(), **ADAPTED}
    series, _ = labels_of_rules(rules(*RULES), known)
    labels: dict[str, set[str]] = {}
    for alert in ALERTS:
        of_alert = labels_of(alert.expression, {**known, **series}) | alert.labels.keys()
        labels.setdefault(alert.name, set()).update(of_alert)
    for rule in shipped_configuration()["inhibit_rules"]:
        sides = [_alert_names(rule[side]) for side in ("source_matchers", "target_matchers")]
        for names in sides:
            assert names
            assert set(names) <= set(NAMES)
        if sides[0] != sides[1]:
            assert set(sides[0]).isdisjoint(sides[1])
            for name in (*sides[0], *sides[1]):
                assert set(rule["equal"]) <= labels[name], name


def test_what_tells_the_severities_of_one_alert_apart_is_nothing_but_the_severity() -> None:
    known = {**scraped(), **ADAPTED}
    series, _ = labels_of_rules(rules(*RULES), known)
    [by_severity] = [
        rule
        for rule in shipped_configuration()["inhibit_rules"]
        if _alert_names(rule["source_matchers"]) == _alert_names(rule["target_matchers"])
    ]
    # A name says the same as an id, and whose it is follows from it.
    follows = {"severity", "project", "api_key", "team"}
    twice = [alert for alert in ALERTS if len({other.labels["severity"] for other in _same_name(alert.name)}) > 1]
    assert {alert.name for alert in twice} == {"OpenAIDataStale", "OpenAISpendLimitNear", "OpenAIKeyExpires"}
    for alert in twice:
        of_alert = labels_of(alert.expression, {**known, **series})
        assert of_alert - follows <= set(by_severity["equal"]), alert.name


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("told")
    with receivers() as to, alertmanager(folder, for_the_test(shipped_configuration(), folder, to)) as manager:
        to.page = PAGE
        with prometheus(folder, _prometheus_configuration(folder, to, manager)) as server:
            yield Told(server, manager, to)


def test_a_budget_and_a_refused_key_reach_their_receivers_and_what_follows_from_them_does_not(told: Told) -> None:
    to = told.receivers
    for receiver, text in DELIVERED:
        wait_until(lambda: text in to.texts(receiver), 30, f"{receiver} is told: {text}")  # noqa: B023 - at once
    wait_until(lambda: STATES.keys() <= told.manager.states().keys(), 30, "all alerts arrive")
    assert told.manager.states().items() >= STATES.items()
    everything = "".join(to.texts(path.removeprefix("/")) for path in list(to.posted))
    for silent in ("Polls of costs fail", "costs was not read", "spend limit of core is near"):
        assert silent not in everything
    assert set(to.posted) == {f"/{receiver}" for receiver, _ in DELIVERED}


def test_each_receiver_is_told_in_words_with_links(told: Told) -> None:
    to = told.receivers
    wait_until(lambda: {"/customer-care-pager", "/owners-chat"} <= to.posted.keys(), 30, "both are told")
    wait_until(lambda: DELIVERED[1][1] in to.texts("owners-pager"), 30, "the key is told of")
    [alert] = to.posted["/customer-care-pager"][0]["alerts"]
    assert alert["labels"]["team"] == "customer-care"
    assert alert["annotations"]["summary"] == 'The budget "support "bot" & co" is used up'
    assert alert["annotations"]["description"].startswith(
        "$1600.50 were spent this month, by estimate, of a budget of $1500.00 for workflow=support-bot."
    )
    assert alert["annotations"]["dashboard_url"].endswith("?viewPanel=110&var-budget=support+%22bot%22+%26+co")
    chat = to.posted["/owners-chat"][0]["attachments"][0]
    assert chat["title"] == "[FIRING warning] The exporter refused its changed configuration"
    assert "#openaireloadfailed" in chat["text"]
    pages = {page["payload"]["summary"] for page in to.posted["/owners-pager"]}
    assert "[FIRING critical] OpenAI refuses the admin key" in pages


def test_rules_without_a_source_of_traces_are_evaluated_without_an_error(told: Told) -> None:
    wait_until(lambda: all(rule["health"] != "unknown" for rule in _rules_of(told.server)), 30, "rules are evaluated")
    evaluated = _rules_of(told.server)
    assert len(evaluated) == sum(1 for _ in rules(*RULES))
    assert [(rule["name"], rule.get("lastError")) for rule in evaluated if rule["health"] != "ok"] == []
    assert [rule["name"] for rule in evaluated if rule["name"].startswith("AITracer") and rule["alerts"]] == []


def test_an_exporter_that_goes_down_is_told_of(told: Told) -> None:
    to = told.receivers
    wait_until(lambda: DELIVERED[1][1] in to.texts("owners-pager"), 30, "the exporter was seen")
    to.page = None
    try:
        wait_until(lambda: "cannot be scraped" in to.texts("owners-pager"), 30, "the exporter is told of")
    finally:
        to.page = PAGE


def _prometheus_configuration(folder: Path, to: Receivers, manager: AlertmanagerServer) -> str:
    """Scrape the page, evaluate all rules as `_quick` leaves them, and tell Alertmanager; every second."""
    every_second = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    return yaml.safe_dump(
        {
            "global": every_second,
            "rule_files": [str(_quick(file, folder)) for file in RULES],
            "scrape_configs": [{"job_name": "ai", "static_configs": [{"targets": [to.url.removeprefix("http://")]}]}],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [manager.address]}]}]},
        }
    )


def _quick(file: Path, folder: Path) -> Path:
    """Write a rule file that is the shipped one, but evaluated every second; alerts wait two and hold on no longer."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    for group in content["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            rule.pop("keep_firing_for", None)
            if "for" in rule:
                rule["for"] = "2s"
    quick = folder / file.name
    quick.write_text(yaml.safe_dump(content), encoding="utf-8")
    return quick


def _rules_of(server: PrometheusServer) -> list[dict[str, Any]]:
    groups = httpx.get(f"{server.url}/api/v1/rules", timeout=10).json()["data"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _same_name(name: str) -> list[Any]:
    return [alert for alert in ALERTS if alert.name == name]


def _leaves(node: object, name: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, str(key))
    elif isinstance(node, list):
        for value in node:
            yield from _leaves(value, name)
    else:
        yield name, node


def _alert_names(matchers: list[str]) -> list[str]:
    [names] = [found[1] for matcher in matchers if (found := re.fullmatch(r'alertname=~?"(.*)"', matcher))]
    if names == "OpenAI.+|AITracer.+":
        return list(NAMES)
    return list(names.split("|"))
