"""Event-time gauges: what the API says today about a UTC day or month, straight from the newest bucket values. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

from exporter.attribution import Attribution
from exporter.days import SECONDS_PER_DAY, month_of, previous_month_of
from exporter.exact import Amount, add
from exporter.ledger.account import Account, Bucket
from exporter.ledger.counters import CounterBook, SeriesName
from exporter.metrics.catalogue import (
    COUNTED,
    VECTOR_STORE_BYTES,
    Family,
    cost_day,
    cost_month,
)
from exporter.openai_api.endpoints import COSTS, Endpoint

Gauges = dict[Family, dict[SeriesName, Amount]]

# The label that tells periods apart, and its values.
_PERIODS: Final = {"day": ("today", "yesterday"), "month": ("current", "previous")}


def event_gauges(
    endpoint: Endpoint, account: Account, attribution: Attribution, book: CounterBook, today: int
) -> Gauges:
    """Return the gauges of one API.

    Every series of a period is there for both periods, as 0 where one has nothing: a panel of today is not empty at
    midnight. Labels are those that hold now; where the counter of a row was folded into `(other)` its gauge is too.

    Args:
        endpoint: the API.
        account: its side of the ledger.
        attribution: names the labels.
        book: knows which series are folded.
        today: the UTC midnight that `day="today"` means.
    """
    if endpoint.is_level:
        return _newest_level(endpoint, account, attribution)
    periods = _PeriodGauges(attribution, book)
    for period, day in (("today", today), ("yesterday", today - SECONDS_PER_DAY)):
        buckets = [account.buckets[day]] if day in account.buckets else []
        if endpoint is COSTS:
            periods.add_costs(buckets, "day", period)
        else:
            periods.add_usage(endpoint, buckets, period)
    if endpoint is COSTS:
        for period, month in (("current", month_of(today)), ("previous", previous_month_of(today))):
            buckets = [bucket for day, bucket in account.buckets.items() if month_of(day) == month]
            periods.add_costs(buckets, "month", period)
    return periods.gauges


class _PeriodGauges:
    """Adds rows up to gauges that tell two periods apart."""

    def __init__(self, attribution: Attribution, book: CounterBook) -> None:
        self.gauges: Gauges = {}
        self._attribution = attribution
        self._book = book

    def add_usage(self, endpoint: Endpoint, buckets: Iterable[Bucket], period: str) -> None:
        families = [counted.day_gauge for counted in COUNTED[endpoint.api]]
        sums: dict[tuple[Family, SeriesName], Amount] = {}
        for bucket in buckets:
            for key, values in bucket.rows.items():
                counters = self._attribution.counter_series(endpoint.api, key)
                for family, counter, value in zip(families, counters, values, strict=True):
                    if value and family is not None and counter is not None:
                        sums[family, counter] = add(sums.get((family, counter), 0), value)
        self._add(sums, "day", period)

    def add_costs(self, buckets: Iterable[Bucket], label: str, period: str) -> None:
        sums: dict[tuple[Family, SeriesName], Amount] = {}
        families: dict[str, Family] = {}
        for bucket in buckets:
            for key, (amount,) in bucket.rows.items():
                currency = str(key[-1])
                family = families.get(currency)
                if family is None:
                    family = families[currency] = cost_day(currency) if label == "day" else cost_month(currency)
                (counter,) = self._attribution.counter_series(COSTS.api, key)
                if counter is not None:
                    sums[family, counter] = add(sums.get((family, counter), 0), amount)
        self._add(sums, label, period)

    def _add(self, sums: Mapping[tuple[Family, SeriesName], Amount], label: str, period: str) -> None:
        for (family, counter), value in sums.items():
            labels = self._book.exposed_name(counter).labels
            series = self.gauges.setdefault(family, {})
            for each in _PERIODS[label]:
                name = SeriesName(family.name, (*labels, (label, each)))
                series[name] = add(series.get(name, 0), value if each == period else 0)


def _newest_level(endpoint: Endpoint, account: Account, attribution: Attribution) -> Gauges:
    # The newest day that has a level: the open day's bucket may still be empty just after midnight.
    newest = max((day for day, bucket in account.buckets.items() if bucket.rows), default=None)
    if newest is None:
        return {}
    levels: dict[SeriesName, Amount] = {}
    for key, (level,) in account.buckets[newest].rows.items():
        name = attribution.series(VECTOR_STORE_BYTES, attribution.labels(endpoint, key))
        levels[name] = add(levels.get(name, 0), level)
    return {VECTOR_STORE_BYTES: levels}
