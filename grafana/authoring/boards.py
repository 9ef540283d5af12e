"""Whole dashboards: variables, links, annotations, sections laid out on the grid, and their JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard, prometheus
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    GridPos,
    VariableHide,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from grafana.authoring.panels import DATASOURCE, Panel

COLUMNS: Final = 24
TAG: Final = "openai"

DASHBOARDS: Final = {
    "openai-spend": "OpenAI / Spend",
    "openai-usage": "OpenAI / Usage",
    "openai-aitracer": "OpenAI / AITracer comparison",
    "openai-exporter": "OpenAI / Exporter",
}
"""Titles by uid, in the order of a reader's questions. Alerts link to these uids."""


@dataclass(frozen=True, slots=True)
class Section:
    """A row of the dashboard and its panels, from left to right, wrapped at 24 columns.

    Attributes:
        id: of the row, for ever; its panels count on from it: 100, 101, 102 …
        title: a question, or what the panels have in common.
        panels: in order of reading. Panels side by side should have one height.
        collapsed: whether a reader opens it first.
    """

    id: int
    title: str
    panels: Sequence[Panel]
    collapsed: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of the dashboard.

    Attributes:
        name: as expressions spell it.
        label: as the reader sees it.
        query: `label_values(…)`.
        many: several values and All, with `.*` as All's value unless `all_value` says otherwise; else exactly one.
        all_value: what All stands for; empty: the list of all values.
        pattern: what of each answer is the value, as `/…(…)…/`, for a `query_result(…)`; empty: all of it.
    """

    name: str
    label: str
    query: str
    many: bool = True
    all_value: str = ".*"
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice among fixed values, exactly one; the first unless another is made.

    Attributes:
        name: as expressions spell it.
        label: as the reader sees it.
        values: each with what the reader sees; neither may hold a comma or a colon.
    """

    name: str
    label: str
    values: Mapping[str, str]


PROJECT: Final = Variable("project", "Project", "label_values(openai:project:info, project)")
MODEL: Final = Variable(
    "model",
    "Model",
    'label_values({__name__=~"openai:project_model_workflow:(cost_usd|requests):sum7d"}, model_family)',
)
MODEL_CHOSEN: Final = (
    r'model=~"(?:openai/)?(?:$model)(?:-preview)?(?:-[0-9]{4}-[0-9]{2}-[0-9]{2}|-[0-9]{4})?(?:-preview)?"'
)
"""Matches how bill, usage and traces spell the chosen families: with and without a date. Fine-tuned names have none."""

TEAM: Final = Variable("team", "Team", "label_values(openai:workflow:info, team)")
# A team is its workflows: what follows the workflow follows the team.
WORKFLOW: Final = Variable(
    "workflow", "Workflow", 'label_values(openai:workflow:info{team=~"$team"}, workflow)', all_value=""
)


