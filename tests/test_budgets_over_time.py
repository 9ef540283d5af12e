"""Budgets whatever happens, in whatever order: answers, days that turn, prices and names that change."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporter.attribution import Attribution
from exporter.configuration.loading import parse_configuration
from exporter.configuration.sections import Configuration
from exporter.days import SECONDS_PER_DAY as DAY
from exporter.ledger.account import Account
from exporter.ledger.counters import CounterBook
from exporter.ledger.ledger import Ledger
from exporter.ledger.settlement import settle
from exporter.ledger.store import DirectoryEntry
from exporter.metrics.snapshot import SnapshotBuilder, Surroundings
from exporter.openai_api.answer import Answer, Billed, BilledItem
from exporter.openai_api.endpoints import ENDPOINTS
from tests.answers import Rows, answer
from tests.test_budgets import COMPLETIONS, KEYS, PROJECTS, at


class World(NamedTuple):
    """All that budgets depend on, as the exporter knows it."""

    today: int
    costs: Mapping[int, list["CostRow"]]
    usage: Mapping[int, list["UsageRow"]]
    was_billed: bool = False
    project_a: str = "core"
    by_key: bool = True
    price: str = "0.01"


class CostRow(NamedTuple):
    project: str | None
    key: str | None
    line_item: str
    quantity: int
    currency: str


class UsageRow(NamedTuple):
    project: str | None
    key: str | None
    model: str
    tokens: int


BILLED_PRICE = Fraction(3, 100)
_BY_KEY = """
workflows:
  - {workflow: search, team: platform, match: {project: core, api_key: search-1}}
  - {workflow: notebooks, team: data, match: {project: core}}
"""
_BY_PROJECT = "workflows: [{workflow: search, team: data, match: {project: studio}}, {workflow: notebooks}]"
_BUDGETS = """
budgets:
  - {budget: all, limit_usd: 5}
  - {budget: project, limit_usd: 5, match: {project: core}}
  - {budget: id, limit_usd: 5, match: {project: proj_b}}
  - {budget: workflow, limit_usd: 5, match: {workflow: search}}
  - {budget: team, limit_usd: 5, match: {team: data}}
  - {budget: model, limit_usd: 5, match: {model: gpt-5}}
  - {budget: both, limit_usd: 5, match: {workflow: search, model: gpt-4o}}
