"""Which budgets a row counts against, and what they come to this month. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from exporter.attribution import Attribution
from exporter.configuration.consistency import owners
from exporter.configuration.sections import Budget
from exporter.days import SECONDS_PER_DAY, month_of
from exporter.exact import Amount, add
from exporter.ledger.account import Account, Bucket
from exporter.line_items import parse_line_item
from exporter.openai_api.answer import RowKey
from exporter.openai_api.endpoints import COSTS, ENDPOINTS, Endpoint
from exporter.pricing.estimates import estimate
from exporter.pricing.models import family
from exporter.pricing.price_book import PriceBook

CURRENCY: Final = "usd"

Sums = dict[int, Amount]
"""US dollars by the position of the budget."""


@dataclass(frozen=True, slots=True)
class Spend:
    """What a budget came to in a month so far.

    Attributes:
        billed: US dollars on the bill.
        estimated: the same, but for the tokens of today and yesterday the larger of bill and estimate.
    """

    billed: Amount = 0
    estimated: Amount = 0


@dataclass(frozen=True, slots=True)
class _DayBilled:
    """One day's bill by budget; what is billed by the token apart, for that is what an estimate can stand for."""

    tokens: Sums
    others: Sums


class BudgetSelection:
    """Knows the budgets that a row counts against. As an attribution: made anew when rules or names change."""

    def __init__(self, budgets: Sequence[Budget], attribution: Attribution) -> None:
        self.budgets = tuple(budgets)
        self._attribution = attribution
        self._owners = owners(attribution.rules)
        self._known: dict[str, dict[RowKey, tuple[int, ...]]] = {}
        self._shared: dict[tuple[str, str, str], tuple[int, ...]] = {}

    def selects(self, endpoint: Endpoint, key: RowKey) -> tuple[int, ...]:
        """Return the positions of the budgets."""
        known = self._known.setdefault(endpoint.api, {})
        positions = known.get(key)
        if positions is None:
            traits = self._attribution.traits(endpoint, key)
            parts = (traits.project_id, self._attribution.workflows.workflow(traits), traits.model)
            if parts not in self._shared:
                self._shared[parts] = tuple(self._positions(*parts))
            positions = known[key] = self._shared[parts]
        return positions

    def _positions(self, project_id: str, workflow: str, model: str) -> list[int]:
        texts = {
            "project": (project_id, self._attribution.project_name(project_id)),
            "workflow": (workflow,),
            "team": (self._owners[workflow]["team"],),
            "business_unit": (self._owners[workflow]["business_unit"],),
            "model": (model, family(model)),
        }
        return [
            position
            for position, budget in enumerate(self.budgets)
            if all(
                any(re.fullmatch(pattern, text) for text in texts[name])
                for name, pattern in budget.match.conditions.items()
            )
        ]


class BudgetLedger:
    """Adds up what budgets come to. What a day came to is remembered until its bucket, or its prices, change."""

    def __init__(self, selection: BudgetSelection) -> None:
        self.selection = selection
        self._billed: dict[int, tuple[Bucket, _DayBilled]] = {}
        self._estimated: dict[tuple[str, int], tuple[Bucket, PriceBook, Sums]] = {}

    def spend(self, accounts: Mapping[str, Account], book: PriceBook, today: int) -> dict[int, Spend]:
        """Return the current month's spend of each budget; nothing before the bill was read at all.

        Args:
            accounts: by api.
            book: prices what the bill does not hold yet.
            today: a UTC midnight.
        """
        costs = accounts[COSTS.api]
        if costs.covered_from is None or not self.selection.budgets:
            return {}
        days = range(month_of(today), today + SECONDS_PER_DAY, SECONDS_PER_DAY)
        positions = range(len(self.selection.budgets))
        spend = dict.fromkeys(positions, Spend())
        for day in days:
            bill = self._billed_of(costs, day)
            estimates = self._estimates_of(accounts, book, day) if day >= today - SECONDS_PER_DAY else {}
            for position in positions:
                tokens, others = bill.tokens.get(position, 0), bill.others.get(position, 0)
                before = spend[position]
                spend[position] = Spend(
                    add(before.billed, add(tokens, others)),
                    add(before.estimated, add(max(tokens, estimates.get(position, 0)), others)),
                )
        for past_day in [day for day in self._billed if day not in days]:
            del self._billed[past_day]
        for settled in [(api, day) for api, day in self._estimated if day < today - SECONDS_PER_DAY]:
            del self._estimated[settled]
        return spend

    def _billed_of(self, costs: Account, day: int) -> _DayBilled:
        bucket = costs.buckets.get(day)
        if bucket is None:
            return _DayBilled({}, {})
        known = self._billed.get(day)
        if known is None or known[0] is not bucket:
            known = self._billed[day] = bucket, self._add_bill_up(bucket)
        return known[1]

    def _add_bill_up(self, bucket: Bucket) -> _DayBilled:
        day = _DayBilled({}, {})
        line_item = COSTS.dimensions.index("line_item")
        for key, (amount,) in bucket.rows.items():
            if key[-1] != CURRENCY:
                continue
            sums = day.tokens if parse_line_item(key[line_item] or "").token_type else day.others
            for position in self.selection.selects(COSTS, key):
                sums[position] = add(sums.get(position, 0), amount)
        return day

    def _estimates_of(self, accounts: Mapping[str, Account], book: PriceBook, day: int) -> Sums:
        total: Sums = {}
        for api, account in accounts.items():
            bucket = account.buckets.get(day)
            if bucket is None or api == COSTS.api:
                continue
            known = self._estimated.get((api, day))
            if known is None or known[0] is not bucket or known[1] is not book:
                known = self._estimated[api, day] = bucket, book, self._estimate(ENDPOINTS[api], bucket, book)
            for position, usd in known[2].items():
                total[position] = add(total.get(position, 0), usd)
        return total

    def _estimate(self, endpoint: Endpoint, bucket: Bucket, book: PriceBook) -> Sums:
        sums: Sums = {}
        for key, values in bucket.rows.items():
            usd, _ = estimate(endpoint, key, values, book)
            if usd:
                for position in self.selection.selects(endpoint, key):
                    sums[position] = add(sums.get(position, 0), usd)
        return sums


def idle_budgets(selection: BudgetSelection, accounts: Mapping[str, Account]) -> tuple[Budget, ...]:
    """Return the budgets that no row counts against, of all the bill and usage that the ledger holds."""
    if not selection.budgets:
        return ()
    touched = {
        position
        for api, account in accounts.items()
        for bucket in account.buckets.values()
        for key in bucket.rows
        for position in selection.selects(ENDPOINTS[api], key)
    }
    return tuple(budget for position, budget in enumerate(selection.budgets) if position not in touched)


def scope(budget: Budget) -> str:
    """Spell what a budget is about: `organization`, or its conditions such as `team=platform, model=gpt-.*`."""
    return ", ".join(f"{name}={pattern}" for name, pattern in budget.match.conditions.items()) or "organization"
