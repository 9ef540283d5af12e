"""The true totals, added up straight from what happened: no paging, no grouping, no running state."""

from collections import defaultdict
from collections.abc import Collection
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import Any, Final

from exporter.days import SECONDS_PER_DAY, day_of
from exporter.openai_api.endpoints import COSTS, ENDPOINTS, Endpoint
from exporter.simulator.billing import CURRENCY, EXACT, Billing
from exporter.simulator.measures import COUNTED, openai_fields
from exporter.simulator.traffic import SETTLED_AFTER, Dimensions, Traffic

# Tests ask for the same settled weeks hundreds of times.
_DAYS_KEPT: Final = 2_000

Rows = list[dict[str, Any]]


class Truth:
    """The true totals of one organization. What was added up once for a moment is remembered."""

    def __init__(self, traffic: Traffic, billing: Billing) -> None:
        self._traffic = traffic
        self._billing = billing
        self._day = lru_cache(maxsize=_DAYS_KEPT)(self._add_up)

    def totals(
        self, *, start: int, end: int, as_of: float, apis: Collection[str] = tuple(ENDPOINTS)
    ) -> dict[str, Rows]:
        """By api, one row per day and full-grain key with all that was known at `as_of`, for days in [start, end).

        Counts are int, `amount` is a Decimal. Rows of nothing but zeros are left out.
        """
        truth: dict[str, Rows] = {api: [] for api in apis}
        for day in range(day_of(start), end, SECONDS_PER_DAY):
            # Nothing changes later than that, so that all who look later see one and the same day.
            known = min(as_of, day + SETTLED_AFTER)
            for api in apis:
                truth[api] += [dict(row) for row in self._day(api, day, known)]
        return truth

    def _add_up(self, api: str, day: int, as_of: float) -> Rows:
        endpoint = ENDPOINTS[api]
        if endpoint is COSTS:
            return _costs_day(self._billing, day, as_of)
        return _usage_day(self._traffic, endpoint, day, as_of)


def _usage_day(traffic: Traffic, endpoint: Endpoint, day: int, as_of: float) -> Rows:
    sums: dict[Dimensions, list[int]] = defaultdict(lambda: [0] * len(COUNTED[endpoint.api]))
    for delta in traffic.day(day).deltas[endpoint.api]:
        if delta.arrival <= as_of:
            row = sums[delta.dimensions]
            for place, value in enumerate(delta.measures):
                row[place] += value
    return [
        {
            "bucket": day,
            **dict(zip(endpoint.dimensions, dimensions, strict=True)),
            **openai_fields(endpoint.api, values),
        }
        for dimensions, values in sums.items()
        if any(values)
    ]


def _costs_day(billing: Billing, day: int, as_of: float) -> Rows:
    sums: dict[Dimensions, Decimal] = defaultdict(Decimal)
    with localcontext(EXACT):
        for delta in billing.day(day):
            if delta.arrival <= as_of:
                sums[delta.dimensions] += delta.measures[0]
    return [
        {"bucket": day, **dict(zip(COSTS.dimensions, dimensions, strict=True)), "currency": CURRENCY, "amount": amount}
        for dimensions, amount in sums.items()
        if amount
    ]
