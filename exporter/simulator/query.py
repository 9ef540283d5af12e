"""Reads a usage or costs query: every parameter is checked, and a cursor must belong to the very query it came from."""

import base64
import binascii
import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl

from exporter.days import SECONDS_PER_DAY, day_of
from exporter.openai_api.endpoints import COSTS, Endpoint
from exporter.simulator.errors import ApiError, grouping_unavailable, lookback_exceeded
from exporter.simulator.organization import Dimension

# 2025-12-06: costs by API key exist from here on.
COSTS_BY_KEY_SINCE: Final = 1_764_979_200

_WIDTHS: Final = MappingProxyType({"1m": 60, "1h": 3_600, "1d": SECONDS_PER_DAY})
# Default and maximum of `limit`.
_USAGE_LIMITS: Final = MappingProxyType({"1m": (60, 1440), "1h": (24, 168), "1d": (7, 31)})
_COSTS_LIMITS: Final = MappingProxyType({"1d": (7, 180)})

_FILTERS: Final = MappingProxyType(
    {
        "project_ids": "project_id",
        "user_ids": "user_id",
        "api_key_ids": "api_key_id",
        "models": "model",
        "sizes": "size",
        "sources": "source",
        "context_levels": "context_level",
        "vector_store_ids": "vector_store_id",
        "line_items": "line_item",
        "batch": "batch",
    }
)
_PLAIN: Final = frozenset({"start_time", "end_time", "bucket_width", "limit", "page"})
# Their values hold commas themselves.
_NEVER_SPLIT: Final = frozenset({"line_items"})
_BOOLEANS: Final = MappingProxyType({"true": True, "false": False})

_CURSOR: Final = struct.Struct(">QQ8s")
_CURSOR_PREFIX: Final = "page_"

Filters = tuple[tuple[str, frozenset[Dimension]], ...]


@dataclass(frozen=True, slots=True)
class Query:
    """A checked query.

    Attributes:
        endpoint: the endpoint asked.
        start: first second of the window; costs: a UTC midnight.
        end: the second after it, never later than now; costs: a UTC midnight.
        width: seconds per bucket.
        grouping: in the order of the endpoint's dimensions.
        filters: values let through, by dimension.
        limit: buckets per page.
        position: where this page begins.
        fingerprint: equal for all pages of one query.
    """

    endpoint: Endpoint
    start: int
    end: int
    width: int
    grouping: tuple[str, ...]
    filters: Filters
    limit: int
    position: int
    fingerprint: bytes

    def cursor(self, position: int) -> str:
        """The opaque `next_page` for a page that begins there."""
        return _CURSOR_PREFIX + base64.urlsafe_b64encode(_CURSOR.pack(position, self.end, self.fingerprint)).decode()


