"""This month: what is billed, what is to come, budgets and limits."""

from grafana.authoring import palette
from grafana.authoring.days import PROJECT_CHOSEN
from grafana.authoring.panels import ONE_DAY, About, Panel, Query, dashed, line, number
from grafana.authoring.spending.choices import (
    LINES_CHOSEN,
    NOT_BY_MODEL,
    NOTHING_BILLED,
    OVER_LIMIT,
    OWNER_CHOSEN,
    SHARE,
    USD,
    USD_AXIS,
    WORKFLOW_CHOSEN,
)
from grafana.authoring.tables import Column, rows, share_cell, text_colour_cell, yes_or_no_cell

_NO_RULES = "No forecast: the recording rules are not loaded"
_FORECAST = f"sum(openai:project_workflow:cost_usd:month_forecast{{{OWNER_CHOSEN}}})"


def month() -> tuple[Panel, ...]:
    """Return the section's panels."""
    return (*_numbers(), _budgets(), _as_it_grew(), _limits())


def _numbers() -> tuple[Panel, ...]:
    return (
        number(
            About(
                101,
                "Month to date",
                "Billed so far for this calendar month, UTC, revisions included. Event time; the bill is hours "
                "behind. Money in other currencies than dollars is not on this dashboard.",
                width=5,
                height=4,
                empty=NOTHING_BILLED,
            ),
            USD,
            [Query(f'sum(openai_cost_month_usd{{month="current", {LINES_CHOSEN}}})')],
            colour=palette.BILLED,
            decimals=0,
        ),
        number(
            About(
                102,
                "Forecast",
                "What the month will cost: what is billed for settled days, yesterday and today as far as anybody "
                "knows, and for each day to come what its weekday cost in the last four weeks." + NOT_BY_MODEL,
                width=5,
                height=4,
                empty=_NO_RULES,
            ),
            USD,
            [Query(_FORECAST)],
            colour=palette.FORECAST,
            decimals=0,
        ),
        number(
            About(
                103,
                "Previous month",
                "Billed for the whole previous calendar month, UTC, as known now.",
                width=5,
                height=4,
                empty=NOTHING_BILLED,
            ),
            USD,
            [Query(f'sum(openai_cost_month_usd{{month="previous", {LINES_CHOSEN}}})')],
            colour=palette.BILLED,
            decimals=0,
        ),
        number(
            About(
                104,
                "Against previous",
                "The forecast over the whole previous month, less 1." + NOT_BY_MODEL,
                width=5,
                height=4,
                empty="No previous month on record",
            ),
            SHARE,
            [Query(f'{_FORECAST} / (sum(openai_cost_month_usd{{month="previous", {OWNER_CHOSEN}}}) > 0) - 1')],
            steps=((None, palette.GOOD), (0.1, palette.WATCH), (0.5, palette.BAD)),
            decimals=1,
        ),
        number(
            About(
                105,
                "Unmapped",
                "Share of this month's bill that no workflow of the configuration takes; of the whole bill, whatever "
                "is chosen.",
                width=4,
                height=4,
                empty="Nothing billed this month",
            ),
            SHARE,
            [
                Query(
                    '(sum(openai_cost_month_usd{month="current", workflow="unmapped"}) or vector(0))'
                    ' / (sum(openai_cost_month_usd{month="current"}) > 0)'
                )
            ],
            steps=((None, palette.GOOD), (0.05, palette.WATCH), (0.1, palette.BAD)),
            decimals=1,
        ),
    )


def _budgets() -> Panel:
    chosen = 'budget=~"$budget"'
    limit = f"sum by (budget, scope) (openai_budget_limit_usd{{{chosen}}})"
    spent = f"sum by (budget, scope) (openai_budget_estimated_spend_usd{{{chosen}}})"
    forecast = f"max by (budget, scope) (openai:budget:estimated_spend_usd:month_forecast{{{chosen}}})"
    return rows(
        About(
            110,
            "Budgets",
            "Per calendar month, UTC. Spent is what is billed where settled; for the tokens of today and yesterday the "
            "larger of billed and estimated. Budgets choose their own projects and workflows: this table follows the "
            "choice of budgets alone.",
            width=14,
            height=9,
            empty="No budgets: the configuration has none (budgets:)",
        ),
        {"budget": "Budget"},
        (
            Column("Limit", limit, USD, 0),
            Column("Spent", spent, USD, 0),
            Column("Used", f"{spent} / {limit}", SHARE, 0, share_cell(OVER_LIMIT)),
            Column("Forecast", forecast, USD, 0),
            Column("Forecast used", f"{forecast} / {limit}", SHARE, 0, text_colour_cell(OVER_LIMIT)),
        ),
        sort="Forecast used",
        hidden=("scope",),
    )


def _as_it_grew() -> Panel:
    billed = f'sum(openai_cost_month_usd{{month="current", {WORKFLOW_CHOSEN}}} offset 10m {PROJECT_CHOSEN})'
    forecast = f"sum(openai:project_workflow:cost_usd:month_forecast{{{WORKFLOW_CHOSEN}}} offset 10m {PROJECT_CHOSEN})"
    return dashed(
        line(
            About(
                111,
                "Month to date, as it grew",
                "Billed so far for its month, and that month's forecast, as they stood at the end of each UTC day."
                + NOT_BY_MODEL,
                width=10,
                height=9,
            ),
            USD_AXIS,
            [Query(billed, "billed", ONE_DAY), Query(forecast, "forecast", ONE_DAY)],
            filled=25,
        ),
        "forecast",
    )


def _limits() -> Panel:
    chosen = 'project=~"$project|"'

    def whose(series: str) -> str:
        return f'max by (project_id, project) (label_replace({series}, "project", "(organization)", "project", ""))'

    return rows(
        About(
            112,
            "OpenAI's own spend limits",
            "Monthly limits set at OpenAI. Where they are enforced, OpenAI refuses calls past them. Used is this "
            "month, billed or estimated, whichever is more.",
            width=24,
            height=8,
            empty="No spend limit is set at OpenAI, or directory.spend_limits is off",
        ),
        {"project": "Project"},
        (
            Column("Limit", whose(f"openai_spend_limit_usd{{{chosen}}}"), USD, 0),
            Column(
                "Used",
                whose(f"openai:exporter_project:spend_limit_used:ratio{{{chosen}}}"),
                SHARE,
                0,
                share_cell(OVER_LIMIT),
            ),
            Column(
                "Refuses calls now",
                whose(f"openai_spend_limit_enforcing{{{chosen}}}"),
                "short",
                0,
                yes_or_no_cell("yes", "no", yes_colour=palette.BAD, no_colour="text"),
            ),
        ),
        sort="Used",
        hidden=("project_id",),
    )
