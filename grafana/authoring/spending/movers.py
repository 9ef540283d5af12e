"""What costs more or less than a week ago."""

from grafana.authoring.days import a_week_before
from grafana.authoring.panels import About, Panel
from grafana.authoring.spending.choices import PROJECT_CHOSEN_NOW, SEVEN_DAYS_OF_ALL, SHARE, USD
from grafana.authoring.tables import Column, change_cell, rows

_SHOWN = 7

# Without a past of two weeks, all would have grown from nothing.
_TWO_WEEKS_KNOWN = 'and on () present_over_time(openai:organization:cost_usd:day{day="yesterday"}[14d] offset 13d)'


def movers() -> tuple[Panel, ...]:
    """Return the section's panels."""
    name = "* on (project_id) group_left (project) openai:project:info"
    team = "* on (workflow) group_left (team) openai:workflow:info"
    return (
        _movers(401, "Projects", "project", "project_id", name),
        _movers(402, "Workflows", "workflow", "workflow"),
        _movers(403, "Models", "model_family", "model_family"),
        _movers(404, "Teams", "team", "workflow", team),
    )


def _movers(panel_id: int, title: str, label: str, key: str, named: str = "") -> Panel:
    def summed(series: str) -> str:
        by_key = f"sum by ({key}) ({series} {PROJECT_CHOSEN_NOW})"
        return f"sum by ({label}) ({by_key} {named})" if named else by_key

    now, before = summed(SEVEN_DAYS_OF_ALL), summed(a_week_before(SEVEN_DAYS_OF_ALL))
    change = f"(({now} or 0 * {before}) - ({before} or 0 * {now}))"
    moved_most = f"(topk({_SHOWN}, abs({change})) {_TWO_WEEKS_KNOWN})"
    return rows(
        About(
            panel_id,
            f"{title} that moved most",
            "Billed in the last seven closed UTC days against the seven before: the seven largest changes in dollars, "
            "up or down. No per cent: nothing was billed before.",
            height=9,
            empty="Needs two weeks of the recording rules, or nothing was billed for this choice",
        ),
        {label: title.removesuffix("s")},
        (
            Column("Seven days", f"({now} or 0 * {before}) and on ({label}) {moved_most}", USD, 2),
            Column("Change", f"{change} and on ({label}) {moved_most}", USD, 2, change_cell()),
            Column(
                "In per cent",
                f"{change} / ({before} > 0) and on ({label}) {moved_most}",
                SHARE,
                0,
                change_cell(),
            ),
        ),
        sort="Change",
    )
