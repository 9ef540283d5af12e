"""Every metric family the exporter exposes: name, type, labels and help. The one place for each of these facts.

Changing a name or a label here is a breaking change. The README's table is checked against this module.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from exporter.openai_api.endpoints import TOKEN_MEASURES, USAGE_ENDPOINTS


class Kind(StrEnum):
    """Prometheus' metric types that occur here."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Clock(StrEnum):
    """Which time a value belongs to."""

    ARRIVAL = "arrival"
    EVENT = "event"
    NONE = ""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric family.

    Attributes:
        name: with `_total` for counters.
        kind: Prometheus type.
        labels: label names in the order they are written, opt-in labels left out.
        help: source, unit and clock, in one line.
        clock: arrival time (counters), event time (gauges about a day or month), or none.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    clock: Clock = Clock.NONE


BASE: Final = ("project_id", "project", "model", "workflow")
_NO_MODEL: Final = ("project_id", "project", "workflow")

# Opt-in labels by the API dimension they need, as the configuration's `labels` section switches them on.
OPT_IN_LABELS: Final = {
    "api_key": ("api_key_id", ("api_key_id", "api_key")),
    "user": ("user_id", ("user_id",)),
    "batch": ("batch", ("batch",)),
    "service_tier": ("service_tier", ("service_tier",)),
    "api_source": ("api_source", ("api_source",)),
    "vector_store": ("vector_store_id", ("vector_store_id",)),
}


def _counter(name: str, labels: tuple[str, ...], help_text: str) -> Family:
    return Family(name, Kind.COUNTER, labels, help_text, Clock.ARRIVAL)


def _event(name: str, labels: tuple[str, ...], help_text: str) -> Family:
    return Family(name, Kind.GAUGE, labels, help_text, Clock.EVENT)


USAGE_TOKENS: Final = _counter(
    "openai_usage_tokens_total",
    (*BASE, "operation", "token_type", "modality"),
    "Tokens the usage API reported, an exact partition of input_tokens + output_tokens; "
    "grows when the report arrives, cached between polls.",
)
USAGE_REQUESTS: Final = _counter(
    "openai_usage_requests_total",
    (*BASE, "operation"),
    "Requests to models (num_model_requests of the usage API), web searches not counted again; "
    "grows when the report arrives.",
)
USAGE_IMAGES: Final = _counter(
    "openai_usage_images_total",
    (*BASE, "size", "source"),
    "Images processed (images of usage/images); grows when the report arrives.",
)
USAGE_SPEECH_CHARACTERS: Final = _counter(
    "openai_usage_speech_characters_total",
    BASE,
    "Characters turned into speech (characters of usage/audio_speeches); grows when the report arrives.",
)
USAGE_TRANSCRIPTION_SECONDS: Final = _counter(
    "openai_usage_transcription_seconds_total",
    BASE,
    "Seconds of audio transcribed (seconds of usage/audio_transcriptions); grows when the report arrives.",
)
USAGE_CODE_INTERPRETER_SESSIONS: Final = _counter(
    "openai_usage_code_interpreter_sessions_total",
    _NO_MODEL,
    "Code interpreter sessions (num_sessions of usage/code_interpreter_sessions); grows when the report arrives.",
)
USAGE_FILE_SEARCH_CALLS: Final = _counter(
    "openai_usage_file_search_calls_total",
    _NO_MODEL,
    "File search calls (num_requests of usage/file_search_calls); grows when the report arrives.",
)
USAGE_WEB_SEARCH_CALLS: Final = _counter(
    "openai_usage_web_search_calls_total",
    (*BASE, "context_level"),
    "Web search calls (num_requests of usage/web_search_calls); grows when the report arrives.",
)


def cost_counter(currency: str) -> Family:
    """Return the family of billed money in one currency; `openai_cost_usd_total` for US dollars."""
    return _counter(
        f"openai_cost_{currency}_total",
        (*BASE, "line_item"),
        f"Billed cost in {currency.upper()} (amount of the costs API); grows when the bill arrives, hours after use.",
    )


def currency_of(cost_counter_name: str) -> str:
    """Return the currency of a family that `cost_counter` names."""
    return cost_counter_name.removeprefix("openai_cost_").removesuffix("_total")


def cost_day(currency: str) -> Family:
    """Return the family of money billed for today and yesterday."""
    return _event(
        f"openai_cost_day_{currency}",
        (*BASE, "line_item", "day"),
        f"Billed so far for that UTC day in {currency.upper()} (amount of the costs API); event time, revised.",
    )


