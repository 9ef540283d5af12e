"""What the organization did on a UTC day, and when the usage API came to know it. The seed and the day decide all."""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate
from operator import neg, sub
from typing import Final, Generic, NamedTuple, TypeVar

from exporter.days import SECONDS_PER_DAY, day_of
from exporter.openai_api.endpoints import USAGE_ENDPOINTS
from exporter.simulator.measures import measure
from exporter.simulator.organization import Dimension, Organization, Stream
from exporter.simulator.uses import RHYTHMS

HOUR: Final = 3_600
MINUTE: Final = 60

# Nothing about a day changes later than this after its first second. Three days after a day began it is settled for
# good, so that a client that reads today and the two days before sees every change.
LAST_ARRIVAL: Final = 2 * SECONDS_PER_DAY + 18 * HOUR
SETTLED_AFTER: Final = 3 * SECONDS_PER_DAY

_MOST_PIECES: Final = 300
_BUSY_PIECES: Final = 40
_DAYS_KEPT: Final = 16
_PLANS_KEPT: Final = 800
_SATURDAY: Final = 5

Dimensions = tuple[Dimension, ...]

Number = TypeVar("Number", int, Decimal)
"""Counts are int, money is Decimal; a row never mixes them."""


class Delta(NamedTuple, Generic[Number]):
    """One change of what the usage or costs API knows.

    Attributes:
        arrival: Unix seconds when it came to be known.
        minute: first second of the minute it belongs to; of the day for costs.
        dimensions: the row it belongs to, at full grain.
        measures: what it adds, or takes back.
    """

    arrival: int
    minute: int
    dimensions: Dimensions
    measures: tuple[Number, ...]


class Call(NamedTuple):
    """A batch of calls as they really happened: what an instrument inside the applications could have seen."""

    at: int
    stream: Stream
    measures: tuple[int, ...]
    failed: int
    is_traced: bool


class Cell(NamedTuple):
    """A stream's whole day. A cell that vanishes is reported at first and revised to nothing later."""

    stream: Stream
    measures: tuple[int, ...]
    vanishes: bool


@dataclass(frozen=True, slots=True)
class Day:
    """Everything about one UTC day: per API the deltas in order of arrival, and the calls in order of time."""

    deltas: Mapping[str, Sequence[Delta[int]]]
    calls: Sequence[Call]


