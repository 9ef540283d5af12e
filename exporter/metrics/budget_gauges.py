"""Budgets as gauges: the limit, what is billed, and what is estimated. Pure."""

from collections.abc import Mapping, Sequence

from exporter.budgets import Spend, scope
from exporter.configuration.sections import Budget
from exporter.ledger.counters import SeriesName
from exporter.metrics.catalogue import BUDGET_ESTIMATED_SPEND, BUDGET_LIMIT, BUDGET_SPEND
from exporter.metrics.event_gauges import Gauges


def budget_gauges(budgets: Sequence[Budget], spend: Mapping[int, Spend]) -> Gauges:
    """Return every budget's limit, and its spend where there is any word on it.

    Args:
        budgets: as configured.
        spend: by position.
    """
    gauges: Gauges = {BUDGET_LIMIT: {}, BUDGET_SPEND: {}, BUDGET_ESTIMATED_SPEND: {}}
    for position, budget in enumerate(budgets):
        labels = (("budget", budget.budget), ("scope", scope(budget)))
        gauges[BUDGET_LIMIT][SeriesName(BUDGET_LIMIT.name, labels)] = budget.limit_usd
        if position in spend:
            gauges[BUDGET_SPEND][SeriesName(BUDGET_SPEND.name, labels)] = spend[position].billed
            estimated = SeriesName(BUDGET_ESTIMATED_SPEND.name, labels)
            gauges[BUDGET_ESTIMATED_SPEND][estimated] = spend[position].estimated
    return gauges