def cost_month(currency: str) -> Family:
    """Return the family of money billed for the current and the previous month."""
    return _event(
        f"openai_cost_month_{currency}",
        (*BASE, "line_item", "month"),
        f"Billed so far for that calendar month, UTC, in {currency.upper()} (costs API); event time, revised.",
    )


COST: Final = cost_counter("usd")
COST_DAY: Final = cost_day("usd")
COST_MONTH: Final = cost_month("usd")
USAGE_DAY_TOKENS: Final = _event(
    "openai_usage_day_tokens",
    (*BASE, "operation", "token_type", "modality", "day"),
    "Tokens reported so far for that UTC day (usage API); event time, revised.",
)
USAGE_DAY_REQUESTS: Final = _event(
    "openai_usage_day_requests",
    (*BASE, "operation", "day"),
    "Requests to models reported so far for that UTC day (usage API); event time, revised.",
)
VECTOR_STORE_BYTES: Final = _event(
    "openai_usage_vector_store_bytes",
    _NO_MODEL,
    "Bytes held in vector stores, the newest day's level (usage_bytes of usage/vector_stores); event time.",
)


def _gauge(name: str, labels: tuple[str, ...], help_text: str) -> Family:
    return Family(name, Kind.GAUGE, labels, help_text)


_BUDGET: Final = ("budget", "scope")
_PROJECT: Final = ("project_id", "project")
_API_KEY: Final = ("api_key_id", "api_key", "project_id")

EFFECTIVE_PRICE: Final = _gauge(
    "openai_effective_price_usd_per_token",
    ("model", "token_type", "modality", "service_tier", "source"),
    "What one token costs: billed on the organization's own bill over the last closed days, else configured, else by "
    "list; an empty service_tier means all tiers together.",
)
UNPRICED_TOKENS: Final = _event(
    "openai_exporter_unpriced_tokens",
    ("model",),
    "Tokens of today and yesterday (UTC) that no price is known for, so that estimates leave them out.",
)
BUDGET_LIMIT: Final = _gauge("openai_budget_limit_usd", _BUDGET, "The configured limit per calendar month, UTC.")
BUDGET_SPEND: Final = _event(
    "openai_budget_spend_usd", _BUDGET, "Billed in the current calendar month, UTC (costs API); event time, revised."
)
BUDGET_ESTIMATED_SPEND: Final = _event(
    "openai_budget_estimated_spend_usd",
    _BUDGET,
    "Spent in the current calendar month, UTC: as billed, but for the tokens of today and yesterday the larger of "
    "what is billed and usage times effective price; event time.",
)
SPEND_LIMIT: Final = _gauge(
    "openai_spend_limit_usd", _PROJECT, "OpenAI's own monthly spend limit; an empty project is the organization."
)
SPEND_LIMIT_ENFORCING: Final = _gauge(
    "openai_spend_limit_enforcing",
    _PROJECT,
    "1 while OpenAI enforces its spend limit and refuses calls, else 0; an empty project is the organization.",
)
RATE_LIMIT_TOKENS: Final = _gauge(
    "openai_rate_limit_tokens_per_minute", (*_PROJECT, "model"), "OpenAI's limit of tokens per minute; opt-in."
)
RATE_LIMIT_REQUESTS: Final = _gauge(
    "openai_rate_limit_requests_per_minute", (*_PROJECT, "model"), "OpenAI's limit of requests per minute; opt-in."
)
PROJECT_INFO: Final = _gauge(
    "openai_project_info",
    (*_PROJECT, "status"),
    "A project of the organization, active or archived (projects API); always 1.",
)
WORKFLOW_INFO: Final = _gauge(
    "openai_workflow_info",
    ("workflow", "action_group", "team", "business_unit"),
    "A workflow of the configuration, and unmapped, with whose it is, (none) where nothing is set; always 1.",
)
LINE_ITEM_INFO: Final = _gauge(
    "openai_line_item_info",
    ("line_item", "model", "token_type", "modality", "service_tier", "unit"),
    "A line item of this month's or the previous month's bill, taken apart; empty where its text does not say; "
    "always 1.",
)
API_KEY_INFO: Final = _gauge(
    "openai_api_key_info", (*_API_KEY, "owner_type"), "An API key of an active project; opt-in; always 1."
)
API_KEY_LAST_USED: Final = _gauge(
    "openai_api_key_last_used_timestamp_seconds",
    _API_KEY,
    "When an API key was last used, Unix seconds; absent if never; opt-in.",
)
API_KEY_EXPIRES: Final = _gauge(
    "openai_api_key_expires_timestamp_seconds",
    _API_KEY,
    "When an API key expires, Unix seconds; absent if it does not; opt-in.",
)
USER_INFO: Final = _gauge(
    "openai_user_info",
    ("user_id", "user", "email"),
    "A user of the organization, with the label user; the e-mail address only where it is switched on; always 1.",
)

