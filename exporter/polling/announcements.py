"""What an applied answer and a new page are worth telling: self-metrics at every poll, log lines once."""

import logging
from collections.abc import Mapping

from exporter.budgets import BudgetSelection, idle_budgets, scope
from exporter.ledger.account import Account
from exporter.ledger.ledger import Applied
from exporter.metrics.self_metrics import SelfMetrics
from exporter.openai_api.answer import Answer
from exporter.openai_api.endpoints import Endpoint

_log = logging.getLogger(__name__)


class Announcements:
    """Tells, and remembers what it has told. The poller's lock guards it."""

    def __init__(self, self_metrics: SelfMetrics) -> None:
        self._self_metrics = self_metrics
        self._unpriced_told: frozenset[str] = frozenset()
        self._budgets_told = False

    def applied(self, endpoint: Endpoint, answer: Answer, applied: Applied, wanted: tuple[str, ...]) -> None:
        """Count what an answer was and did; `wanted` is the grouping that was asked for."""
        api = endpoint.api
        metrics = self._self_metrics
        settlement = applied.settlement
        for dimension in endpoint.dimensions:
            if dimension in wanted:
                metrics.grouping_enabled.labels(api, dimension).set(dimension in answer.grouping)
            else:
                metrics.grouping_enabled.remove(api, dimension)
        metrics.add_each(metrics.rows_rejected, api, answer.rejected)
        metrics.add_each(metrics.revisions, api, {"up": settlement.revisions_up, "down": settlement.revisions_down})
        for family, count in applied.overflowed.items():
            metrics.series_overflow.labels(family).inc(count)
        if applied.rows_changed:
            _log.debug("answer applied", extra={"api": api, "rows_changed": applied.rows_changed})

    def unpriced(self, models: frozenset[str]) -> None:
        """Name each model without a price once."""
        for model in sorted(models - self._unpriced_told):
            _log.warning(
                "no price is known for this model's tokens, estimates leave them out; the configuration's prices can "
                "name one until it is on the bill",
                extra={"model": model},
            )
        self._unpriced_told |= models

    def budgets(self, selection: BudgetSelection, accounts: Mapping[str, Account]) -> None:
        """Name the budgets that nothing counts against, once per configuration."""
        if self._budgets_told:
            return
        self._budgets_told = True
        for budget in idle_budgets(selection, accounts):
            _log.warning(
                "nothing of the bill counts against this budget; check what it matches",
                extra={"budget": budget.budget, "scope": scope(budget)},
            )

    def configured_anew(self) -> None:
        """Look at the budgets again: they may be others."""
        self._budgets_told = False
