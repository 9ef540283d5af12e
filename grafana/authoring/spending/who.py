"""Who spends: this month's ranking, and days by project, workflow, model, team and business unit."""

from grafana.authoring import palette
from grafana.authoring.days import END
from grafana.authoring.panels import ONE_DAY, About, Panel, Query, bar_list, bars, legend_table
from grafana.authoring.spending.choices import (
    LINES_CHOSEN,
    NOTHING_BILLED,
    OWNER_CHOSEN,
    SEVEN_DAYS,
    SHARE,
    SHOWN_PER_DAY,
    USD,
    USD_AXIS,
    WITH_NAME,
    WITH_OWNER,
)
from grafana.authoring.tables import Column, rows

_SHOWN = 10
_CLOCK = "Billed, by the UTC day it was used on, as it settled; the last two days are still coming in."


def who() -> tuple[Panel, ...]:
    """Return the section's panels."""
    return (
        _workflows(),
        _teams(),
        _most(310, "project", "project_id", "project", WITH_NAME),
        _most(311, "workflow", "workflow", "workflow"),
        _most(312, "model", "model_family", "model_family"),
        _all(313, "team", "team"),
        _all(314, "business unit", "business_unit"),
        _months_by_unit(),
    )


def _workflows() -> Panel:
    owners = "workflow, team, business_unit"
    info = "* on (workflow) group_left (team, business_unit) openai:workflow:info"
    month = f'sum by ({owners}) (openai_cost_month_usd{{month="current", {LINES_CHOSEN}}} {info})'
    whole = f'scalar(sum(openai_cost_month_usd{{month="current", {LINES_CHOSEN}}}))'
    forecast = f"sum by ({owners}) (openai:project_workflow:cost_usd:month_forecast{{{OWNER_CHOSEN}}} {info})"
    return rows(
        About(
            301,
            "Workflows this month",
            "Billed so far for this calendar month, UTC; its share of what is chosen; and what the month will cost. "
            "The forecast does not follow the model.",
            width=14,
            height=10,
            empty=NOTHING_BILLED,
        ),
        {"workflow": "Workflow", "team": "Team", "business_unit": "Business unit"},
        (
            Column("Month to date", month, USD, 2),
            Column("Share", f"{month} / {whole}", SHARE, 1),
            Column("Forecast", forecast, USD, 0),
        ),
        sort="Month to date",
    )


def _teams() -> Panel:
    info = "* on (workflow) group_left (team) openai:workflow:info"
    month = f'sum by (team) (openai_cost_month_usd{{month="current", {LINES_CHOSEN}}} {info})'
    return bar_list(
        About(
            302,
            "Teams this month",
            "Billed so far for this calendar month, UTC, by the team that the configuration names for each workflow.",
            width=10,
            height=10,
            empty=NOTHING_BILLED,
        ),
        USD,
        [Query(f"sort_desc({month})", "{{team}}")],
        steps=((None, palette.BILLED),),
        decimals=0,
    )


def _most(panel_id: int, title: str, key: str, shown: str, named: str = "") -> Panel:
    """Show those that were billed most in seven closed days, and the rest as one."""
    by_key = f"sum by ({key}) ({SHOWN_PER_DAY})"
    largest = f"topk({_SHOWN}, sum by ({key}) ({SEVEN_DAYS} @ {END}))"
    kept = f"{by_key} and on ({key}) {largest}"
    if key == "model_family":
        # The bill of tools and storage names no model.
        kept = f'label_replace({kept}, "{key}", "(no model)", "{key}", "")'
    if named:
        kept = f"sum by ({shown}) (({kept}) {named})"
    return legend_table(
        bars(
            About(
                panel_id,
                f"Spend per day by {title}",
                f"{_CLOCK} The {_SHOWN} that were billed most in the last seven closed days; all else is Other."
                + (" Tools and storage have no model." if key == "model_family" else ""),
                height=10,
                empty=NOTHING_BILLED,
            ),
            USD_AXIS,
            [
                Query(kept, "{{" + shown + "}}", ONE_DAY),
                Query(f"sum({by_key} unless on ({key}) {largest})", "Other", ONE_DAY),
            ],
        ),
        "sum",
    )


def _all(panel_id: int, title: str, label: str) -> Panel:
    return legend_table(
        bars(
            About(
                panel_id,
                f"Spend per day by {title}",
                f"{_CLOCK} By the {title} that the configuration names now for each workflow.",
                height=10,
                empty=NOTHING_BILLED,
            ),
            USD_AXIS,
            [
                Query(
                    f"sum by ({label}) (sum by (workflow) ({SHOWN_PER_DAY}) {WITH_OWNER})", "{{" + label + "}}", ONE_DAY
                )
            ],
        ),
        "sum",
    )


def _months_by_unit() -> Panel:
    info = "* on (workflow) group_left (business_unit) openai:workflow:info"

    def billed(month: str) -> str:
        return f'sum by (business_unit) (openai_cost_month_usd{{month="{month}", {LINES_CHOSEN}}} {info})'

    return rows(
        About(
            315,
            "Business units",
            "Billed this calendar month so far and for the whole previous one, UTC, and what this month will cost. The "
            "forecast does not follow the model.",
            height=10,
            empty=NOTHING_BILLED,
        ),
        {"business_unit": "Business unit"},
        (
            Column("Month to date", billed("current"), USD, 0),
            Column(
                "Forecast",
                f"sum by (business_unit) (openai:project_workflow:cost_usd:month_forecast{{{OWNER_CHOSEN}}} {info})",
                USD,
                0,
            ),
            Column("Previous month", billed("previous"), USD, 0),
        ),
        sort="Month to date",
    )
