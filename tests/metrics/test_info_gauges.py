"""What line items, workflows and projects stand for: one series each, so that joins on them work."""

from collections.abc import Mapping
from decimal import Decimal

import pytest

from exporter.configuration.loading import parse_configuration
from exporter.ledger.account import Account, Bucket
from exporter.ledger.counters import SeriesName
from exporter.ledger.store import DirectoryEntry
from exporter.metrics.catalogue import LINE_ITEM_INFO, PROJECT_INFO, WORKFLOW_INFO, Family
from exporter.metrics.info_gauges import line_item_info, project_info, workflow_info
from exporter.openai_api.answer import Billed, BilledItem, Quantities, RowKey, RowValues
from exporter.simulator.line_items import CREDIT, unit_of
from exporter.simulator.price_list import MODELS
from tests.answers import MONDAY
from tests.pricing.simulated_bill import BILLING, settled_quantities

DAY = 86_400


def shown(gauges: Mapping[SeriesName, object], family: Family) -> list[dict[str, str]]:
    assert set(gauges.values()) <= {1}
    for series in gauges:
        assert series.family == family.name
        assert tuple(name for name, _ in series.labels) == family.labels
    return [dict(series.labels) for series in gauges]


def bill(
    rows: Mapping[int, list[tuple[str | None, str | None]]], quantities: Mapping[int, Quantities] | None = None
) -> Account:
    """Return an account with one dollar per project and line item, by number of the day."""
    buckets = {
        MONDAY + day * DAY: Bucket(
            (), {(project, None, text, None, None, "usd"): (Decimal(1),) for project, text in named}
        )
        for day, named in rows.items()
    }
    known = {MONDAY + day * DAY: items for day, items in (quantities or {}).items()}
    return Account("costs", covered_from=MONDAY, buckets=buckets, quantities=known)


def units(*names: str, line_item: str = "gpt-5, input") -> Quantities:
    return {BilledItem(line_item, name): Billed(1, 1) for name in names}


def units_shown(account: Account) -> dict[str, str]:
    series = shown(line_item_info(account), LINE_ITEM_INFO)
    found = {each["line_item"]: each["unit"] for each in series}
    assert len(found) == len(series)
    return found


def test_rows_without_a_line_item_have_a_series_too_so_that_a_join_drops_none() -> None:
    (series,) = shown(line_item_info(bill({0: [("proj_a", None), ("proj_a", "")]})), LINE_ITEM_INFO)
    assert set(series.values()) == {""}


def test_every_line_of_the_simulated_bill_is_there_once_with_its_parts_and_unit() -> None:
    days = range(MONDAY - 14 * DAY, MONDAY, DAY)
    on_the_bill: set[str] = set()
    buckets: dict[int, Bucket] = {}
    for day in days:
        rows: dict[RowKey, RowValues] = {}
        for (project, _, line_item, *_), (usd, _quantity) in BILLING.settled(day).items():
            on_the_bill.add(str(line_item))
            if usd:
                rows[None if project is None else str(project), None, str(line_item), None, None, "usd"] = (usd,)
        buckets[day] = Bucket((), rows)
    quantities = {day: settled_quantities(day) for day in days}
    series = shown(line_item_info(Account("costs", buckets=buckets, quantities=quantities)), LINE_ITEM_INFO)

    assert sorted(each["line_item"] for each in series) == sorted(on_the_bill)
    models = {model.billed_as for model in MODELS.values()}
    of_tokens = [each for each in series if each["token_type"]]
    assert len(of_tokens) > 60
    for each in of_tokens:
        assert each["model"] in models
        text = each["line_item"].removesuffix(", long context")
        prefix = each["line_item"].partition(" | ")[0] if " | " in text else ""
        assert each["service_tier"] == (prefix if prefix in {"priority", "flex"} else "default")
        named = text.removeprefix(f"{prefix} | ").removeprefix(each["model"])
        modality = "" if each["modality"] == "unspecified" else f" {each['modality']}"
        spelled = {"input": "input", "input_cached": "cached input", "input_cache_write": "cache writes"}
        assert named == f"{modality}, {spelled.get(each['token_type'], 'output')}"
        assert each["unit"] == "tokens"
    unparsed = {each["line_item"]: each for each in series if not each["token_type"]}
    assert unparsed.keys() >= {
        "Vector storage",
        "web search tool calls",
        "whisper",
        CREDIT,
        "assistants api | file search",
    }
    for text, each in unparsed.items():
        assert each == {**dict.fromkeys(LINE_ITEM_INFO.labels, ""), "line_item": text, "unit": unit_of(text) or ""}


def test_a_free_line_is_there_though_it_leaves_no_row() -> None:
    assert units_shown(bill({}, {0: {BilledItem("omni-moderation-latest, input", "tokens"): Billed(0, 5)}})) == {
        "omni-moderation-latest, input": "tokens"
    }


def test_a_line_that_several_projects_have_on_several_days_is_there_once() -> None:
    account = bill({0: [("proj_a", "whisper"), ("proj_b", "whisper")], 1: [("proj_a", "whisper"), (None, "other")]})

    assert units_shown(account) == {"whisper": "", "other": ""}


@pytest.mark.parametrize(
    ("by_day", "unit"),
    [
        ([units("tokens"), units("1000_tokens")], "1000_tokens"),
        ([units("1000_tokens"), units("tokens")], "tokens"),
        ([units("tokens"), units("")], "tokens"),
        ([units(""), units("")], ""),
        ([units("", "tokens")], "tokens"),
    ],
)
def test_a_line_whose_unit_changed_is_there_once_with_the_newest(by_day: list[Quantities], unit: str) -> None:
    days = dict(enumerate(by_day))
    for order in (days, dict(reversed(days.items()))):
        assert units_shown(bill({0: [("proj_a", "gpt-5, input")]}, order)) == {"gpt-5, input": unit}


@pytest.mark.parametrize("text", ['quoted "x", input', "a\nb", "😀, output", " , input", "x" * 5000, "gpt-5, sideways"])
def test_a_line_of_any_text_is_kept_as_it_is(text: str) -> None:
    assert list(units_shown(bill({0: [("proj_a", text)]}))) == [text]


def test_a_workflow_is_there_once_with_its_owners_and_so_is_what_nobody_owns() -> None:
    rules = parse_configuration(
        """
        workflows:
          - {workflow: bot, team: care, match: {project: a}}
          - {workflow: bot, business_unit: retail, action_group: support, match: {project: b}}
          - {workflow: search}
        """,
        "test",
    ).workflows
    nobody = dict.fromkeys(("action_group", "team", "business_unit"), "(none)")

    assert shown(workflow_info(rules), WORKFLOW_INFO) == [
        {"workflow": "unmapped", **nobody},
        {"workflow": "bot", "action_group": "support", "team": "care", "business_unit": "retail"},
        {"workflow": "search", **nobody},
    ]
    assert shown(workflow_info(()), WORKFLOW_INFO) == [{"workflow": "unmapped", **nobody}]


def test_projects_of_one_name_are_told_apart_by_their_ids() -> None:
    projects = {"proj_a": DirectoryEntry("core", "active"), "proj_b": DirectoryEntry("core", "archived")}

    assert shown(project_info(projects), PROJECT_INFO) == [
        {"project_id": "proj_a", "project": "core", "status": "active"},
        {"project_id": "proj_b", "project": "core", "status": "archived"},
    ]
