"""Who asks which models: requests by model, project and workflow, and how tokens spread over models."""

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig

from grafana.authoring import palette
from grafana.authoring.panels import ONE_DAY, About, Panel, Query, bars, line, share
from grafana.authoring.tables import Column, rows, share_cell
from grafana.authoring.usage.choices import (
    ALL_INPUT,
    ALL_OUTPUT,
    BY_DAY,
    BY_HOUR,
    CACHED_INPUT,
    LESS,
    NO_WEEK,
    NOTHING_USED,
    NUMBER,
    ONE_HOUR,
    by_project,
    large,
    models_folded,
    projects_folded,
    requests_of_week,
    requests_per_day,
    requests_per_hour,
    tokens_of_week,
    tokens_per_day,
)
from grafana.authoring.usage.hours import hours

_SMALL_MODEL = f"Models with {LESS} of the"
_SMALL_PROJECT = f"projects with {LESS} of the requests"
_LARGE_PROJECTS = large(requests_of_week(), "project_id")


def requests() -> tuple[Panel, ...]:
    """Return the panels about requests."""
    return (
        hours(
            About(
                301,
                "Requests per hour by model",
                f"{BY_HOUR} {_SMALL_MODEL} requests of seven closed days are Other.",
                height=10,
                empty=NOTHING_USED,
            ),
            models_folded(requests_per_hour(), requests_of_week(), ONE_HOUR),
            totals=False,
        ),
        hours(
            About(
                302,
                "Requests per hour by project",
                f"{BY_HOUR} {_SMALL_PROJECT.capitalize()} of seven closed days are Other: they stand below.",
                height=10,
                empty=NOTHING_USED,
            ),
            projects_folded(requests_per_hour(), ONE_HOUR),
            totals=False,
        ),
        _share_by_project(),
        _other_projects(),
        _workflows(),
    )


def _share_by_project() -> Panel:
    kept, other = projects_folded(requests_of_week(), "")
    rest = f'label_replace({other.expression} > 0, "project", "Other", "", "")'
    panel = share(
        About(
            303,
            "Share of requests by project",
            f"Requests of the last seven closed UTC days (event time); {_SMALL_PROJECT} are Other, which the "
            "table beside takes apart.",
            height=9,
            empty=NO_WEEK,
        ),
        units.Short,
        [Query(f"{kept.expression} or {rest}", "{{project}}")],
    )
    # A pie colours by the names of fields, and these are all Value until the label takes its place.
    to_names = DataTransformerConfig(id_val="labelsToFields", options={"mode": "columns", "valueLabel": "project"})
    to_row = DataTransformerConfig(id_val="merge", options={})
    return panel.with_transformation(to_names).with_transformation(to_row)


def models() -> tuple[Panel, ...]:
    """Return the panels about models."""
    return (_allocation(), _tokens_per_request(), _models())


def _other_projects() -> Panel:
    folded = f"{requests_of_week()} unless on (project_id) {_LARGE_PROJECTS}"
    return rows(
        About(
            304,
            "Projects folded into Other",
            f"The {_SMALL_PROJECT} of the last seven closed UTC days, one by one: they add up to Other.",
            height=9,
            empty=f"Nothing is folded: no project has {LESS} of the requests",
        ),
        {"project": "Project"},
        (
            Column("Requests", by_project(folded), units.Short),
            Column(
                "Of all",
                f"{by_project(folded)} / scalar(sum({requests_of_week()}))",
                units.PercentUnit,
                2,
            ),
            Column("Of Other", f"{by_project(folded)} / scalar(sum({folded}))", units.PercentUnit, 1),
        ),
        sort="Requests",
        widths={"project": 170},
    )


def _workflows() -> Panel:
    info = "* on (workflow) group_left (team) openai:workflow:info"
    return rows(
        About(
            305,
            "Workflows and their teams",
            "The last seven closed UTC days (event time). Each means per request. Whose a workflow is says the "
            "exporter's configuration; unmapped is what no rule claims.",
            width=24,
            height=12,
            empty=NO_WEEK,
        ),
        {"workflow": "Workflow", "team": "Team"},
        _columns("workflow", info, by_direction=False),
        sort="Tokens",
        widths={"workflow": 180, "team": 130},
    )


def _models() -> Panel:
    return rows(
        About(
            403,
            "Models in numbers",
            "The last seven closed UTC days (event time), all spellings of a model together. Each means per request. "
            "Images, speech and transcription have requests and may have no tokens.",
            width=24,
            height=12,
            empty=NO_WEEK,
        ),
        {"model_family": "Model"},
        _columns("model_family", "", by_direction=True),
        sort="Tokens",
        widths={"model_family": 200},
    )


def _columns(label: str, named: str, *, by_direction: bool) -> tuple[Column, ...]:
    def summed(series: str) -> str:
        return f"sum by ({label}) ({series}) {named}".rstrip()

    def plain(series: str) -> str:
        return f"sum by ({label}) ({series})"

    asked = f"({plain(requests_of_week())} > 0)"
    cached = f"({plain(tokens_of_week(CACHED_INPUT))} or 0 * {plain(tokens_of_week(ALL_INPUT))})"
    each = (
        Column("Input each", f"{plain(tokens_of_week(ALL_INPUT))} / {asked} {named}".rstrip(), NUMBER, 0),
        Column("Output each", f"{plain(tokens_of_week(ALL_OUTPUT))} / {asked} {named}".rstrip(), NUMBER, 0),
    )
    return (
        Column("Requests", summed(requests_of_week()), units.Short),
        Column("Tokens", f"({plain(tokens_of_week())} or 0 * {asked}) {named}".rstrip(), units.Short),
        Column(
            "Of tokens",
            f"{plain(tokens_of_week())} / scalar(sum({tokens_of_week()})) {named}".rstrip(),
            units.PercentUnit,
            1,
        ),
        Column("Tokens each", f"{plain(tokens_of_week())} / {asked} {named}".rstrip(), NUMBER, 0),
        *(each if by_direction else ()),
        Column(
            "Cached input",
            f"{cached} / ({plain(tokens_of_week(ALL_INPUT))} > 0) {named}".rstrip(),
            units.PercentUnit,
            0,
            share_cell(((None, palette.INPUT_CACHED),)),
        ),
    )


def _allocation() -> Panel:
    return bars(
        About(
            401,
            "Model allocation per day",
            f"{BY_DAY} Each model's share of the day's tokens: a bar is 100 %. {_SMALL_MODEL} tokens of seven "
            "closed days are Other.",
            height=10,
            empty=NOTHING_USED,
        ),
        units.PercentUnit,
        models_folded(tokens_per_day(), tokens_of_week(), ONE_DAY, over=f"(sum({tokens_per_day()}) > 0)"),
    ).max(1)


def _tokens_per_request() -> Panel:
    kept = large(tokens_of_week(), "model_family")
    return line(
        About(
            402,
            "Tokens per request by model",
            f"{BY_DAY} A jump is another prompt, longer histories or longer answers. {_SMALL_MODEL} tokens are "
            "left out: they stand in the table below.",
            height=10,
            empty=NOTHING_USED,
        ),
        units.Short,
        [
            Query(
                f"sum by (model_family) ({tokens_per_day()} and on (model_family) {kept})"
                f" / (sum by (model_family) ({requests_per_day()}) > 0)",
                "{{model_family}}",
                ONE_DAY,
            )
        ],
        filled=0,
    )
