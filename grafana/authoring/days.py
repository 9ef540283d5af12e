"""PromQL about whole UTC days, for panels with a step of one day: each bar stands on the day it tells of.

A day's bill is complete about 28 hours after the day began. So a past day is read off late on the day after it, at
23:50, as the recording rules do, and drawn where the day began. 23:00 and 21:00 stand in where nothing could be read.
The two days that are still open are read at the end of the range, which therefore must not lie in the future.
"""

from typing import Final

END: Final = "${__to:date:seconds}"
"""The end of the shown range, Unix seconds: a range query's own end is cut to whole steps."""

# A bar before the range would be in a legend's total and not in the picture.
IN_RANGE: Final = "and on () vector(time()) >= ${__from:date:seconds}"
"""Keeps what stands within the shown range: a range query begins with a whole step, up to a day earlier."""

_TODAY: Final = f"({END} - {END} % 86400)"

PROJECT_CHOSEN: Final = f'and on (project_id) openai:project:info{{project=~"$project"}} @ {END}'
"""Keeps what belongs to the chosen projects, by the names that they have now."""


def per_day(series: str, matchers: str = "") -> str:
    """Return an expression for the daily values of a recorded series with the label `day`; keeps all its labels.

    Args:
        series: such as `openai:project_model_workflow:cost_usd:day`.
        matchers: more of them, such as `workflow=~"$workflow"`.
    """
    yesterday, today = _of_day(series, "yesterday", matchers), _of_day(series, "today", matchers)
    return (
        f"({settled_per_day(series, matchers)}"
        f" or on () ({yesterday} @ {END} and on () vector(time()) == {_TODAY} - 86400)"
        f" or on () ({today} @ {END} and on () vector(time()) == {_TODAY}))"
    )


def settled_per_day(series: str, matchers: str = "") -> str:
    """Return the same without the two days that are still open: for ratios of what arrives at different times."""
    yesterday = _of_day(series, "yesterday", matchers)
    return f"({yesterday} offset -1d23h50m or on () {yesterday} offset -1d23h or on () {yesterday} offset -1d21h)"


def _of_day(series: str, day: str, matchers: str) -> str:
    return f'{series}{{day="{day}", {matchers}}}' if matchers else f'{series}{{day="{day}"}}'


def a_week_before(series: str) -> str:
    """Return an expression for what a recorded series of seven closed days was a week ago, late on that day."""
    late = f"{series} offset 10m or on () {series} offset 1h or on () {series} offset 3h"
    return f"last_over_time(({late})[1d:1d] offset 6d)"


_FIRST: Final = "scalar(last_over_time(vector(time())[1d:1d] @ start()))"
"""The first step of a range query with a step of one day, Unix seconds."""

WHOLE_WEEKS: Final = f"and on () (vector(time()) - ((day_of_week() + 6) % 7) * 86400 >= {_FIRST})"
"""Keeps the days of weeks, Monday to Sunday, that begin within the range."""

WHOLE_MONTHS: Final = f"and on () (vector(time()) - (day_of_month() - 1) * 86400 >= {_FIRST})"
"""Keeps the days of months that begin within the range."""
