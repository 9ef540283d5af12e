"""What the dashboards' JSON alone shows: it is what Python makes, it holds together, and all that it names exists."""

import re
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import promql_parser as promql
import pytest

from grafana.authoring.boards import DASHBOARDS as TITLES
from grafana.authoring.palette import FIXED_BY_SERIES
from grafana.authoring.writing import DASHBOARDS_FOLDER, dashboards
from tests.deploy.promql_labels import labels_of_rules
from tests.deploy.rule_files import ADAPTED, RULES, Rule, rules, scraped
from tests.grafana.dashboard_files import DASHBOARDS, filled_in, panels, queries, read

BUILT_IN: Final = {
    "__to": "1789570800",
    "__from": "1786978800",
    "__rate_interval": "4m",
    "__interval": "1m",
    "__range": "30d",
    "__range_s": "2592000",
    "__url_time_range": "",
    "__all_variables": "",
}
# Prometheus' own, of any target; and what a Python process tells of itself.
_PROCESS: Final = (
    "process_start_time_seconds",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
)
KNOWN: Final = {**scraped(), **ADAPTED, **dict.fromkeys(_PROCESS, frozenset({"job", "instance"}))}

every_dashboard = pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)


def variables(dashboard: Mapping[str, Any]) -> dict[str, str]:
    """Any values for its variables, such that expressions can be parsed."""
    return {**{variable["name"]: "anything" for variable in dashboard["templating"]["list"]}, **BUILT_IN}


def expressions(file: Path) -> list[tuple[str, str]]:
    """Every expression of a dashboard, filled in, by what it is of."""
    dashboard = read(file)
    values = variables(dashboard)
    found = [(f"{query.panel} {query.title}", query.expression) for query in queries(dashboard)]
    found += [(annotation["name"], annotation["target"]["expr"]) for annotation in annotations(dashboard)]
    return [(of, filled_in(expression, values)) for of, expression in found]