class _Parameters:
    """A query string's parameters, in any of the three array spellings."""

    def __init__(self, text: str) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in parse_qsl(text, keep_blank_values=True):
            self._values.setdefault(name.removesuffix("[]"), []).append(value)

    def refuse_all_but(self, known: frozenset[str]) -> None:
        for name in self._values:
            if name not in known:
                raise ApiError(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")

    def items(self) -> Sequence[tuple[str, tuple[str, ...]]]:
        return sorted((name, tuple(values)) for name, values in self._values.items() if name != "page")

    def array(self, name: str) -> list[str]:
        values = self._values.get(name, [])
        if name in _NEVER_SPLIT:
            return values
        return [part for value in values for part in value.split(",") if part]

    def text(self, name: str) -> str | None:
        values = self._values.get(name)
        return values[-1] if values else None

    def integer(self, name: str) -> int | None:
        text = self.text(name)
        if text is None:
            return None
        if not text.isdecimal() or len(text) > 12:  # noqa: PLR2004 - no Unix time is longer
            raise ApiError(
                400,
                f"Invalid type for '{name}': expected an integer, but got '{text}'.",
                param=name,
                code="invalid_type",
            )
        return int(text)


def read_query(
    endpoint: Endpoint, text: str, *, now: float, costs_limit_clamp: int | None, refused: Mapping[str, Sequence[str]]
) -> Query:
    """Check a query string. Raises ApiError with the API's own words where it is wrong."""
    parameters = _Parameters(text)
    filters = {name: dimension for name, dimension in _FILTERS.items() if dimension in endpoint.dimensions}
    if endpoint is COSTS:
        del filters["user_ids"]
    parameters.refuse_all_but(_PLAIN | {"group_by"} | frozenset(filters))
    width_name = parameters.text("bucket_width") or "1d"
    limits = _COSTS_LIMITS if endpoint is COSTS else _USAGE_LIMITS
    if width_name not in limits:
        raise _not_one_of("bucket_width", width_name, tuple(limits))
    limit = _limit(parameters.integer("limit"), *limits[width_name])
    if endpoint is COSTS and costs_limit_clamp is not None:
        limit = min(limit, costs_limit_clamp)
    start, end = _window(endpoint, parameters, now)
    grouping = _grouping(endpoint, parameters, refused.get(endpoint.api, ()), start, now)
    query = Query(
        endpoint=endpoint,
        start=start,
        end=end,
        width=_WIDTHS[width_name],
        grouping=grouping,
        filters=tuple(
            (dimension, _allowed(name, parameters)) for name, dimension in filters.items() if parameters.text(name)
        ),
        limit=limit,
        position=start,
        fingerprint=hashlib.sha256(repr((endpoint.api, parameters.items())).encode()).digest()[:8],
    )
    page = parameters.text("page")
    return query if page is None else _continued(query, page)


def _continued(query: Query, page: str) -> Query:
    try:
        raw = base64.b64decode(page.removeprefix(_CURSOR_PREFIX), altchars=b"-_", validate=True)
        position, end, fingerprint = _CURSOR.unpack(raw)
    except (binascii.Error, struct.error, ValueError) as error:
        raise ApiError(400, "Invalid page cursor.", param="page") from error
    if fingerprint != query.fingerprint:
        raise ApiError(400, "The page cursor does not belong to this query.", param="page")
    return replace(query, position=position, end=end)


def _not_one_of(name: str, value: str, known: Sequence[str]) -> ApiError:
    listed = ", ".join(f"'{each}'" for each in known)
    return ApiError(400, f"Invalid value: '{value}'. Supported values are: {listed}.", param=name, code="invalid_value")


def _limit(limit: int | None, default: int, maximum: int) -> int:
    if limit is None:
        return default
    if limit > maximum:
        raise ApiError(400, f"Invalid limit provided: {limit}. Limit must be less than or equal to {maximum}.")
    if limit == 0:
        raise ApiError(400, "Invalid limit provided: 0. Limit must be greater than or equal to 1.")
    return limit


def _window(endpoint: Endpoint, parameters: _Parameters, now: float) -> tuple[int, int]:
    start = parameters.integer("start_time")
    end = parameters.integer("end_time")
    if start is None:
        raise ApiError(
            400, "Missing required parameter: 'start_time'.", param="start_time", code="missing_required_parameter"
        )
    earliest = _a_year_before(now)
    if start < earliest:
        raise lookback_exceeded(datetime.fromtimestamp(earliest, UTC).date().isoformat())
    if endpoint is not COSTS:
        if end is not None and end <= start:
            raise ApiError(400, "end_time must be after start_time.", param="end_time")
        return start, min(int(now), end) if end is not None else int(now)
    tomorrow = day_of(now) + SECONDS_PER_DAY
    if end is not None and day_of(end) <= day_of(start):
        raise ApiError(400, "start_time and end_time must not be on the same date (UTC).", param="end_time")
    return day_of(start), min(tomorrow, day_of(end)) if end is not None else tomorrow


def _a_year_before(now: float) -> int:
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    # There is no 29 February a year before a leap day.
    day = min(today.day, 28) if today.month == 2 else today.day  # noqa: PLR2004 - February
    return int(today.replace(year=today.year - 1, day=day).timestamp())


def _grouping(
    endpoint: Endpoint, parameters: _Parameters, refused: Sequence[str], start: int, now: float
) -> tuple[str, ...]:
    wanted = parameters.array("group_by")
    for dimension in wanted:
        if dimension not in endpoint.dimensions:
            raise _not_one_of("group_by", dimension, endpoint.dimensions)
        if dimension in refused:
            raise grouping_unavailable(dimension, day_of(now) + SECONDS_PER_DAY)
        if endpoint is COSTS and dimension == "api_key_id" and start < COSTS_BY_KEY_SINCE:
            raise grouping_unavailable(dimension, COSTS_BY_KEY_SINCE)
    return tuple(dimension for dimension in endpoint.dimensions if dimension in wanted)


def _allowed(name: str, parameters: _Parameters) -> frozenset[Dimension]:
    values = parameters.array(name)
    if name != "batch":
        return frozenset(values)
    for value in values:
        if value not in _BOOLEANS:
            raise _not_one_of(name, value, tuple(_BOOLEANS))
    return frozenset(_BOOLEANS[value] for value in values)
