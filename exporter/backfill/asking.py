"""Asks for history: patiently, for it takes many requests, and by whole days, for only closed ones are history."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import tenacity

from exporter.configuration.sections import Configuration
from exporter.days import SECONDS_PER_DAY
from exporter.ledger.store import DirectoryEntry
from exporter.openai_api.admin_key import AdminKey
from exporter.openai_api.answer import Answer
from exporter.openai_api.bucket_widths import DAILY, HOURLY, BucketWidth
from exporter.openai_api.connection import Connection
from exporter.openai_api.directory import Directory
from exporter.openai_api.endpoints import COSTS, Endpoint
from exporter.openai_api.errors import EndpointAbsent, RequestRefused, Unreachable
from exporter.openai_api.reading import WindowReader
from exporter.openai_api.refusal import Refusal, earliest_start
from exporter.polling.directories import NAME_DIMENSIONS, read_directory, wanted_directories

_log = logging.getLogger(__name__)

# Beyond the connection's own tries, which end after minutes: who fetches a year waits rather than begins again.
_ATTEMPTS: Final = 6
_SHORTEST_WAIT_SECONDS: Final = 15.0
_LONGEST_WAIT_SECONDS: Final = 900.0

# Of hours: an answer beyond 256 MiB is not taken.
_ROWS_PER_PAGE: Final = 200_000


class Asking:
    """Asks, and counts what it asked.

    Attributes:
        connection: to the API.
        requests: how many were answered, or not, so far.
        absent: the APIs that this organization does not have.
    """

    def __init__(
        self,
        url: str,
        key: Callable[[], AdminKey],
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        tell: Callable[[str], None],
    ) -> None:
        self.requests = 0
        self.absent: set[str] = set()
        self._without_hours: set[str] = set()
        self.connection = Connection(url, key, self, sleep=sleep, clock=clock)
        self._reader = WindowReader(self.connection, clock)
        self._tell = tell
        self._patient = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Unreachable),
            wait=_wait,
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            sleep=sleep,
            before_sleep=self._say_why,
            reraise=True,
        )

    def answered(self, api: str, code: str, seconds: float) -> None:  # noqa: ARG002 - as an observer is told
        """Count a request."""
        self.requests += 1

    def retried(self, api: str, code: str) -> None:
        """Say why it takes so long."""
        self._tell(f"{api}: {'no answer' if code == 'error' else f'HTTP {code}'}, asking again")

    def names(self, configuration: Configuration) -> dict[str, Mapping[str, DirectoryEntry]]:
        """Return the names that labels and rules need, by list and id.

        Raises:
            OpenAIError: it was not answered.
        """
        directory = Directory(self.connection)
        names: dict[str, Mapping[str, DirectoryEntry]] = {}
        for api in wanted_directories(configuration):
            if api in NAME_DIMENSIONS:
                self._tell(f"{api}: asking for names")
                names[api] = self._patient(read_directory, api, directory, configuration).names
        return names

    def first_day_held(self, first: int, grouping: Sequence[str]) -> int:
        """Return the first day from `first` on that the API still holds, a UTC midnight.

        Raises:
            OpenAIError: it was not answered.
        """
        try:
            self._patient(self._reader.read, COSTS, first, first + SECONDS_PER_DAY, grouping)
        except RequestRefused as refusal:
            earliest = _earliest(refusal)
            if earliest is None:
                raise
            return max(first, earliest)
        return first

    def days(self, endpoint: Endpoint, first: int, end: int, grouping: Sequence[str]) -> Answer | None:
        """Read every day in [first, end), UTC midnights; None where the organization does not have the endpoint.

        Days that the API does not hold any more are there, without rows.

        Raises:
            OpenAIError: it was not answered.
        """
        answer = self._read(endpoint, first, end, grouping)
        if answer is None:
            return None
        buckets = {day: answer.buckets.get(day, {}) for day in range(first, end, SECONDS_PER_DAY)}
        return replace(answer, start=first, buckets=buckets)

    def hours(self, endpoint: Endpoint, days: Answer) -> Answer | None:
        """Read the hours of days that were read before; None where they cannot be had at the same grouping.

        Raises:
            OpenAIError: it was not answered.
        """
        if endpoint.api in self._without_hours:
            return None
        try:
            # No hour has more rows than its day.
            most_rows = max(1, *map(len, days.buckets.values()))
            width = HOURLY._replace(per_page=max(1, min(HOURLY.per_page, _ROWS_PER_PAGE // most_rows)))
            answer = self._ask(endpoint, days.start, days.end, days.grouping, width)
        except (EndpointAbsent, RequestRefused) as refusal:
            # Its days were answered: it is there, only its hours are not. Younger ones may be.
            if isinstance(refusal, EndpointAbsent) or _earliest(refusal) is None:
                self._without_hours.add(endpoint.api)
            _log.warning(
                "the API gives no hours of these days, in the history they are whole",
                extra={"api": endpoint.api, "days": f"{day_text(days.start)} to {day_text(days.end - 1)}"},
            )
            return None
        return answer if answer.grouping == days.grouping else None

    def _ask(self, endpoint: Endpoint, first: int, end: int, grouping: Sequence[str], width: BucketWidth) -> Answer:
        answer: Answer = self._patient(self._reader.read, endpoint, first, end, grouping, width=width)
        return answer

    def _read(self, endpoint: Endpoint, first: int, end: int, grouping: Sequence[str]) -> Answer | None:
        if endpoint.api in self.absent:
            return None
        try:
            return self._ask(endpoint, first, end, grouping, DAILY)
        except EndpointAbsent:
            self.absent.add(endpoint.api)
            return None
        except RequestRefused as refusal:
            earliest = _earliest(refusal)
            if earliest is None:
                raise
            _log.warning(
                "the API holds nothing of these days",
                extra={"api": endpoint.api, "days": f"{day_text(first)} to {day_text(end - 1)}"},
            )
            return Answer(endpoint.api, first, end, tuple(grouping), {}, end, {})

    def _say_why(self, state: tenacity.RetryCallState) -> None:
        problem = state.outcome.exception() if state.outcome else None
        wait = state.next_action.sleep if state.next_action else 0
        _log.warning("waiting before asking again", extra={"seconds": round(wait), "problem": str(problem)})


def _wait(state: tenacity.RetryCallState) -> float:
    """Wait as long as the API asked for, or longer each time."""
    problem = state.outcome.exception() if state.outcome else None
    asked = problem.retry_after if isinstance(problem, Unreachable) else None
    wait = asked if asked is not None else _SHORTEST_WAIT_SECONDS * 2 ** (state.attempt_number - 1)
    return min(wait, _LONGEST_WAIT_SECONDS)


def _earliest(refusal: RequestRefused) -> int | None:
    return earliest_start(Refusal(refusal.message, refusal.param, refusal.code))


def day_text(day: int) -> str:
    """Spell the UTC day that holds a moment."""
    return f"{datetime.fromtimestamp(day, UTC):%Y-%m-%d}"
