"""Grafana's provisioning: the data source and the dashboards that its files name are those that there are."""

import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from exporter.configuration.durations import parse_duration
from exporter.simulator.history.moments import MINUTE
from tests.deploy.compose_stack import OURS, SIMULATED, STACKS, Service, Stack, flags, load, stack
from tests.grafana.dashboard_files import DASHBOARDS, read

PROVISIONING: Final = Path(__file__).parents[2] / "grafana" / "provisioning"
IN_GRAFANA: Final = Path("/etc/grafana/provisioning")

# What Grafana reads; it says nothing of keys that it does not know.
_DATA_SOURCE_KEYS: Final = {"name", "uid", "type", "access", "url", "isDefault", "editable", "jsonData"}
_PROVIDER_KEYS: Final = {
    *("name", "orgId", "type", "folder", "folderUid", "allowUiUpdates", "disableDeletion", "updateIntervalSeconds"),
    "options",
}


@pytest.fixture(scope="module")
def data_source() -> dict[str, Any]:
    [file] = (PROVISIONING / "datasources").glob("*.yml")
    content = load(file)
    assert content.keys() == {"apiVersion", "datasources"}
    [only] = content["datasources"]
    return dict(only)


@pytest.fixture(scope="module")
def provider() -> dict[str, Any]:
    [file] = (PROVISIONING / "dashboards").glob("*.yml")
    content = load(file)
    assert content.keys() == {"apiVersion", "providers"}
    [only] = content["providers"]
    return dict(only)


@pytest.fixture(scope="module", params=STACKS)
def grafana(request: pytest.FixtureRequest) -> Service:
    return stack(request.param).services["grafana"]


def scrape_interval(of: Stack) -> float:
    prometheus = of.services["prometheus"]
    configuration = load(prometheus.here(flags(prometheus.command)["--config.file"]))
    return parse_duration(configuration["global"]["scrape_interval"]).total_seconds()


def strings(value: object) -> list[str]:
    match value:
        case dict():
            return [found for each in value.values() for found in strings(each)]
        case list():
            return [found for each in value for found in strings(each)]
    return [value] if isinstance(value, str) else []


def test_all_keys_are_grafana_s(data_source: dict[str, Any], provider: dict[str, Any]) -> None:
    assert data_source.keys() <= _DATA_SOURCE_KEYS
    assert data_source["jsonData"].keys() == {"httpMethod", "timeInterval"}
    assert provider.keys() <= _PROVIDER_KEYS
    for file in PROVISIONING.rglob("*.yml"):
        assert load(file)["apiVersion"] == 1
        # Grafana would put an environment variable in its place.
        assert not any("$" in text for text in strings(load(file)))


def test_the_data_source_is_the_one_that_every_dashboard_finds_by_itself(data_source: dict[str, Any]) -> None:
    for file in DASHBOARDS:
        dashboard = read(file)
        [variable] = [each for each in dashboard["templating"]["list"] if each["type"] == "datasource"]
        assert variable["query"] == data_source["type"] == "prometheus"
        # It has no value of its own, so that Grafana takes the default one.
        assert "current" not in variable
        assert not variable.get("regex")
        named = set(sources(dashboard))
        assert named <= {f"${{{variable['name']}}}", "-- Grafana --"}
        assert f"${{{variable['name']}}}" in named
    assert data_source["isDefault"] is True
    assert re.fullmatch(r"[a-z]+", data_source["uid"])


def sources(value: object) -> list[str]:
    """Return the uid of every data source that something in a dashboard names."""
    match value:
        case dict():
            named = value.get("datasource")
            own = [named["uid"]] if isinstance(named, dict) and "uid" in named else []
            return [*own, *(found for each in value.values() for found in sources(each))]
        case list():
            return [found for each in value for found in sources(each)]
    return []


def test_the_data_source_asks_the_stack_s_prometheus(data_source: dict[str, Any], grafana: Service) -> None:
    url = urlsplit(data_source["url"])
    assert (url.scheme, url.path) == ("http", "")
    assert url.hostname in grafana.settings["depends_on"]
    [port] = stack(OURS).services[str(url.hostname)].settings["ports"]
    assert port["target"] == url.port


def test_rates_span_several_scrapes_of_each_stack_and_several_samples_of_the_simulated_past(
    data_source: dict[str, Any],
) -> None:
    interval = parse_duration(data_source["jsonData"]["timeInterval"]).total_seconds()
    assert interval == scrape_interval(stack(OURS))
    assert interval >= max(scrape_interval(stack(SIMULATED)), MINUTE)


def test_nothing_that_is_provisioned_can_be_changed_in_the_browser(
    data_source: dict[str, Any], provider: dict[str, Any]
) -> None:
    assert data_source["editable"] is False
    assert provider["allowUiUpdates"] is False
    assert {read(file)["editable"] for file in DASHBOARDS} == {False}


def test_the_stacks_show_grafana_the_files_where_it_looks_for_them(provider: dict[str, Any], grafana: Service) -> None:
    for kind in ("datasources", "dashboards"):
        assert grafana.here(IN_GRAFANA / kind) == PROVISIONING / kind
    shown = sorted(grafana.here(provider["options"]["path"]).glob("**/*.json"))
    assert shown == sorted(DASHBOARDS)
    assert len(shown) == 4
    home = grafana.environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert read(grafana.here(home))["uid"] == "openai-spend"


def test_the_folder_is_the_same_as_on_kubernetes_and_holds_no_two_of_a_name(provider: dict[str, Any]) -> None:
    [generator] = [load(file)["generatorOptions"] for file in DASHBOARDS[0].parent.glob("kustomization.yaml")]
    assert provider["folder"] == generator["annotations"]["grafana_folder"] == "OpenAI"
    assert provider["type"] == "file"
    for what in ("uid", "title"):
        assert len({read(file)[what] for file in DASHBOARDS}) == len(DASHBOARDS)
