"""Raw rows of one day to exact values by key, for every endpoint. Pure; nothing is dropped without a count."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Annotated, Any, Final

from pydantic import FailFast, TypeAdapter, ValidationError

from exporter.exact import add_each
from exporter.openai_api.amounts import BadAmountError, parse_amount, parse_currency
from exporter.openai_api.answer import Billed, BilledItem, RowKey, RowValues
from exporter.openai_api.endpoints import COSTS, PLAIN_INPUT_MEASURES, TOKEN_MEASURES, Endpoint
from exporter.openai_api.pages import field_path
from exporter.openai_api.tokens import Count, TokenCounts, partition

NOT_AN_OBJECT: Final = "not_an_object"
UNKNOWN_OBJECT: Final = "unknown_object"
INVALID_VALUE: Final = "invalid_value"
MISSING_AMOUNT: Final = "missing_amount"
INVALID_QUANTITY: Final = "invalid_quantity"

# No scrape gets its turn while rows are validated together: these are a millisecond's work.
_ROWS_AT_ONCE: Final = 20
# The one currency that prices are in.
_PRICED_CURRENCY: Final = "usd"


@dataclass(slots=True)
class DayRows:
    """The rows of one day.

    Attributes:
        values: by key, rows with equal keys added up. Rows of nothing but zeros are left out, except of a level.
        rejected: rows that could not be read, by reason.
        first_rejected: where the first row of each reason stands, such as `results.3.input_tokens`.
        quantities: of costs, what each line item came to.
    """

    values: dict[RowKey, RowValues] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    first_rejected: dict[str, str] = field(default_factory=dict)
    quantities: dict[BilledItem, Billed] = field(default_factory=dict)

    def reject(self, reason: str, where: str) -> None:
        """Count a row that could not be read."""
        self.rejected[reason] += 1
        self.first_rejected.setdefault(reason, where)


class _RejectedRowError(Exception):
    def __init__(self, reason: str, path: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


@dataclass(frozen=True, slots=True)
class _Reading:
    """How the rows of one endpoint are read under one grouping."""

    all_rows: TypeAdapter[list[Any]]
    one_row: TypeAdapter[Any]
    key: Callable[[Any], RowKey]
    values: Callable[[Any], RowValues]


def read_rows(endpoint: Endpoint, grouping: Sequence[str], rows: Sequence[object]) -> DayRows:
    """Read one day's rows.

    Args:
        endpoint: where they come from.
        grouping: the dimensions the API was asked for; whatever it sends in others is not looked at.
        rows: as JSON gave them, numbers exact.
    """
    reading = _reading(endpoint, tuple(grouping))
    day = DayRows()
    totals = day.values
    for index, row in _validated(endpoint, reading, rows, day):
        try:
            key, values = reading.key(row), reading.values(row)
        except _RejectedRowError as rejection:
            day.reject(rejection.reason, f"results.{index}.{rejection.path}")
            continue
        known = totals.get(key)
        totals[key] = values if known is None else add_each(known, values)
        if endpoint is COSTS:
            _add_quantity(day, index, row, key, values)
    # A level that fell to zero is news, a flow of zero is none. Last, because what was taken back can add up to zero.
    if not endpoint.is_level:
        for key in [key for key, values in totals.items() if not any(values)]:
            del totals[key]
    return day


def _validated(
    endpoint: Endpoint, reading: _Reading, rows: Sequence[object], day: DayRows
) -> Iterator[tuple[int, object]]:
    """Validate in bulk, which is several times faster, and one by one only to single out the bad ones."""
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        indexes: list[int] = []
        known: list[object] = []
        for index, row in enumerate(rows[start : start + _ROWS_AT_ONCE], start):
            if not isinstance(row, dict):
                day.reject(NOT_AN_OBJECT, f"results.{index}")
            elif row.get("object") != endpoint.result_object:
                day.reject(UNKNOWN_OBJECT, f"results.{index}.object")
            else:
                indexes.append(index)
                known.append(row)
        try:
            validated = reading.all_rows.validate_python(known)
        except ValidationError:
            yield from _validated_one_by_one(reading, indexes, known, day)
        else:
            yield from zip(indexes, validated, strict=True)


def _validated_one_by_one(
    reading: _Reading, indexes: Sequence[int], rows: Sequence[object], day: DayRows
) -> Iterator[tuple[int, object]]:
    for index, row in zip(indexes, rows, strict=True):
        try:
            validated = reading.one_row.validate_python(row)
        except ValidationError as error:
            day.reject(INVALID_VALUE, f"results.{index}.{field_path(error)}")
        else:
            yield index, validated


@lru_cache(maxsize=256)
def _reading(endpoint: Endpoint, grouping: tuple[str, ...]) -> _Reading:
    row_type = _row_type(endpoint, grouping)
    rows_type: Any = Annotated[list[row_type], FailFast()]  # type: ignore[valid-type]  # a class made at run time
    return _Reading(
        all_rows=TypeAdapter(rows_type),
        one_row=TypeAdapter(row_type),
        key=(_key_of_costs if endpoint is COSTS else _key)(endpoint, grouping),
        values=_values(endpoint),
    )


def _row_type(endpoint: Endpoint, grouping: tuple[str, ...]) -> Any:  # noqa: ANN401 - a class made at run time
    counted: list[tuple[str, Any]]
    base: tuple[type, ...] = ()
    if endpoint is COSTS:
        counted = [("amount", Any), ("quantity", Any), ("quantity_unit", Any)]
    elif set(TOKEN_MEASURES) <= set(endpoint.measures):
        base = (TokenCounts,)
        counted = [(measure, Count) for measure in endpoint.measures if measure not in TOKEN_MEASURES]
    else:
        counted = [(_api_name(measure), Count) for measure in endpoint.measures]
    return make_dataclass(
        endpoint.operation,
        [
            *((name, kind) if kind is not Any else (name, kind, None) for name, kind in counted),
            *((name, bool | str | None if name == "batch" else str | None, None) for name in grouping),
        ],
        bases=base,
        # A class attribute, no field: what was not asked for is None and not even looked at.
        namespace=dict.fromkeys(name for name in endpoint.dimensions if name not in grouping),
        slots=True,
        kw_only=True,
    )


def _api_name(measure: str) -> str:
    return "input_tokens" if measure in PLAIN_INPUT_MEASURES else measure


def _attributes(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) == 1:
        one = attrgetter(names[0])
        return lambda row: (one(row),)
    return attrgetter(*names)


def _key(endpoint: Endpoint, grouping: Sequence[str]) -> Callable[[Any], RowKey]:
    dimensions = _attributes(endpoint.dimensions)

    def key(row: object) -> RowKey:
        values = dimensions(row)
        return tuple(value or None for value in values) if "" in values else values

    if "batch" not in grouping:
        return key

    def key_with_batch(row: Any) -> RowKey:  # noqa: ANN401 - a class made at run time
        # First of all, for False is no missing value; and sometimes it is sent as text.
        if row.batch is not None:
            row.batch = str(row.batch).lower()
        return key(row)

    return key_with_batch


def _key_of_costs(endpoint: Endpoint, grouping: Sequence[str]) -> Callable[[Any], RowKey]:
    dimensions = _key(endpoint, grouping)

    def key(row: Any) -> RowKey:  # noqa: ANN401 - a class made at run time
        if row.amount is None or (isinstance(row.amount, Mapping) and row.amount.get("value") is None):
            raise _RejectedRowError(MISSING_AMOUNT, "amount")
        if not isinstance(row.amount, Mapping):
            raise _RejectedRowError(INVALID_VALUE, "amount")
        try:
            return (*dimensions(row), parse_currency(row.amount.get("currency")))
        except BadAmountError:
            raise _RejectedRowError(INVALID_VALUE, "amount.currency") from None

    return key


def _values(endpoint: Endpoint) -> Callable[[Any], RowValues]:
    if endpoint is COSTS:
        return _amount
    if not set(TOKEN_MEASURES) <= set(endpoint.measures):
        return _attributes([_api_name(measure) for measure in endpoint.measures])
    others = _attributes([measure for measure in endpoint.measures if measure not in TOKEN_MEASURES])
    return lambda row: partition(row) + others(row)


def _add_quantity(day: DayRows, index: int, row: Any, key: RowKey, values: RowValues) -> None:  # noqa: ANN401 - as above
    """Note how much an amount bought. A quantity that cannot be read costs a price, not money: the row counts."""
    if row.quantity is None or not row.line_item or key[-1] != _PRICED_CURRENCY:
        return
    try:
        quantity = parse_amount(row.quantity)
    except BadAmountError:
        day.reject(INVALID_QUANTITY, f"results.{index}.quantity")
        return
    item = BilledItem(row.line_item, row.quantity_unit if isinstance(row.quantity_unit, str) else "")
    known = day.quantities.get(item)
    billed = (values[0], quantity)
    day.quantities[item] = Billed(*(billed if known is None else add_each(known, billed)))


def _amount(row: Any) -> RowValues:  # noqa: ANN401 - a class made at run time
    try:
        return (parse_amount(row.amount["value"]),)
    except BadAmountError:
        raise _RejectedRowError(INVALID_VALUE, "amount.value") from None
