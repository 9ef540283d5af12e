"""What the configuration file may hold: every section and key, its type and its default."""

import re
import unicodedata
import warnings
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from exporter.configuration.durations import parse_duration, render_duration
from exporter.metrics.catalogue import OPT_IN_LABELS
from exporter.openai_api.connection import checked_base_url

UNMAPPED: Final = "unmapped"
"""The workflow of what no rule takes."""

NOT_SET: Final = "(none)"
"""The team, business unit or action group of a workflow that has none."""

_LONGEST_NAME: Final = 128
_MOST_DECIMALS: Final = 60


def _at_most_a_day(duration: timedelta) -> timedelta:
    if duration > timedelta(days=1):
        raise ValueError("at most 1d is allowed")
    return duration


def _whole_days(duration: timedelta) -> timedelta:
    if duration % timedelta(days=1) or not timedelta(days=1) <= duration <= timedelta(days=30):
        raise ValueError("whole days from 1d to 30d are needed")
    return duration


def _regular_expression(text: str) -> str:
    # YAML can spell half a character; a budget's patterns are on the page, which could not be written then.
    if any(unicodedata.category(character) == "Cs" for character in text):
        raise ValueError("a regular expression is needed: half a character matches nothing")
    try:
        # What Python only warns of will mean something else one day.
        with warnings.catch_warnings(action="error"):
            re.compile(text)
    except (re.error, RecursionError, OverflowError, Warning) as error:
        raise ValueError(f"a regular expression is needed: {error}") from error
    return text


def _name(text: str) -> str:
    if not text or text != text.strip() or not text.isprintable() or len(text) > _LONGEST_NAME:
        raise ValueError(f"a name of 1 to {_LONGEST_NAME} printable characters is needed, with no space around it")
    return text


def _workflow_name(text: str) -> str:
    if text == UNMAPPED:
        raise ValueError(f"{UNMAPPED} is the name of what no rule takes")
    return text


def _amount(value: object) -> Decimal:
    # A YAML float's shortest spelling is what the user wrote.
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("an amount of US dollars is needed")  # noqa: TRY004 - pydantic wants ValueErrors
    try:
        amount = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        raise ValueError("an amount of US dollars is needed") from None
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int):
        raise ValueError("a finite amount of US dollars is needed")  # noqa: TRY004 - the same
    if exponent < -_MOST_DECIMALS:
        # More could not be added up exactly.
        raise ValueError(f"at most {_MOST_DECIMALS} decimals are allowed")
    return amount


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(render_duration)]
Interval = Annotated[Duration, AfterValidator(_at_most_a_day)]
Days = Annotated[Duration, AfterValidator(_whole_days)]
RegularExpression = Annotated[str, Field(strict=True), AfterValidator(_regular_expression)]
"""Anchored at both ends when it is used."""
Name = Annotated[str, Field(strict=True), AfterValidator(_name)]
WorkflowName = Annotated[Name, AfterValidator(_workflow_name)]
Dollars = Annotated[Decimal, BeforeValidator(_amount), PlainSerializer(str)]
Limit = Annotated[Dollars, Field(gt=0, lt=10**15)]
PricePerToken = Annotated[Dollars, Field(ge=0, lt=1)]
MetadataKeys = Annotated[tuple[Name, ...], Field(max_length=10)]


class _Section(BaseModel):
    # Input stays out of what pydantic says, which a traceback would show: it may be a secret in the wrong place.
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)


class OpenAI(_Section):
    """Where the API is, and where its key is read from.

    Attributes:
        base_url: None: `OPENAI_BASE_URL`, else OpenAI's own.
        admin_key_file: read again when it changes. None: `OPENAI_ADMIN_KEY`.
    """

    base_url: Annotated[str, AfterValidator(checked_base_url)] | None = None
    admin_key_file: Path | None = None


class Polling(_Section):
    """How often the APIs are asked, and how many closed UTC days are read again each time.

    Attributes:
        usage_idle_interval: the longest wait between polls of a usage endpoint of which nothing is used.
        requests_per_hour: the most requests that are sent in an hour; None for no limit.
    """

    usage_interval: Interval = Field("1m")  # type: ignore[assignment]  # defaults are spelled as users spell them
    usage_idle_interval: Interval = Field("15m")  # type: ignore[assignment]  # the same
    costs_interval: Interval = Field("15m")  # type: ignore[assignment]  # the same
    directory_interval: Interval = Field("30m")  # type: ignore[assignment]  # the same
    usage_revision_window: Days = Field("3d")  # type: ignore[assignment]  # the same
    costs_revision_window: Days = Field("3d")  # type: ignore[assignment]  # the same
    requests_per_hour: Annotated[int, Field(ge=1, le=1_000_000, strict=True)] | None = None


