"""OpenAI / Spend: what it costs, whose it is, whether the month will hold."""

from typing import Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import units

from grafana.authoring import palette
from grafana.authoring.boards import MODEL, PROJECT, TEAM, WORKFLOW, Section, Variable, build
from grafana.authoring.days import END, PROJECT_CHOSEN, a_week_before, per_day
from grafana.authoring.panels import (
    ONE_DAY,
    About,
    Column,
    Query,
    bar_list,
    bars,
    categories,
    dashed,
    gauge_cell,
    legend_table,
    line,
    number,
    rows,
    text_colour_cell,
)

USD: Final = units.Dollars
CHOSEN: Final = 'project=~"$project", workflow=~"$workflow"'
CHOSEN_FAMILY: Final = f'{CHOSEN}, model_family=~"$model"'
CHOSEN_WORKFLOW: Final = 'workflow=~"$workflow"'

_BUDGET: Final = Variable("budget", "Budget", "label_values(openai_budget_limit_usd, budget)")


def _spend_per_day() -> str:
    return f"{per_day('openai:project_model_workflow:cost_usd:day', f'{CHOSEN_WORKFLOW}, model_family=~{chr(34)}$model{chr(34)}')} {PROJECT_CHOSEN}"


def spend() -> dashboard.Dashboard:
    """Return the dashboard."""
    return build(
        uid="openai-spend",
        description="What OpenAI bills, whose it is, and whether the month will hold.",
        variables=(PROJECT, MODEL, TEAM, WORKFLOW, _BUDGET),
        time_from="now-30d",
        sections=(
            Section(
                100,
                "This month",
                (
                    number(
                        About(
                            101,
                            "Month to date",
                            "Billed so far for this calendar month, UTC. Event time; the bill is hours behind.",
                            width=6,
                            height=5,
                        ),
                        USD,
                        [Query(f'sum(openai_cost_month_usd{{month="current", {CHOSEN}}})')],
                        colour=palette.BILLED,
                    ),
                ),
            ),
            Section(
                200,
                "Day by day",
                (
                    legend_table(
                        bars(
                            About(201, "Spend per day by project", "Billed, by UTC day.", height=9),
                            USD,
                            [
                                Query(
                                    f"sum by (project) (sum by (project_id) ({_spend_per_day()})"
                                    f" * on (project_id) group_left (project) (openai:project:info @ {END}))",
                                    "{{project}}",
                                    ONE_DAY,
                                )
                            ],
                        ),
                        "sum",
                    ),
                ),
            ),
        ),
    )
