"""Is the data whole? What is left out, taken back, changed later."""

from typing import Final

from grafana_foundation_sdk.models import units

from grafana.authoring import palette
from grafana.authoring.amendments import words_cell
from grafana.authoring.exporter_health.choices import HOUR, NO_EXPORTER, chosen
from grafana.authoring.panels import About, Panel, Query, bars, dashed, line, series_property
from grafana.authoring.tables import Column, rows

_HELD: Final = (
    "Counters never fall. What OpenAI takes back they hold until as much is used again, and stand still until then; "
    "gauges are right at once. "
)
_REFUSED: Final = {1: ("refused", palette.WATCH), 0: ("split", palette.GOOD)}


def completeness() -> tuple[Panel, ...]:
    """Return the section's panels."""
    return (
        _rejected(),
        _groupings(),
        _held_dollars(),
        _held_tokens(),
        _held_others(),
        _revisions(),
        _revisions_by_api(),
    )


def _rejected() -> Panel:
    rejected = chosen("openai_exporter_rows_rejected_total")
    return bars(
        About(
            501,
            "Rows that could not be read",
            "Per hour, by API and reason, counted at every poll that brings them: one bad row shows again and again. "
            "What they hold is missing from all figures.",
            empty="None: every row could be read",
        ),
        units.Short,
        [Query(f"sum by (api, reason) (increase({rejected}[$__rate_interval])) > 0", "{{api}} {{reason}}", HOUR)],
    )


def _groupings() -> Panel:
    enabled = chosen("openai_exporter_grouping_enabled")
    return rows(
        About(
            502,
            "Splits that OpenAI gives",
            "By what OpenAI was asked to split its answers. Refused: it would not, and the exporter reads on without. "
            "Sums are exact then; labels and rules that need it have nothing to go by. It is tried again once a day.",
            empty=NO_EXPORTER,
        ),
        {"api": "API", "dimension": "Split by"},
        (Column("Answer", f"1 - min by (api, dimension) ({enabled})", units.NoUnit, None, words_cell(_REFUSED)),),
        sort="Answer",
        widths={"api": 230},
    )


def _held_dollars() -> Panel:
    held = chosen("openai_exporter_held_back", 'api="costs", measure="usd"')
    billed = f"scalar(openai:threshold:held_back_ratio) * sum({chosen('openai_cost_day_usd')})"
    floor = "openai:threshold:held_back_usd"
    panel = line(
        About(
            503,
            "Held back of the bill",
            f"{_HELD}Dashed: from where an alert tells of it, openai:threshold:held_back_ratio of what was billed for "
            "today and yesterday, at least openai:threshold:held_back_usd.",
            empty=NO_EXPORTER,
        ),
        units.Dollars,
        [
            Query(f"sum({held})", "held back"),
            Query(f"{billed} > scalar({floor}) or group({floor}) * scalar({floor})", "alert"),
        ],
    )
    colour = {"color": {"mode": "fixed", "fixedColor": palette.LIMIT}}
    return series_property(dashed(panel, "alert"), "alert", colour)


def _held_tokens() -> Panel:
    held = chosen("openai_exporter_held_back", 'measure=~".+_tokens"')
    return line(
        About(
            504,
            "Held back tokens",
            f"{_HELD}By API, all kinds of tokens together. An alert tells of it beyond "
            "openai:threshold:held_back_ratio of that API's tokens of today and yesterday, at least "
            "openai:threshold:held_back_tokens.",
            empty=NO_EXPORTER,
        ),
        units.Short,
        [Query(f"sum by (api) ({held})", "{{api}}")],
        filled=0,
    )


def _held_others() -> Panel:
    held = chosen("openai_exporter_held_back")
    return rows(
        About(
            505,
            "Held back, all measures",
            f"{_HELD}Each in its own unit: dollars, tokens, requests, images, characters, seconds, sessions, calls. "
            "Only what is not 0.",
            empty="Nothing is held back",
        ),
        {"api": "API", "measure": "Measure"},
        (Column("Held back", f"sum by (api, measure) ({held}) > 0", units.Short),),
        widths={"api": 150, "measure": 250},
    )


def _revisions() -> Panel:
    revisions = chosen("openai_exporter_revisions_total")
    panel = bars(
        About(
            506,
            "Revisions of closed days",
            "Changes that OpenAI made to rows of UTC days that had ended, late data included, per hour in which they "
            "arrived. Upwards is usual: bills come in late. Downwards is what counters hold back.",
            empty=NO_EXPORTER,
        ),
        units.Short,
        [
            Query(
                f"sum by (direction) (increase({revisions}[$__rate_interval]))",
                "{{direction}}",
                HOUR,
            )
        ],
    )
    for direction, colour in (("up", palette.ESTIMATED), ("down", palette.WATCH)):
        panel = series_property(panel, direction, {"color": {"mode": "fixed", "fixedColor": colour}})
    return panel


def _revisions_by_api() -> Panel:
    revisions = chosen("openai_exporter_revisions_total")
    return bars(
        About(
            507,
            "Revisions by API",
            "The same, both directions, by API. Costs have most: every line of a day is revised until its bill is "
            "whole.",
            width=24,
            empty="None in this range",
        ),
        units.Short,
        [Query(f"sum by (api) (increase({revisions}[$__rate_interval])) > 0", "{{api}}", HOUR)],
    )
