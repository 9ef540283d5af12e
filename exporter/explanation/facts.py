"""The rows and names that a configuration is explained by: from an exporter's state, or asked of the API."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from exporter.attribution import Attribution
from exporter.configuration.loading import ConfigurationError
from exporter.configuration.sections import Configuration
from exporter.credentials import admin_key_source, base_url
from exporter.days import SECONDS_PER_DAY, day_of, month_of
from exporter.ledger.account import Account
from exporter.ledger.read_only import AbsentStateError, ObservedState, read_state
from exporter.ledger.settlement import settle
from exporter.ledger.store import DirectoryEntry, StateError
from exporter.openai_api.admin_key import AdminKey
from exporter.openai_api.connection import Connection
from exporter.openai_api.directory import Directory
from exporter.openai_api.endpoints import COSTS, ENDPOINTS, USAGE_ENDPOINTS, Endpoint
from exporter.openai_api.errors import EndpointAbsent, KeyRefused, OpenAIError
from exporter.openai_api.reading import WindowReader
from exporter.polling.directories import API_KEYS, NAME_DIMENSIONS, PROJECTS, USERS, read_directory, wanted_directories

CLOSED_DAYS: Final = 7
"""As many closed days of the bill are explained, and the open one."""

Names = Mapping[str, Mapping[str, DirectoryEntry]]

_UNKNOWN_KEY: Final = 401


class Source(StrEnum):
    """Where facts may come from."""

    STATE = "state"
    API = "api"


class NothingAtHandError(Exception):
    """There are no facts to explain anything by; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an organization.

    Attributes:
        source: where this is from.
        place: the same, for people: a folder or an address.
        base_url: the API that this is about, "" where a state does not say.
        taken_at: when the state was last written, or the API was asked; Unix seconds.
        accounts: of every API; one that was never read is empty.
        names: by kind (`projects`, `api_keys`, `users`) and id.
        problems: what could not be read, or is doubtful, a sentence each.
    """

    source: Source
    place: str
    base_url: str
    taken_at: float
    accounts: Mapping[str, Account]
    names: Names
    problems: tuple[str, ...] = ()


def attribution_of(configuration: Configuration, names: Names) -> Attribution:
    """Return the attribution that an exporter with this configuration and these names has."""
    return Attribution(
        projects=names.get(PROJECTS, {}),
        opt_in=configuration.labels.switched_on,
        api_keys=names.get(API_KEYS, {}),
        users=names.get(USERS, {}),
        rules=configuration.workflows,
    )


def gather_facts(  # noqa: PLR0913 - what a command line, an environment and a clock decide
    configuration: Configuration,
    storage_path: Path,
    source: Source | None,
    *,
    environment: Mapping[str, str],
    clock: Callable[[], float],
    tell: Callable[[str], None],
) -> Facts:
    """Gather the facts from where they are wanted from; if that is left open, from the state if there is one.

    Args:
        configuration: says what to ask for.
        storage_path: folder of the state, which may be in use and is not touched.
        source: None leaves it open.
        environment: where the key and the base URL may come from.
        clock: Unix seconds.
        tell: is told of progress, a line each.

    Raises:
        NothingAtHandError: nothing could be read.
        ConfigurationError: the API is to be asked, and the key cannot be used.
    """
    if source is Source.API:
        return ask_api(configuration, environment=environment, clock=clock, tell=tell)
    try:
        return facts_of_state(read_state(storage_path), storage_path, base_url(configuration, environment))
    except AbsentStateError as absent:
        if source is Source.STATE:
            raise NothingAtHandError(f"{absent} Or ask the API with --explain.source=api.") from absent
        try:
            admin_key_source(configuration, environment)
        except ConfigurationError as error:
            raise NothingAtHandError(
                f"there is nothing to explain this by: {absent} The API could be asked instead, but {error}"
            ) from error
        tell(f"there is no state in {storage_path}, the API is asked instead")
        return ask_api(configuration, environment=environment, clock=clock, tell=tell)
    except StateError as error:
        raise NothingAtHandError(f"{error} Or ask the API with --explain.source=api.") from error


def facts_of_state(observed: ObservedState, storage_path: Path, asked_url: str) -> Facts:
    """Return the facts that a state holds; `asked_url` is the API that the configuration asks.

    Raises:
        AbsentStateError: it holds no answer yet.
    """
    state = observed.state
    if not state.accounts:
        raise AbsentStateError(f"the state in {storage_path} holds no rows yet.")
    problems = []
    if observed.base_url and observed.base_url != asked_url:
        problems.append(f"The state is about {observed.base_url}, while this configuration asks {asked_url}.")
    return Facts(
        source=Source.STATE,
        place=f"the state in {storage_path.absolute()}",
        base_url=observed.base_url,
        taken_at=observed.written_at,
        accounts={api: state.accounts.get(api, Account(api)) for api in ENDPOINTS},
        names={kind: state.directory.get(kind, {}) for kind in NAME_DIMENSIONS},
        problems=tuple(problems),
    )


def ask_api(
    configuration: Configuration,
    *,
    environment: Mapping[str, str],
    clock: Callable[[], float],
    tell: Callable[[str], None],
) -> Facts:
    """Ask the API for the names that the rules need, and for rows as fine as they need.

    The bill is read back to the first of the month, which budgets are about. What cannot be read is left out, and
    told among the problems.

    Raises:
        NothingAtHandError: the API gave no rows at all.
        ConfigurationError: the key cannot be used.
    """
    url = base_url(configuration, environment)
    key = admin_key_source(configuration, environment)
    inquiry = _Inquiry(configuration, url, key, clock, tell)
    with inquiry.connection:
        names = {kind: inquiry.names(kind) for kind in wanted_directories(configuration) if kind in NAME_DIMENSIONS}
        attribution = attribution_of(configuration, names)
        accounts = {
            endpoint.api: inquiry.account(endpoint, attribution.grouping(endpoint))
            for endpoint in (COSTS, *USAGE_ENDPOINTS)
        }
    if all(account.covered_from is None for account in accounts.values()):
        raise NothingAtHandError(f"the API at {url} gave nothing to explain by: {' '.join(inquiry.problems)}")
    return Facts(
        source=Source.API,
        place=f"the API at {url}",
        base_url=url,
        taken_at=inquiry.now,
        accounts=accounts,
        names=names,
        problems=tuple(inquiry.problems),
    )


class _Inquiry:
    """Asks the API for one thing after another, and goes on where one is refused."""

    def __init__(
        self,
        configuration: Configuration,
        url: str,
        key: Callable[[], AdminKey],
        clock: Callable[[], float],
        tell: Callable[[str], None],
    ) -> None:
        self.now = clock()
        # A dictionary for a set in order: two questions may fail for one reason.
        self.problems: dict[str, None] = {}
        self._observer = _Observer(tell)
        self.connection = Connection(url, key, self._observer, clock=clock)
        self._configuration = configuration
        self._reader = WindowReader(self.connection, clock)
        self._directory = Directory(self.connection)
        self._tell = tell

    def names(self, kind: str) -> Mapping[str, DirectoryEntry]:
        """Return the names of one kind by id, none where they cannot be read."""
        self._tell(f"reading the names of {kind.replace('_', ' ')}")
        try:
            return read_directory(kind, self._directory, self._configuration).names
        except OpenAIError as error:
            self._go_on_without(error, "the ids stay without names")
            return {}

    def account(self, endpoint: Endpoint, grouping: tuple[str, ...]) -> Account:
        """Return the account that an endpoint's newest days make, an empty one where they cannot be read."""
        polling = self._configuration.polling
        window = polling.costs_revision_window if endpoint is COSTS else polling.usage_revision_window
        today = day_of(self.now)
        start = today - window.days * SECONDS_PER_DAY
        if endpoint is COSTS:
            start = min(start, month_of(today), today - CLOSED_DAYS * SECONDS_PER_DAY)
        self._tell(f"reading {endpoint.api} from {datetime.fromtimestamp(start, UTC):%Y-%m-%d} to today")
        empty = Account(endpoint.api)
        try:
            answer = self._reader.read(endpoint, start, today + SECONDS_PER_DAY, grouping)
        except EndpointAbsent:
            self._tell(f"this organization has no {endpoint.api}")
            return empty
        except OpenAIError as error:
            if isinstance(error, KeyRefused) and endpoint is COSTS:
                # Usage takes the same permission.
                raise NothingAtHandError(str(error)) from error
            self._go_on_without(error, "its rows are missing here")
            return empty
        for reason, count in answer.rejected.items():
            self.problems[f"{count} rows of {endpoint.api} could not be read ({reason}); they are missing here."] = None
        return settle(endpoint, empty, answer, now=int(self.now), revision_days=window.days).account

    def _go_on_without(self, error: OpenAIError, consequence: str) -> None:
        if isinstance(error, KeyRefused) and error.status in {None, _UNKNOWN_KEY}:
            # No other question will be answered either.
            raise NothingAtHandError(str(error)) from error
        # The rest is for somebody whose polls go on.
        what_came = str(error).partition("; ")[0]
        if not self._observer.has_answered:
            raise NothingAtHandError(f"{what_came}; check the base URL, the network and the proxy.") from error
        self.problems[f"{what_came}; {consequence}."] = None


class _Observer:
    """Tells of what takes long, and knows whether anybody answers at all."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self.has_answered = False

    def answered(self, api: str, code: str, seconds: float) -> None:  # noqa: ARG002 - as the connection calls it
        """Say nothing: what matters is in the report."""
        if code != "error":
            self.has_answered = True

    def retried(self, api: str, code: str) -> None:
        """Say why it takes so long."""
        self._tell(f"{api}: {'no answer' if code == 'error' else f'HTTP {code}'}, asking again")
