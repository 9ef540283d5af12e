"""Builds the pages of the usage and costs APIs from what is known now."""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Any, Final

from exporter.days import SECONDS_PER_DAY, day_of
from exporter.openai_api.endpoints import COSTS, Endpoint
from exporter.simulator.billing import CURRENCY, EXACT
from exporter.simulator.known import KnownDays
from exporter.simulator.line_items import CREDIT, unit_of
from exporter.simulator.measures import is_undivided, openai_fields
from exporter.simulator.organization import ORGANIZATION_ID, ORGANIZATION_NAME, Dimension, Organization
from exporter.simulator.query import Query
from exporter.simulator.traffic import Dimensions, Number, add_to

# Fields that rows of old models never carry.
_MODERN_FIELDS: Final = ("uncached", "write", "text", "audio", "image")
# A float holds this many decimal digits and gives them back.
_DIGITS_OF_A_FLOAT: Final = 15
_TEXTS_KEPT: Final = 2_000
_ROWS_KEPT: Final = 40_000
_LONGEST_SPELLING: Final = 36
# What the API was seen to say for nothing at all.
_ZERO: Final = "0E-6176"


class Pages:
    """Answers checked queries. Texts of rows and buckets that did not change are used again."""

    def __init__(self, organization: Organization, known: KnownDays) -> None:
        self._organization = organization
        self._known = known
        self._emails = {user.id: user.email for user in organization.users}
        self._texts: dict[tuple[object, ...], tuple[object, str]] = {}
        self._rows: dict[tuple[object, ...], str] = {}

    def page(self, query: Query, now: float, *, endless: bool) -> tuple[list[str], int | None]:
        """The page's buckets as JSON texts, and where the next page begins, None at the end."""
        position = query.position
        buckets: list[str] = []
        while position < query.end and len(buckets) < query.limit:
            after = position - position % query.width + query.width
            # The newest usage bucket ends now; costs end at midnight anyway.
            end = min(after, query.end)
            buckets.append(self._bucket(query, position, end, now))
            position = after
        if position < query.end:
            return buckets, position
        if not endless or query.endpoint is not COSTS:
            return buckets, None
        if not buckets:
            buckets.append(_bucket_text(COSTS, position, position + SECONDS_PER_DAY, "[]"))
            position += SECONDS_PER_DAY
        return buckets, position

    def _bucket(self, query: Query, start: int, end: int, now: float) -> str:
        day = day_of(start)
        is_whole_day = query.width == SECONDS_PER_DAY and start == day and end >= min(day + SECONDS_PER_DAY, int(now))
        if query.endpoint is COSTS:
            bill = self._known.costs(day, now)
            results = self._remembered(query, day, bill.version, now, lambda: self._cost_results(query, bill.rows, now))
        elif is_whole_day:
            usage = self._known.usage(query.endpoint.api, day, now)
            results = self._remembered(query, day, usage.version, now, lambda: self._usage_results(query, usage.rows))
        else:
            rows = self._known.usage_between(query.endpoint.api, start, end, now)
            results = _list_text(self._usage_results(query, rows))
        return _bucket_text(query.endpoint, start, end, results)

    def _remembered(self, query: Query, day: int, version: int, now: float, build: Callable[[], Iterator[str]]) -> str:
        key = (query.endpoint.api, day, query.grouping, query.filters)
        # Names are part of the bill's rows, so a rename makes them new.
        state = (version, self._names(now))
        remembered = self._texts.get(key)
        if remembered is not None and remembered[0] == state:
            return remembered[1]
        text = _list_text(build())
        if len(self._texts) >= _TEXTS_KEPT:
            self._texts.clear()
        self._texts[key] = (state, text)
        return text

    def _usage_results(self, query: Query, rows: Mapping[Dimensions, Sequence[int]]) -> Iterator[str]:
        for dimensions, values in _grouped(query.endpoint, query, rows).items():
            key = (query.endpoint.api, query.grouping, dimensions, tuple(values))
            yield self._rows.get(key) or self._keep(key, _usage_row(query, dimensions, values))

    def _cost_results(self, query: Query, rows: Mapping[Dimensions, Sequence[Decimal]], now: float) -> Iterator[str]:
        with localcontext(EXACT):
            grouped = _grouped(COSTS, query, rows)
        names = self._names(now)
        for dimensions, (amount, quantity) in grouped.items():
            key = (query.grouping, dimensions, names, amount, quantity)
            yield self._rows.get(key) or self._keep(key, self._cost_row(query, dimensions, amount, quantity, now))

    def _names(self, now: float) -> tuple[str, ...]:
        return tuple(project.name(now) for project in self._organization.projects)

    def _keep(self, key: tuple[object, ...], row: dict[str, Any]) -> str:
        if len(self._rows) >= _ROWS_KEPT:
            self._rows.clear()
        text = self._rows[key] = json.dumps(row)
        return text

    def _cost_row(
        self, query: Query, dimensions: Dimensions, amount: Decimal, quantity: Decimal, now: float
    ) -> dict[str, Any]:
        named = dimensions_of(COSTS, query.grouping, dimensions)
        project = self._organization.by_id.get(str(named["project_id"]))
        line_item = named["line_item"]
        has_quantity = line_item is not None and line_item != CREDIT
        return {
            "object": COSTS.result_object,
            "amount": {"value": spelled(amount, dimensions), "currency": CURRENCY},
            **named,
            "project_name": project.name(now) if project else None,
            "organization_id": ORGANIZATION_ID,
            "organization_name": ORGANIZATION_NAME,
            "user_email": self._emails.get(str(named["user_id"])),
            "quantity": _number(quantity) if has_quantity else None,
            "quantity_unit": unit_of(str(line_item)) if has_quantity else None,
        }


