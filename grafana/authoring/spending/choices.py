"""What this dashboard's panels choose by, and the expressions that many of them are made of."""

from typing import Final

from grafana_foundation_sdk.models import units

from grafana.authoring import palette
from grafana.authoring.boards import MODEL_CHOSEN, Variable
from grafana.authoring.days import END, IN_RANGE, PROJECT_CHOSEN, per_day

USD: Final = "currency:financial:$"
"""Dollars in full, for numbers and tables: $12,345.67."""

USD_AXIS: Final = units.Dollars
"""Dollars cut short, for axes: $12K."""

SHARE: Final = units.PercentUnit

BUDGET: Final = Variable("budget", "Budget", "label_values(openai_budget_limit_usd, budget)")

OWNER_CHOSEN: Final = 'project=~"$project", workflow=~"$workflow"'
LINES_CHOSEN: Final = f"{OWNER_CHOSEN}, {MODEL_CHOSEN}"
FAMILY_CHOSEN: Final = 'workflow=~"$workflow", model_family=~"$model"'
WORKFLOW_CHOSEN: Final = 'workflow=~"$workflow"'

PROJECT_CHOSEN_NOW: Final = 'and on (project_id) openai:project:info{project=~"$project"}'
"""Keeps what belongs to the chosen projects, for instant queries."""

COST_PER_DAY: Final = f"({per_day('openai:project_model_workflow:cost_usd:day', FAMILY_CHOSEN)} {PROJECT_CHOSEN})"
SHOWN_PER_DAY: Final = f"({COST_PER_DAY} {IN_RANGE})"
SEVEN_DAYS_OF_ALL: Final = f"openai:project_model_workflow:cost_usd:sum7d{{{FAMILY_CHOSEN}}}"
"""Of all projects: a name that was given within these days has not all of them, so choose with PROJECT_CHOSEN_NOW."""

SEVEN_DAYS: Final = f'openai:project_model_workflow:cost_usd:sum7d{{{OWNER_CHOSEN}, model_family=~"$model"}}'

WITH_OWNER: Final = f"* on (workflow) group_left (team, business_unit) openai:workflow:info @ {END}"
WITH_NAME: Final = f"* on (project_id) group_left (project) openai:project:info @ {END}"
"""Names and owners as they are at the end of the range: a rename does not cut a project's history in two."""

NOTHING_BILLED: Final = "Nothing billed for this choice"
NOT_BY_MODEL: Final = " Follows project, team and workflow, not the model."

OVER_LIMIT: Final = ((None, palette.GOOD), (0.8, palette.WATCH), (1.0, palette.BAD))
"""Colours of a share of a limit: near it, over it."""

ABOVE_USUAL: Final = ((None, palette.GOOD), (1.25, palette.WATCH), (2.0, palette.BAD))
"""Colours of a day over a usual one."""
