"""What is saved and what is in the way: the prompt cache, rate limits, and models without a price."""

from grafana_foundation_sdk.models import units

from grafana.authoring import palette
from grafana.authoring.boards import MODEL_CHOSEN
from grafana.authoring.days import END, PROJECT_CHOSEN
from grafana.authoring.panels import About, Panel, Query, bar_list, dashed, line, series_property
from grafana.authoring.tables import Column, rows, share_cell, text_colour_cell
from grafana.authoring.usage.choices import (
    ALL_INPUT,
    BY_HOUR,
    CACHED_INPUT,
    LESS,
    MODELS_CHOSEN,
    NAMED,
    ONE_HOUR,
    WORKFLOW_CHOSEN,
    by_either_name,
    large,
    tokens_of_week,
    tokens_per_hour,
)
from grafana.authoring.usage.hours import HOURS_SHOWN
from grafana.authoring.usage.keys_and_users import DAY, TIME_LEFT, of_key

_RATIO = "openai:project_model:rate_limit_used:ratio"
_LIMITS_SHOWN = 6
_NEAR = ((None, palette.GOOD), (0.5, palette.WATCH), (0.8, palette.BAD))
_KEYS_WITHIN = 90 * DAY
_NO_LIMITS = "Nothing used that has a limit, or none are read: directory.rate_limits"
_NO_INPUT = "No input in this range"


def cache() -> tuple[Panel, ...]:
    """Return the panels about the prompt cache."""
    return (_share_of_choice(), _share_by_model(), _by_workflow())


def limits() -> tuple[Panel, ...]:
    """Return the panels about rate limits and prices."""
    return (_limits_used(), _expiring_keys(), _limits(), _unpriced())


def _share_of_choice() -> Panel:
    cached, all_input = (by_either_name(tokens_per_hour(kind)) for kind in (CACHED_INPUT, ALL_INPUT))
    hour = f"(sum({cached}) or 0 * sum({all_input})) / (sum({all_input}) > 0)"
    cached, all_input = (by_either_name(tokens_of_week(kind)) for kind in (CACHED_INPUT, ALL_INPUT))
    usual = f"sum({cached}) / (sum({all_input}) > 0)"
    panel = line(
        About(
            501,
            "Cached share of input",
            f"Input read from the prompt cache, of all input that is chosen. {BY_HOUR} Dashed: the last seven closed "
            "days. A fall that stays is a changed beginning of the prompt: input that is not cached costs several "
            "times as much.",
            height=9,
            empty=_NO_INPUT,
        ),
        units.PercentUnit,
        [Query(hour, "last hour", ONE_HOUR), Query(usual, "seven days", ONE_HOUR)],
    ).max_data_points(HOURS_SHOWN)
    panel = series_property(panel, "last hour", {"color": {"mode": "fixed", "fixedColor": palette.INPUT_CACHED}})
    panel = series_property(panel, "seven days", {"color": {"mode": "fixed", "fixedColor": palette.EXPECTED}})
    return dashed(panel, "seven days").max(1)


def _share_by_model() -> Panel:
    kept = large(tokens_of_week(CACHED_INPUT), "model_family")
    hour = (
        f"sum by (model_family) ({tokens_per_hour(CACHED_INPUT)} and on (model_family) {kept})"
        f" / (sum by (model_family) ({tokens_per_hour(ALL_INPUT)}) > 0)"
    )
    panel = line(
        About(
            502,
            "Cached share of input by model",
            f"{BY_HOUR} Models with {LESS} of the cached input of seven closed days are left out.",
            height=9,
            empty=_NO_INPUT,
        ),
        units.PercentUnit,
        [Query(hour, "{{model_family}}", ONE_HOUR)],
        filled=0,
    )
    return panel.max_data_points(HOURS_SHOWN).max(1)


def _by_workflow() -> Panel:
    labels = "project_id, model, workflow"
    shown = "project, model, workflow"

    def named(series: str) -> str:
        return f"sum by ({shown}) (sum by ({labels}) ({series}) {NAMED})"

    hour = f"openai:project_model_workflow:cached_share:ratio1h{{{WORKFLOW_CHOSEN}}} {MODELS_CHOSEN}"
    week = f"openai:project_model_workflow:cached_share:ratio7d{{{WORKFLOW_CHOSEN}}} {MODELS_CHOSEN}"
    usual = f"(sum by ({labels}) ({week}) > 0)"
    all_input = by_either_name(tokens_per_hour(ALL_INPUT))
    return rows(
        About(
            503,
            "Cached share by workflow",
            "Input of the last hour (arrival time) and how much of it came from the prompt cache, beside the last "
            "seven closed days. Only what used the cache within these days. Alerts look at these figures.",
            width=24,
            height=9,
            empty="Nothing read from the prompt cache in seven closed days",
        ),
        {"project": "Project", "workflow": "Workflow", "model": "Model"},
        (
            Column(
                "Input, last hour",
                f"{named(all_input)} and {named(usual)}",
                units.Short,
            ),
            Column(
                "Last hour",
                f"{named(hour)} and {named(usual)}",
                units.PercentUnit,
                0,
                share_cell(((None, palette.INPUT_CACHED),)),
            ),
            Column("Seven days", named(usual), units.PercentUnit, 0, share_cell(((None, palette.EXPECTED),))),
        ),
        sort="Input, last hour",
        widths={"project": 150, "workflow": 150, "model": 270},
    )


