"""What this dashboard's panels choose by, and the expressions that many of them are made of."""

from typing import Final

from grafana_foundation_sdk.models import units

from grafana.authoring import palette
from grafana.authoring.boards import Choice, Variable
from grafana.authoring.days import END

USD: Final = units.Dollars
SHARE: Final = units.PercentUnit

# What has anything to show at the end of the range, by name: a source that fell silent stays for as long as days of it
# count, and is not the first choice for the rest of a long range.
SOURCE: Final = Variable(
    "source",
    "Trace source",
    "query_result(group by (source) (last_over_time(aitracer:coverage:ratio[1h]) or aitracer:source:present))",
    many=False,
    pattern='/source="([^"]+)"/',
)
WINDOW: Final = Choice(
    "window",
    "Days",
    {
        "settled_7d": "Seven settled days",
        "settled_day": "Newest settled day",
        "closed_day": "Last closed day",
    },
)
# Also names that only traces know. They belong to no team, so the options cannot follow the team; the panels do.
WORKFLOW: Final = Variable(
    "workflow",
    "Workflow",
    'label_values({__name__=~"openai:workflow:info|aitracer:workflow:traced_usd:sum"}, workflow)',
)

SOURCE_CHOSEN: Final = 'source="$source"'
CHOSEN: Final = 'source="$source", window="$window"'
PROJECT_CHOSEN: Final = 'project=~"$project"'
WORKFLOW_CHOSEN: Final = 'workflow=~"$workflow"'
# What only traces know belongs to no team, and is never hidden.
OF_TEAM: Final = 'unless on (workflow) openai:workflow:info{team!~"$team"}'
OF_TEAM_AT_END: Final = f"{OF_TEAM} @ {END}"

_YESTERDAY: Final = f"{END} - {END} % 86400 - 86400"


def per_closed_day(series: str, matchers: str = "") -> str:
    """Return an expression for the daily values of a compared series; needs a step of one day, keeps all labels.

    `window="closed_day"` tells of the day before. So a day is read off late on the day after it, as the settled days
    are, and the last closed one at the end of the range, where it is there from 06:00 UTC on.

    Args:
        series: such as `aitracer:billed_usd:sum`.
        matchers: more of them, such as `part="price"`.
    """
    more = f", {matchers}" if matchers else ""
    day = f'{series}{{{SOURCE_CHOSEN}, window="closed_day"{more}}}'
    return (
        f"({day} offset -1d23h50m"
        f" or on () {day} offset -1d23h"
        f" or on () {day} offset -1d21h"
        f" or on () ({day} @ {END} and on () vector(time()) == {_YESTERDAY}))"
    )


def named(label: str, expression: str) -> str:
    """Call what has no name (none)."""
    return f'label_replace({expression}, "{label}", "(none)", "{label}", "")'


def within(low: str, high: str, expression: str) -> tuple[str, str, str]:
    """Return the expression three times: where its value is fine, where it is not, and where no threshold says so."""
    return (
        f"{expression} >= scalar({low}) <= scalar({high})",
        f"{expression} < scalar({low}) or {expression} > scalar({high})",
        f"{expression} unless on () {high}",
    )


FINE_OR_NOT: Final = (palette.GOOD, palette.WATCH, "text")
"""Colours of what `within` returns."""

LOW: Final = "openai:threshold:trace_coverage_low"
HIGH: Final = "openai:threshold:trace_coverage_high"
DRIFT: Final = "openai:threshold:price_drift_ratio"

EACH_DAY: Final = (
    "By UTC day of use: the bill as it settled on the day after, the last closed day as known now, from 06:00 UTC on. "
)
NOT_BY_DAYS: Final = "Does not follow the choice of days."
NO_TRACES: Final = "Nothing to compare: see Trace source and Which days"
NOT_BY_WORKFLOW: Final = "Nothing: no traces, or they name no workflow"
NOT_BY_PROJECT: Final = "Nothing: no traces, or they name no project"
NO_DRIFT: Final = "No drift: the source's cost is made from billed prices, or nothing is compared"
