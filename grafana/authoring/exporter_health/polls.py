"""Does it read? Each API's polls."""

from typing import Final

from grafana_foundation_sdk.models import units

from grafana.authoring import palette
from grafana.authoring.amendments import words_cell
from grafana.authoring.exporter_health.choices import NO_EXPORTER, chosen, share_of_allowed_age
from grafana.authoring.panels import About, Panel, Query, line, threshold_lines
from grafana.authoring.tables import Column, rows

_WORST: Final = "Of several exporters, the worst."
_OUTCOMES: Final = {1: ("succeeded", palette.GOOD), 0: ("failed", palette.WATCH)}
_AGES: Final = {0: ("in time", palette.GOOD), 1: ("late", palette.WATCH)}


def polls() -> tuple[Panel, ...]:
    """Return the section's panels."""
    return (_table(), _ages(), _durations())


def _table() -> Panel:
    changed = chosen("openai_exporter_data_timestamp_seconds")
    ages = chosen("openai:api:poll_age_seconds")
    return rows(
        About(
            201,
            "APIs",
            "Every API that is switched on: how its newest poll ended and how long it took, how long ago one last "
            "succeeded, whether that is older than openai:threshold:…_poll_age_seconds allows, and how long ago its "
            f"answer last changed (usage and costs only). {_WORST}",
            width=24,
            height=13,
            empty=NO_EXPORTER,
        ),
        {"api": "API"},
        (
            Column(
                "Newest poll",
                f"min by (api) ({chosen('openai_exporter_poll_success')})",
                units.NoUnit,
                None,
                words_cell(_OUTCOMES),
            ),
            Column("Age", f"max by (api) ({ages})", units.Seconds, 0),
            Column("In time", f"({share_of_allowed_age()}) > bool 1", units.NoUnit, None, words_cell(_AGES)),
            Column("Took", f"max by (api) ({chosen('openai_exporter_poll_duration_seconds')})", units.Seconds, 2),
            Column("Answer changed", f"max by (api) (time() - {changed})", units.Seconds, 1),
        ),
        sort="Age",
        widths={"api": 240},
    )


def _ages() -> Panel:
    panel = line(
        About(
            202,
            "Age of the newest successful poll",
            "As a share of what is allowed: openai:threshold:usage_poll_age_seconds, …_costs_… and …_directory_…. Each "
            f"line falls to 0 at a poll that succeeds; one that climbs past 100 % is not read any more. {_WORST}",
            height=12,
            empty=NO_EXPORTER,
        ),
        units.PercentUnit,
        [Query(share_of_allowed_age(), "{{api}}")],
        filled=0,
    )
    return threshold_lines(panel.axis_soft_max(1.2), ((None, "transparent"), (1, palette.LIMIT)))


def _durations() -> Panel:
    return line(
        About(
            203,
            "Duration of polls",
            f"How long the newest poll of each API took, retries and waiting included. {_WORST}",
            height=12,
            empty=NO_EXPORTER,
        ),
        units.Seconds,
        [Query(f"max by (api) ({chosen('openai_exporter_poll_duration_seconds')})", "{{api}}")],
        filled=0,
    )