def _is_weekend(day: int) -> bool:
    # 1970-01-01 was a Thursday.
    return (day // SECONDS_PER_DAY + 3) % 7 >= _SATURDAY


class Traffic:
    """The organization's activity on any day."""

    def __init__(self, organization: Organization, seed: str) -> None:
        self._organization = organization
        self._seed = seed
        self._hours = {name: tuple(accumulate(rhythm.hours)) for name, rhythm in RHYTHMS.items()}
        self.plan = lru_cache(maxsize=_PLANS_KEPT)(self._plan)
        self.day = lru_cache(maxsize=_DAYS_KEPT)(self._day)

    def _plan(self, day: int) -> tuple[Cell, ...]:
        """What each stream's day adds up to when all is known."""
        chance = random.Random(f"{self._seed}/{day}/plan")  # noqa: S311 - deterministic by intent, no secret
        weekend = _is_weekend(day)
        cells = []
        for stream in self._organization.streams:
            rhythm = RHYTHMS[stream.use.rhythm]
            expected = stream.calls * (rhythm.weekend if weekend else 1.0) * chance.lognormvariate(0.0, 0.25)
            # Below one call the fraction is the odds of a call.
            calls = int(expected + chance.random())
            if calls == 0 or (stream.until is not None and day >= day_of(stream.until)):
                continue
            cells.append(Cell(stream, measure(stream.use, calls, chance), chance.random() < 0.01))  # noqa: PLR2004 - one in a hundred
        return tuple(cells)

    def settled(self, day: int, api: str) -> dict[Dimensions, list[int]]:
        """A day's rows at full grain once nothing changes any more, without working out how it came to that."""
        if api == "usage/vector_stores":
            return {(project_id,): [stored] for project_id, stored in self._stored_bytes(day)}
        rows: dict[Dimensions, list[int]] = {}
        for stream, measures, vanishes in self.plan(day):
            if stream.api == api and not vanishes:
                add_to(rows, stream.dimensions, measures)
        return rows

    def _stored_bytes(self, day: int) -> Iterable[tuple[str, int]]:
        """How much each project's vector stores hold when the day ends: slowly growing, now and then cleaned up."""
        for project in self._organization.projects:
            if project.stored_bytes:
                growth = 1 + 0.002 * (day // SECONDS_PER_DAY % 120) + 0.0001 * (day // SECONDS_PER_DAY - 20_000)
                yield project.id, int(project.stored_bytes * growth)

    def _day(self, day: int) -> Day:
        chance = random.Random(f"{self._seed}/{day}/arrivals")  # noqa: S311 - deterministic by intent, no secret
        deltas: dict[str, list[Delta[int]]] = {endpoint.api: [] for endpoint in USAGE_ENDPOINTS}
        calls: list[Call] = []
        for cell in self.plan(day):
            self._play(cell, day, chance, deltas[cell.stream.api], calls)
        for project_id, stored in self._stored_bytes(day):
            # The level is known from the first minute and grows twice during the day.
            morning = stored - stored // 500
            steps = (
                (day, morning),
                (day + 9 * HOUR, stored // 1000),
                (day + 15 * HOUR, stored - morning - stored // 1000),
            )
            deltas["usage/vector_stores"] += [Delta(at + 40, at, (project_id,), (step,)) for at, step in steps]
        for known in deltas.values():
            known.sort(key=lambda delta: (delta.arrival, delta.minute))
        calls.sort(key=lambda call: call.at)
        return Day(deltas, calls)

    def _play(self, cell: Cell, day: int, chance: random.Random, deltas: list[Delta[int]], calls: list[Call]) -> None:
        """Cut a cell into pieces that happen over the day, and let each be known some time after."""
        stream, measures, vanishes = cell
        count = max(1, min(_MOST_PIECES, int(math.sqrt(max(measures)) / 8), stream_calls(cell)))
        hours = self._hours[stream.use.rhythm]
        moments = sorted(
            day + hour * HOUR + chance.randrange(HOUR) for hour in chance.choices(range(24), cum_weights=hours, k=count)
        )
        marks = list(accumulate(chance.uniform(0.4, 1.6) for _ in moments))
        # Busy cells are counted again some hours later, and the count comes out a few per cent higher or lower.
        revised_by = chance.uniform(-0.05, 0.05) if count >= _BUSY_PIECES and chance.random() < 0.4 else 0.0  # noqa: PLR2004
        revised_at = day + int(chance.uniform(10, 62) * HOUR)
        pieces = _pieces(measures, marks)
        first_counts = [_scaled(piece, 1 + revised_by) for piece in pieces] if revised_by else pieces
        for moment, piece, first in zip(moments, pieces, first_counts, strict=True):
            arrival = min(moment + _delay(chance), day + LAST_ARRIVAL)
            minute = moment - moment % MINUTE
            failed = 1 if chance.random() < 0.02 else 0  # noqa: PLR2004 - one in fifty
            calls.append(Call(moment, stream, piece, failed, chance.random() < 0.92))  # noqa: PLR2004
            if revised_by and arrival < revised_at:
                deltas.append(Delta(arrival, minute, stream.dimensions, first))
                if first != piece:
                    correction = tuple(map(sub, piece, first))
                    deltas.append(Delta(revised_at, minute, stream.dimensions, correction))
            else:
                deltas.append(Delta(arrival, minute, stream.dimensions, piece))
            if vanishes:
                taken_back = tuple(map(neg, piece))
                deltas.append(Delta(max(revised_at, arrival), minute, stream.dimensions, taken_back))


def _pieces(measures: Sequence[int], marks: Sequence[float]) -> list[tuple[int, ...]]:
    """Cut the measures at the marks, of which the last is the end. The pieces add up to them, to the token."""
    parts = [mark / marks[-1] for mark in marks[:-1]]
    columns: list[Iterable[int]] = []
    for value in measures:
        if value:
            # Cumulative rounding. Measure by measure: most of a row's are 0.
            reached = [int(value * part) for part in parts]
            columns.append(map(sub, [*reached, value], [0, *reached]))
        else:
            columns.append([0] * len(marks))
    return list(zip(*columns, strict=True))


def _scaled(piece: tuple[int, ...], factor: float) -> tuple[int, ...]:
    return tuple([value and int(value * factor) for value in piece])


def stream_calls(cell: Cell) -> int:
    """How many calls a cell holds: the last measure of all that count calls."""
    return cell.measures[-1]


def _delay(chance: random.Random) -> int:
    """Seconds until the usage API knows: mostly minutes, now and then hours, once in a while more than a day."""
    draw = chance.random()
    if draw < 0.90:  # noqa: PLR2004 - parts of a whole, named by the lines they guard
        return int(chance.uniform(15, 400))
    if draw < 0.965:  # noqa: PLR2004
        return int(chance.uniform(600, 2 * HOUR))
    if draw < 0.995:  # noqa: PLR2004
        return int(chance.uniform(2 * HOUR, 20 * HOUR))
    return int(chance.uniform(25 * HOUR, 42 * HOUR))


def add_to(rows: dict[Dimensions, list[Number]], dimensions: Dimensions, measures: Sequence[Number]) -> None:
    """Add one delta to running totals; a row of nothing but zeros goes away."""
    row = rows.get(dimensions)
    if row is None:
        rows[dimensions] = list(measures)
        return
    for index, value in enumerate(measures):
        row[index] += value
    if not any(row):
        del rows[dimensions]
