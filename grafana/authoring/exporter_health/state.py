"""The state on disk, and the configuration."""

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import LineInterpolation

from grafana.authoring import palette
from grafana.authoring.amendments import by_order, words_cell
from grafana.authoring.exporter_health.choices import NO_EXPORTER, chosen, limit
from grafana.authoring.panels import About, Panel, Query, dashed, line, series_property
from grafana.authoring.tables import Column, rows

_RESTORED = {1: ("continued", palette.GOOD), 0: ("began anew", palette.WATCH)}
_LOADED = {1: ("loaded", palette.GOOD), 0: ("refused", palette.WATCH)}


def state() -> tuple[Panel, ...]:
    """Return the section's panels."""
    return (_exporters(), _unsaved(), _size(), _configuration())


def _exporters() -> Panel:
    by = "max by (instance)"
    return rows(
        About(
            701,
            "Exporters",
            "State: whether the process found one to continue, or began anew, so that its counters began at 0; its "
            "size on disk. Configuration: whether its newest load succeeded, and when one last did. Versions as built.",
            width=24,
            height=5,
            empty=NO_EXPORTER,
        ),
        {"instance": "Instance", "version": "Version", "revision": "Revision", "python_version": "Python"},
        tuple(
            Column(
                title,
                f"{expression} * on (instance) group_left (version, revision, python_version) {_BUILD}",
                unit,
                decimals,
                cell,
            )
            for title, expression, unit, decimals, cell in (
                (
                    "State",
                    f"{by} ({chosen('openai_exporter_state_restored')})",
                    units.NoUnit,
                    None,
                    words_cell(_RESTORED),
                ),
                ("Size", f"{by} ({chosen('openai_exporter_state_bytes')})", units.BytesIEC, 1, {}),
                (
                    "Configuration",
                    f"{by} ({chosen('openai_exporter_config_reload_success')})",
                    units.NoUnit,
                    None,
                    words_cell(_LOADED),
                ),
                (
                    "Loaded",
                    f"1000 * {by} ({chosen('openai_exporter_config_reload_timestamp_seconds')})",
                    units.DateTimeFromNow,
                    None,
                    {},
                ),
            )
        ),
    )


_BUILD = f"group by (instance, version, revision, python_version) ({chosen('openai_exporter_build_info')})"


def _unsaved() -> Panel:
    saved = chosen("openai_exporter_state_commit_timestamp_seconds")
    panel = line(
        About(
            702,
            "Time since the state was saved",
            "It is written with every answer that brings something new. Dashed: "
            "openai:threshold:state_unsaved_seconds, from where an alert tells of it if polls fail though OpenAI "
            "answers: a full disk, most likely.",
            empty=NO_EXPORTER,
        ),
        units.Minutes,
        [
            Query(f"(time() - {saved}) / 60", "{{job}} {{instance}}"),
            Query(f"{limit('openai:threshold:state_unsaved_seconds')} / 60", "alert"),
        ],
    )
    colour = {"color": {"mode": "fixed", "fixedColor": palette.LIMIT}}
    return series_property(dashed(by_order(panel), "alert"), "alert", colour)


def _size() -> Panel:
    panel = line(
        About(
            703,
            "Size of the state",
            "On disk. It grows with the organization, not for ever.",
            width=6,
            empty=NO_EXPORTER,
        ),
        units.BytesIEC,
        [Query(chosen("openai_exporter_state_bytes"), "{{job}} {{instance}}")],
    )
    return by_order(panel)


def _configuration() -> Panel:
    panel = line(
        About(
            704,
            "Configuration loaded",
            "1 while the newest load of the configuration succeeded, 0 since one was refused. At its next start the "
            "refused file will keep the exporter from starting.",
            width=6,
            empty=NO_EXPORTER,
        ),
        units.Short,
        [Query(chosen("openai_exporter_config_reload_success"), "{{job}} {{instance}}")],
    )
    return by_order(panel).line_interpolation(LineInterpolation.STEP_AFTER).max(1).decimals(0)
