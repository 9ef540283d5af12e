"""The part of the report about budgets: what counts against each, and why nothing does. Pure."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from exporter.attribution import Attribution
from exporter.budgets import BudgetLedger, BudgetSelection, Spend, idle_budgets, scope
from exporter.configuration.consistency import OWNER_LABELS, owners
from exporter.configuration.sections import Budget
from exporter.days import month_of
from exporter.explanation.hints import hint, listed, quoted
from exporter.explanation.tables import Column, dollars, paragraph, printable, share, table
from exporter.ledger.account import Account
from exporter.openai_api.endpoints import COSTS, ENDPOINTS
from exporter.pricing.models import family
from exporter.pricing.price_book import PriceBook


def budget_section(
    budgets: Sequence[Budget], attribution: Attribution, accounts: Mapping[str, Account], today: int
) -> list[str]:
    """Return the lines of the section, without a title.

    Args:
        budgets: at least one.
        attribution: says whose a row is.
        accounts: of all APIs.
        today: a UTC midnight of the month that is told of.
    """
    selection = BudgetSelection(budgets, attribution)
    # Prices are for estimates, which are not told here.
    spend = BudgetLedger(selection).spend(accounts, PriceBook({}, today, {}, None), today)
    idle = idle_budgets(selection, accounts)
    at_hand = _texts_at_hand(attribution, accounts) if idle else {}
    rows = [
        (
            dollars(spent.billed) if spend else "-",
            dollars(budget.limit_usd),
            share(spent.billed, budget.limit_usd) if spend else "-",
            printable(budget.budget),
            printable(scope(budget)),
            _why_nothing_counts(budget, attribution, at_hand) if budget in idle else "",
        )
        for budget, spent in _by_money(budgets, spend)
    ]
    columns = (
        Column("billed USD", is_number=True),
        Column("limit", is_number=True),
        Column("share", is_number=True),
        Column("budget", widest=24),
        Column("scope", widest=40),
        Column("why nothing counts against it" if idle else ""),
    )
    return [*paragraph(_span(accounts[COSTS.api], today)), "", *table(columns, rows)]


def _by_money(budgets: Sequence[Budget], spend: Mapping[int, Spend]) -> list[tuple[Budget, Spend]]:
    found = [(budget, spend.get(position, Spend())) for position, budget in enumerate(budgets)]
    return sorted(found, key=lambda each: each[1].billed, reverse=True)


def _span(costs: Account, today: int) -> str:
    month = f"{datetime.fromtimestamp(today, UTC):%B %Y}"
    if costs.covered_from is None:
        return f"The bill of {month} was not read yet."
    known = "" if costs.covered_from <= month_of(today) else f", known from {_date(costs.covered_from)} on"
    return f"Billed in {month} up to {_date(today)}{known}."


def _date(day: int) -> str:
    return f"{datetime.fromtimestamp(day, UTC):%Y-%m-%d}"


def _texts_at_hand(attribution: Attribution, accounts: Mapping[str, Account]) -> dict[str, set[str]]:
    """Return what the conditions of budgets look at, of all rows."""
    owner_of = owners(attribution.rules)
    texts: dict[str, set[str]] = defaultdict(set)
    keys = {
        (api, key) for api, account in accounts.items() for bucket in account.buckets.values() for key in bucket.rows
    }
    for api, key in keys:
        traits = attribution.traits(ENDPOINTS[api], key)
        workflow = attribution.workflows.workflow(traits)
        texts["project"] |= {traits.project_id, attribution.project_name(traits.project_id)}
        texts["model"] |= {traits.model, family(traits.model)}
        texts["workflow"].add(workflow)
        for label in OWNER_LABELS:
            texts[label].add(owner_of[workflow][label])
    return texts


def _why_nothing_counts(budget: Budget, attribution: Attribution, at_hand: Mapping[str, set[str]]) -> str:
    sentences = []
    for name, pattern in budget.match.conditions.items():
        if any(re.fullmatch(pattern, text) for text in at_hand.get(name, ())):
            continue
        if name == "project":
            sentences.append(_no_project(pattern, attribution))
        elif name == "model":
            sentences.append(f"No model at hand is called {quoted(pattern)}. {hint(pattern, at_hand.get(name, ()))}")
        else:
            sentences.append(f"No rule of {name.replace('_', ' ')} {quoted(pattern)} takes anything.")
    return (
        " ".join(sentences).strip() or "Each of its conditions matches something, but never all of them the same row."
    )


def _no_project(pattern: str, attribution: Attribution) -> str:
    known = [
        entry.name
        for identifier, entry in attribution.projects.items()
        if re.fullmatch(pattern, identifier) or re.fullmatch(pattern, entry.name)
    ]
    if known:
        return f"The project {listed(known)} has no rows."
    return f"No project is called {quoted(pattern)}. {hint(pattern, (e.name for e in attribution.projects.values()))}"
