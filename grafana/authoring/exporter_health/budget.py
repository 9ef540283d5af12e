"""How many series there are, and how many there may be."""

from grafana_foundation_sdk.models import units

from grafana.authoring import palette
from grafana.authoring.amendments import by_order
from grafana.authoring.exporter_health.choices import HOUR, NO_EXPORTER, chosen
from grafana.authoring.panels import About, Panel, Query, bars, line
from grafana.authoring.tables import Column, rows, text_colour_cell


def budget() -> tuple[Panel, ...]:
    """Return the section's panels."""
    series = chosen("openai_exporter_series")
    most = chosen("openai_exporter_series_limit")
    overflow = chosen("openai_exporter_series_overflow_total")
    return (
        rows(
            About(
                601,
                "Series by family",
                "Series that each metric family exposes, and for counters how many it may have "
                "(limits.series_per_family). A full family adds up new projects, models and keys under (other): sums "
                "stay exact, the split is lost. Of several exporters, the fullest.",
                width=14,
                height=11,
                empty=NO_EXPORTER,
            ),
            {"family": "Family"},
            (
                Column("Series", f"max by (family) ({series})", units.NoUnit, 0, {"custom.width": 60}),
                Column("Limit", f"max by (family) ({most})", units.NoUnit, 0, {"custom.width": 60}),
                Column(
                    "Used",
                    f"max by (family) ({series} / on (job, instance, family) {most})",
                    units.PercentUnit,
                    1,
                    {
                        "custom.width": 70,
                        **text_colour_cell(((None, palette.GOOD), (0.8, palette.WATCH), (1.0, palette.BAD))),
                    },
                ),
            ),
            sort="Series",
        ),
        by_order(
            line(
                About(
                    602,
                    "Series over time",
                    "All series of the exporter's data, by instance; its own are not among them.",
                    width=10,
                    height=11,
                    empty=NO_EXPORTER,
                ),
                units.Short,
                [Query(f"sum by (instance) ({series})", "{{instance}}")],
            )
        ),
        bars(
            About(
                603,
                "Amounts added up under (other)",
                "Per hour, by family, because the family was full. Raise limits.series_per_family, or switch off a "
                "label.",
                width=24,
                height=6,
                empty="None: no family is full",
            ),
            units.Short,
            [Query(f"sum by (family) (increase({overflow}[$__rate_interval])) > 0", "{{family}}", HOUR)],
        ),
    )
