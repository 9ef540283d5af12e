"""The process and its scrapes."""

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import LineInterpolation

from grafana.authoring.amendments import by_order
from grafana.authoring.exporter_health.choices import NO_EXPORTER, chosen
from grafana.authoring.panels import About, Panel, Query, line

_LEGEND = "{{job}} {{instance}}"


def process() -> tuple[Panel, ...]:
    """Return the section's panels."""
    scraped = line(
        About(
            801,
            "Scrapes",
            "1 where Prometheus got the page, 0 where it did not, nothing where no target is known. The exporter "
            "catches up by itself with what it missed.",
            width=8,
            empty="No target of this job is known",
        ),
        units.Short,
        [Query(chosen("up"), _LEGEND)],
    )
    others = (
        line(
            About(
                802,
                "Duration of scrapes",
                "How long Prometheus waited for the page.",
                width=8,
                empty="No scrapes on record",
            ),
            units.Seconds,
            [Query(chosen("scrape_duration_seconds"), _LEGEND)],
        ),
        line(
            About(
                803,
                "Samples per scrape",
                "Series on the exporter's page, its own among them.",
                width=8,
                empty="No scrapes on record",
            ),
            units.Short,
            [Query(chosen("scrape_samples_scraped"), _LEGEND)],
        ),
        line(
            About(804, "Memory", "Resident memory of the process.", width=8, empty=NO_EXPORTER),
            units.BytesIEC,
            [Query(chosen("process_resident_memory_bytes"), _LEGEND)],
        ),
        line(
            About(805, "CPU", "Cores in use on average: 100 % is one core.", width=8, empty=NO_EXPORTER),
            units.PercentUnit,
            [Query(f"rate({chosen('process_cpu_seconds_total')}[$__rate_interval])", _LEGEND)],
        ),
        line(
            About(806, "Open files", "File descriptors in use, connections among them.", width=8, empty=NO_EXPORTER),
            units.Short,
            [Query(chosen("process_open_fds"), _LEGEND)],
        ),
    )
    steps = scraped.line_interpolation(LineInterpolation.STEP_AFTER).max(1).decimals(0)
    return tuple(by_order(panel) for panel in (steps, *others))
