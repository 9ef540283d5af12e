"""The answers first: a week in numbers, how late they are, and the days one by one."""

from grafana_foundation_sdk.builders import common
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from grafana.authoring import palette
from grafana.authoring.amendments import by_order
from grafana.authoring.days import PROJECT_CHOSEN, a_week_before
from grafana.authoring.panels import (
    ONE_DAY,
    About,
    Panel,
    Query,
    bars,
    categories,
    legend_table,
    number,
    series_property,
    words,
)
from grafana.authoring.usage.choices import (
    ALL_INPUT,
    ALL_OUTPUT,
    BY_DAY,
    CACHED_INPUT,
    FAMILY_CHOSEN,
    NO_WEEK,
    NOTHING_USED,
    NUMBER,
    chosen,
    exporter_days,
    requests_of_week,
    tokens_of_week,
    tokens_per_day,
)

_HOW_LATE = """\
**Usage is minutes late.** OpenAI reports nine tenths of it within about seven minutes, the rest later. \
*Days* are UTC days on which tokens were used (event time): today's bar still grows, yesterday's is whole a few \
minutes after midnight, and OpenAI may revise either. *Hours* are the hours in which OpenAI reported it (arrival \
time): after an outage, what was missed stands in the hour in which it came. Hours and days are therefore not the \
same to the last token. Seven closed days end with the day before the end of the range.
"""
_TODAY = 'day="today"'
_FOUR_WIDE = 6
_BETWEEN_LABELS = 50
_LOW = 4


def week() -> tuple[Panel, ...]:
    """Return the panels of the first section."""
    return (*_numbers_of_week(), *_numbers_of_today(), words(_about_lateness(), _HOW_LATE))


def _small(panel_id: int, title: str, description: str, empty: str) -> About:
    return About(panel_id, title, description, width=_FOUR_WIDE, height=_LOW, empty=empty)


def _about_lateness() -> About:
    return About(109, "How late usage is", "Which clock a panel shows, and what that means.", width=24, height=4)


def _numbers_of_week() -> tuple[Panel, ...]:
    return (
        number(
            _small(
                101,
                "Tokens, seven days",
                "All tokens, input and output, of the last seven closed UTC days (event time).",
                NO_WEEK,
            ),
            units.Short,
            [Query(f"sum({tokens_of_week()})")],
            colour=palette.BILLED,
            decimals=1,
        ),
        number(
            _small(
                102,
                "Requests, seven days",
                "Requests to models of the last seven closed UTC days (event time). A web search is part of its "
                "request.",
                NO_WEEK,
            ),
            units.Short,
            [Query(f"sum({requests_of_week()})")],
            colour=palette.BILLED,
            decimals=1,
        ),
        number(
            _small(
                103,
                "Tokens per request",
                "Tokens over requests, both of the last seven closed UTC days. Larger means longer prompts or answers.",
                NO_WEEK,
            ),
            NUMBER,
            [Query(f"sum({tokens_of_week()}) / (sum({requests_of_week()}) > 0)")],
            colour=palette.BILLED,
            decimals=0,
        ),
        number(
            _small(
                104,
                "Cached share of input",
                "Input read from the prompt cache, of all input, over the last seven closed UTC days. More is cheaper.",
                NO_WEEK,
            ),
            units.PercentUnit,
            [
                Query(
                    f"(sum({tokens_of_week(CACHED_INPUT)}) or vector(0)) / (sum({tokens_of_week(ALL_INPUT)}) > 0)",
                )
            ],
            colour=palette.INPUT_CACHED,
            decimals=1,
        ),
    )