def _usage_row(query: Query, dimensions: Dimensions, values: Sequence[int]) -> dict[str, Any]:
    endpoint = query.endpoint
    fields = openai_fields(endpoint.api, values)
    if is_undivided(endpoint.api, values):
        fields = {name: value for name, value in fields.items() if not any(part in name for part in _MODERN_FIELDS)}
    return {"object": endpoint.result_object, **fields, **dimensions_of(endpoint, query.grouping, dimensions)}


def dimensions_of(endpoint: Endpoint, grouping: Sequence[str], values: Sequence[Dimension]) -> dict[str, Dimension]:
    """Every dimension of the endpoint: null unless grouped by."""
    grouped = dict(zip(grouping, values, strict=True))
    return {name: grouped.get(name) for name in endpoint.dimensions}


def _grouped(
    endpoint: Endpoint, query: Query, rows: Mapping[Dimensions, Sequence[Number]]
) -> dict[Dimensions, list[Number]]:
    places = [endpoint.dimensions.index(name) for name in query.grouping]
    checks = [(endpoint.dimensions.index(name), allowed) for name, allowed in query.filters]
    grouped: dict[Dimensions, list[Number]] = {}
    for dimensions, values in rows.items():
        if all(dimensions[place] in allowed for place, allowed in checks):
            add_to(grouped, tuple(dimensions[place] for place in places), values)
    return grouped


def spelled(amount: Decimal, dimensions: Dimensions) -> float | str:
    """An amount as the API may spell it: a number where that is exact and for two rows in three, else a string."""
    if amount == 0:
        return _ZERO
    is_short = len(amount.normalize(EXACT).as_tuple().digits) <= _DIGITS_OF_A_FLOAT
    if is_short and zlib.crc32(repr(dimensions).encode()) % 3:
        return float(amount)
    decimals = max(_LONGEST_SPELLING, -int(amount.as_tuple().exponent))
    return f"{amount:.{decimals}f}"


def _number(quantity: Decimal) -> float | int:
    return int(quantity) if quantity == quantity.to_integral_value() else float(quantity)


def _bucket_text(endpoint: Endpoint, start: int, end: int, results: str) -> str:
    iso = ""
    if endpoint is COSTS:
        iso = f'"start_time_iso": "{_iso(start)}", "end_time_iso": "{_iso(end)}", '
    return f'{{"object": "bucket", "start_time": {start}, "end_time": {end}, {iso}"results": {results}}}'


def _list_text(rows: Iterator[str]) -> str:
    return f"[{', '.join(rows)}]"


def _iso(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()
