"""What the API says now, asked once per look, as finely as the state holds it."""

from collections.abc import Callable
from datetime import UTC, datetime

from exporter.attribution import Attribution
from exporter.days import SECONDS_PER_DAY
from exporter.ledger.account import Account
from exporter.openai_api.admin_key import AdminKey
from exporter.openai_api.answer import Answer
from exporter.openai_api.connection import Connection
from exporter.openai_api.endpoints import ENDPOINTS
from exporter.openai_api.errors import EndpointAbsent, KeyRefused, OpenAIError
from exporter.openai_api.reading import WindowReader


class AuditError(Exception):
    """Nothing can be compared; the message says why and what to do."""


class Asking:
    """Asks, and remembers what could not be read.

    Attributes:
        problems: what was not answered or not understood, a sentence each.
        absent: the APIs that this organization does not have.
    """

    def __init__(
        self, url: str, key: Callable[[], AdminKey], clock: Callable[[], float], tell: Callable[[str], None]
    ) -> None:
        # A dictionary for a set in order: two looks may meet one problem.
        self.problems: dict[str, None] = {}
        self.absent: set[str] = set()
        self.connection = Connection(url, key, _Observer(tell), clock=clock)
        self._reader = WindowReader(self.connection, clock)
        self._tell = tell

    def ask(self, account: Account, first: int, last: int) -> Answer | None:
        """Read the days from `first` to `last`, both included; None where that cannot be done, which is a problem.

        Raises:
            AuditError: the key is refused; nothing else will be answered either.
        """
        endpoint = ENDPOINTS[account.api]
        grouping = account.grouping or Attribution(projects={}).grouping(endpoint)
        self._tell(f"{endpoint.api}: asking for {day_text(first)} to {day_text(last)}")
        try:
            answer = self._reader.read(endpoint, first, last + SECONDS_PER_DAY, grouping)
        except EndpointAbsent:
            self.absent.add(endpoint.api)
            return None
        except KeyRefused as error:
            raise AuditError(str(error)) from error
        except OpenAIError as error:
            # What follows is for somebody whose polls go on.
            self.problems[f"{str(error).partition('; ')[0]}; it is not compared."] = None
            return None
        for reason, count in answer.rejected.items():
            self.problems[f"{endpoint.api}: {count} rows could not be read ({reason})."] = None
        if answer.start > first:
            self.problems[f"{endpoint.api}: the API holds nothing before {day_text(answer.start)}."] = None
        return answer


class _Observer:
    """Tells of what takes long."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def answered(self, api: str, code: str, seconds: float) -> None:
        """Say nothing: what matters is in the report."""

    def retried(self, api: str, code: str) -> None:
        """Say why it takes so long."""
        self._tell(f"{api}: {'no answer' if code == 'error' else f'HTTP {code}'}, asking again")


def day_text(day: int) -> str:
    """Spell a UTC day."""
    return f"{datetime.fromtimestamp(day, UTC):%Y-%m-%d}"