_API: Final = ("api",)


def _own(name: str, labels: tuple[str, ...], help_text: str, kind: Kind = Kind.GAUGE) -> Family:
    return Family(name, kind, labels, help_text)


UP: Final = _own("openai_up", (), "1 if the newest poll of every enabled API succeeded, else 0.")
POLL_SUCCESS: Final = _own(
    "openai_exporter_poll_success", _API, "1 if the newest poll of that API succeeded, else 0; absent before the first."
)
POLL_LAST_SUCCESS: Final = _own(
    "openai_exporter_poll_last_success_timestamp_seconds",
    _API,
    "When that API was last polled with success, Unix seconds.",
)
POLL_DURATION: Final = _own(
    "openai_exporter_poll_duration_seconds", _API, "How long the newest poll of that API took, retries included."
)
POLL_INTERVAL: Final = _own(
    "openai_exporter_poll_interval_seconds",
    _API,
    "How far apart polls of that API are at present: more while it is idle or the request budget is short.",
)
POLLS_POSTPONED: Final = _own(
    "openai_exporter_polls_postponed_total",
    _API,
    "Polls that were due and had to wait for the request budget.",
    Kind.COUNTER,
)
REQUEST_BUDGET: Final = _own(
    "openai_exporter_request_budget",
    (),
    "Requests to OpenAI's API that an hour may have; +Inf where there is no limit.",
)
REQUESTS_USED: Final = _own(
    "openai_exporter_request_budget_used", (), "Requests sent to OpenAI's API within the last hour, retries included."
)
DATA_TIMESTAMP: Final = _own(
    "openai_exporter_data_timestamp_seconds",
    _API,
    "When that API's answer last changed, Unix seconds: how fresh the data is, not the poll.",
)
HTTP_REQUESTS: Final = _own(
    "openai_exporter_http_requests_total",
    ("api", "code"),
    "Requests sent to OpenAI's API by status code, retries included; code error where no answer came.",
    Kind.COUNTER,
)
HTTP_RETRIES: Final = _own(
    "openai_exporter_http_retries_total",
    ("api", "code"),
    "Requests sent again, by the status code that made it so; code error where no answer came.",
    Kind.COUNTER,
)
HTTP_DURATION: Final = _own(
    "openai_exporter_http_request_duration_seconds",
    _API,
    "Time from sending a request to OpenAI's API to the end of its answer.",
    Kind.HISTOGRAM,
)
AUTH_FAILED: Final = _own(
    "openai_exporter_auth_failed", (), "1 after OpenAI's API refused the admin key (401 or 403), else 0."
)
REVISIONS: Final = _own(
    "openai_exporter_revisions_total",
    ("api", "direction"),
    "Changes the API made to rows of closed UTC days, late data included, by direction up or down.",
    Kind.COUNTER,
)
HELD_BACK: Final = _own(
    "openai_exporter_held_back",
    ("api", "measure"),
    "What counters still hold though the API took it back, in the measure's own unit; later growth absorbs it first.",
)
GROUPING_ENABLED: Final = _own(
    "openai_exporter_grouping_enabled",
    ("api", "dimension"),
    "1 if rows are read by that dimension, 0 if the API refused it and the exporter fell back.",
)
ROWS_REJECTED: Final = _own(
    "openai_exporter_rows_rejected_total",
    ("api", "reason"),
    "Rows that could not be read, counted at every poll that brings them.",
    Kind.COUNTER,
)
SERIES: Final = _own("openai_exporter_series", ("family",), "Series exposed, by metric family.")
SERIES_LIMIT: Final = _own(
    "openai_exporter_series_limit",
    ("family",),
    "The most counter series a family may have before new ones become (other).",
)
SERIES_OVERFLOW: Final = _own(
    "openai_exporter_series_overflow_total",
    ("family",),
    "Amounts posted to (other) because their family was full: sums stay exact, the split is lost.",
    Kind.COUNTER,
)
STATE_RESTORED: Final = _own(
    "openai_exporter_state_restored", (), "1 if this process found a state to continue, 0 if its counters began anew."
)
STATE_COMMIT: Final = _own(
    "openai_exporter_state_commit_timestamp_seconds", (), "When the state was last written, Unix seconds."
)
STATE_BYTES: Final = _own("openai_exporter_state_bytes", (), "Size of the state on disk.")
CONFIG_RELOAD_SUCCESS: Final = _own(
    "openai_exporter_config_reload_success", (), "1 if the newest load of the configuration succeeded, else 0."
)
CONFIG_RELOAD_TIMESTAMP: Final = _own(
    "openai_exporter_config_reload_timestamp_seconds",
    (),
    "When the configuration was last loaded with success, Unix seconds.",
)
BUILD_INFO: Final = _own(
    "openai_exporter_build_info",
    ("version", "revision", "python_version"),
    "The exporter's version, its source revision where known, and Python's version; always 1.",
)

