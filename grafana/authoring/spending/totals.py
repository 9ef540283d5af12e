"""Totals of weeks and months, added up from days."""

from collections.abc import Mapping
from typing import Any

from grafana.authoring import palette
from grafana.authoring.days import WHOLE_MONTHS, WHOLE_WEEKS
from grafana.authoring.panels import ONE_DAY, About, Panel, Query, bars, categories
from grafana.authoring.spending.choices import COST_PER_DAY, NOTHING_BILLED, USD_AXIS

_TOTAL = f"sum({COST_PER_DAY})"
_SO_FAR = (
    "The last one is so far; one that began before there was a record misses its first days. What is restated later "
    "than a day after a day's end is in the month's numbers on top, not here."
)


def totals() -> tuple[Panel, ...]:
    """Return the section's panels."""
    return (
        bars(
            About(
                601,
                "Spend per day",
                "Billed, by the UTC day it was used on, as it settled; the last two days are still coming in.",
                width=10,
                empty=NOTHING_BILLED,
            ),
            USD_AXIS,
            [Query(_TOTAL, "billed", ONE_DAY)],
        ),
        _added_up(
            About(
                602,
                "Spend per ISO week",
                f"Days as they settled, added up over each week, Monday to Sunday, UTC, that began "
                f"in the panel's own range. {_SO_FAR}",
                width=7,
                empty=NOTHING_BILLED,
            ),
            f"{_TOTAL} {WHOLE_WEEKS}",
            "[W]WW",
            "91d",
        ),
        _added_up(
            About(
                603,
                "Spend per month",
                f"Days as they settled, added up over each calendar month, UTC, that began "
                f"in the panel's own range. {_SO_FAR}",
                width=7,
                empty=NOTHING_BILLED,
            ),
            f"{_TOTAL} {WHOLE_MONTHS}",
            "YYYY-MM",
            "365d",
        ),
    )


def _added_up(about: About, expression: str, name: str, time_from: str) -> Panel:
    transformations: list[tuple[str, Mapping[str, Any]]] = [
        ("formatTime", {"timeField": "Time", "outputFormat": name, "useTimezone": True}),
        (
            "groupBy",
            {
                "fields": {
                    "Time": {"operation": "groupby", "aggregations": []},
                    "billed": {"operation": "aggregate", "aggregations": ["sum"]},
                }
            },
        ),
        ("organize", {"excludeByName": {}, "indexByName": {}, "renameByName": {"billed (sum)": "billed"}}),
    ]
    return categories(
        about,
        USD_AXIS,
        [Query(expression, "billed", ONE_DAY)],
        transformations,
        time_from=time_from,
        colour=palette.BILLED,
    )
