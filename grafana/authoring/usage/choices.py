"""What this dashboard's panels choose by, and the expressions that many of them are made of."""

from typing import Final

from grafana.authoring.days import END, IN_RANGE, PROJECT_CHOSEN, per_day
from grafana.authoring.panels import Query

ONE_HOUR: Final = "1h"

FAMILY_CHOSEN: Final = 'workflow=~"$workflow", model_family=~"$model"'
WORKFLOW_CHOSEN: Final = 'workflow=~"$workflow"'

ALL_INPUT: Final = 'token_type=~"input|input_cached|input_cache_write"'
CACHED_INPUT: Final = 'token_type="input_cached"'
ALL_OUTPUT: Final = 'token_type="output"'

_TOKENS: Final = "openai:project_model_workflow_token_type:tokens"
_REQUESTS: Final = "openai:project_model_workflow:requests"

NAMED: Final = f'* on (project_id) group_left (project) openai:project:info{{project=~"$project"}} @ {END}'
"""Gives projects the names that they have now, and keeps the chosen ones."""

SMALL: Final = 0.03
"""What has a smaller share than this is folded into Other."""

LESS: Final = f"less than {SMALL * 100:.0f} %"
"""The same, for readers."""

MOST: Final = 10
"""Names that a panel shows by rank before the rest is folded into Other."""

NUMBER: Final = "locale"
"""Numbers in full, 1,234, where each counts."""

NOTHING_USED: Final = "Nothing used by this choice"
NO_WEEK: Final = "Nothing used in seven closed days, or the recording rules are not loaded"

BY_DAY: Final = "By the UTC day it was used on (event time); today is so far."
BY_HOUR: Final = (
    "By the hour in which OpenAI reported it (arrival time), minutes after use; a bar stands at the end of its hour."
)


def chosen(series: str, matchers: str = "") -> str:
    """Return a recorded series with `project_id`, `workflow` and `model_family`, kept to what is chosen."""
    more = f", {matchers}" if matchers else ""
    return f"({series}{{{FAMILY_CHOSEN}{more}}} {PROJECT_CHOSEN})"


def chosen_at_end(series: str, matchers: str = "") -> str:
    """Return the same as it is at the end of the shown range, whatever the step."""
    more = f", {matchers}" if matchers else ""
    return f"({series}{{{FAMILY_CHOSEN}{more}}} @ {END} {PROJECT_CHOSEN})"


def by_either_name(series: str) -> str:
    """Add to chosen families the models that the choice names as OpenAI spells them, as an alert's link may."""
    return f"({series} or {series.replace('model_family=~', 'model=~')})"


_ASKED: Final = f'{_REQUESTS}:day{{model_family=~"$model"}}'
_ASKED_LATE: Final = by_either_name(f"{_ASKED} offset 10m")
MODELS_CHOSEN: Final = (
    f"and on (model) (last_over_time({_ASKED_LATE}[$__range:1d] @ {END}) or {by_either_name(f'{_ASKED} @ {END}')})"
)
"""Keeps the models, as the exporter spells them, of chosen families: all that were used within the range."""


def exporter_days(series: str, matchers: str = "") -> str:
    """Return the daily values of one of the exporter's own series, which know no families, for all that is chosen."""
    more = f", {matchers}" if matchers else ""
    return f"({per_day(series, f'{WORKFLOW_CHOSEN}{more}')} {PROJECT_CHOSEN} {MODELS_CHOSEN} {IN_RANGE})"


def days_chosen(series: str, matchers: str) -> str:
    """Return the daily values of a series with the labels `day` and `project_id`, for the chosen projects."""
    return f"({per_day(series, matchers)} {PROJECT_CHOSEN} {IN_RANGE})"


def tokens_per_day(matchers: str = "") -> str:
    """Return the tokens of each UTC day, by project, model, workflow and token type."""
    more = f", {matchers}" if matchers else ""
    return days_chosen(f"{_TOKENS}:day", f"{FAMILY_CHOSEN}{more}")


def requests_per_day() -> str:
    """Return the requests of each UTC day, by project, model and workflow."""
    return days_chosen(f"{_REQUESTS}:day", FAMILY_CHOSEN)


def tokens_per_hour(matchers: str = "") -> str:
    """Return the tokens reported within the hour, by project, model, workflow and token type."""
    return chosen(f"{_TOKENS}:increase1h", matchers)


def requests_per_hour() -> str:
    """Return the requests reported within the hour, by project, model and workflow."""
    return chosen(f"{_REQUESTS}:increase1h")


def tokens_of_week(matchers: str = "") -> str:
    """Return the tokens of seven closed days before the end of the range."""
    return chosen_at_end(f"{_TOKENS}:sum7d", matchers)


def requests_of_week() -> str:
    """Return the requests of seven closed days before the end of the range."""
    return chosen_at_end(f"{_REQUESTS}:sum7d")


def large(of_week: str, label: str) -> str:
    """Return those values of a label that do not have a small share of the seven closed days."""
    return f"(sum by ({label}) ({of_week}) >= {SMALL} * scalar(sum({of_week})))"


def by_project(series: str) -> str:
    """Sum by project, under the name that it has now."""
    return f"sum by (project) (sum by (project_id) ({series}) {NAMED})"


def projects_folded(series: str, interval: str) -> list[Query]:
    """Return queries of a series by project, those with few requests as one."""
    kept = large(requests_of_week(), "project_id")
    return [
        Query(by_project(f"{series} and on (project_id) {kept}"), "{{project}}", interval),
        Query(f"sum({series} unless on (project_id) {kept})", "Other", interval),
    ]


def models_folded(series: str, of_week: str, interval: str, over: str = "") -> list[Query]:
    """Return queries of a series by model, those with little as one; `over` divides each."""
    kept = large(of_week, "model_family")
    of_all = f" / on () group_left () {over}" if over else ""
    of_rest = f" / {over}" if over else ""
    return [
        Query(f"sum by (model_family) ({series} and on (model_family) {kept}){of_all}", "{{model_family}}", interval),
        Query(f"sum({series} unless on (model_family) {kept}){of_rest}", "Other", interval),
    ]


def hourly(counter: str, by: str, *, over: int = 1) -> Query:
    """Return one of the exporter's counters by hour, over a number; only where no series of it is recorded."""
    legend = f"{{{{{by}}}}}"
    increase = f"increase({counter}{{{WORKFLOW_CHOSEN}}}[1h])" + (f" / {over}" if over != 1 else "")
    return Query(f"sum by ({by}) ({increase} {PROJECT_CHOSEN} {MODELS_CHOSEN})", legend, ONE_HOUR)


def hourly_by_project(counter: str) -> list[Query]:
    """Return the same by project, for a counter without models; those with most in the range, the rest as one."""
    series = f"{counter}{{{WORKFLOW_CHOSEN}}}"
    increase = f"(increase({series}[1h]) {PROJECT_CHOSEN})"
    most = f"topk({MOST}, sum by (project_id) (increase({series}[$__range] @ {END}) {PROJECT_CHOSEN}))"
    return [
        Query(by_project(f"{increase} and on (project_id) {most}"), "{{project}}", ONE_HOUR),
        Query(f"sum({increase} unless on (project_id) {most})", "Other", ONE_HOUR),
    ]