"""


def naive_workflow(world: World, project: str | None, key: str | None) -> str:
    if not world.by_key:
        return "search" if project == "proj_b" else "notebooks"
    if project != "proj_a" or world.project_a != "core":
        return "unmapped"
    return {"key_1": "search", "key_2": "notebooks", None: "unmapped"}[key]


NAIVE: dict[str, Callable[[World, str | None, str, str], bool]] = {
    "all": lambda _world, _project, _workflow, _model: True,
    "project": lambda world, project, _workflow, _model: project == "proj_a" and world.project_a == "core",
    "id": lambda _world, project, _workflow, _model: project == "proj_b",
    "workflow": lambda _world, _project, workflow, _model: workflow == "search",
    "team": lambda world, _project, workflow, _model: workflow == ("notebooks" if world.by_key else "search"),
    "model": lambda _world, _project, _workflow, model: model == "gpt-5",
    "both": lambda _world, _project, workflow, model: workflow == "search" and model.startswith("gpt-4o"),
}
# The model, and whether it is paid by the token.
LINES = {"gpt-5, input": ("gpt-5", True), "gpt-4o-2024-08-06, input": ("gpt-4o", True), "whisper": ("", False)}


def naive_spend(world: World) -> dict[str, tuple[Fraction, Fraction]]:
    """Add everything up from the beginning."""
    if not world.was_billed:
        return {}
    spent = {}
    month = f"{datetime.fromtimestamp(world.today, UTC):%Y-%m}"
    for budget, takes in NAIVE.items():
        billed = estimated = Fraction(0)
        for day in sorted({*world.costs, *world.usage}):
            if f"{datetime.fromtimestamp(day, UTC):%Y-%m}" != month or day > world.today:
                continue
            by_token, other, used = Fraction(0), Fraction(0), Fraction(0)
            for row in world.costs.get(day, []):
                model, is_token = LINES[row.line_item]
                workflow = naive_workflow(world, row.project, row.key)
                if row.currency == "usd" and takes(world, row.project, workflow, model):
                    by_token += BILLED_PRICE * row.quantity * is_token
                    other += BILLED_PRICE * row.quantity * (not is_token)
            for use in world.usage.get(day, []):
                if takes(world, use.project, naive_workflow(world, use.project, use.key), use.model):
                    used += use.tokens * naive_price(world, use.model)
            billed += by_token + other
            estimated += other + (max(by_token, used) if world.today - day <= DAY else by_token)
        spent[budget] = billed, estimated
    return spent


def naive_price(world: World, model: str) -> Fraction:
    """As billed on any closed day that is still known, else as configured."""
    if model == "gpt-5-pro":
        return Fraction(0)
    closed = [row for day, rows in world.costs.items() if day < world.today for row in rows]
    on_the_bill = any(row.quantity and row.currency == "usd" and LINES[row.line_item][0] == model for row in closed)
    return BILLED_PRICE if on_the_bill else Fraction(world.price)


def read_costs(world: World) -> Answer:
    days: dict[int, Rows] = {day: [] for day in range(world.today - 3 * DAY, world.today + DAY, DAY)}
    quantities: dict[int, dict[BilledItem, Billed]] = {}
    for day, rows in days.items():
        sums: dict[tuple[str | None, str | None, str, str], int] = {}
        for row in world.costs.get(day, []):
            key = row.project, row.key, row.line_item, row.currency
            sums[key] = sums.get(key, 0) + row.quantity
            if row.currency == "usd":
                item = BilledItem(row.line_item, "tokens" if LINES[row.line_item][1] else "duration_seconds")
                before = quantities.setdefault(day, {}).get(item, Billed(0, 0))
                quantity = before.quantity + row.quantity
                quantities[day][item] = Billed(Decimal("0.03") * quantity, quantity)
        for (project, api_key, line_item, currency), quantity in sums.items():
            if quantity:
                amount = Decimal("0.03") * quantity
                rows.append(
                    {
                        "project_id": project,
                        "api_key_id": api_key,
                        "line_item": line_item,
                        "currency": currency,
                        "amount": amount,
                    }
                )
    grouping = ("project_id", "line_item", "api_key_id")
    return replace(answer("costs", days, answered_at=world.today + 60, grouping=grouping), quantities=quantities)


def read_usage(world: World) -> Answer:
    days: dict[int, Rows] = {day: [] for day in range(world.today - 3 * DAY, world.today + DAY, DAY)}
    for day, rows in days.items():
        sums: dict[tuple[str | None, str | None, str], int] = {}
        for use in world.usage.get(day, []):
            sums[use.project, use.key, use.model] = sums.get((use.project, use.key, use.model), 0) + use.tokens
        rows += [
            {"project_id": project, "api_key_id": key, "model": model, "input_text_tokens": count}
            for (project, key, model), count in sums.items()
            if count
        ]
    return answer(COMPLETIONS, days, answered_at=world.today + 60, grouping=("project_id", "api_key_id", "model"))


PLACES = (st.sampled_from(["proj_a", "proj_b", None]), st.sampled_from(["key_1", "key_2", None]))
BACK = st.integers(0, 3)
COST_ROWS = st.builds(
    CostRow, *PLACES, st.sampled_from(sorted(LINES)), st.integers(0, 900), st.sampled_from(["usd", "usd", "usd", "eur"])
)
USAGE_ROWS = st.builds(UsageRow, *PLACES, st.sampled_from(["gpt-5", "gpt-4o", "gpt-5-pro"]), st.integers(0, 3000))
STEPS = st.one_of(
    st.tuples(st.just("costs"), st.dictionaries(BACK, st.lists(COST_ROWS, max_size=3), max_size=3)),
    st.tuples(st.just("usage"), st.dictionaries(BACK, st.lists(USAGE_ROWS, max_size=3), max_size=3)),
    st.tuples(st.just("turn"), st.sampled_from([1, 1, 1, 2, 20])),
    st.tuples(st.just("by_key"), st.booleans()),
    st.tuples(st.just("project_a"), st.sampled_from(["core", "renamed"])),
    st.tuples(st.just("price"), st.sampled_from(["0.01", "0.02"])),
)


@settings(max_examples=40, deadline=None)
# Everything that a sum may be remembered for too long by, each once.
@example(
    at(2026, 11, 14),
    [
        ("costs", {0: [CostRow("proj_a", "key_1", "whisper", 9, "usd")]}),
        ("usage", {0: [UsageRow("proj_a", "key_1", "gpt-5", 900)]}),
        ("price", "0.02"),
        ("project_a", "renamed"),
        ("by_key", False),
        ("usage", {0: [UsageRow("proj_a", "key_1", "gpt-5", 500)]}),
        ("costs", {0: [CostRow("proj_a", "key_1", "gpt-5, input", 700, "usd")]}),
        ("costs", {0: [CostRow("proj_a", "key_1", "gpt-5, input", 600, "usd")]}),
        ("turn", 1),
        ("turn", 1),
    ],
)
@example(
    at(2026, 10, 30),
    [
        ("costs", {0: [CostRow("proj_a", "key_1", "gpt-5, input", 9, "usd")]}),
        ("turn", 20),
        ("usage", {0: [UsageRow("proj_a", "key_1", "gpt-5", 900)]}),
        ("turn", 20),
        ("usage", {0: [UsageRow("proj_a", "key_1", "gpt-5", 900)]}),
        ("costs", {}),
    ],
)
@given(st.sampled_from([at(2026, 11, 14), at(2026, 10, 30), at(2026, 12, 31)]), st.lists(STEPS, max_size=14))
def test_no_sequence_of_events_leaves_a_stale_sum_behind(began: int, steps: list[tuple[str, object]]) -> None:
    world = World(began, {}, {})
    known = {api: Account(api) for api in ENDPOINTS}
    builder = SnapshotBuilder()
    for what, how in steps:
        world = changed(world, what, how)
        if what in {"costs", "usage"}:
            news = read_costs(world) if what == "costs" else read_usage(world)
            before = known[news.api]
            known[news.api] = settle(ENDPOINTS[news.api], before, news, now=world.today + 60, revision_days=3).account
        assert shown(builder, known, world) == {
            budget: tuple(map(float, spent)) for budget, spent in naive_spend(world).items()
        }


@cache
def configured(rules: str, price: str) -> Configuration:
    prices = f"prices: {{gpt-5: {{input: {price}}}, gpt-4o: {{input: {price}}}, gpt-5-pro: {{input: 0}}}}"
    return parse_configuration(f"{rules}\n{_BUDGETS}\n{prices}", "test")


def changed(world: World, what: str, how: Any) -> World:  # noqa: ANN401 - what each step says is of a type of its own
    """Let one thing happen; what the API answers for its window replaces what it said before."""
    if what == "turn":
        return world._replace(today=world.today + how * DAY)
    if what not in {"costs", "usage"}:
        news: dict[str, Any] = {what: how}
        return world._replace(**news)
    days = {world.today - back * DAY: rows for back, rows in how.items()}
    # What no poll reads any more is forgotten, of costs with the month before the last.
    newest_of_previous_month = datetime.fromtimestamp(world.today, UTC).replace(day=1) - timedelta(days=1)
    first_kept = min(newest_of_previous_month.replace(day=1).timestamp(), world.today - 3 * DAY)
    before = {day: rows for day, rows in getattr(world, what).items() if day >= first_kept}
    news = {what: {**before, **days}, "was_billed": world.was_billed or what == "costs"}
    return world._replace(**news)


def shown(builder: SnapshotBuilder, known: dict[str, Account], world: World) -> dict[str, tuple[float, float]]:
    """Return what the page says of each budget: what is billed and what is estimated."""
    configuration = configured(_BY_KEY if world.by_key else _BY_PROJECT, world.price)
    projects = PROJECTS | {"proj_a": DirectoryEntry(world.project_a, "active")}
    attribution = Attribution(projects, api_keys=KEYS, rules=configuration.workflows)
    stand_in = SimpleNamespace(accounts=known, book=CounterBook({}, 1000))
    snapshot = builder.build(cast("Ledger", stand_in), attribution, world.today + 60, Surroundings(configuration))
    page = b"".join(snapshot.text.plain).decode()
    billed = re.findall(r'^openai_budget_spend_usd\{budget="(\w+)".* (\S+)$', page, re.MULTILINE)
    estimated = dict(re.findall(r'^openai_budget_estimated_spend_usd\{budget="(\w+)".* (\S+)$', page, re.MULTILINE))
    limits = re.findall(r'^openai_budget_limit_usd\{budget="(\w+)"', page, re.MULTILINE)
    assert sorted(limits) == sorted(NAIVE)
    assert estimated.keys() == dict(billed).keys()
    return {budget: (float(value), float(estimated[budget])) for budget, value in billed}