def annotations(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [each for each in dashboard["annotations"]["list"] if each.get("target")]


def test_golden_dashboards_are_what_the_authoring_makes(request: pytest.FixtureRequest) -> None:
    made = dashboards()
    if request.config.getoption("--update-golden"):
        for name, content in made.items():
            (DASHBOARDS_FOLDER / name).write_text(content, encoding="utf-8")
    assert made == {file.name: file.read_text(encoding="utf-8") for file in DASHBOARDS}


def test_there_is_one_dashboard_for_each_question() -> None:
    assert {read(file)["uid"]: read(file)["title"] for file in DASHBOARDS} == TITLES
    assert {file.stem for file in DASHBOARDS} == TITLES.keys()


@every_dashboard
def test_a_dashboard_is_in_utc_and_tagged_and_not_edited_in_place(file: Path) -> None:
    dashboard = read(file)
    assert dashboard["timezone"] == "utc"
    assert dashboard["tags"] == ["openai"]
    assert dashboard["editable"] is False
    assert dashboard["description"]
    assert dashboard["time"]["to"] == "now"


@every_dashboard
def test_every_panel_says_what_it_shows_and_what_it_means_if_it_is_empty(file: Path) -> None:
    for panel in panels(read(file)):
        assert panel["title"].strip(), panel["id"]
        assert len(panel["description"]) > 20, panel["title"]
        if panel["type"] == "text":
            assert panel["options"]["content"].strip()
            continue
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"], panel["title"]
        assert defaults["noValue"].strip(), panel["title"]
        assert panel["targets"], panel["title"]


@every_dashboard
def test_ids_are_unique_and_panels_count_on_from_their_row(file: Path) -> None:
    dashboard = read(file)
    ids = [panel["id"] for panel in (*dashboard["panels"], *panels(dashboard))]
    assert len(set(ids)) == len({id(panel) for panel in (*dashboard["panels"], *panels(dashboard))})
    row = 0
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            row = panel["id"]
            assert row % 100 == 0
            members = panel.get("panels") or []
        else:
            members = [panel]
        for member in members:
            assert row < member["id"] < row + 100, member["title"]


@every_dashboard
def test_panels_lie_within_the_grid_and_none_over_another(file: Path) -> None:
    dashboard = read(file)
    in_rows = [panel["panels"] for panel in dashboard["panels"] if panel.get("panels")]
    for group in ([panel for panel in dashboard["panels"] if not panel.get("panels")], *in_rows):
        places = [panel["gridPos"] for panel in group]
        for place in places:
            assert place["x"] + place["w"] <= 24
            assert place["h"] > 0
        for one, other in combinations(places, 2):
            apart = (
                one["x"] + one["w"] <= other["x"]
                or other["x"] + other["w"] <= one["x"]
                or one["y"] + one["h"] <= other["y"]
                or other["y"] + other["h"] <= one["y"]
            )
            assert apart, (one, other)


@every_dashboard
def test_a_row_is_full_or_its_panels_are_of_one_height(file: Path) -> None:
    by_top: dict[int, list[dict[str, int]]] = {}
    for panel in panels(read(file)):
        by_top.setdefault(panel["gridPos"]["y"], []).append(panel["gridPos"])
    for places in by_top.values():
        assert len({place["h"] for place in places}) == 1, places


@every_dashboard
def test_everything_is_asked_of_the_chosen_data_source(file: Path) -> None:
    dashboard = read(file)
    source = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels(dashboard):
        if panel["type"] != "text":
            assert panel["datasource"] == source
            assert all(target["datasource"] == source for target in panel["targets"])
    names = [variable["name"] for variable in dashboard["templating"]["list"]]
    assert names[0] == "datasource"
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            assert variable["datasource"] == source


@every_dashboard
def test_every_variable_is_used_and_every_used_one_is_there(file: Path) -> None:
    dashboard = read(file)
    there = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    texts = [query.expression for query in queries(dashboard)]
    texts += [str(variable.get("query", "")) for variable in there.values()]
    texts += [panel.get("title", "") for panel in panels(dashboard)]
    texts += [panel["options"]["content"] for panel in panels(dashboard) if panel["type"] == "text"]
    used = {name for text in texts for match in re.finditer(r"\$\{?([a-z_]+)", text) for name in match.groups()}
    assert used - BUILT_IN.keys() == there.keys() - {"datasource"}


@every_dashboard
def test_variables_offer_all_and_begin_with_it(file: Path) -> None:
    for variable in read(file)["templating"]["list"]:
        if variable["name"] in {"project", "model", "workflow", "team", "job", "budget", "instance"}:
            assert variable["multi"] is True
            assert variable["includeAll"] is True
            assert variable["current"]["value"] == ["$__all"]
            assert variable["refresh"] == 2


@every_dashboard
def test_each_links_to_all_others_and_carries_time_and_variables_along(file: Path) -> None:
    dashboard = read(file)
    links = dashboard["links"]
    assert [link["url"] for link in links] == [f"/d/{uid}" for uid in TITLES if uid != dashboard["uid"]]
    assert all(link["keepTime"] and link["includeVars"] for link in links)


@every_dashboard
def test_annotations_tell_of_restarts_reloads_and_lost_states(file: Path) -> None:
    told = {annotation["name"] for annotation in annotations(read(file))}
    assert told == {"Restarts", "Configuration reloads", "State losses"}


@every_dashboard
def test_every_expression_is_promql(file: Path) -> None:
    for of, expression in expressions(file):
        assert promql.parse(expression) is not None, of


@every_dashboard
def test_every_metric_and_label_in_an_expression_exists(file: Path) -> None:
    asked = [Rule(file, f"openai:asked_{of}", expression) for of, expression in expressions(file)]
    _, problems = labels_of_rules([*rules(*RULES), *asked], KNOWN)
    assert problems == []


@every_dashboard
def test_every_label_in_a_legend_is_one_that_the_query_keeps(file: Path) -> None:
    dashboard = read(file)
    values = variables(dashboard)
    named = [query for query in queries(dashboard) if "{{" in query.legend]
    asked = [
        Rule(file, f"openai:asked_{place}", filled_in(query.expression, values)) for place, query in enumerate(named)
    ]
    labels, _ = labels_of_rules([*rules(*RULES), *asked], KNOWN)
    for place, query in enumerate(named):
        shown = set(re.findall(r"\{\{ *(\w+) *\}\}", query.legend))
        assert shown <= labels[f"openai:asked_{place}"], query.title


@every_dashboard
def test_every_metric_and_label_in_a_variables_query_exists(file: Path) -> None:
    dashboard = read(file)
    values = variables(dashboard)
    recorded, _ = labels_of_rules(rules(*RULES), KNOWN)
    known = {**KNOWN, **recorded}
    for variable in dashboard["templating"]["list"]:
        if variable["type"] != "query":
            continue
        query = filled_in(variable["query"], values)
        result = re.fullmatch(r"query_result\((.*)\)", query)
        if result:
            asked = Rule(file, "openai:asked", result[1])
            labels, problems = labels_of_rules([*rules(*RULES), asked], KNOWN)
            assert problems == []
            assert variable["regex"].removeprefix("/").partition("=")[0] in labels["openai:asked"]
            continue
        of_label = re.fullmatch(r"label_values\((.*), (\w+)\)", query)
        assert of_label, query
        selector, label = of_label.groups()
        by_name = re.findall(r'__name__=~"([^"]+)"', selector)
        names = [name for name in known if by_name and re.fullmatch(by_name[0], name)]
        names = names or re.findall(r"^[a-z_:0-9]+", selector)
        assert names, query
        assert all(label in known[name] for name in names), query


@every_dashboard
def test_what_has_a_colour_of_its_own_has_it_in_every_panel(file: Path) -> None:
    for panel in panels(read(file)):
        for override in panel.get("fieldConfig", {}).get("overrides", []):
            name = override["matcher"]["options"]
            fixed = [
                each["value"]["fixedColor"]
                for each in override["properties"]
                if each["id"] == "color" and each["value"]["mode"] == "fixed"
            ]
            if name in FIXED_BY_SERIES and fixed:
                assert fixed == [FIXED_BY_SERIES[name]], (panel["title"], name)


def test_alerts_lead_to_a_panel_that_there_is_with_variables_that_the_dashboard_has() -> None:
    boards = {read(file)["uid"]: read(file) for file in DASHBOARDS}
    led = 0
    for alert in rules(*RULES):
        url = alert.annotations.get("dashboard_url")
        if url is None:
            continue
        address = urlsplit(url)
        board = boards[address.path.removeprefix("/d/")]
        asked = parse_qs(re.sub(r"\{\{.*?\}\}", "x", address.query))
        (panel,) = asked.pop("viewPanel")
        assert int(panel) in {each["id"] for each in panels(board)}, alert.name
        names = {variable["name"] for variable in board["templating"]["list"]}
        assert {name.removeprefix("var-") for name in asked} <= names, alert.name
        led += 1
    assert led > 25


def test_the_readme_shows_a_picture_of_each_dashboard() -> None:
    folder = DASHBOARDS_FOLDER.parent
    readme = (folder / "README.md").read_text(encoding="utf-8")
    for uid in TITLES:
        assert f"(dashboards/{uid}.json)" in readme
        assert f"(pictures/{uid}.png)" in readme
        assert (folder / "pictures" / f"{uid}.png").read_bytes().startswith(b"\x89PNG")
