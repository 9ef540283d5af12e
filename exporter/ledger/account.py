"""What the ledger knows of one API: immutable, so that a failed commit leaves nothing half done."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from exporter.exact import Amount, add
from exporter.openai_api.answer import Quantities, RowKey, RowValues
from exporter.openai_api.endpoints import COSTS, Endpoint

Rows = Mapping[RowKey, RowValues]
NO_ROWS: Rows = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Bucket:
    """The newest values the API reported for one UTC day, at the grain it was asked for."""

    grouping: tuple[str, ...]
    rows: Rows


@dataclass(frozen=True, slots=True)
class Account:
    """One API's side of the ledger.

    Invariant: for every measure, what was posted to counters less `held` is the sum of the newest bucket values
    since the zero line.

    Attributes:
        api: the endpoint's `api`.
        covered_from: the first UTC day whose values are held here; earlier days are never posted. None: never applied.
        applied_through: the newest UTC day the API has answered for. None: no day so far.
        grouping: the grain of the newest answer, and of `held`.
        buckets: by UTC midnight.
        quantities: of costs, what each line item came to, by UTC midnight; days without any are left out.
        held: what counters still hold though the API took it back, per row key; never negative.
        changed_at: when an answer last differed from the one before, Unix seconds.
    """

    api: str
    covered_from: int | None = None
    applied_through: int | None = None
    grouping: tuple[str, ...] = ()
    buckets: Mapping[int, Bucket] = field(default_factory=dict)
    quantities: Mapping[int, Quantities] = field(default_factory=dict)
    held: Rows = field(default_factory=dict)
    changed_at: int | None = None


def measure_names(endpoint: Endpoint, key: RowKey) -> tuple[str, ...]:
    """Return the names of a row's values: the endpoint's measures, or the currency for a row of costs."""
    return (str(key[-1]),) if endpoint is COSTS else endpoint.measures


def held_by_measure(endpoint: Endpoint, account: Account) -> dict[str, Amount]:
    """Return what is held back in sum, by measure; every measure of the endpoint is there, usually as 0."""
    sums: dict[str, Amount] = dict.fromkeys(("usd",) if endpoint is COSTS else endpoint.measures, 0)
    for key, values in account.held.items():
        for name, value in zip(measure_names(endpoint, key), values, strict=True):
            sums[name] = add(sums.get(name, 0), value)
    return sums
