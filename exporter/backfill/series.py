"""Which API and which family a counter belongs to, and which time a gauge. Pure."""

from typing import Final

from exporter.days import SECONDS_PER_DAY, month_of, previous_month_of
from exporter.ledger.counters import SeriesName
from exporter.metrics.catalogue import COST, COUNTED, USAGE_COUNTERS, Family, cost_counter, currency_of
from exporter.openai_api.endpoints import COSTS, USAGE_ENDPOINTS

_FAMILIES: Final = {family.name: family for family in (*USAGE_COUNTERS, COST)}
_API_BY_OPERATION: Final = {endpoint.operation: endpoint.api for endpoint in USAGE_ENDPOINTS}
# Of families that one API alone has, and that need no label to tell.
_API_BY_FAMILY: Final = {counted.counter.name: api for api, all_counted in COUNTED.items() for counted in all_counted}


def api_of(name: SeriesName) -> str:
    """Return the API that a counter grows from: each grows from one."""
    operation = dict(name.labels).get("operation")
    if operation is not None:
        return _API_BY_OPERATION[operation]
    return _API_BY_FAMILY.get(name.family, COSTS.api)


def family_of(name: SeriesName) -> Family:
    """Return a counter's family; every currency of the bill has one."""
    return _FAMILIES.get(name.family) or cost_counter(currency_of(name.family))


def begin_of_period(name: SeriesName, day: int) -> int:
    """Return where the day or month begins that a gauge on `day` is about: half a month is not the month."""
    begins = {
        ("day", "yesterday"): day - SECONDS_PER_DAY,
        ("month", "current"): month_of(day),
        ("month", "previous"): previous_month_of(day),
    }
    return begins.get(name.labels[-1], day)
