"""Today and yesterday against what such a weekday usually costs."""

from grafana.authoring import palette
from grafana.authoring.days import PROJECT_CHOSEN, per_day
from grafana.authoring.panels import ONE_DAY, About, Panel, Query, bars, dashed, number
from grafana.authoring.spending.choices import (
    ABOVE_USUAL,
    NOT_BY_MODEL,
    NOTHING_BILLED,
    PROJECT_CHOSEN_NOW,
    SHARE,
    USD,
    USD_AXIS,
    WITH_NAME,
    WORKFLOW_CHOSEN,
)
from grafana.authoring.tables import Column, rows, text_colour_cell

_FRESH = "openai:project_workflow:fresh_cost_usd:day"
_EXPECTED = "openai:project_workflow:expected_cost_usd:day"
_NO_HISTORY = "Nothing of this day yet, or no such weekday on record"


def today() -> tuple[Panel, ...]:
    """Return the section's panels."""
    return (*_numbers(), _against_usual(), _table())


def _now(series: str, day: str, by: str = "") -> str:
    of_day = f'{series}{{day="{day}", {WORKFLOW_CHOSEN}}} {PROJECT_CHOSEN_NOW}'
    return f"sum by ({by}) ({of_day})" if by else f"sum({of_day})"


def _numbers() -> tuple[Panel, ...]:
    panels: list[Panel] = []
    for place, day in enumerate(("today", "yesterday")):
        whole = "so far, against a whole such day" if day == "today" else "against such a day"
        panels += [
            number(
                About(
                    201 + 2 * place,
                    "Today so far, estimated" if day == "today" else "Yesterday",
                    f"What {day}, UTC, cost as far as anybody knows: the larger of billed and tokens times price. "
                    "Tools, images and speech come with the bill, hours late." + NOT_BY_MODEL,
                    width=6,
                    height=4,
                    empty=NOTHING_BILLED,
                ),
                USD,
                [Query(_now(_FRESH, day))],
                colour=palette.ESTIMATED,
                decimals=0,
            ),
            number(
                About(
                    202 + 2 * place,
                    "Today, of a usual day" if day == "today" else "Yesterday, of a usual day",
                    f"{day.capitalize()} {whole}: the mean of that weekday over the last four weeks; "
                    "of all days of the previous month until a week is on record." + NOT_BY_MODEL,
                    width=6,
                    height=4,
                    empty=_NO_HISTORY,
                ),
                SHARE,
                [Query(f"{_now(_FRESH, day)} / ({_now(_EXPECTED, day)} > 0)")],
                steps=ABOVE_USUAL,
                decimals=0,
            ),
        ]
    return tuple(panels)


def _against_usual() -> Panel:
    billed = f"sum({per_day('openai:project_workflow:cost_usd:day', WORKFLOW_CHOSEN)} {PROJECT_CHOSEN})"
    expected = f"sum({per_day(_EXPECTED, WORKFLOW_CHOSEN)} {PROJECT_CHOSEN})"
    return dashed(
        bars(
            About(
                210,
                "Spend per day against usual",
                "Billed, by the UTC day it was used on; the last two days are still coming in. Expected is the mean "
                "of that weekday over the four weeks before." + NOT_BY_MODEL,
                width=8,
                height=10,
                empty=NOTHING_BILLED,
            ),
            USD_AXIS,
            [Query(billed, "billed", ONE_DAY), Query(expected, "expected", ONE_DAY)],
        ),
        "expected",
    )


def _table() -> Panel:
    by = "project, workflow"

    def named(series: str, day: str) -> str:
        return f"sum by ({by}) ({_now(series, day, 'project_id, workflow')} {WITH_NAME})"

    today_now, usual = named(_FRESH, "today"), named(_EXPECTED, "today")
    yesterday, usual_yesterday = named(_FRESH, "yesterday"), named(_EXPECTED, "yesterday")
    return rows(
        About(
            211,
            "Today and yesterday against usual, by workflow",
            "As above, by project and workflow: today so far against a whole usual day, so that more than 100 % is "
            "unusual at any hour." + NOT_BY_MODEL,
            width=16,
            height=10,
            empty=NOTHING_BILLED,
        ),
        {"project": "Project", "workflow": "Workflow"},
        (
            Column("Today", today_now, USD, 2),
            Column("Of usual", f"{today_now} / ({usual} > 0)", SHARE, 0, text_colour_cell(ABOVE_USUAL)),
            Column("Yesterday", yesterday, USD, 2),
            Column("Of usual ", f"{yesterday} / ({usual_yesterday} > 0)", SHARE, 0, text_colour_cell(ABOVE_USUAL)),
        ),
        sort="Today",
    )
