"""Where what is not traced is spent: models, projects, workflows."""

from typing import Final

from grafana.authoring.aitracer.choices import (
    CHOSEN,
    EACH_DAY,
    NO_TRACES,
    NOT_BY_DAYS,
    NOT_BY_PROJECT,
    NOT_BY_WORKFLOW,
    OF_TEAM,
    OF_TEAM_AT_END,
    PROJECT_CHOSEN,
    SHARE,
    SOURCE_CHOSEN,
    USD,
    WORKFLOW_CHOSEN,
    named,
    per_closed_day,
)
from grafana.authoring.boards import MODEL_CHOSEN
from grafana.authoring.days import END
from grafana.authoring.panels import ONE_DAY, About, Panel, Query, bars
from grafana.authoring.tables import Column, rows

_WIDTH: Final = {"custom.width": 74}
_SHOWN: Final = 6
_MEANING: Final = (
    "Billed in the chosen days and not traced. Never: no trace names it. Partly: what its traces leave out, model by "
    "model. Event time. "
)


def untraced() -> tuple[Panel, ...]:
    """Return the section's panels."""
    return (
        _table(
            301,
            "Untraced spend by model",
            "model",
            "Model",
            MODEL_CHOSEN,
            "No model: tools, storage and other lines that name none. Follows the model.",
            NO_TRACES,
        ),
        _table(
            302,
            "Untraced spend by project",
            "project",
            "Project",
            PROJECT_CHOSEN,
            "Only where traces name projects. Follows the project.",
            NOT_BY_PROJECT,
        ),
        _table(
            303,
            "Untraced spend by workflow",
            "workflow",
            "Workflow",
            WORKFLOW_CHOSEN,
            "A workflow that never is traced has no instruments, or traces call it otherwise. Follows team and "
            "workflow.",
            NOT_BY_WORKFLOW,
            OF_TEAM,
        ),
        _each_day(),
    )


def _table(  # noqa: PLR0913, PLR0917 - a row of a table of tables
    panel_id: int, title: str, label: str, head: str, chosen: str, note: str, empty: str, of_team: str = ""
) -> Panel:
    # A project's name does not tell it apart, its id does.
    key = "project_id, project" if label == "project" else label

    def by(what: str, more: str = "") -> str:
        return f"sum by ({key}) (aitracer:{label}:{what}{{{CHOSEN}, {chosen}{more}}} {of_team})"

    def part(which: str) -> str:
        return f"{by('untraced_usd:sum', f', part={chr(34)}{which}{chr(34)}')} or 0 * {by('billed_usd:sum')}"

    return rows(
        About(panel_id, title, _MEANING + note, width=12, height=10, empty=empty),
        {label: head},
        (
            Column("Untraced", named(label, by("untraced_usd:sum")), USD, 2, _WIDTH),
            Column("Never", named(label, part("never")), USD, 2, _WIDTH),
            Column("Partly", named(label, part("partly")), USD, 2, _WIDTH),
            Column("Coverage", named(label, by("coverage:ratio", ', measure="usd"')), SHARE, 0, _WIDTH),
        ),
        sort="Untraced",
        hidden=("project_id",) if label == "project" else (),
    )


def _each_day() -> Panel:
    day = per_closed_day("aitracer:workflow:untraced_usd:sum", WORKFLOW_CHOSEN)
    by_workflow = f"sum by (workflow) ({day} {OF_TEAM_AT_END})"
    largest = (
        f'topk({_SHOWN}, sum by (workflow) (aitracer:workflow:untraced_usd:sum{{{SOURCE_CHOSEN}, window="settled_7d", '
        f"{WORKFLOW_CHOSEN}}} @ {END} {OF_TEAM_AT_END}))"
    )
    return bars(
        About(
            304,
            "Untraced spend per day by workflow",
            f"{EACH_DAY}Billed and not traced, model by model within the workflow. The {_SHOWN} with most of it in "
            f"seven settled days; all else is Other. Follows team and workflow. {NOT_BY_DAYS}",
            width=12,
            height=10,
            empty=NOT_BY_WORKFLOW,
        ),
        USD,
        [
            Query(named("workflow", f"{by_workflow} and on (workflow) {largest}"), "{{workflow}}", ONE_DAY),
            Query(f"sum({by_workflow} unless on (workflow) {largest})", "Other", ONE_DAY),
        ],
    )
