"""OpenAI's own limits: what the organization and its projects may spend a month, and how fast projects may call."""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import AliasPath, Field

from exporter.exact import EXACT
from exporter.openai_api.amounts import BadAmountError, parse_amount
from exporter.openai_api.errors import BadAnswer, RequestRefused
from exporter.openai_api.lists import Entry, Parsed, parse_answer, read_list, unexpected_shape
from exporter.openai_api.projects import Project, project_path, read_each_active
from exporter.openai_api.reading import Api

_log = logging.getLogger(__name__)

_SPEND_LIMITS: Final = "spend_limits"
_RATE_LIMITS: Final = "rate_limits"

_NOT_FOUND: Final = 404
# The least that can be configured; anything below is no limit.
_ONE_CENT: Final = 1
_A_CENT_S_EXPONENT: Final = Decimal(-2)
_PLAIN_WORD: Final = re.compile(r"[\w.-]{1,20}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SpendLimit:
    """A hard limit of what may be spent in a calendar month.

    Attributes:
        project_id: "" for the organization.
        limit_usd: US dollars, above 0.
        enforcing: whether it was reached and calls are refused now.
    """

    project_id: str
    limit_usd: Decimal
    enforcing: bool


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How much of a model a project may use per minute; None where the API does not say.

    Attributes:
        project_id: such as proj_abc.
        model: as the API spells it here, mostly without a date.
        tokens_per_minute: tokens of all kinds.
        requests_per_minute: requests.
    """

    project_id: str
    model: str
    tokens_per_minute: int | None
    requests_per_minute: int | None


# Anything where only one value is understood: another one is told apart from an answer that is none.
class _SpendLimit(Parsed):
    object: Literal["organization.spend_limit", "project.spend_limit"]
    threshold_amount: Any = None
    currency: Any = None
    interval: Any = None
    enforcement: Any = Field(None, validation_alias=AliasPath("enforcement", "status"))


# Bounded and strict, as times are.
_PerMinute = Annotated[int, Field(strict=True, ge=0, lt=2**63)]


class _RateLimit(Entry):
    model: str = Field(min_length=1)
    max_tokens_per_1_minute: _PerMinute | None = None
    max_requests_per_1_minute: _PerMinute | None = None


class Limits:
    """Reads limits, and says once of each what it does not understand."""

    def __init__(self, connection: Api) -> None:
        """Read through this connection."""
        self._connection = connection
        self._told: set[tuple[str, str]] = set()

    def spend_limit(self, project_id: str | None) -> SpendLimit | None:
        """The limit of a project, or of the organization for None.

        Returns:
            None where there is none, or one that is not understood, such as in another currency.

        Raises:
            OpenAIError: it was not read. The API refuses this for archived projects.
        """
        path = f"{'/organization' if project_id is None else project_path(project_id)}/spend_limit"
        try:
            reply = self._connection.get(path, (), _SPEND_LIMITS)
        except RequestRefused as refusal:
            if refusal.status == _NOT_FOUND:
                return None
            raise
        return self._understood(parse_answer(reply.body, _SPEND_LIMITS, _SpendLimit), project_id or "")

    def spend_limits(self, projects: Iterable[Project]) -> tuple[SpendLimit, ...]:
        """The limits there are, the organization's first, then of those of these projects that are active.

        Raises:
            OpenAIError: nothing was read.
        """
        organization = self.spend_limit(None)
        of_projects = read_each_active(projects, self._spend_limit_if_any, _SPEND_LIMITS)
        return of_projects if organization is None else (organization, *of_projects)

    def rate_limits_of_project(self, project_id: str) -> tuple[RateLimit, ...]:
        """Every rate limit of a project. The API refuses this for archived projects.

        Raises:
            OpenAIError: nothing was read.
        """
        path = f"{project_path(project_id)}/rate_limits"
        return tuple(
            RateLimit(project_id, entry.model, entry.max_tokens_per_1_minute, entry.max_requests_per_1_minute)
            for entry in read_list(self._connection, path, (), _RATE_LIMITS, _RateLimit)
        )

    def rate_limits(self, projects: Iterable[Project]) -> tuple[RateLimit, ...]:
        """Every rate limit of all these projects that are active.

        Raises:
            OpenAIError: nothing was read.
        """
        return read_each_active(projects, self.rate_limits_of_project, _RATE_LIMITS)

    def _spend_limit_if_any(self, project_id: str) -> Sequence[SpendLimit]:
        limit = self.spend_limit(project_id)
        return () if limit is None else (limit,)

    def _understood(self, answer: _SpendLimit, project_id: str) -> SpendLimit | None:
        if answer.threshold_amount is None:
            return None
        try:
            cents = parse_amount(answer.threshold_amount)
        except BadAmountError:
            raise BadAnswer(_SPEND_LIMITS, unexpected_shape("threshold_amount")) from None
        for field, value, is_understood in (
            ("threshold_amount", f"{cents:f}", cents >= _ONE_CENT),
            ("currency", answer.currency, isinstance(answer.currency, str) and answer.currency.upper() == "USD"),
            ("interval", answer.interval, answer.interval == "month"),
        ):
            if not is_understood:
                self._tell_once(project_id, field, value, "it is left out")
                return None
        if answer.enforcement not in ("inactive", "enforcing"):
            self._tell_once(project_id, "enforcement.status", answer.enforcement, "it counts as not enforcing")
        return SpendLimit(
            project_id,
            limit_usd=EXACT.scaleb(cents, _A_CENT_S_EXPONENT),
            enforcing=answer.enforcement == "enforcing",
        )

    def _tell_once(self, project_id: str, field: str, value: object, what_follows: str) -> None:
        if (project_id, field) not in self._told:
            self._told.add((project_id, field))
            _log.warning(
                "a spend limit is not understood, %s",
                what_follows,
                extra={"api": _SPEND_LIMITS, "project_id": project_id, "field": field, "value": _word(value)},
            )


def _word(value: object) -> str:
    """Show a foreign value in a log only if it is a plain word or number."""
    return value if isinstance(value, str) and _PLAIN_WORD.fullmatch(value) else "?"
