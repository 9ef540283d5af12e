"""What the APIs know about each UTC day at a time that mostly moves forward: running totals at full grain."""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import lru_cache
from operator import attrgetter
from typing import Final, Generic

from exporter.days import day_of
from exporter.openai_api.endpoints import ENDPOINTS
from exporter.simulator.billing import EXACT, Billing
from exporter.simulator.traffic import SETTLED_AFTER, Delta, Dimensions, Number, Traffic, add_to

_DAYS_FOLLOWED: Final = 12
_SETTLED_KEPT: Final = 1_000
_SETTLED_VERSION: Final = -1

UsageRows = Mapping[Dimensions, Sequence[int]]
CostRows = Mapping[Dimensions, Sequence[Decimal]]


@dataclass(frozen=True, slots=True)
class Known(Generic[Number]):
    """A day's rows. Equal versions of the same day mean equal rows."""

    rows: Mapping[Dimensions, Sequence[Number]]
    version: int


class _Running(Generic[Number]):
    """One API's day. Asked for an earlier time than last, it begins again."""

    def __init__(self, deltas: Sequence[Delta[Number]]) -> None:
        self._deltas: Sequence[Delta[Number]] = deltas
        self._applied = 0
        self._now = float("-inf")
        self._rows: dict[Dimensions, list[Number]] = {}

    def as_of(self, now: float) -> Known[Number]:
        if now < self._now:
            self._rows = {}
            self._applied = 0
        self._now = now
        deltas, position = self._deltas, self._applied
        with localcontext(EXACT):
            while position < len(deltas) and deltas[position].arrival <= now:
                delta = deltas[position]
                add_to(self._rows, delta.dimensions, delta.measures)
                position += 1
        self._applied = position
        return Known(self._rows, position)


class KnownDays:
    """All days of all APIs."""

    def __init__(self, traffic: Traffic, billing: Billing) -> None:
        self._traffic = traffic
        self._billing = billing
        self._followed: OrderedDict[tuple[str, int], _Running[int]] = OrderedDict()
        self._followed_costs: OrderedDict[int, _Running[Decimal]] = OrderedDict()
        self._settled_usage = lru_cache(maxsize=_SETTLED_KEPT)(traffic.settled)
        self._by_minute = lru_cache(maxsize=_DAYS_FOLLOWED)(self._sorted_by_minute)
        self._settled_costs = lru_cache(maxsize=_SETTLED_KEPT)(billing.settled)

    def usage(self, api: str, day: int, now: float) -> Known[int]:
        """A day of a usage API as known now."""
        if now >= day + SETTLED_AFTER:
            return Known(self._settled_usage(day, api), _SETTLED_VERSION)
        key = (api, day)
        if key not in self._followed:
            self._followed[key] = _Running(self._traffic.day(day).deltas[api])
            if len(self._followed) > _DAYS_FOLLOWED * len(ENDPOINTS):
                self._followed.popitem(last=False)
        return self._followed[key].as_of(now)

    def costs(self, day: int, now: float) -> Known[Decimal]:
        """A day of the bill as known now."""
        if now >= day + SETTLED_AFTER:
            return Known(self._settled_costs(day), _SETTLED_VERSION)
        if day not in self._followed_costs:
            self._followed_costs[day] = _Running(self._billing.day(day))
            if len(self._followed_costs) > _DAYS_FOLLOWED:
                self._followed_costs.popitem(last=False)
        return self._followed_costs[day].as_of(now)

    def usage_between(self, api: str, start: int, end: int, now: float) -> UsageRows:
        """A part of one UTC day of a usage API as known now."""
        day = day_of(start)
        # A level is what it was at the end of the part, not what was added in it.
        first = day if ENDPOINTS[api].is_level else start
        rows: dict[Dimensions, list[int]] = {}
        deltas = self._by_minute(api, day)
        position = bisect_left(deltas, first, key=attrgetter("minute"))
        while position < len(deltas) and deltas[position].minute < end:
            if deltas[position].arrival <= now:
                add_to(rows, deltas[position].dimensions, deltas[position].measures)
            position += 1
        return rows

    def _sorted_by_minute(self, api: str, day: int) -> Sequence[Delta[int]]:
        return sorted(self._traffic.day(day).deltas[api], key=attrgetter("minute", "arrival"))
