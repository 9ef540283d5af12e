"""Usage by API key and by user where labels tell them, and the keys themselves."""

from grafana_foundation_sdk.models import units

from grafana.authoring import palette
from grafana.authoring.amendments import by_order
from grafana.authoring.days import END, PROJECT_CHOSEN
from grafana.authoring.panels import ONE_DAY, About, Panel, Query, bars, legend_table
from grafana.authoring.tables import Column, rows, text_colour_cell, yes_or_no_cell
from grafana.authoring.usage.choices import BY_DAY, MODELS_CHOSEN, MOST, NAMED, WORKFLOW_CHOSEN, exporter_days

DAY = 86_400
_NOTHING = '""'
_TOKENS = "openai_usage_day_tokens"
_NO_KEYS_READ = "No keys in this project, or none are read: directory.api_keys"

_KEYS = (
    "topk by (api_key_id) (1, group by (api_key_id, api_key, owner_type, project)"
    f" (max by (api_key_id, api_key, owner_type, project_id) (openai_api_key_info) {NAMED}))"
)
_USERS = f"topk by (user_id) (1, group by (user_id, user) (openai_user_info @ {END}))"

TIME_LEFT = ((None, "text"), (-1e12, palette.BAD), (DAY, palette.WATCH), (14 * DAY, palette.GOOD))
"""Colours of the time a key has left, as the alert has it: a day, two weeks; no end, no colour."""


def keys_and_users() -> tuple[Panel, ...]:
    """Return the section's panels."""
    return (_tokens_by_key(), _tokens_by_user(), _keys())


def _daily(matchers: str) -> str:
    return exporter_days(_TOKENS, matchers)


def _most(label: str) -> str:
    of_week = f'{_TOKENS}{{{label}!="", day="yesterday", {WORKFLOW_CHOSEN}}} offset 10m'
    return (
        f"topk({MOST}, sum by ({label}) (sum_over_time(({of_week} {PROJECT_CHOSEN} {MODELS_CHOSEN})[7d:1d] @ {END})))"
    )


def _tokens_by_key() -> Panel:
    most = _most("api_key_id")
    return legend_table(
        by_order(
            bars(
                About(
                    701,
                    "Tokens per day by API key",
                    f"{BY_DAY} The {MOST} keys with most tokens in the last week; Other is all the others, (none) "
                    "what was called without a key of a project. Needs the label api_key.",
                    height=10,
                    empty="Nothing used with a key, or usage has none: labels.api_key",
                ),
                units.Short,
                [
                    Query(
                        f"sum by (api_key_id, api_key) ({_daily('api_key_id!=' + _NOTHING)} and on (api_key_id) "
                        f"{most})",
                        "{{api_key}}",
                        ONE_DAY,
                    ),
                    Query(f"sum({_daily('api_key_id!=' + _NOTHING)} unless on (api_key_id) {most})", "Other", ONE_DAY),
                    Query(_without_key(), "(none)", ONE_DAY),
                ],
            )
        ),
        "sum",
    )


def _without_key() -> str:
    """Return the tokens of no key, where others have one."""
    empty = f"sum({_daily('api_key_id=' + _NOTHING)})"
    return f"{empty} and on () count({_TOKENS}{{api_key_id!={_NOTHING}}} @ {END})"


def _tokens_by_user() -> Panel:
    most = _most("user_id")
    by_user = f"sum by (user_id) ({_daily('user_id!=' + _NOTHING)} and on (user_id) {most})"
    unnamed = f'label_replace({by_user} unless on (user_id) {_USERS}, "user", "$1", "user_id", "(.+)")'
    return legend_table(
        by_order(
            bars(
                About(
                    702,
                    "Tokens per day by user",
                    f"{BY_DAY} The {MOST} members of the organization with most tokens in the last week, by whose "
                    "key it was; Other is all other members; keys of service accounts belong to nobody and are left "
                    "out. They are not your product's users. Needs the label user.",
                    height=10,
                    empty="Nothing used by people, or usage has none: labels.user",
                ),
                units.Short,
                [
                    Query(f"{by_user} * on (user_id) group_left (user) {_USERS} or {unnamed}", "{{user}}", ONE_DAY),
                    Query(f"sum({_daily('user_id!=' + _NOTHING)} unless on (user_id) {most})", "Other", ONE_DAY),
                ],
            )
        ),
        "sum",
    )


def of_key(by_key: str) -> str:
    """Give values by `api_key_id` the key's name, its owner's type and its project; keep the chosen projects' keys."""
    return f"{by_key} * on (api_key_id) group_left (project, api_key, owner_type) {_KEYS}"


def _keys() -> Panel:
    idle = "(time() - max by (api_key_id) (openai_api_key_last_used_timestamp_seconds))"
    left = "(max by (api_key_id) (openai_api_key_expires_timestamp_seconds) - time())"
    in_use = "scalar(openai:threshold:api_key_in_use_seconds)"
    # The table's rows must agree in the values of their labels, not in the order of their series.
    return rows(
        About(
            703,
            "API keys",
            "Keys of active projects: who owns them, whether they were used within three days, and their tokens of "
            "today and yesterday (event time). A key that nobody uses can be revoked; a person's key ends with the "
            "person. Follows the project; tokens need the label api_key.",
            width=24,
            height=11,
            empty=_NO_KEYS_READ,
        ),
        {"api_key": "API key", "project": "Project", "owner_type": "Owner"},
        (
            Column(
                "Tokens, 2 days",
                of_key(f'sum by (api_key_id) ({_TOKENS}{{api_key_id!="", day=~"today|yesterday"}})'),
                units.Short,
            ),
            Column(
                "In use",
                f"{of_key(f'({idle} < bool {in_use})')} or 0 * {_KEYS}",
                "none",
                0,
                yes_or_no_cell("yes", "no", yes_colour="text", no_colour=palette.WATCH),
            ),
            Column("Last used, ago", of_key(idle), units.Seconds, 1),
            Column("Expires in", of_key(left), units.Seconds, 1, text_colour_cell(TIME_LEFT)),
        ),
        sort="Tokens, 2 days",
        hidden=("api_key_id",),
        widths={"api_key": 165, "project": 160, "owner_type": 130},
    )