def build(  # noqa: PLR0913 - all by name
    *,
    uid: str,
    description: str,
    variables: Sequence[Variable | Choice],
    sections: Sequence[Section],
    time_from: str,
    refresh: str = "5m",
) -> dashboard.Dashboard:
    """Put a dashboard together, with everything that is the same in all of them."""
    board = (
        dashboard.Dashboard(DASHBOARDS[uid])
        .uid(uid)
        .description(description)
        .tags([TAG])
        .time(time_from, "now")
        .timezone("utc")
        .refresh(refresh)
        .readonly()
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for variable in variables:
        board = board.with_variable(_choice(variable) if isinstance(variable, Choice) else _variable(variable))
    for other, title in DASHBOARDS.items():
        if other != uid:
            board = board.link(
                dashboard.DashboardLink(title.removeprefix("OpenAI / "))
                .type(DashboardLinkType.LINK)
                .icon("dashboard")
                .tooltip(title)
                .url(f"/d/{other}")
                .keep_time(True)  # noqa: FBT003 - the SDK's own
                .include_vars(True)  # noqa: FBT003 - the SDK's own
            )
    for annotation in _annotations(by_job="job" in {variable.name for variable in variables}):
        board = board.annotation(annotation)
    return _laid_out(board, sections)


def as_json(board: dashboard.Dashboard) -> str:
    """Return the dashboard's JSON, the same for the same dashboard."""
    content: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True, indent=2).encode(board.build()))
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _variable(variable: Variable) -> dashboard.QueryVariable:
    built = (
        dashboard.QueryVariable(variable.name)
        .label(variable.label)
        .datasource(DATASOURCE)
        .query(variable.query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
        .hide(VariableHide.DONT_HIDE)
    )
    if variable.pattern:
        built = built.regex(variable.pattern)
    if not variable.many:
        return built.multi(False).include_all(False)  # noqa: FBT003 - the SDK's own
    built = built.multi(True).include_all(True)  # noqa: FBT003 - the SDK's own
    # Without a choice so far, everything is shown.
    built = built.current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    return built.all_value(variable.all_value) if variable.all_value else built


def _choice(choice: Choice) -> dashboard.CustomVariable:
    options = [
        VariableOption(selected=place == 0, text=text, value=value)
        for place, (value, text) in enumerate(choice.values.items())
    ]
    return (
        dashboard.CustomVariable(choice.name)
        .label(choice.label)
        .values(", ".join(f"{text} : {value}" for value, text in choice.values.items()))
        .options(options)
        .current(options[0])
        .multi(False)  # noqa: FBT003 - the SDK's own
        .include_all(False)  # noqa: FBT003 - the SDK's own
        .hide(VariableHide.DONT_HIDE)
    )


def _annotations(*, by_job: bool) -> list[dashboard.AnnotationQuery]:
    job = '{job=~"$job"}' if by_job else ""
    of_exporter = f"and on (job, instance) openai_exporter_build_info{job}"
    return [
        _annotation(
            "Restarts",
            "light-blue",
            f"changes(process_start_time_seconds{job}[$__rate_interval]) > 0 {of_exporter}",
            "Exporter restarted",
        ),
        _annotation(
            "Configuration reloads",
            "green",
            f"changes(openai_exporter_config_reload_timestamp_seconds{job}[$__rate_interval]) > 0 "
            f"unless on (job, instance) changes(process_start_time_seconds{job}[$__rate_interval]) > 0",
            "Configuration reloaded",
        ),
        _annotation(
            "State losses",
            "red",
            f"changes(process_start_time_seconds{job}[$__rate_interval]) > 0 "
            f"and on (job, instance) openai_exporter_state_restored{job} == 0",
            "Started without a state: counters began anew",
        ),
    ]


def _annotation(name: str, colour: str, expression: str, title: str) -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(DATASOURCE)
        .enable(True)  # noqa: FBT003 - the SDK's own
        .icon_color(colour)
        .expr(expression)
        .title_format(title)
        .text_format("{{job}} {{instance}}")
        .target(prometheus.Dataquery().expr(expression).ref_id(name).datasource(DATASOURCE).range())
    )


def _laid_out(board: dashboard.Dashboard, sections: Sequence[Section]) -> dashboard.Dashboard:
    top = 0
    for section in sections:
        row = dashboard.Row(section.title).id(section.id).collapsed(section.collapsed)
        row = row.grid_pos(GridPos(x=0, y=top, w=COLUMNS, h=1))
        top += 1
        panels = []
        left = lowest = 0
        for panel in section.panels:
            size = panel.build().grid_pos
            if size is None:
                raise ValueError(f"a panel of {section.title!r} has no size")
            if left + size.w > COLUMNS:
                left, top = 0, top + lowest
                lowest = 0
            panels.append(panel.grid_pos(GridPos(x=left, y=top, w=size.w, h=size.h)))
            left, lowest = left + size.w, max(lowest, size.h)
        top += lowest
        if section.collapsed:
            for panel in panels:
                row = row.with_panel(panel)
            board = board.with_row(row)
        else:
            board = board.with_row(row)
            for panel in panels:
                board = board.with_panel(panel)
    return board
