"""One day of a counter as points in time. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from exporter.days import SECONDS_PER_DAY
from exporter.exact import Amount, add, subtract

MILLISECONDS: Final = 1_000
_HOUR: Final = 3_600 * MILLISECONDS
HOURS_PER_DAY: Final = SECONDS_PER_DAY // 3_600

JUST_AFTER: Final = 1
"""Milliseconds. `increase(x[1d])` at midnight wants a value at the midnight before. Prometheus 2 takes the one at that
very moment. Prometheus 3 leaves it out, and takes one a moment later."""


class Point(NamedTuple):
    """A value at a moment, in milliseconds of Unix time."""

    at: int
    value: Amount


def bounds(day: int, value: Amount) -> Iterator[Point]:
    """Yield what a counter shows at a UTC midnight, Unix seconds."""
    yield Point(day * MILLISECONDS, value)
    yield Point(day * MILLISECONDS + JUST_AFTER, value)


def points_of_day(day: int, before: Amount, after: Amount, hours: Sequence[Amount]) -> Iterator[Point]:
    """Yield what a counter showed on a day, in order of time, the midnight after it left out.

    The day decides: hours are read apart from it and may come to another sum. What they have too much is cut off, what
    they lack falls into the last one. Hours without growth have no points.

    Args:
        day: a UTC midnight, Unix seconds.
        before: the counter at its beginning.
        after: at its end; never less.
        hours: what each of the day's hours is said to have brought; empty where nobody says.
    """
    yield from bounds(day, before)
    growth = subtract(after, before)
    reached: Amount = 0
    for number, amount in enumerate(hours):
        is_last = number == HOURS_PER_DAY - 1
        # A counter never falls, whatever an hour says.
        upto = growth if is_last else min(add(reached, max(amount, 0)), growth)
        if upto == reached:
            continue
        begin = day * MILLISECONDS + number * _HOUR
        if number:
            yield Point(begin + JUST_AFTER, add(before, reached))
        if not is_last:
            yield Point(begin + _HOUR, add(before, upto))
        reached = upto
