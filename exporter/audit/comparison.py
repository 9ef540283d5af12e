"""One UTC day of one API, as the state holds it and as the API tells it now, figure by figure. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from exporter.exact import Amount, add, add_each
from exporter.ledger.account import NO_ROWS, Account, Bucket, Rows, measure_names
from exporter.ledger.regrouping import common_grain
from exporter.openai_api.answer import Answer, Quantities, RowKey, RowValues
from exporter.openai_api.endpoints import COSTS, Endpoint

QUANTITY: Final = "quantity"
PRICED: Final = "usd with a quantity"


class Figure(NamedTuple):
    """One number that both sides have: a measure of one group of one day.

    Attributes:
        api: the endpoint's `api`.
        day: UTC midnight.
        measure: the endpoint's measure, or the currency for costs.
        group: the dimensions that tell the row apart, with their values; None where the API says null.
    """

    api: str
    day: int
    measure: str
    group: tuple[tuple[str, str | None], ...]


class Pair(NamedTuple):
    """The same figure on both sides; 0 where a side has none."""

    state: Amount
    openai: Amount


@dataclass(frozen=True, slots=True)
class DayComparison:
    """What a day comes to on both sides.

    Attributes:
        api: the endpoint's `api`.
        day: UTC midnight.
        was_read: whether the state has an answer for that day at all.
        sums: by measure; those that are 0 on both sides are left out.
        differing: the figures that are not equal.
    """

    api: str
    day: int
    was_read: bool
    sums: Mapping[str, Pair]
    differing: Mapping[Figure, Pair]


def compare_day(endpoint: Endpoint, account: Account, answer: Answer, day: int) -> DayComparison:
    """Compare one day, row by row at the grain that both sides have."""
    bucket = account.buckets.get(day, Bucket(answer.grouping, NO_ROWS))
    told = answer.buckets.get(day, NO_ROWS)
    differing: dict[Figure, Pair] = {}
    if bucket.grouping != answer.grouping or bucket.rows != told:
        common = common_grain(endpoint.dimensions, bucket.grouping, answer.grouping)
        differing = _differences(endpoint, day, _at_grain(bucket.rows, common), _at_grain(told, common))
    sums = _pairs(_sums(endpoint, bucket.rows), _sums(endpoint, told))
    quantities, bought = account.quantities.get(day, {}), answer.quantities.get(day, {})
    # A state that an older version wrote knows none.
    if quantities:
        sums |= _pairs(_quantity_sums(quantities), _quantity_sums(bought))
        differing |= _quantity_differences(endpoint.api, day, quantities, bought)
    was_read = account.applied_through is not None and day <= account.applied_through
    return DayComparison(endpoint.api, day, was_read, sums, differing)


def _at_grain(rows: Rows, common: Callable[[RowKey], RowKey]) -> Rows:
    sums: dict[RowKey, RowValues] = {}
    for key, values in rows.items():
        group = common(key)
        sums[group] = add_each(sums[group], values) if group in sums else values
    return sums


def _differences(endpoint: Endpoint, day: int, held: Rows, told: Rows) -> dict[Figure, Pair]:
    zero = (0,) * len(endpoint.measures)
    found: dict[Figure, Pair] = {}
    for key in held.keys() | told.keys():
        ours, theirs = held.get(key, zero), told.get(key, zero)
        if ours == theirs:
            continue
        for measure, state, openai in zip(measure_names(endpoint, key), ours, theirs, strict=True):
            if state != openai:
                found[Figure(endpoint.api, day, measure, _group(endpoint, key))] = Pair(state, openai)
    return found


def _group(endpoint: Endpoint, key: RowKey) -> tuple[tuple[str, str | None], ...]:
    return tuple(
        (dimension, value)
        for dimension, value in zip(endpoint.dimensions, key, strict=False)
        # What is always grouped by is told even where it is null: that is a group of its own.
        if value is not None or dimension in endpoint.always_grouped
    )


def _sums(endpoint: Endpoint, rows: Rows) -> dict[str, Amount]:
    if endpoint is COSTS:
        return _added((str(key[-1]), values[0]) for key, values in rows.items())
    whole: RowValues = (0,) * len(endpoint.measures)
    for values in rows.values():
        whole = add_each(whole, values)
    return dict(zip(endpoint.measures, whole, strict=True))


def _quantity_sums(quantities: Quantities) -> dict[str, Amount]:
    sums = _added((_quantity_of(item.unit), billed.quantity) for item, billed in quantities.items())
    return {PRICED: _added((PRICED, billed.usd) for billed in quantities.values()).get(PRICED, 0), **sums}


def _quantity_of(unit: str) -> str:
    return f"{QUANTITY} ({unit})" if unit else QUANTITY


def _quantity_differences(api: str, day: int, held: Quantities, told: Quantities) -> dict[Figure, Pair]:
    found: dict[Figure, Pair] = {}
    for item in held.keys() | told.keys():
        ours, theirs = held.get(item, (0, 0)), told.get(item, (0, 0))
        for measure, state, openai in zip((PRICED, _quantity_of(item.unit)), ours, theirs, strict=True):
            if state != openai:
                found[Figure(api, day, measure, (("line_item", item.line_item),))] = Pair(state, openai)
    return found


def _added(amounts: Iterable[tuple[str, Amount]]) -> dict[str, Amount]:
    sums: dict[str, Amount] = {}
    for name, amount in amounts:
        sums[name] = add(sums.get(name, 0), amount)
    return sums


def _pairs(held: Mapping[str, Amount], told: Mapping[str, Amount]) -> dict[str, Pair]:
    names = dict.fromkeys((*held, *told))
    pairs = {name: Pair(held.get(name, 0), told.get(name, 0)) for name in names}
    return {name: pair for name, pair in pairs.items() if any(pair)}
