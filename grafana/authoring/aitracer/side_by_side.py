"""Workflows and teams: what each was billed, what its traces hold."""

from typing import Final

from grafana_foundation_sdk.models import units

from grafana.authoring import palette
from grafana.authoring.aitracer.choices import (
    CHOSEN,
    EACH_DAY,
    HIGH,
    LOW,
    NOT_BY_DAYS,
    NOT_BY_WORKFLOW,
    OF_TEAM,
    OF_TEAM_AT_END,
    SHARE,
    SOURCE_CHOSEN,
    USD,
    WORKFLOW_CHOSEN,
    named,
    per_closed_day,
)
from grafana.authoring.amendments import words_cell
from grafana.authoring.days import END
from grafana.authoring.panels import ONE_DAY, About, Panel, Query, legend_table, line
from grafana.authoring.tables import Column, rows

_SHOWN: Final = 10
_WIDTH: Final = {"custom.width": 85}
_VERDICTS: Final = {
    -2: ("no traces", palette.WATCH),
    -1: ("low", palette.WATCH),
    0: ("fits", palette.GOOD),
    1: ("above the bill", palette.WATCH),
}
_OWNED: Final = "* on (workflow) group_left (team, business_unit) openai:workflow:info"


def side_by_side() -> tuple[Panel, ...]:
    """Return the section's panels."""
    return (_workflows(), _teams(), _teams_each_day(), _each_day())


def _workflows() -> Panel:
    billed, traced, coverage = (
        f"sum by (workflow) (aitracer:workflow:{what}{{{CHOSEN}, {WORKFLOW_CHOSEN}{more}}} {OF_TEAM})"
        for what, more in (
            ("billed_usd:sum", ""),
            ("traced_usd:sum", ""),
            ("coverage:ratio", ', measure="usd"'),
        )
    )
    return rows(
        About(
            501,
            "Workflows",
            "Billed and traced dollars of the chosen days; the gap is billed less traced. A name that is traced and "
            "not billed is one that the exporter's configuration does not know. Event time. Follows team and "
            "workflow; what only traces know belongs to no team and always shows.",
            width=24,
            height=11,
            empty=NOT_BY_WORKFLOW,
        ),
        {"workflow": "Workflow"},
        (
            Column("Billed", named("workflow", billed), USD, 2),
            Column("Traced", named("workflow", traced), USD, 2),
            Column("Gap", named("workflow", f"{billed} - {traced}"), USD, 2),
            Column("Coverage", named("workflow", coverage), SHARE, 0),
            Column("Traces", named("workflow", _verdict(coverage)), units.NoUnit, None, words_cell(_VERDICTS)),
        ),
        sort="Billed",
    )


def _verdict(coverage: str) -> str:
    return (
        f"({coverage} > bool scalar({HIGH})) - ({coverage} < bool scalar({LOW})) - ({coverage} == bool 0)"
        f" and on () {LOW} and on () {HIGH}"
    )


def _teams() -> Panel:
    def by_team(side: str) -> str:
        compared = f"aitracer:workflow:{side}_usd:sum{{{CHOSEN}, {WORKFLOW_CHOSEN}}}"
        nobodys = f"{compared} unless on (workflow) openai:workflow:info"
        unowned = (
            f'label_replace(label_replace({nobodys}, "team", "(none)", "", ""), "business_unit", "(none)", "", "")'
        )
        return f"sum by (team, business_unit) (({compared} {OF_TEAM}) {_OWNED} or {unowned})"

    billed, traced = by_team("billed"), by_team("traced")
    return rows(
        About(
            502,
            "Teams",
            "The same by the team that the configuration names for each workflow. (none): workflows without a team, "
            "and names that only traces know. Event time. Follows team and workflow.",
            width=14,
            height=9,
            empty=NOT_BY_WORKFLOW,
        ),
        {"team": "Team", "business_unit": "Business unit"},
        (
            Column("Billed", billed, USD, 2, _WIDTH),
            Column("Traced", traced, USD, 2, _WIDTH),
            Column("Gap", f"{billed} - {traced}", USD, 2, _WIDTH),
            Column("Coverage", f"{traced} / ({billed} > 0)", SHARE, 0, _WIDTH),
        ),
        sort="Billed",
    )


def _teams_each_day() -> Panel:
    def by_team(side: str) -> str:
        day = per_closed_day(f"aitracer:workflow:{side}_usd:sum", WORKFLOW_CHOSEN)
        owner = f'* on (workflow) group_left (team) openai:workflow:info{{team=~"$team"}} @ {END}'
        return f"sum by (team) ({day} {owner})"

    return line(
        About(
            504,
            "Cost coverage per day by team",
            f"{EACH_DAY}Traced as a share of billed. Follows team and workflow. {NOT_BY_DAYS}",
            width=10,
            height=9,
            empty=NOT_BY_WORKFLOW,
        ),
        SHARE,
        [Query(f"{by_team('traced')} / ({by_team('billed')} > 0)", "{{team}}", ONE_DAY)],
        filled=0,
    )


def _each_day() -> Panel:
    largest = (
        f'topk({_SHOWN}, sum by (workflow) (aitracer:workflow:billed_usd:sum{{{SOURCE_CHOSEN}, window="settled_7d", '
        f"{WORKFLOW_CHOSEN}}} @ {END} {OF_TEAM_AT_END}))"
    )
    coverage = per_closed_day("aitracer:workflow:coverage:ratio", f'measure="usd", {WORKFLOW_CHOSEN}')
    return legend_table(
        line(
            About(
                503,
                "Cost coverage per day by workflow",
                f"{EACH_DAY}Traced as a share of billed. The {_SHOWN} workflows that were billed most in seven settled "
                f"days. A fall to 0 is a workflow that lost its instruments. Follows team and workflow. {NOT_BY_DAYS}",
                width=24,
                height=10,
                empty=NOT_BY_WORKFLOW,
            ),
            SHARE,
            [Query(f"{coverage} and on (workflow) {largest}", "{{workflow}}", ONE_DAY)],
            filled=0,
        ),
        "mean",
        "lastNotNull",
    )
