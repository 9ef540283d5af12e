"""How long to wait between polls of an API by what it has said lately. Pure: time comes in as an argument."""

from dataclasses import dataclass
from typing import Final

from exporter.days import SECONDS_PER_DAY, day_of

# A wait is at most this share of the quiet time before it: what has not moved for an hour may be late by minutes, what
# moved just now may not. Four days without a single row say more than an hour without a change.
_SHARE_WITHOUT_ROWS: Final = 1 / 4
_SHARE_WITH_ROWS: Final = 1 / 12
# What is in use is never left alone for longer, so that a day's figures are fresh soon after a quiet night.
_LONGEST_WITH_ROWS: Final = 300.0
# Before the UTC day turns there is time for a poll or more at full pace: counters of the day are to have it all.
_BEFORE_MIDNIGHT: Final = 600.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How often an API is polled, in seconds between polls.

    Attributes:
        interval: while it moves.
        longest: while it does not.
    """

    interval: float
    longest: float


@dataclass(frozen=True, slots=True)
class Lately:
    """What is known of an API.

    Attributes:
        quiet_since: when its answer last changed, a poll of it failed, or its polls began, Unix seconds.
        has_rows: there is any row in the days that are read.
    """

    quiet_since: float
    has_rows: bool


def wait_after(pace: Pace, lately: Lately, now: float) -> float:
    """Return how many seconds after a poll at `now` the next one is due.

    The wait doubles from the interval as time goes by without a change. The UTC day's turn counts as a change, and no
    wait reaches into the minutes before it.
    """
    midnight = day_of(now)
    share, longest = _SHARE_WITHOUT_ROWS, pace.longest
    if lately.has_rows:
        share, longest = _SHARE_WITH_ROWS, min(longest, _LONGEST_WITH_ROWS)
    earned = share * (now - max(lately.quiet_since, midnight))
    before_midnight = midnight + SECONDS_PER_DAY - _BEFORE_MIDNIGHT - now
    wait = pace.interval
    while 2 * wait <= min(earned, longest):
        wait *= 2
    if earned >= longest > wait:
        wait = longest
    return max(pace.interval, min(wait, before_midnight))