USAGE_COUNTERS: Final = (
    USAGE_TOKENS,
    USAGE_REQUESTS,
    USAGE_IMAGES,
    USAGE_SPEECH_CHARACTERS,
    USAGE_TRANSCRIPTION_SECONDS,
    USAGE_CODE_INTERPRETER_SESSIONS,
    USAGE_FILE_SEARCH_CALLS,
    USAGE_WEB_SEARCH_CALLS,
)
EVENT_GAUGES: Final = (COST_DAY, COST_MONTH, USAGE_DAY_TOKENS, USAGE_DAY_REQUESTS, VECTOR_STORE_BYTES)
EXPORTER_FAMILIES: Final = (
    UP,
    POLL_SUCCESS,
    POLL_LAST_SUCCESS,
    POLL_DURATION,
    POLL_INTERVAL,
    POLLS_POSTPONED,
    REQUEST_BUDGET,
    REQUESTS_USED,
    DATA_TIMESTAMP,
    HTTP_REQUESTS,
    HTTP_RETRIES,
    HTTP_DURATION,
    AUTH_FAILED,
    REVISIONS,
    HELD_BACK,
    GROUPING_ENABLED,
    ROWS_REJECTED,
    SERIES,
    SERIES_LIMIT,
    SERIES_OVERFLOW,
    STATE_RESTORED,
    STATE_COMMIT,
    STATE_BYTES,
    CONFIG_RELOAD_SUCCESS,
    CONFIG_RELOAD_TIMESTAMP,
    BUILD_INFO,
)
MONEY_GAUGES: Final = (
    EFFECTIVE_PRICE,
    UNPRICED_TOKENS,
    BUDGET_LIMIT,
    BUDGET_SPEND,
    BUDGET_ESTIMATED_SPEND,
    SPEND_LIMIT,
    SPEND_LIMIT_ENFORCING,
    RATE_LIMIT_TOKENS,
    RATE_LIMIT_REQUESTS,
)
INFO_GAUGES: Final = (
    PROJECT_INFO,
    WORKFLOW_INFO,
    LINE_ITEM_INFO,
    API_KEY_INFO,
    API_KEY_LAST_USED,
    API_KEY_EXPIRES,
    USER_INFO,
)
FAMILIES: Final = (*USAGE_COUNTERS, COST, *EVENT_GAUGES, *MONEY_GAUGES, *INFO_GAUGES, *EXPORTER_FAMILIES)
"""All of them, in the order they are documented. Other currencies than US dollars add families of the same shape."""


@dataclass(frozen=True, slots=True)
class Counted:
    """How one measure of an endpoint is counted: the family, and the labels that only the measure decides."""

    counter: Family
    labels: tuple[tuple[str, str], ...] = ()
    day_gauge: Family | None = None


def _tokens(measure: str) -> Counted:
    token_type, _, modality = measure.removesuffix("_tokens").rpartition("_")
    return Counted(USAGE_TOKENS, (("token_type", token_type), ("modality", modality)), USAGE_DAY_TOKENS)


_ONE_COUNTER: Final = {
    ("usage/images", "images"): USAGE_IMAGES,
    ("usage/audio_speeches", "characters"): USAGE_SPEECH_CHARACTERS,
    ("usage/audio_transcriptions", "seconds"): USAGE_TRANSCRIPTION_SECONDS,
    ("usage/code_interpreter_sessions", "num_sessions"): USAGE_CODE_INTERPRETER_SESSIONS,
    ("usage/file_search_calls", "num_requests"): USAGE_FILE_SEARCH_CALLS,
    ("usage/web_search_calls", "num_requests"): USAGE_WEB_SEARCH_CALLS,
}


def _counted(api: str, measure: str) -> Counted:
    if measure in TOKEN_MEASURES:
        return _tokens(measure)
    if measure == "num_model_requests":
        return Counted(USAGE_REQUESTS, (), USAGE_DAY_REQUESTS)
    return Counted(_ONE_COUNTER[api, measure])


COUNTED: Final = {
    endpoint.api: tuple(_counted(endpoint.api, measure) for measure in endpoint.measures)
    for endpoint in USAGE_ENDPOINTS
    if not endpoint.is_level
}
"""Per usage API, how each measure is counted. Vector stores are a level and are not; costs count by currency."""
