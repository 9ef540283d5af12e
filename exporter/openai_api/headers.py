"""The two response headers that speak of time: Date and Retry-After."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

# Longer figures are nonsense, and the bound keeps float() from infinity.
_SECONDS: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{0,9})?", re.ASCII)


def http_date(text: str | None) -> float | None:
    """Read an HTTP date as Unix seconds, None if there is none to read."""
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        # A shift to UTC can leave the years that datetime knows.
        return (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    except (ValueError, OverflowError):
        return None


def retry_after(text: str | None, now: float) -> float | None:
    """Seconds to wait from `now`, by either spelling of Retry-After; None if it is absent or senseless."""
    text = (text or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    moment = http_date(text)
    return None if moment is None else max(0.0, moment - now)