def _limits_used() -> Panel:
    used = f"{_RATIO}{{{MODEL_CHOSEN}}}"
    highest = f"topk({_LIMITS_SHOWN}, max_over_time({used}[$__range] @ {END}) {PROJECT_CHOSEN})"
    peak = f"(max_over_time({used}[$__interval]) and on (project_id, model, limit) {highest})"
    panel = line(
        About(
            601,
            "Use of rate limits",
            f"The {_LIMITS_SHOWN} limits per minute that were used most within the range: the highest average over a "
            "quarter of an hour (arrival time) in each step. Peaks within are higher: calls may be refused with 429 "
            "before the line is reached. Does not follow team and workflow.",
            width=14,
            height=10,
            empty=_NO_LIMITS,
        ),
        units.PercentUnit,
        [
            Query(f"max by (project, model, limit) ({peak} {NAMED})", "{{project}}, {{model}}, {{limit}}", ONE_HOUR),
            Query("max(openai:threshold:rate_limit_used_ratio)", "alert", ONE_HOUR),
        ],
        filled=0,
    )
    panel = series_property(panel, "alert", {"color": {"mode": "fixed", "fixedColor": palette.LIMIT}})
    return dashed(panel, "alert")


def _expiring_keys() -> Panel:
    left = "(max by (api_key_id) (openai_api_key_expires_timestamp_seconds) - time())"
    return bar_list(
        About(
            602,
            "API keys that expire next",
            f"Time left of keys that expire within {_KEYS_WITHIN // DAY} days, least first; below 0 a key has "
            "expired, and calls with it fail. Orange within two weeks, red within a day; alerts tell of those that "
            "are in use. Follows the project alone.",
            width=10,
            height=10,
            empty=f"No key expires within {_KEYS_WITHIN // DAY} days, or none are read: directory.api_keys",
        ),
        units.Seconds,
        [Query(f"sort({of_key(left)} < {_KEYS_WITHIN})", "{{api_key}} ({{project}})")],
        steps=TIME_LEFT,
        most=_KEYS_WITHIN,
        decimals=1,
    )


def _limits() -> Panel:
    def limit(metric: str) -> str:
        known = f"(max by (project_id, model) ({metric}{{{MODEL_CHOSEN}}} > 0) and on (project_id, model) {_RATIO} > 0)"
        return f"max by (project, model) ({known} {NAMED})"

    def used(kind: str) -> str:
        return f'max by (project, model) (({_RATIO}{{limit="{kind}", {MODEL_CHOSEN}}} > 0) {NAMED})'

    return rows(
        About(
            603,
            "Rate limits per minute",
            "OpenAI's limits per minute and how much of each was used on average over the last quarter of an hour "
            "(arrival time): the rest is headroom. Only what was used. Does not follow team and workflow.",
            width=16,
            height=9,
            empty=_NO_LIMITS,
        ),
        {"project": "Project", "model": "Model"},
        (
            Column("Tokens", limit("openai_rate_limit_tokens_per_minute"), units.Short),
            Column("Used", used("tokens"), units.PercentUnit, 1, text_colour_cell(_NEAR)),
            Column("Requests", limit("openai_rate_limit_requests_per_minute"), units.Short),
            Column("Used ", used("requests"), units.PercentUnit, 1, text_colour_cell(_NEAR)),
        ),
        sort="Used",
        widths={"project": 150, "model": 180},
    )


def _unpriced() -> Panel:
    unpriced = f"openai_exporter_unpriced_tokens{{{MODEL_CHOSEN}}}"
    return line(
        About(
            604,
            "Tokens without a price",
            "Tokens of today and yesterday (event time) of models that no price is known for: estimates, budgets and "
            "forecasts leave them out until OpenAI bills them or a price is configured. Follows the model alone.",
            width=8,
            height=9,
            empty="Every model that was used has a price",
        ),
        units.Short,
        [Query(f"sum by (model) (max_over_time({unpriced}[$__interval])) > 0", "{{model}}", ONE_HOUR)],
    )
