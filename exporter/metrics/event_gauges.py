"""Event-time gauges: what the API says today about a UTC day or month, straight from the newest bucket values. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from exporter.attribution import Attribution
from exporter.days import SECONDS_PER_DAY, month_of, previous_month_of
from exporter.exact import Amount, add, add_each, total
from exporter.ledger.account import Account, Bucket
from exporter.ledger.counters import CounterBook, SeriesName
from exporter.metrics.catalogue import (
    COUNTED,
    VECTOR_STORE_BYTES,
    Family,
    cost_day,
    cost_month,
    currency_of,
)
from exporter.openai_api.answer import RowValues
from exporter.openai_api.endpoints import COSTS, Endpoint

Gauges = dict[Family, dict[SeriesName, Amount]]

# The label that tells periods apart, and its values.
_PERIODS: Final = {"day": ("today", "yesterday"), "month": ("current", "previous")}


_Sums = Sequence[tuple[tuple[SeriesName | None, ...], RowValues]]


class DaySums:
    """What a day's rows come to by their counter series; remembered until the day's rows or the labels change.

    A month has many more rows than series, and a poll changes the rows of a few days only.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[Bucket, Attribution, _Sums]] = {}

    def of(self, api: str, day: int, bucket: Bucket, attribution: Attribution) -> _Sums:
        """Return the sums of each set of series, in the order of the endpoint's measures."""
        known = self._known.get((api, day))
        if known is None or known[0] is not bucket or known[1] is not attribution:
            known = self._known[api, day] = bucket, attribution, _sums(api, bucket, attribution)
        return known[2]

    def forget_before(self, api: str, day: int) -> None:
        """Drop what is older."""
        for old in [each for each in self._known if each[0] == api and each[1] < day]:
            del self._known[old]


def _sums(api: str, bucket: Bucket, attribution: Attribution) -> _Sums:
    # Rows of one set of labels share one tuple of names: its identity is a cheap key, and lives as long as they do.
    sums: dict[int, tuple[tuple[SeriesName | None, ...], RowValues]] = {}
    for key, values in bucket.rows.items():
        counters = attribution.counter_series(api, key)
        known = sums.get(id(counters))
        sums[id(counters)] = counters, values if known is None else add_each(known[1], values)
    return tuple(sums.values())


def event_gauges(  # noqa: PLR0913 - one more than five, and a memory that may be left out
    endpoint: Endpoint,
    account: Account,
    attribution: Attribution,
    book: CounterBook,
    today: int,
    *,
    day_sums: DaySums | None = None,
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
        day_sums: remembers what did not change since the last call.
    """
    if endpoint.is_level:
        return _newest_level(endpoint, account, attribution)
    day_sums = day_sums or DaySums()

    def sums_of(days: Iterable[int]) -> Iterator[_Sums]:
        return (day_sums.of(endpoint.api, day, account.buckets[day], attribution) for day in days)

    gauges: Gauges = {}
    for period, day in (("today", today), ("yesterday", today - SECONDS_PER_DAY)):
        _add_period(gauges, endpoint, sums_of({day} & account.buckets.keys()), book, label="day", period=period)
    if endpoint is COSTS:
        for period, month in (("current", month_of(today)), ("previous", previous_month_of(today))):
            days = [day for day in account.buckets if month_of(day) == month]
            _add_period(gauges, endpoint, sums_of(days), book, label="month", period=period)
    day_sums.forget_before(endpoint.api, min(account.buckets, default=0))
    return gauges


def _add_period(  # noqa: PLR0913 - what, of which rows, and which period it is
    gauges: Gauges, endpoint: Endpoint, days: Iterable[_Sums], book: CounterBook, *, label: str, period: str
) -> None:
    # First by the tuples that days share, as a day's own sums: a month has few of them, and names are slow keys.
    members: dict[int, tuple[tuple[SeriesName | None, ...], list[RowValues]]] = {}
    for day in days:
        for counters, values in day:
            members.setdefault(id(counters), (counters, []))[1].append(values)
    for counters, of_days in members.values():
        for place, counter in enumerate(counters):
            family = None if counter is None else _gauge_of(endpoint, place, counter, label)
            amounts = [values[place] for values in of_days if values[place]]
            if counter is None or family is None or not amounts:
                continue
            value = total(amounts)
            labels = book.exposed_name(counter).labels
            series = gauges.setdefault(family, {})
            for each in _PERIODS[label]:
                name = SeriesName(family.name, (*labels, (label, each)))
                series[name] = add(series.get(name, 0), value if each == period else 0)


def _gauge_of(endpoint: Endpoint, place: int, counter: SeriesName, label: str) -> Family | None:
    if endpoint is not COSTS:
        return COUNTED[endpoint.api][place].day_gauge
    currency = currency_of(counter.family)
    return cost_day(currency) if label == "day" else cost_month(currency)


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
