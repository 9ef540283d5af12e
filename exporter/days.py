"""Arithmetic on UTC days and calendar months, all in Unix seconds at midnight."""

from datetime import UTC, datetime
from typing import Final

SECONDS_PER_DAY: Final = 86_400


def day_of(timestamp: float) -> int:
    """Return the UTC midnight at or before `timestamp`."""
    return int(timestamp) // SECONDS_PER_DAY * SECONDS_PER_DAY


def month_of(timestamp: float) -> int:
    """Return the first UTC midnight of the calendar month that holds `timestamp`."""
    moment = datetime.fromtimestamp(timestamp, UTC)
    return int(moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp())


def previous_month_of(timestamp: float) -> int:
    """Return the first UTC midnight of the calendar month before the one that holds `timestamp`."""
    return month_of(month_of(timestamp) - 1)