class Labels(_Section):
    """Opt-in labels. Each multiplies the number of series."""

    api_key: bool = False
    user: bool = False
    batch: bool = False
    service_tier: bool = False
    api_source: bool = False
    vector_store: bool = False

    @property
    def switched_on(self) -> frozenset[str]:
        """The names that are switched on."""
        return frozenset(name for name in OPT_IN_LABELS if getattr(self, name))


class Directory(_Section):
    """What else is read of the organization, beside the names that labels and rules need.

    Attributes:
        spend_limits: OpenAI's own spend limits: one request, and one per active project.
        rate_limits: rate limits: one request per active project.
        api_keys: who owns each API key, when it was last used and when it expires: one request per active project.
        user_emails: e-mail addresses of users, as a label of `openai_user_info`; personal data.
    """

    spend_limits: bool = True
    rate_limits: bool = False
    api_keys: bool = False
    user_emails: bool = False


class Limits(_Section):
    """Bounds on what is exposed."""

    series_per_family: int = Field(20_000, ge=1, le=1_000_000, strict=True)


class TraceGateway(_Section):
    """How the trace gateway names what it counts.

    Attributes:
        action_group_keys: where metadata, or a span's attributes, say the action group; the first one set wins.
        project_keys: where they say OpenAI's project.
        label_sets: combinations of labels that have series of their own before model and project become `(other)`.
    """

    action_group_keys: MetadataKeys = ("actionGroup", "action_group")
    project_keys: MetadataKeys = ("projectId", "project_id")
    label_sets: int = Field(1_000, ge=1, le=100_000, strict=True)


class WorkflowMatch(_Section):
    """What a row must be like for a rule to take it; what is not set does not matter.

    `project`, `api_key` and `user` look at the name and the id; `model` at the model and at its name without a date.
    """

    project: RegularExpression | None = None
    api_key: RegularExpression | None = None
    user: RegularExpression | None = None
    model: RegularExpression | None = None
    service_tier: RegularExpression | None = None
    line_item: RegularExpression | None = None

    @property
    def conditions(self) -> dict[str, str]:
        """The regular expressions that are set, by what they look at."""
        return {name: pattern for name, pattern in self if pattern is not None}


class WorkflowRule(_Section):
    """Whose work a row is. The first rule that takes it decides."""

    workflow: WorkflowName
    team: Name | None = None
    business_unit: Name | None = None
    action_group: Name | None = None
    match: WorkflowMatch = WorkflowMatch()


class BudgetMatch(_Section):
    """What a budget is about; everything, if nothing is set. Patterns are as for workflows."""

    project: RegularExpression | None = None
    workflow: RegularExpression | None = None
    team: RegularExpression | None = None
    business_unit: RegularExpression | None = None
    model: RegularExpression | None = None

    @property
    def conditions(self) -> dict[str, str]:
        """The regular expressions that are set, by what they look at."""
        return {name: pattern for name, pattern in self if pattern is not None}


class Budget(_Section):
    """A limit of US dollars per calendar month, UTC."""

    budget: Name
    limit_usd: Limit
    match: BudgetMatch = BudgetMatch()


class TokenPrices(_Section):
    """US dollars for one token, by token type."""

    input: PricePerToken | None = None
    input_cached: PricePerToken | None = None
    input_cache_write: PricePerToken | None = None
    output: PricePerToken | None = None


class ModelPrices(TokenPrices):
    """A model's prices. Those of a modality hold for its tokens, the others for all the rest."""

    text: TokenPrices = TokenPrices()
    audio: TokenPrices = TokenPrices()
    image: TokenPrices = TokenPrices()


class Configuration(_Section):
    """The whole file.

    Attributes:
        scrape_interval: how often Prometheus scrapes: a new series stands at 0 for two of these.
    """

    openai: OpenAI = OpenAI()
    polling: Polling = Polling()
    labels: Labels = Labels()
    directory: Directory = Directory()
    limits: Limits = Limits()
    trace_gateway: TraceGateway = TraceGateway()
    scrape_interval: Interval = Field("1m")  # type: ignore[assignment]  # as above
    workflows: tuple[WorkflowRule, ...] = ()
    budgets: tuple[Budget, ...] = ()
    prices: dict[Name, ModelPrices] = Field(default_factory=dict)
