"""Usage by API key and by user where labels tell them, and the keys themselves."""

from grafana_foundation_sdk.models import units

from grafana.authoring import palette
from grafana.authoring.days import END, PROJECT_CHOSEN, per_day
from grafana.authoring.panels import (
    ONE_DAY,
    About,
    Column,
    Panel,
    Query,
    bar_list,
    bars,
    legend_table,
    rows,
    text_colour_cell,
    yes_or_no_cell,
)
from grafana.authoring.usage.choices import BY_DAY, EXPORTER_CHOSEN, NAMED

_DAY = 86_400
_SHOWN = 10
_TOKENS = "openai_usage_day_tokens"
_NO_KEYS_READ = "No API keys are read: switch on directory.api_keys"

_KEYS = (
    "topk by (api_key_id) (1, group by (api_key_id, api_key, owner_type, project)"
    f" (max by (api_key_id, api_key, owner_type, project_id) (openai_api_key_info) {NAMED}))"
)
_USERS = f"topk by (user_id) (1, group by (user_id, user) (openai_user_info @ {END}))"

_TIME_LEFT = ((None, palette.BAD), (_DAY, palette.WATCH), (14 * _DAY, palette.GOOD))
"""Colours of the time a key has left, as the alert has it: a day, two weeks."""


def keys_and_users() -> tuple[Panel, ...]:
    """Return the section's panels."""
    return (_tokens_by_key(), _tokens_by_user(), _keys(), _expiring())


def _daily(matchers: str) -> str:
    return f"({per_day(_TOKENS, f'{matchers}, {EXPORTER_CHOSEN}')} {PROJECT_CHOSEN})"


def _most(label: str) -> str:
    of_week = f'{_TOKENS}{{{label}!="", day="yesterday", {EXPORTER_CHOSEN}}} offset 10m'
    return f"topk({_SHOWN}, sum by ({label}) (sum_over_time(({of_week} {PROJECT_CHOSEN})[7d:1d] @ {END})))"


def _tokens_by_key() -> Panel:
    most = _most("api_key_id")
    return legend_table(
        bars(
            About(
                701,
                "Tokens per day by API key",
                f"{BY_DAY} The {_SHOWN} keys with most tokens in the last week; Other is all the others, (none) what "
                "was called without a key of a project. Needs the label api_key.",
                height=10,
                empty="Usage has no API keys: switch on labels.api_key",
            ),
            units.Short,
            [
                Query(
                    f"sum by (api_key_id, api_key) ({_daily('api_key_id!=' + _NOTHING)} and on (api_key_id) {most})",
                    "{{api_key}}",
                    ONE_DAY,
                ),
                Query(f"sum({_daily('api_key_id!=' + _NOTHING)} unless on (api_key_id) {most})", "Other", ONE_DAY),
                Query(_without("api_key_id"), "(none)", ONE_DAY),
            ],
        ),
        "sum",
    )


_NOTHING = '""'


def _without(label: str) -> str:
    """Return the tokens that carry no value of a label, where others do."""
    empty = f"sum({_daily(f'{label}={_NOTHING}')})"
    return f"{empty} and on () count({_TOKENS}{{{label}!={_NOTHING}}} @ {END})"


def _tokens_by_user() -> Panel:
    most = _most("user_id")
    by_user = f"sum by (user_id) ({_daily('user_id!=' + _NOTHING)} and on (user_id) {most})"
    unnamed = f'label_replace({by_user} unless on (user_id) {_USERS}, "user", "$1", "user_id", "(.+)")'
    return legend_table(
        bars(
            About(
                702,
                "Tokens per day by user",
                f"{BY_DAY} The {_SHOWN} members of the organization with most tokens in the last week, by whose key "
                "it was; Other is all other members, (none) the keys of service accounts. They are not your "
                "product's users. Needs the label user.",
                height=10,
                empty="Usage has no users: switch on labels.user",
            ),
            units.Short,
            [
                Query(f"{by_user} * on (user_id) group_left (user) {_USERS} or {unnamed}", "{{user}}", ONE_DAY),
                Query(f"sum({_daily('user_id!=' + _NOTHING)} unless on (user_id) {most})", "Other", ONE_DAY),
                Query(_without("user_id"), "(none)", ONE_DAY),
            ],
        ),
        "sum",
    )


def _of_key(by_key: str) -> str:
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
            width=14,
            height=11,
            empty=_NO_KEYS_READ,
        ),
        {"api_key": "API key", "project": "Project", "owner_type": "Owner"},
        (
            Column(
                "Tokens, two days",
                _of_key(f'sum by (api_key_id) ({_TOKENS}{{api_key_id!="", day=~"today|yesterday"}})'),
                units.Short,
                1,
            ),
            Column(
                "In use",
                f"{_of_key(f'({idle} < bool {in_use})')} or 0 * {_KEYS}",
                "none",
                0,
                yes_or_no_cell("yes", "no", yes_colour="text", no_colour=palette.WATCH),
            ),
            Column("Last used, ago", _of_key(idle), units.Seconds, 0),
            Column("Expires in", _of_key(left), units.Seconds, 0, text_colour_cell(_TIME_LEFT)),
        ),
        sort="Tokens, two days",
        hidden=("api_key_id",),
    )


def _expiring() -> Panel:
    left = "(max by (api_key_id) (openai_api_key_expires_timestamp_seconds) - time())"
    return bar_list(
        About(
            704,
            "API keys that expire next",
            "Time left, least first; below 0 a key has expired and calls with it fail. Orange within two weeks, red "
            "within a day. Alerts tell of those that are in use. Follows the project.",
            width=10,
            height=11,
            empty="No key expires, or none are read: directory.api_keys",
        ),
        units.Seconds,
        [Query(f"sort(bottomk({_SHOWN}, {_of_key(left)}))", "{{api_key}} ({{project}})")],
        steps=_TIME_LEFT,
        decimals=0,
    )
