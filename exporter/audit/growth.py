"""The ledger's invariant between two looks at one state. Pure.

Counters less what is held back grow by exactly what the newest bucket values grow by. What stood at the zero line is
in no state, so one look alone cannot tell; two looks can.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from exporter.exact import Amount, add, subtract
from exporter.ledger.account import Account
from exporter.ledger.counters import Counter, SeriesName
from exporter.ledger.store import StoredState
from exporter.metrics.catalogue import COUNTED, cost_counter
from exporter.openai_api.answer import RowKey
from exporter.openai_api.endpoints import COSTS, ENDPOINTS, Endpoint

Sums = dict[str, Amount]


@dataclass(frozen=True, slots=True)
class Growth:
    """What a counter family grew by between two looks.

    Attributes:
        family: its name.
        counted: by its counters less what is held back.
        told: by the newest values of its APIs' days; None where it cannot be told, since days came or went.
    """

    family: str
    counted: Amount
    told: Amount | None

    @property
    def holds(self) -> bool:
        """Whether nothing contradicts the invariant."""
        return self.told is None or self.counted == self.told


def growth_between(before: StoredState, after: StoredState) -> list[Growth]:
    """Return what every family that changed grew by."""
    counted = _difference(_less_held(before), _less_held(after))
    told = _difference(_newest(before), _newest(after))
    doubtful = _families_of_other_days(before.accounts, after.accounts)
    return [
        Growth(family, counted.get(family, 0), None if family in doubtful else told.get(family, 0))
        for family in sorted(counted.keys() | told.keys())
        if counted.get(family, 0) or told.get(family, 0)
    ]


def impossible_amounts(state: StoredState) -> list[str]:
    """Name the counters and held-back amounts below 0, which no ledger makes."""
    return [
        *(
            f"the counter {name.family} {dict(name.labels)} is {counter.value}"
            for name, counter in state.counters.items()
            if counter.value < 0
        ),
        *(
            f"{api} holds {value} back"
            for api, account in state.accounts.items()
            for values in account.held.values()
            for value in values
            if value < 0
        ),
    ]


def _less_held(state: StoredState) -> Sums:
    sums = _counters(state.counters)
    for api, account in state.accounts.items():
        for key, values in account.held.items():
            for family, value in zip(_families(ENDPOINTS[api], key), values, strict=True):
                sums[family] = subtract(sums[family], value)
    return sums


def _counters(counters: Mapping[SeriesName, Counter]) -> Sums:
    sums: Sums = defaultdict(int)
    for name, counter in counters.items():
        sums[name.family] = add(sums[name.family], counter.value)
    return sums


def _newest(state: StoredState) -> Sums:
    sums: Sums = defaultdict(int)
    for api, account in state.accounts.items():
        for bucket in account.buckets.values() if not ENDPOINTS[api].is_level else ():
            for key, values in bucket.rows.items():
                for family, value in zip(_families(ENDPOINTS[api], key), values, strict=True):
                    sums[family] = add(sums[family], value)
    return sums


def _families(endpoint: Endpoint, key: RowKey) -> tuple[str, ...]:
    if endpoint is COSTS:
        return (cost_counter(str(key[-1])).name,)
    return tuple(counted.counter.name for counted in COUNTED[endpoint.api])


def _families_of_other_days(before: Mapping[str, Account], after: Mapping[str, Account]) -> frozenset[str]:
    other = {
        api
        for api in before.keys() | after.keys()
        if api not in before or api not in after or before[api].covered_from != after[api].covered_from
    }
    families = {counted.counter.name for api in other if api in COUNTED for counted in COUNTED[api]}
    if COSTS.api in other:
        families |= {
            cost_counter(str(key[-1])).name
            for accounts in (before, after)
            if COSTS.api in accounts
            for bucket in accounts[COSTS.api].buckets.values()
            for key in bucket.rows
        }
    return frozenset(families)


def _difference(before: Sums, after: Sums) -> Sums:
    return {family: subtract(after.get(family, 0), before.get(family, 0)) for family in before.keys() | after.keys()}
