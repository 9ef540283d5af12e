"""Is all well? One look."""

from typing import Final

from grafana_foundation_sdk.builders import common, stat
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import BigValueTextMode

from grafana.authoring import palette
from grafana.authoring.amendments import Words, coloured_by_query, in_words
from grafana.authoring.exporter_health.choices import HOUR, chosen, share_of_allowed_age
from grafana.authoring.panels import About, Panel, Query, number

_TEXT_SIZE: Final = 26
_WORST: Final = "Of several exporters, the worst."
_NEUTRAL: Final = ((None, "text"),)
_FINE_OR_NOT: Final = (palette.GOOD, palette.WATCH, "text")


def answers() -> tuple[Panel, ...]:
    """Return the section's panels."""
    return (
        _in_words(
            101,
            "Exporter",
            "Whether Prometheus gets its page: up where the newest scrape succeeded.",
            f"min({chosen('up')} or on (job, instance) {chosen('openai_exporter_build_info')})",
            {1: ("up", palette.GOOD), 0: ("down", palette.BAD)},
            "not scraped",
        ),
        _in_words(
            102,
            "Polls",
            "Whether the newest poll of every API that is switched on succeeded.",
            f"min({chosen('openai_up')})",
            {1: ("succeed", palette.GOOD), 0: ("failing", palette.WATCH)},
        ),
        _in_words(
            103,
            "Admin key",
            "Whether OpenAI refused the admin key (401 or 403). A refused key is not tried again until it changes or "
            "the configuration is reloaded.",
            f"max({chosen('openai_exporter_auth_failed')})",
            {0: ("accepted", palette.GOOD), 1: ("refused", palette.BAD)},
        ),
        _oldest_poll(),
        _age(
            105,
            "Bill age",
            "How long ago OpenAI's answer about costs last changed. The bill is hours behind by nature.",
            "costs",
            "openai:threshold:bill_unchanged_seconds",
        ),
        _age(
            106,
            "Usage age",
            "How long ago OpenAI's answer about completions last changed. Nights are quiet; usage arrives minutes "
            "late.",
            "usage/completions",
            "openai:threshold:usage_unchanged_seconds",
        ),
        _state(),
        _in_words(
            108,
            "Settings",
            "Whether the newest load of the configuration succeeded. If not, the exporter goes on with the one it had.",
            f"min({chosen('openai_exporter_config_reload_success')})",
            {1: ("loaded", palette.GOOD), 0: ("refused", palette.WATCH)},
        ),
        _rows_left_out(),
        _fullest(),
        _in_words(
            111,
            "Thresholds",
            "Whether Prometheus has the openai:threshold:… series of rules/thresholds.yml. Without them, alerts that "
            "compare with one stay silent. Does not follow the job.",
            "group(openai:threshold:budget_exceeded_ratio) or vector(0)",
            {1: ("loaded", palette.GOOD), 0: ("missing", palette.WATCH)},
        ),
        _version(),
    )


def _about(panel_id: int, title: str, description: str, empty: str = "unknown") -> About:
    return About(panel_id, title, description, width=4, height=3, empty=empty)


def _small(panel: stat.Panel) -> stat.Panel:
    return panel.text(common.VizTextDisplayOptions().value_size(_TEXT_SIZE))


def _in_words(  # noqa: PLR0913, PLR0917 - a row of a table
    panel_id: int, title: str, meaning: str, expression: str, words: Words, empty: str = "unknown"
) -> stat.Panel:
    about = _about(panel_id, title, f"{meaning} {_WORST}", empty)
    return _small(in_words(number(about, units.NoUnit, [Query(expression)], steps=_NEUTRAL), words))


def _oldest_poll() -> stat.Panel:
    age = f"max({chosen('openai:api:poll_age_seconds')})"
    late = f"({share_of_allowed_age()}) > 1"
    panel = number(
        _about(
            104,
            "Oldest poll",
            "The longest time since a successful poll, over all APIs: what that API tells is so old. Orange where one "
            f"is older than its threshold allows (openai:threshold:…_poll_age_seconds). {_WORST}",
        ),
        units.Seconds,
        [Query(f"{age} unless on () ({late})", "age"), Query(f"{age} and on () ({late})", "age")],
        steps=_NEUTRAL,
        decimals=0,
    )
    return _small(coloured_by_query(panel, _FINE_OR_NOT))


def _age(panel_id: int, title: str, meaning: str, api: str, threshold: str) -> stat.Panel:
    changed = chosen("openai_exporter_data_timestamp_seconds", f'api="{api}"')
    age = f"max(time() - {changed})"
    panel = number(
        _about(panel_id, title, f"{meaning} Orange beyond {threshold}. {_WORST}"),
        units.Seconds,
        [
            Query(f"{age} <= scalar({threshold})", "age"),
            Query(f"{age} > scalar({threshold})", "age"),
            Query(f"{age} unless on () {threshold}", "age"),
        ],
        steps=_NEUTRAL,
    )
    return _small(coloured_by_query(panel, _FINE_OR_NOT))


def _state() -> stat.Panel:
    commit = f"(time() - {chosen('openai_exporter_state_commit_timestamp_seconds')})"
    failing = f"{chosen('openai_exporter_poll_success')} == 0"
    unsaved = f"{commit} > scalar(openai:threshold:state_unsaved_seconds) and on (job, instance) ({failing})"
    panel = number(
        _about(
            107,
            "State saved",
            "How long ago the state was last written. An exporter that nothing new reaches writes nothing; orange only "
            f"beyond openai:threshold:state_unsaved_seconds while polls fail. {_WORST}",
        ),
        units.Seconds,
        [Query(f"max({commit}) unless on () ({unsaved})", "age"), Query(f"max({unsaved})", "age")],
        steps=_NEUTRAL,
        decimals=0,
    )
    return _small(coloured_by_query(panel, _FINE_OR_NOT))


def _rows_left_out() -> stat.Panel:
    panel = number(
        _about(
            109,
            "Rows left out",
            "Rows of OpenAI's answers that could not be read within the newest hour (longer over a long range), "
            "counted at every poll that brings them. What they hold is missing from all figures.",
        ),
        units.Short,
        [
            Query(
                f"sum(increase({chosen('openai_exporter_rows_rejected_total')}[$__rate_interval]))"
                f" or 0 * group({chosen('openai_exporter_build_info')})",
                "rows",
                HOUR,
            )
        ],
        steps=((None, "text"), (0, palette.GOOD), (1e-9, palette.WATCH)),
        decimals=0,
    )
    return _small(panel)


def _fullest() -> stat.Panel:
    used = (
        f"max({chosen('openai_exporter_series')} / on (job, instance, family) {chosen('openai_exporter_series_limit')})"
    )
    panel = number(
        _about(
            110,
            "Fullest family",
            "Series of the metric family that is nearest to its limit, as a share of it. At 100 % new projects, "
            f"models and keys become (other). {_WORST}",
        ),
        units.PercentUnit,
        [Query(used, "used")],
        steps=((None, "text"), (0, palette.GOOD), (0.8, palette.WATCH), (1.0, palette.BAD)),
        decimals=1,
    )
    return _small(panel)


def _version() -> stat.Panel:
    panel = number(
        _about(112, "Version", "The exporter's version; more than one where exporters differ.", "unknown"),
        units.NoUnit,
        [Query(f"group by (version) ({chosen('openai_exporter_build_info')})", "{{version}}")],
        colour="text",
    )
    panel = panel.text_mode(BigValueTextMode.NAME)
    return panel.text(common.VizTextDisplayOptions().title_size(_TEXT_SIZE).value_size(_TEXT_SIZE))
