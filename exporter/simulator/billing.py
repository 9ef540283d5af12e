"""What a UTC day costs, line by line, and when the costs API came to say so. All money is exact."""

import random
from collections.abc import Iterator
from decimal import ROUND_FLOOR, Clamped, Context, Decimal, Inexact, InvalidOperation, localcontext
from functools import lru_cache
from itertools import accumulate
from typing import Final, NamedTuple

from exporter.days import SECONDS_PER_DAY
from exporter.openai_api.endpoints import COSTS, ENDPOINTS
from exporter.simulator.line_items import CREDIT, STORAGE, lines
from exporter.simulator.organization import Dimension, Stream
from exporter.simulator.price_list import GIBIBYTE_HOUR
from exporter.simulator.traffic import HOUR, LAST_ARRIVAL, Delta, Dimensions, Traffic, add_to
from exporter.simulator.uses import RHYTHMS

# Enough digits for any sum here; a result that would have to be rounded is a mistake and raises.
EXACT: Final = Context(prec=120, traps=[Inexact, InvalidOperation, Clamped])

CURRENCY: Final = "usd"

_DAYS_KEPT: Final = 90
# The bill knows what was used this long ago.
_BEHIND: Final = 4 * HOUR
_FIRST_RUN: Final = 6 * HOUR
_LAST_RUN: Final = 28 * HOUR
_SETTLED_BILL: Final = LAST_ARRIVAL - HOUR
_WEEKLY_CREDIT: Final = Decimal("-7.50")


class Charge(NamedTuple):
    """One line of a day's bill, at full grain.

    Attributes:
        dimensions: in the order of the costs endpoint's dimensions.
        quantity: how much was used.
        unit_price: US dollars for one.
        is_whole: the quantity only comes in whole numbers.
        rhythm: how it spreads over the day.
        vanishes: billed at first, then taken back.
    """

    dimensions: Dimensions
    quantity: Decimal
    unit_price: Decimal
    is_whole: bool
    rhythm: str
    vanishes: bool


def _cost_dimensions(stream: Stream, line_item: str) -> Dimensions:
    known: dict[str, Dimension] = dict(zip(ENDPOINTS[stream.api].dimensions, stream.dimensions, strict=True))
    known["line_item"] = line_item
    known.setdefault("api_source", stream.use.api_source)
    return tuple(known.get(name) for name in COSTS.dimensions)


class Billing:
    """The organization's bill for any day."""

    def __init__(self, traffic: Traffic, seed: str) -> None:
        self._traffic = traffic
        self._seed = seed
        self._hours = {name: _parts_of_day(rhythm.hours) for name, rhythm in RHYTHMS.items()}
        self.day = lru_cache(maxsize=_DAYS_KEPT)(self._day)

    def charges(self, day: int) -> Iterator[Charge]:
        """All lines of a day, those that vanish later included."""
        for cell in self._traffic.plan(day):
            use = cell.stream.use
            for line in lines(use, cell.measures):
                if line.quantity:
                    dimensions = _cost_dimensions(cell.stream, line.line_item)
                    quantity = Decimal(line.quantity)
                    yield Charge(dimensions, quantity, line.unit_price, True, use.rhythm, cell.vanishes)  # noqa: FBT003 - named by the type's fields
        for (project_id,), (stored,) in self._traffic.settled(day, "usage/vector_stores").items():
            # A binary fraction: exact, with some thirty decimals.
            hours = Decimal(stored) * 24 / 2**30
            yield Charge((project_id, None, STORAGE, None, "unlabeled"), hours, GIBIBYTE_HOUR, False, "steady", False)  # noqa: FBT003
        if (day // SECONDS_PER_DAY) % 7 == 0:
            credit = (None, None, CREDIT, None, "unlabeled")
            yield Charge(credit, Decimal(1), _WEEKLY_CREDIT, True, "steady", False)  # noqa: FBT003

    def settled(self, day: int) -> dict[Dimensions, list[Decimal]]:
        """A day's bill once nothing changes any more, without working out how it came to that."""
        rows: dict[Dimensions, list[Decimal]] = {}
        with localcontext(EXACT):
            for charge in self.charges(day):
                if not charge.vanishes:
                    add_to(rows, charge.dimensions, (charge.quantity * charge.unit_price, charge.quantity))
        return rows

    def _day(self, day: int) -> tuple[Delta[Decimal], ...]:
        """What becomes known about a day's costs, in order of arrival. The measures are money and quantity."""
        chance = random.Random(f"{self._seed}/{day}/billing")  # noqa: S311 - deterministic by intent, no secret
        with localcontext(EXACT):
            deltas = [delta for charge in self.charges(day) for delta in self._postings(charge, day, chance)]
        deltas.sort(key=lambda delta: delta.arrival)
        return tuple(deltas)

    def _postings(self, charge: Charge, day: int, chance: random.Random) -> Iterator[Delta[Decimal]]:
        """A charge grows with the bill's runs, is restated once, and ends at what it is."""
        hours = self._hours[charge.rhythm]
        every = chance.choice((3, 4, 6)) * HOUR
        known = [(run, hours[(run - _BEHIND) // HOUR]) for run in range(_FIRST_RUN, _LAST_RUN, every)]
        if chance.random() < 0.3:  # noqa: PLR2004 - three in ten lines are restated
            known.append((_LAST_RUN, Decimal(chance.randrange(950, 1050)) / 1000))
            known.append((chance.randrange(30 * HOUR, _SETTLED_BILL), Decimal(1)))
        else:
            known.append((_LAST_RUN, Decimal(1)))
        if charge.vanishes:
            known.append((_SETTLED_BILL, Decimal(0)))
        before = Decimal(0)
        for run, part in known:
            after = charge.quantity * part
            if charge.is_whole:
                after = after.to_integral_value(rounding=ROUND_FLOOR)
            step = after - before
            if step:
                # Each line appears some seconds or minutes after the run began.
                arrival = day + run + chance.randrange(40 * 60)
                yield Delta(arrival, day, charge.dimensions, (step * charge.unit_price, step))
            before = after


def _parts_of_day(hours: tuple[float, ...]) -> tuple[Decimal, ...]:
    """Which part of a day's activity lies before each full hour, 0 to 24."""
    marks = [0.0, *accumulate(hours)]
    return tuple(Decimal(round(mark / marks[-1] * 1000)) / 1000 for mark in marks)