def _numbers_of_today() -> tuple[Panel, ...]:
    of_week = f"openai:project_model_workflow_token_type:tokens:sum7d{{{FAMILY_CHOSEN}}}"
    before = f"(sum({a_week_before(of_week)} {PROJECT_CHOSEN}) > 0)"
    newest = 'max by (job, instance) (openai_exporter_data_timestamp_seconds{api=~"usage/.*"})'
    return (
        number(
            _small(
                105,
                "Tokens, week on week",
                "Tokens of the last seven closed UTC days against the seven before them.",
                "Needs two weeks of the recording rules",
            ),
            units.PercentUnit,
            [Query(f"sum({tokens_of_week()}) / {before} - 1")],
            colour=palette.BILLED,
            decimals=1,
        ),
        number(
            _small(106, "Tokens today", "All tokens of the UTC day so far (event time).", "Nothing used today so far"),
            units.Short,
            [Query(f"sum({chosen('openai:project_model_workflow_token_type:tokens:day', _TODAY)})")],
            colour=palette.BILLED,
            decimals=1,
        ),
        number(
            _small(
                107,
                "Requests today",
                "Requests to models of the UTC day so far (event time).",
                "Nothing used today so far",
            ),
            units.Short,
            [Query(f"sum({chosen('openai:project_model_workflow:requests:day', _TODAY)})")],
            colour=palette.BILLED,
            decimals=1,
        ),
        number(
            _small(
                108,
                "Newest usage, ago",
                "How long ago the answer of any of OpenAI's usage APIs last changed. Minutes while work is done, "
                "longer in quiet nights. Of several exporters the one that is furthest behind. Follows no choice.",
                "The exporter has not read any usage yet",
            ),
            units.Seconds,
            [Query(f"max(time() - {newest})")],
            steps=((None, palette.GOOD), (3_600, palette.WATCH)),
            decimals=0,
        ),
    )


def days() -> tuple[Panel, ...]:
    """Return the panels of days, one by one."""
    return (
        legend_table(
            bars(
                About(
                    201,
                    "Tokens per day by type",
                    f"{BY_DAY} Every token is in exactly one of the types: input that was not cached, input read from "
                    "the prompt cache, input written to it, and output with reasoning. Together they are all tokens.",
                    height=9,
                    empty=NOTHING_USED,
                ),
                units.Short,
                [Query(f"sum by (token_type) ({tokens_per_day()})", "{{token_type}}", ONE_DAY)],
            ),
            "sum",
        ),
        _input_against_output(),
        _by_modality(),
        _by_operation(),
    )


def _by_operation() -> Panel:
    panel = bars(
        About(
            204,
            "Requests per day by operation",
            f"{BY_DAY} Requests to models by the kind of call; searches and tool sessions are further down.",
            height=9,
            empty=NOTHING_USED,
        ),
        units.Short,
        [
            Query(
                f"sum by (operation) ({exporter_days('openai_usage_day_requests')})",
                "{{operation}}",
                ONE_DAY,
            )
        ],
    )
    return legend_table(by_order(panel), "sum")


def _by_modality() -> Panel:
    panel = bars(
        About(
            203,
            "Tokens per day by modality",
            f"{BY_DAY} Text, audio and image tokens; unspecified is what OpenAI does not split. Together they are all "
            "tokens.",
            height=9,
            empty=NOTHING_USED,
        ),
        units.Short,
        [
            Query(
                f"sum by (modality) ({exporter_days('openai_usage_day_tokens')})",
                "{{modality}}",
                ONE_DAY,
            )
        ],
    )
    for modality, colour in palette.MODALITIES.items():
        panel = series_property(panel, modality, {"color": {"mode": "fixed", "fixedColor": colour}})
    return legend_table(panel, "sum")


def _input_against_output() -> Panel:
    panel = categories(
        About(
            202,
            "Input and output per day",
            f"{BY_DAY} All input, cached or not, beside all output. Output costs several times as much per token.",
            height=9,
            empty=NOTHING_USED,
        ),
        units.Short,
        [
            Query(f"sum({tokens_per_day(ALL_INPUT)})", "input", ONE_DAY),
            Query(f"sum({tokens_per_day(ALL_OUTPUT)})", "output", ONE_DAY),
        ],
        [
            ("joinByField", {"byField": "Time", "mode": "outer"}),
            ("formatTime", {"timeField": "Time", "outputFormat": "D MMM", "useTimezone": True}),
        ],
    )
    for name, colour in (("input", palette.INPUT), ("output", palette.OUTPUT)):
        panel = panel.override_by_name(name, [DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})])
    # Wide apart enough to be read, also where a quarter is shown.
    return panel.x_tick_label_spacing(_BETWEEN_LABELS).legend(
        common.VizLegendOptions()
        .show_legend(True)  # noqa: FBT003 - the SDK's own
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
    )
