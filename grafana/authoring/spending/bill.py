"""The bill's lines, and what no workflow takes."""

from grafana.authoring import palette
from grafana.authoring.boards import MODEL_CHOSEN
from grafana.authoring.days import IN_RANGE, PROJECT_CHOSEN, per_day
from grafana.authoring.panels import ONE_DAY, About, Panel, Query, bars, legend_table
from grafana.authoring.spending.choices import (
    LINES_CHOSEN,
    NOTHING_BILLED,
    SHARE,
    USD,
    USD_AXIS,
    WITH_NAME,
)
from grafana.authoring.tables import Column, rows, share_cell

_ALL_MAPPED = "All of it belongs to a workflow"


def line_items() -> tuple[Panel, ...]:
    """Return the section's panels."""
    month = f'sum by (line_item) (openai_cost_month_usd{{month="current", {LINES_CHOSEN}}})'
    whole = f'scalar(sum(openai_cost_month_usd{{month="current", {LINES_CHOSEN}}}))'
    return (
        rows(
            About(
                701,
                "Line items",
                "The bill of this calendar month, UTC, by line item as OpenAI writes them, and what was billed of it "
                "for yesterday and in the whole previous month.",
                width=24,
                height=11,
                empty=NOTHING_BILLED,
            ),
            {"line_item": "Line item"},
            (
                Column("Month to date", month, USD, 2),
                Column("Share", f"{month} / {whole}", SHARE, 1, share_cell(((None, palette.BILLED),))),
                Column(
                    "Yesterday", f'sum by (line_item) (openai_cost_day_usd{{day="yesterday", {LINES_CHOSEN}}})', USD, 2
                ),
                Column(
                    "Previous month",
                    f'sum by (line_item) (openai_cost_month_usd{{month="previous", {LINES_CHOSEN}}})',
                    USD,
                    2,
                ),
            ),
            sort="Month to date",
            widths={"line_item": 300},
        ),
    )


def unmapped() -> tuple[Panel, ...]:
    """Return the section's panels."""
    chosen = f'workflow="unmapped", project=~"$project", {MODEL_CHOSEN}'
    days = per_day("openai:project_model_workflow:cost_usd:day", 'workflow="unmapped", model_family=~"$model"')
    return (
        legend_table(
            bars(
                About(
                    801,
                    "Unmapped spend per day",
                    "Billed, by UTC day, for what no rule of the configuration takes, or what cannot be told apart. "
                    "Follows project and model.",
                    empty=_ALL_MAPPED,
                ),
                USD_AXIS,
                [
                    Query(
                        f"sum by (project) (sum by (project_id) ({days} {PROJECT_CHOSEN} {IN_RANGE}) {WITH_NAME})",
                        "{{project}}",
                        ONE_DAY,
                    )
                ],
            ),
            "sum",
        ),
        rows(
            About(
                802,
                "Unmapped this month",
                "Where it is: add a rule to the configuration (workflows:) and look with check-config --explain. "
                "Follows project and model.",
                empty=_ALL_MAPPED,
            ),
            {"project": "Project", "line_item": "Line item"},
            (
                Column(
                    "Month to date",
                    f'sum by (project, line_item) (openai_cost_month_usd{{month="current", {chosen}}})',
                    USD,
                    2,
                ),
            ),
        ),
    )
