"""Prometheus' spelling of durations. Pure."""

import re
from datetime import timedelta
from typing import Final

_UNITS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_TOO_LONG: Final = 100_000 * _UNITS["d"]
# Ten digits are three centuries in seconds, and more would overflow.
_DURATION: Final = re.compile(
    "".join(rf"(?:([0-9]{{1,{digits}}}){unit})?" for unit, digits in zip(_UNITS, (5, 7, 9, 10), strict=True))
)


def parse_duration(text: object) -> timedelta:
    """Read Prometheus' spelling of a duration, such as 90s, 15m or 1d12h.

    Raises:
        ValueError: it is none, is zero, or is 100,000 days or more.
    """
    match = _DURATION.fullmatch(text) if isinstance(text, str) and text else None
    seconds = (
        sum(int(digits) * unit for digits, unit in zip(match.groups("0"), _UNITS.values(), strict=True)) if match else 0
    )
    # Longer ones could not be spelled in days again.
    if not 0 < seconds < _TOO_LONG:
        raise ValueError("a duration such as 90s, 15m, 1h30m or 3d is needed")
    return timedelta(seconds=seconds)


def render_duration(duration: timedelta) -> str:
    """Spell a duration the way `parse_duration` reads it."""
    left = int(duration.total_seconds())
    parts = []
    for letter, unit in _UNITS.items():
        amount, left = divmod(left, unit)
        if amount:
            parts.append(f"{amount}{letter}")
    return "".join(parts)
