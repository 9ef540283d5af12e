"""The counters: what was posted, under which labels, and which series Prometheus has already seen at zero."""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from exporter.exact import Amount, add
from exporter.openai_api.answer import RowKey

OTHER = "(other)"

# What a family over its limit no longer tells apart: the contract's three, and the opt-in labels that have no bound
# either, since a limit that still lets them grow would be none.
FOLDED_LABELS = frozenset(
    {"project_id", "project", "model", "api_key_id", "api_key", "user_id", "vector_store_id"},
)


class SeriesName(NamedTuple):
    """A family and the label pairs of one of its series, in the family's order."""

    family: str
    labels: tuple[tuple[str, str], ...]

    def folded(self) -> "SeriesName":
        """Return the series that takes this one's amounts when its family is full."""
        return SeriesName(
            self.family, tuple((name, OTHER if name in FOLDED_LABELS else value) for name, value in self.labels)
        )


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter series.

    Attributes:
        value: all that was ever posted to it.
        shown: whether its value is exposed; before that it stands at 0, so that `increase()` sees the first value.
    """

    value: Amount = 0
    shown: bool = False


@dataclass(frozen=True, slots=True)
class CounterChanges:
    """What an answer makes of the counters: new totals, and how many series each family had to fold."""

    totals: Mapping[SeriesName, Amount]
    overflowed: Mapping[str, int]


class CounterBook:
    """All counters of a state, within a limit of series per family.

    Attributes:
        counters: every series there is.
        limit: the most series a family may have before new ones are folded into `(other)`.
    """

    def __init__(self, counters: Mapping[SeriesName, Counter], limit: int) -> None:
        self.counters = dict(counters)
        self.limit = limit
        self._series_per_family = Tally(name.family for name in self.counters)
        self._waiting_since: dict[SeriesName, float] = {
            name: float("nan") for name, counter in self.counters.items() if not counter.shown
        }

    def plan(
        self, postings: Mapping[SeriesName, Amount], sizes: Mapping[SeriesName, Amount] | None = None
    ) -> CounterChanges:
        """Work out the new totals. Changes nothing.

        Where a family has room for some of its new series only, the largest get it.

        Args:
            postings: what each series grows by; 0 for one that is only to be exposed.
            sizes: how large each series is, where that is not what it grows by: at the zero line nothing grows.
        """
        known_sizes = {} if sizes is None else sizes
        totals: dict[SeriesName, Amount] = {}
        overflowed: Tally[str] = Tally()
        taken: Tally[str] = Tally()
        # Only new ones compete for room. To put all in order would be long, and hold up scrapes.
        old = [posting for posting in postings.items() if posting[0] in self.counters]
        new = [posting for posting in postings.items() if posting[0] not in self.counters]
        new.sort(key=lambda posting: (-known_sizes.get(posting[0], posting[1]), posting[0]))
        for name, amount in chain(old, new):
            target = name
            if name not in self.counters:
                if self._series_per_family[name.family] + taken[name.family] < self.limit:
                    taken[name.family] += 1
                else:
                    target = name.folded()
                    overflowed[name.family] += bool(amount)
            elif not amount:
                continue
            held = self.counters.get(target)
            before = totals.get(target, held.value if held else 0)
            totals[target] = add(before, amount)
        return CounterChanges(totals, overflowed)

    def accept(self, changes: CounterChanges, now: float) -> None:
        """Take over planned totals, once they are durable."""
        for name, value in changes.totals.items():
            held = self.counters.get(name)
            if held is None:
                self._series_per_family[name.family] += 1
                self._waiting_since[name] = now
                self.counters[name] = Counter(value)
            else:
                self.counters[name] = Counter(value, held.shown)

    def exposed_name(self, name: SeriesName) -> SeriesName:
        """Return `name`, or the folded name where its family is full and does not know it."""
        if name in self.counters or self._series_per_family[name.family] < self.limit:
            return name
        return name.folded()

    def series_per_family(self) -> Mapping[str, int]:
        """Return the number of series by family."""
        return self._series_per_family

    def ripe(self, now: float, wait: float) -> tuple[SeriesName, ...]:
        """Return the series that have stood at 0 for `wait` seconds since this process first exposed them."""
        ripe = []
        for name, since in self._waiting_since.items():
            # Not this process's yet (restored), or the clock was set back: the wait begins now.
            if not since <= now:
                self._waiting_since[name] = now
            elif now - since >= wait:
                ripe.append(name)
        return tuple(ripe)

    def show(self, names: Iterable[SeriesName]) -> None:
        """Expose these series' values from now on."""
        for name in names:
            self.counters[name] = Counter(self.counters[name].value, shown=True)
            del self._waiting_since[name]


SeriesOf = Callable[[str, RowKey], tuple[SeriesName | None, ...]]
"""Names the counter series of a row, one per value; None where a value is not counted. Arguments: api, row key."""
