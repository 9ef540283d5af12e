"""What counts against a budget, and what it comes to: the bill, and for two days what their tokens should cost."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest

from exporter.attribution import Attribution
from exporter.budgets import BudgetLedger, BudgetSelection, Spend, idle_budgets, scope
from exporter.configuration.loading import parse_configuration
from exporter.configuration.sections import Configuration
from exporter.days import SECONDS_PER_DAY as DAY
from exporter.ledger.account import Account, Bucket
from exporter.ledger.store import DirectoryEntry
from exporter.openai_api.answer import RowKey
from exporter.openai_api.endpoints import COSTS, ENDPOINTS
from exporter.pricing.price_book import PriceBook
from tests.answers import MONDAY, Rows, answer

TODAY = MONDAY + 14 * DAY
"""2026-11-16."""
YESTERDAY = TODAY - DAY
COMPLETIONS = "usage/completions"

RULES = """
workflows:
  - {workflow: search, team: platform, business_unit: retail, match: {project: core, api_key: "search-.*"}}
  - {workflow: notebooks, team: data, match: {project: core}}
  - {workflow: studio, team: marketing, business_unit: retail, match: {project: studio}}
"""
PROJECTS = {
    "proj_a": DirectoryEntry("core", "active"),
    "proj_b": DirectoryEntry("studio", "archived"),
    "proj_c": DirectoryEntry("other", "active"),
}
KEYS = {"key_1": DirectoryEntry("search-1"), "key_2": DirectoryEntry("notebook-1")}


def configured(budgets: str, rules: str = RULES) -> Configuration:
    return parse_configuration(f"{rules}\nbudgets: {budgets}", "test")


def selection(match: str, rules: str = RULES) -> BudgetSelection:
    configuration = configured(f"[{{budget: b, limit_usd: 5, match: {match}}}]", rules)
    attribution = Attribution(PROJECTS, api_keys=KEYS, rules=configuration.workflows)
    return BudgetSelection(configuration.budgets, attribution)


def cost_key(project: str | None, line_item: str | None, key: str | None = "key_1", currency: str = "usd") -> RowKey:
    return (project, None, line_item, key, None, currency)


def usage_key(project: str | None, model: str | None, key: str | None = "key_1") -> RowKey:
    return (project, None, key, model, None, None, None)


# Which rows.


@pytest.mark.parametrize(
    ("match", "selected"),
    [
        ("{}", "a1 a2 b c -"),
        ("{project: core}", "a1 a2"),
        ("{project: proj_a}", "a1 a2"),
        ('{project: "core|studio"}', "a1 a2 b"),
        ("{project: cor}", ""),
        (r'{project: "\\(none\\)"}', "-"),
        ("{workflow: search}", "a1"),
        ('{workflow: "search|notebooks"}', "a1 a2"),
        ("{workflow: unmapped}", "c -"),
        ("{team: data}", "a2"),
        (r'{team: "\\(none\\)"}', "c -"),
        ("{business_unit: retail}", "a1 b"),
        (r'{business_unit: "\\(none\\)"}', "a2 c -"),
        ("{project: core, workflow: studio}", ""),
        ("{project: core, team: platform}", "a1"),
        ("{business_unit: retail, team: marketing}", "b"),
    ],
)
def test_a_budget_selects_by_name_or_id_and_by_whose_the_work_is(match: str, selected: str) -> None:
    rows = {
        "a1": ("proj_a", "key_1"),
        "a2": ("proj_a", "key_2"),
        "b": ("proj_b", None),
        "c": ("proj_c", "key_1"),
        "-": (None, None),
    }
    budget = selection(match)
    for name, (project, key) in rows.items():
        expected = (0,) if name in selected.split() else ()
        assert budget.selects(COSTS, cost_key(project, "gpt-5, input", key)) == expected, name
        assert budget.selects(ENDPOINTS[COMPLETIONS], usage_key(project, "gpt-5", key)) == expected, name


@pytest.mark.parametrize(
    ("pattern", "selected"),
    [
        ("gpt-4o", ["gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-2024-05-13"]),
        ("gpt-4o-2024-08-06", ["gpt-4o-2024-08-06"]),
        ("gpt-4o.*", ["gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-2024-05-13", "gpt-4o-mini"]),
        ("ft-gpt-4o", ["ft:gpt-4o-2024-08-06:acme::b4x7q2", "ft-gpt-4o-2024-08-06"]),
        ("gpt-5", []),
    ],
)
def test_a_model_is_selected_with_its_date_and_without_in_usage_and_on_the_bill(
    pattern: str, selected: list[str]
) -> None:
    budget = selection(f'{{model: "{pattern}"}}')
    models = ["gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-2024-05-13", "gpt-4o-mini"]
    in_usage, on_the_bill = "ft:gpt-4o-2024-08-06:acme::b4x7q2", "ft-gpt-4o-2024-08-06"
    used = [m for m in (*models, in_usage) if budget.selects(ENDPOINTS[COMPLETIONS], usage_key("proj_a", m))]
    billed = [m for m in (*models, on_the_bill) if budget.selects(COSTS, cost_key("proj_a", f"flex | {m}, input"))]

    assert used == [model for model in selected if model != on_the_bill]
    assert billed == [model for model in selected if model != in_usage]


def test_what_has_no_model_belongs_to_no_budget_of_a_model() -> None:
    assert selection('{model: ".+"}').selects(COSTS, cost_key("proj_a", "Vector storage")) == ()
    assert selection("{}").selects(COSTS, cost_key("proj_a", None)) == (0,)


def test_work_that_cannot_be_told_apart_counts_against_no_workflow_that_might_have_it() -> None:
    for match in ("{workflow: search}", "{workflow: notebooks}", "{team: data}"):
        assert selection(match).selects(COSTS, cost_key("proj_a", "gpt-5, input", None)) == ()
    assert selection("{workflow: unmapped}").selects(COSTS, cost_key("proj_a", "gpt-5, input", None)) == (0,)
    assert selection("{project: core}").selects(COSTS, cost_key("proj_a", "gpt-5, input", None)) == (0,)


def test_a_row_counts_against_every_budget_that_selects_it() -> None:
    budgets = """[{budget: all, limit_usd: 5}, {budget: b, limit_usd: 5, match: {team: data}},
        {budget: c, limit_usd: 5, match: {project: core}}]"""
    configuration = configured(budgets)
    several = BudgetSelection(
        configuration.budgets, Attribution(PROJECTS, api_keys=KEYS, rules=configuration.workflows)
    )

    assert several.selects(COSTS, cost_key("proj_a", "gpt-5, input", "key_2")) == (0, 1, 2)
    assert several.selects(COSTS, cost_key("proj_b", "gpt-5, input", "key_2")) == (0,)


def test_a_budget_says_what_it_is_about() -> None:
    budgets = configured('[{budget: a, limit_usd: 1}, {budget: b, limit_usd: 1, match: {team: data, model: "m.*"}}]')

    assert [scope(budget) for budget in budgets.budgets] == ["organization", "team=data, model=m.*"]


# What they come to.

PRICES = "prices: {gpt-5: {input: 0.01, output: 0.05}, gpt-4o: {input: 0.02}}"
NO_PRICES = PriceBook({}, TODAY, {}, None)
PRICED = PriceBook({}, TODAY, parse_configuration(PRICES, "test").prices, None)


def ledger(match: str = "{}") -> BudgetLedger:
    return BudgetLedger(selection(match))


def accounts(costs: Mapping[int, Rows], usage: Mapping[int, Rows] | None = None) -> dict[str, Account]:
    """An account of every API; the bill was read, at least for these days."""
    known = {api: Account(api) for api in ENDPOINTS}
    for api, days in (("costs", costs), (COMPLETIONS, usage or {})):
        buckets = answer(api, days, answered_at=TODAY).buckets if days else {}
        kept = {day: Bucket((), rows) for day, rows in buckets.items()}
        known[api] = Account(api, covered_from=TODAY - 60 * DAY, applied_through=TODAY, buckets=kept)
    return known


def line(amount: str | int, line_item: str = "gpt-5, input", **more: object) -> dict[str, object]:
    return {"project_id": "proj_a", "line_item": line_item, "currency": "usd", "amount": Decimal(amount), **more}


def tokens(count: int, model: str = "gpt-5", **more: object) -> dict[str, object]:
    return {"project_id": "proj_a", "model": model, "input_text_tokens": count, **more}


def at(year: int, month: int, day: int) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("today", "days"),
    [
        (at(2026, 11, 16), 16),
        (at(2026, 11, 1), 1),
        (at(2026, 11, 30), 30),
        (at(2027, 1, 1), 1),
        (at(2028, 2, 29), 29),
        (at(2028, 3, 1), 1),
    ],
)
def test_the_spend_is_the_bill_of_the_calendar_month_to_the_last_decimal(today: int, days: int) -> None:
    one = "0.000000000000000000000000000000000001"
    bill = {today + offset * DAY: [line(one), line(one, "whisper")] for offset in range(-62, 3)}
    ((spend),) = ledger().spend(accounts(bill), NO_PRICES, today).values()

    assert spend == Spend(billed=2 * days * Decimal(one), estimated=2 * days * Decimal(one))


def test_a_month_of_many_decimals_is_not_rounded() -> None:
    bill = {TODAY - back * DAY: [line("123456789012345678." + "1" * 60)] for back in range(9)}
    (spend,) = ledger().spend(accounts(bill), NO_PRICES, TODAY).values()

    assert Fraction(spend.billed) == 9 * Fraction("123456789012345678." + "1" * 60)


def test_other_currencies_are_left_out() -> None:
    bill = {TODAY: [line(5), line(700, currency="eur"), line(3, "whisper", currency="gbp")]}

    assert ledger().spend(accounts(bill), NO_PRICES, TODAY) == {0: Spend(5, 5)}


def test_credits_reduce_what_was_spent() -> None:
    bill = {TODAY: [line(5), line("-7.5", "Promotional credit", project_id=None)]}

    assert ledger().spend(accounts(bill), NO_PRICES, TODAY) == {0: Spend(Decimal("-2.5"), Decimal("-2.5"))}


def test_nothing_is_said_before_the_bill_was_read_and_zero_after() -> None:
    unread = accounts({}, {TODAY: [tokens(1000)]})
    unread["costs"] = Account("costs")

    assert ledger().spend(unread, PRICED, TODAY) == {}
    assert ledger().spend(accounts({}), PRICED, TODAY) == {0: Spend(0, 0)}


def test_without_budgets_there_is_nothing_to_say() -> None:
    none = BudgetLedger(BudgetSelection((), Attribution(PROJECTS)))

    assert none.spend(accounts({TODAY: [line(5)]}), PRICED, TODAY) == {}


@pytest.mark.parametrize(("billed", "used", "estimated"), [(3, 500, 5), (7, 500, 7), (0, 500, 5), (3, 0, 3)])
@pytest.mark.parametrize("day", [TODAY, YESTERDAY])
def test_today_and_yesterday_are_the_larger_of_token_bill_and_estimate(
    day: int, billed: int, used: int, estimated: int
) -> None:
    known = accounts({day: [line(billed)]}, {day: [tokens(used)]})

    assert ledger().spend(known, PRICED, TODAY) == {0: Spend(billed, estimated)}


def test_each_of_the_two_days_is_compared_by_itself() -> None:
    known = accounts({TODAY: [line(1)], YESTERDAY: [line(9)]}, {TODAY: [tokens(400)], YESTERDAY: [tokens(800)]})

    assert ledger().spend(known, PRICED, TODAY) == {0: Spend(10, 4 + 9)}


def test_settled_days_are_as_billed_whatever_was_used() -> None:
    day = YESTERDAY - DAY

    assert ledger().spend(accounts({day: [line(2)]}, {day: [tokens(10**6)]}), PRICED, TODAY) == {0: Spend(2, 2)}


def test_what_is_not_paid_by_the_token_is_as_billed_beside_the_tokens() -> None:
    bill = {TODAY: [line(3), line(10, "Vector storage"), line(20, "web search tool calls"), line(-4, "credit")]}

    assert ledger().spend(accounts(bill, {TODAY: [tokens(500)]}), PRICED, TODAY) == {0: Spend(29, 5 + 26)}


def test_on_the_first_of_a_month_yesterday_is_another_months() -> None:
    first = at(2026, 11, 1)
    known = accounts({first: [line(1)], first - DAY: [line(100)]}, {first: [tokens(300)], first - DAY: [tokens(10**6)]})

    assert ledger().spend(known, PRICED, first) == {0: Spend(1, 3)}


def test_at_midnight_the_same_answers_make_another_day() -> None:
    known = accounts({TODAY: [line(1)], YESTERDAY: [line(2)]}, {TODAY: [tokens(500)], YESTERDAY: [tokens(400)]})
    remembering = ledger()

    assert remembering.spend(known, PRICED, TODAY) == {0: Spend(3, 5 + 4)}
    assert remembering.spend(known, PRICED, TODAY + DAY) == {0: Spend(3, 5 + 2)}
    assert remembering.spend(known, PRICED, TODAY + 2 * DAY) == {0: Spend(3, 3)}
    assert remembering.spend(known, PRICED, at(2026, 12, 1)) == {0: Spend(0, 0)}
    # A clock that is set back finds everything again.
    assert remembering.spend(known, PRICED, TODAY) == {0: Spend(3, 5 + 4)}


def test_tokens_without_a_price_are_left_out_of_the_estimate() -> None:
    known = accounts({TODAY: [line(1)]}, {TODAY: [tokens(200), tokens(10**6, "unheard-of")]})

    assert ledger().spend(known, PRICED, TODAY) == {0: Spend(1, 2)}


def test_an_estimate_counts_against_the_budgets_that_its_rows_belong_to() -> None:
    bill = {TODAY: [line(1, api_key_id="key_1"), line(1, api_key_id="key_2")]}
    usage = {TODAY: [tokens(500, api_key_id="key_1"), tokens(200, "gpt-4o-2024-08-06", api_key_id="key_2")]}
    known = accounts(bill, usage)

    assert ledger("{workflow: search}").spend(known, PRICED, TODAY) == {0: Spend(1, 5)}
    assert ledger("{workflow: notebooks}").spend(known, PRICED, TODAY) == {0: Spend(1, 4)}
    assert ledger("{model: gpt-4o}").spend(known, PRICED, TODAY) == {0: Spend(0, 4)}
    assert ledger("{model: gpt-5}").spend(known, PRICED, TODAY) == {0: Spend(2, 5)}
    assert ledger().spend(known, PRICED, TODAY) == {0: Spend(2, 9)}


def test_all_apis_that_count_tokens_are_estimated_together() -> None:
    known = accounts({TODAY: [line(1)]}, {TODAY: [tokens(100)]})
    embeddings = answer(
        "usage/embeddings",
        {TODAY: [{"project_id": "proj_a", "model": "gpt-5", "input_unspecified_tokens": 300}]},
        answered_at=TODAY,
    )
    known["usage/embeddings"] = Account("usage/embeddings", buckets={TODAY: Bucket((), embeddings.buckets[TODAY])})

    assert ledger().spend(known, PRICED, TODAY) == {0: Spend(1, 4)}


def test_a_budget_that_no_row_touches_is_idle() -> None:
    budgets = """[{budget: all, limit_usd: 5}, {budget: billed, limit_usd: 5, match: {model: gpt-5}},
        {budget: used, limit_usd: 5, match: {model: gpt-4o}}, {budget: other, limit_usd: 5, match: {model: gpt-4}},
        {budget: archived, limit_usd: 5, match: {project: studio}}]"""
    configuration = configured(budgets)
    chosen = BudgetSelection(configuration.budgets, Attribution(PROJECTS, rules=configuration.workflows))
    known = accounts({TODAY - 40 * DAY: [line(1)]}, {TODAY: [tokens(1, "gpt-4o-2024-08-06")]})

    assert [budget.budget for budget in idle_budgets(chosen, known)] == ["other", "archived"]
    assert len(idle_budgets(chosen, {api: Account(api) for api in ENDPOINTS})) == 5
