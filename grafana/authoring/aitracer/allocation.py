"""Who shall pay: the whole bill, by what traces say of workflows."""

from typing import Final

from grafana_foundation_sdk.builders import common, dashboard
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue, FieldColorModeId

from grafana.authoring import palette
from grafana.authoring.aitracer.choices import (
    CHOSEN,
    EACH_DAY,
    NO_TRACES,
    NOT_BY_DAYS,
    SOURCE_CHOSEN,
    USD,
    named,
    per_closed_day,
)
from grafana.authoring.amendments import below_zero
from grafana.authoring.days import END
from grafana.authoring.panels import ONE_DAY, About, Panel, Query, bar_list, bars, legend_table, series_property
from grafana.authoring.tables import Column, rows

_TEXT_SIZE: Final = 11
_REST: Final = {"mode": "fixed", "fixedColor": palette.REST}
_OTHER: Final = "other traced"
_SHOWN: Final = 9
_WHOLE: Final = "The whole bill: does not follow model, project, team or workflow."


def allocation() -> tuple[Panel, ...]:
    """Return the section's panels."""
    return (_table(), _traced(), _each_day())


def _allocated(method: str) -> str:
    return f'aitracer:workflow:allocated_usd:sum{{{CHOSEN}, method="{method}"}}'


def _table() -> Panel:
    billed = f"sum by (workflow) (aitracer:workflow:billed_usd:sum{{{CHOSEN}}} != 0)"
    return rows(
        About(
            601,
            "The bill, allocated to workflows",
            "Three ways to divide the same bill; each column adds up to it. By traces: what was traced, and the rest "
            "as unattributed, below 0 where traces exceed the bill. Spread: all of it in proportion to traced cost, "
            "only from a coverage of openai:threshold:spread_coverage on: below, those who trace would pay for those "
            f"who do not. By mapping: as the exporter's configuration says, without traces. Event time. {_WHOLE}",
            width=12,
            height=11,
            empty=NO_TRACES,
        ),
        {"workflow": "Workflow"},
        (
            Column("By traces", named("workflow", f"sum by (workflow) ({_allocated('traced')})"), USD, 2),
            Column("Spread", named("workflow", f"sum by (workflow) ({_allocated('spread')})"), USD, 2),
            Column("By mapping", named("workflow", billed), USD, 2),
        ),
        sort="By traces",
    )


def _traced() -> Panel:
    above_zero = f"sum by (workflow) ({_allocated('traced')} > 0)"
    panel = bar_list(
        About(
            602,
            "Traced, and the rest of the bill",
            "The column By traces. Unattributed is what was billed and no trace names; nothing is drawn "
            f"for it where traces exceed the bill. Event time. {_WHOLE}",
            width=12,
            height=11,
            empty=NO_TRACES,
        ),
        USD,
        [Query(f"sort_desc({named('workflow', above_zero)})", "{{workflow}}")],
        decimals=0,
    )
    panel = panel.text(common.VizTextDisplayOptions().title_size(_TEXT_SIZE).value_size(_TEXT_SIZE))
    panel = panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.FIXED).fixed_color(palette.TRACED))
    return panel.override_by_name("unattributed", [DynamicConfigValue("color", _REST)])


def _each_day() -> Panel:
    allocated = per_closed_day("aitracer:workflow:allocated_usd:sum", 'method="traced"')
    largest = (
        f'topk({_SHOWN}, aitracer:workflow:allocated_usd:sum{{{SOURCE_CHOSEN}, window="settled_7d", method="traced", '
        f'workflow!="unattributed"}} @ {END})'
    )
    rest = 'label_replace(vector(1), "workflow", "unattributed", "", "")'
    panel = legend_table(
        below_zero(
            bars(
                About(
                    603,
                    "Traced, and the rest of the bill, per day",
                    f"{EACH_DAY}The {_SHOWN} workflows that were traced most in seven settled days; all other traced "
                    f"ones are added up; what no trace names is unattributed. {_WHOLE} {NOT_BY_DAYS}",
                    width=24,
                    height=10,
                    empty=NO_TRACES,
                ),
                USD,
                [
                    Query(
                        named("workflow", f"sum by (workflow) ({allocated} and on (workflow) ({largest} or {rest}))"),
                        "{{workflow}}",
                        ONE_DAY,
                    ),
                    Query(f"sum({allocated} unless on (workflow) ({largest} or {rest}))", _OTHER, ONE_DAY),
                ],
            )
        ),
        "sum",
    )
    return series_property(panel, _OTHER, {"color": {"mode": "fixed", "fixedColor": "super-light-purple"}})
