"""Totals of weeks and months, added up from days."""

from collections.abc import Mapping
from typing import Any

from grafana.authoring import palette
from grafana.authoring.days import LAST_WEEKS_ONLY, WHOLE_MONTHS_ONLY
from grafana.authoring.panels import ONE_DAY, About, Panel, Query, bars, categories
from grafana.authoring.spending.choices import COST_PER_DAY, NOTHING_BILLED, USD_AXIS


def totals() -> tuple[Panel, ...]:
    """Return the section's panels."""
    total = f"sum({COST_PER_DAY})"
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
            [Query(total, "billed", ONE_DAY)],
        ),
        _added_up(
            602,
            "Spend per week",
            "of the last 13 weeks, Monday to Sunday",
            f"{total} {LAST_WEEKS_ONLY}",
            "GGGG-[W]WW",
            "91d",
        ),
        _added_up(
            603,
            "Spend per month",
            "calendar month that began within a year",
            f"{total} {WHOLE_MONTHS_ONLY}",
            "YYYY-MM",
            "365d",
        ),
    )


def _added_up(panel_id: int, title: str, what: str, expression: str, name: str, time_from: str) -> Panel:  # noqa: PLR0913 - one call each
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
        About(
            panel_id,
            title,
            f"Days as they settled, added up: each {what}; the last is so far, and the first may be older than what is on record. "
            "Restatements later than a day after a day's end are in the month's numbers on top, not here.",
            width=7,
            empty=NOTHING_BILLED,
        ),
        USD_AXIS,
        [Query(expression, "billed", ONE_DAY)],
        transformations,
        time_from=time_from,
        colour=palette.BILLED,
    )
