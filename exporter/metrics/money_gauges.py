"""Prices and budgets as gauges, worked out anew only where what they stand on has changed."""

from collections.abc import Mapping

from exporter.attribution import Attribution
from exporter.budgets import BudgetLedger, BudgetSelection
from exporter.configuration.sections import Budget, Configuration
from exporter.ledger.account import Account
from exporter.metrics.budget_gauges import budget_gauges
from exporter.metrics.catalogue import UNPRICED_TOKENS
from exporter.metrics.event_gauges import Gauges
from exporter.metrics.price_gauges import CountedTokens, EffectivePrices, price_gauges
from exporter.openai_api.endpoints import COSTS
from exporter.pricing.estimates import TOKEN_APIS
from exporter.pricing.list_prices import ListPrice
from exporter.pricing.price_book import PriceBook


class MoneyGauges:
    """Keeps the newest prices, and what budgets came to on days that are over."""

    def __init__(self) -> None:
        self._book: tuple[tuple[object, ...], PriceBook] | None = None
        self._prices: tuple[tuple[object, ...], Gauges] | None = None
        self._tokens = CountedTokens()
        self._effective = EffectivePrices()
        self._budgets: tuple[tuple[object, ...], BudgetLedger] | None = None

    def newest(
        self,
        accounts: Mapping[str, Account],
        attribution: Attribution,
        today: int,
        configuration: Configuration,
        list_price: ListPrice | None,
    ) -> Gauges:
        """Return the gauges.

        Args:
            accounts: the ledger by `api`.
            attribution: whose a row is.
            today: the UTC midnight of the open day.
            configuration: its budgets and prices.
            list_price: prices of models never billed; None where there is no list.
        """
        costs = accounts[COSTS.api]
        book = self._newest_book(costs, today, configuration, list_price)
        prices = dict(self._newest_prices(accounts, book, today))
        if costs.covered_from is None:
            # Before the bill was read nothing can be said to have no price.
            del prices[UNPRICED_TOKENS]
        spend = self._newest_budgets(attribution, configuration.budgets).spend(accounts, book, today)
        return {**prices, **budget_gauges(configuration.budgets, spend)}

    def _newest_book(
        self, costs: Account, today: int, configuration: Configuration, list_price: ListPrice | None
    ) -> PriceBook:
        basis = (costs.quantities, today, configuration.prices, list_price)
        if self._book is None or self._book[0] != basis:
            self._book = basis, PriceBook(*basis)
        return self._book[1]

    def _newest_prices(self, accounts: Mapping[str, Account], book: PriceBook, today: int) -> Gauges:
        # Accounts are never changed, only replaced, and each day has a book of its own: the same objects say the same.
        basis = (book, *(accounts.get(api) for api in TOKEN_APIS))
        if self._prices is None or any(new is not old for new, old in zip(basis, self._prices[0], strict=True)):
            self._prices = (
                basis,
                price_gauges(accounts, book, today, tokens=self._tokens, prices=self._effective),
            )
        return self._prices[1]

    def _newest_budgets(self, attribution: Attribution, budgets: tuple[Budget, ...]) -> BudgetLedger:
        basis = (attribution, budgets)
        if self._budgets is None or self._budgets[0] != basis:
            self._budgets = basis, BudgetLedger(BudgetSelection(budgets, attribution))
        return self._budgets[1]
