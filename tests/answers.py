"""Answers written down by hand, for tests that need no API."""

from collections.abc import Mapping
from decimal import Decimal

from exporter.days import SECONDS_PER_DAY
from exporter.exact import Amount
from exporter.openai_api.answer import Answer, RowKey, RowValues
from exporter.openai_api.endpoints import COSTS, ENDPOINTS

MONDAY = 1_793_577_600
"""2026-11-02 00:00 UTC, a Monday."""

Rows = list[dict[str, object]]


def answer(api: str, days: Mapping[int, Rows], *, answered_at: int, grouping: tuple[str, ...] | None = None) -> Answer:
    """Build a complete answer; each row names its dimensions and measures, and the currency of costs."""
    endpoint = ENDPOINTS[api]
    names = (*endpoint.dimensions, "currency") if endpoint is COSTS else endpoint.dimensions
    buckets: dict[int, dict[RowKey, RowValues]] = {}
    for day, rows in days.items():
        bucket = buckets.setdefault(day, {})
        for row in rows:
            unknown = row.keys() - {*names, *endpoint.measures}
            assert not unknown, f"{api} has no {unknown}"
            key = tuple(None if row.get(name) is None else str(row[name]) for name in names)
            bucket[key] = tuple(_amount(row.get(measure, 0)) for measure in endpoint.measures)
    return Answer(
        api=api,
        start=min(days),
        end=max(days) + SECONDS_PER_DAY,
        grouping=grouping or endpoint.always_grouped,
        buckets=buckets,
        answered_at=answered_at,
        rejected={},
    )


def _amount(value: object) -> Amount:
    return value if isinstance(value, int) else Decimal(str(value))
