"""How fresh is what OpenAI answers? Not how often it is asked."""

from grafana_foundation_sdk.models import units

from grafana.authoring import palette
from grafana.authoring.amendments import by_order
from grafana.authoring.exporter_health.choices import NO_EXPORTER, chosen, limit
from grafana.authoring.panels import About, Panel, Query, dashed, line, series_property


def freshness() -> tuple[Panel, ...]:
    """Return the section's panels."""
    return (
        _unchanged(
            301,
            "Time since the bill changed",
            "How long OpenAI's answer about costs has been the same, though it is polled. Each line falls to 0 when "
            "the answer changes. OpenAI bills hours after use. Dashed: openai:threshold:bill_unchanged_seconds, from "
            "where an alert tells of it if tokens were used.",
            'api="costs"',
            "openai:threshold:bill_unchanged_seconds",
        ),
        _unchanged(
            302,
            "Time since usage changed",
            "The same for completions. Nights and weekends without calls look like this too. Dashed: "
            "openai:threshold:usage_unchanged_seconds; an alert tells of it only if last week had no time as quiet.",
            'api="usage/completions"',
            "openai:threshold:usage_unchanged_seconds",
        ),
        _others(),
    )


def _unchanged(panel_id: int, title: str, description: str, api: str, threshold: str) -> Panel:
    changed = chosen("openai_exporter_data_timestamp_seconds", api)
    panel = line(
        About(panel_id, title, description, height=8, empty=NO_EXPORTER),
        units.Hours,
        [Query(f"(time() - {changed}) / 3600", "{{job}} {{instance}}"), Query(f"{limit(threshold)} / 3600", "alert")],
    )
    colour = {"color": {"mode": "fixed", "fixedColor": palette.LIMIT}}
    return series_property(dashed(by_order(panel), "alert"), "alert", colour)


def _others() -> Panel:
    changed = chosen("openai_exporter_data_timestamp_seconds", 'api!~"costs|usage/completions"')
    return line(
        About(
            303,
            "Time since other answers changed",
            "An API of which nothing is used stays the same for days: no reason to worry. Of several exporters, the "
            "freshest.",
            width=24,
            height=9,
            empty=NO_EXPORTER,
        ),
        units.Hours,
        [Query(f"min by (api) (time() - {changed}) / 3600", "{{api}}")],
        filled=0,
    )
