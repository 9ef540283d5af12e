"""Looks at the state and asks the API, and looks again where they differ: the API moves while it is asked.

OpenAI leads and the state follows. What the state holds is therefore right if it is what the API says at that moment,
or said at an earlier look of the same audit. Prometheus follows the state in the same way.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from exporter.audit.asking import Asking, AuditError
from exporter.audit.comparison import DayComparison, Figure, Pair, compare_day
from exporter.audit.days import DaysOf, Span, days_of
from exporter.audit.findings import Findings, Verdict
from exporter.audit.growth import growth_between, impossible_amounts
from exporter.audit.in_prometheus import StoredSeries, expected_values
from exporter.configuration.sections import Configuration
from exporter.credentials import admin_key_source, base_url
from exporter.days import SECONDS_PER_DAY, day_of
from exporter.exact import Amount
from exporter.ledger.account import Account
from exporter.ledger.read_only import ObservedState, read_state
from exporter.ledger.store import STATE_FILE, StateError
from exporter.openai_api.answer import Answer
from exporter.openai_api.endpoints import COSTS, ENDPOINTS

_PAUSE_SECONDS: Final = 5.0
_NOTHING: Final = Pair(0, 0)


@dataclass(frozen=True, slots=True)
class Outside:
    """What an audit needs of the world.

    Attributes:
        environment: where the key and the base URL may come from.
        clock: Unix seconds.
        steady: seconds by a clock that is never set.
        sleep: waits.
        tell: is told of progress, a line each.
    """

    environment: Mapping[str, str]
    tell: Callable[[str], None]
    clock: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be compared.

    Attributes:
        storage_path: folder of the state, which may be in use and is not touched.
        span: the days.
        patience: how many seconds a running exporter is given to catch up before a difference is one.
        prometheus_url: None for none.
        prometheus_selector: label matchers, as they stand between braces.
    """

    storage_path: Path
    span: Span = field(default_factory=Span)
    patience: float = 90.0
    prometheus_url: str | None = None
    prometheus_selector: str = ""


def audit(configuration: Configuration, wanted: Wanted, outside: Outside) -> Findings:
    """Compare everything, and look again where there are differences.

    Raises:
        AuditError: nothing can be compared.
        ConfigurationError: the key cannot be used.
    """
    url = base_url(configuration, outside.environment)
    key = admin_key_source(configuration, outside.environment)
    state = _read(wanted.storage_path)
    if state.base_url and state.base_url != url:
        raise AuditError(
            f"the state in {wanted.storage_path} is about {state.base_url}, while this configuration asks {url}. "
            "Name the configuration and the state of one exporter."
        )
    with ExitStack() as stack:
        asking = Asking(url, key, outside.clock, outside.tell)
        stack.enter_context(asking.connection)
        stored = None
        if wanted.prometheus_url is not None:
            client = stack.enter_context(httpx.Client(timeout=60, trust_env=False))
            stored = StoredSeries(wanted.prometheus_url, wanted.prometheus_selector, client)
        return _Audit(configuration, wanted, outside, asking=asking, stored=stored, state=state).run()


def _read(storage_path: Path) -> ObservedState:
    try:
        observed = read_state(storage_path)
    except StateError as error:
        raise AuditError(str(error)) from error
    if not observed.state.accounts:
        raise AuditError(f"the state in {storage_path} holds no rows yet: there is nothing to compare.")
    return observed


class _Audit:
    """One audit: what was found so far, and what is still open."""

    def __init__(  # noqa: PLR0913 - what it looks at, and with what
        self,
        configuration: Configuration,
        wanted: Wanted,
        outside: Outside,
        *,
        asking: Asking,
        stored: StoredSeries | None,
        state: ObservedState,
    ) -> None:
        self._configuration = configuration
        self._wanted = wanted
        self._outside = outside
        self._asking = asking
        self._stored = stored
        self._first = self._state = state
        self._today = day_of(outside.clock())
        self._days = {api: self._days_of(api) for api in ENDPOINTS}
        self._compared: dict[tuple[str, int], DayComparison] = {}
        self._said: dict[Figure, list[Amount]] = {}
        """What the API said at each look, of every figure that is open."""
        self._verdicts: dict[Figure, Verdict] = {}
        self._looks = 1

    def run(self) -> Findings:
        for api in ENDPOINTS:
            for day in self._ask(api):
                self._said.update({figure: [pair.openai] for figure, pair in day.differing.items()})
        self._look_into_prometheus()
        deadline = self._outside.steady() + self._wanted.patience
        # The first time at once: a poll may have come between the two sides of the first look.
        while self._is_open() and (self._looks == 1 or (self._is_in_use() and self._outside.steady() < deadline)):
            if self._looks > 1:
                self._outside.tell(f"{self._open_text()}; who follows may be behind, looking again")
                self._outside.sleep(_PAUSE_SECONDS)
            self._look_again()
        return self._findings()

    def _account(self, api: str) -> Account:
        return self._state.state.accounts.get(api, Account(api))

    def _days_of(self, api: str) -> DaysOf:
        polling = self._configuration.polling
        window = polling.costs_revision_window if api == COSTS.api else polling.usage_revision_window
        return days_of(self._account(api), self._wanted.span, today=self._today, revision_days=window.days)

    def _ask(self, api: str) -> list[DayComparison]:
        days = self._days[api]
        if days.last < days.first:
            return []
        answer = self._asking.ask(self._account(api), days.first, days.last)
        if answer is None:
            return self._without_answer(api)
        compared = [
            compare_day(ENDPOINTS[api], self._account(api), answer, day)
            for day in range(answer.start, answer.end, SECONDS_PER_DAY)
        ]
        self._compared |= {(api, day.day): day for day in compared}
        return compared

    def _without_answer(self, api: str) -> list[DayComparison]:
        """Nothing is told of an API that the organization does not have; the state must not either."""
        if api not in self._asking.absent:
            return []
        days, account = self._days[api], self._account(api)
        nothing = Answer(api, days.first, days.last + SECONDS_PER_DAY, account.grouping, {}, 0, {})
        compared = [
            compare_day(ENDPOINTS[api], account, nothing, day)
            for day in range(days.first, days.last + 1, SECONDS_PER_DAY)
        ]
        self._compared |= {(api, day.day): day for day in compared}
        return compared

    def _is_open(self) -> bool:
        return bool(self._said) or not (self._stored is None or self._stored.is_settled)

    def _open_text(self) -> str:
        series = self._stored.open_series if self._stored else 0
        return f"{len(self._said)} figures and {series} series in Prometheus differ"

    def _is_in_use(self) -> bool:
        # SQLite removes its log when the last process closes the state; one that was killed leaves it.
        return self._wanted.storage_path.joinpath(f"{STATE_FILE}-wal").exists()

    def _look_again(self) -> None:
        self._looks += 1
        self._state = _read(self._wanted.storage_path)
        apis = {figure.api for figure in self._said}
        for api in (each for each in ENDPOINTS if each in apis):
            self._ask(api)
        for figure, said in list(self._said.items()):
            day = self._compared[figure.api, figure.day]
            pair = day.differing.get(figure)
            if pair is None:
                self._settle(figure, Verdict.CAUGHT_UP)
            elif pair.state in said:
                self._settle(figure, Verdict.BEHIND)
            else:
                said.append(pair.openai)
        self._look_into_prometheus()

    def _settle(self, figure: Figure, verdict: Verdict) -> None:
        del self._said[figure]
        self._verdicts[figure] = verdict

    def _look_into_prometheus(self) -> None:
        if self._stored is not None and not self._stored.is_settled:
            self._outside.tell(f"asking the Prometheus at {self._stored.url}")
            now = self._outside.clock()
            self._stored.look(expected_values(self._state.state, self._configuration, now))

    def _findings(self) -> Findings:
        last = _read(self._wanted.storage_path)
        differences = {}
        for figure in self._said:
            day = self._compared[figure.api, figure.day]
            self._verdicts[figure] = Verdict.DIFFERENT if day.was_read else Verdict.NOT_READ
            differences[figure] = day.differing.get(figure, _NOTHING)
        return Findings(
            place=f"the state in {self._wanted.storage_path.absolute()}",
            base_url=base_url(self._configuration, self._outside.environment),
            written_at=last.written_at,
            in_use=self._is_in_use(),
            looks=self._looks,
            days=self._days,
            compared=[self._compared[key] for key in sorted(self._compared)],
            verdicts=self._verdicts,
            differences=differences,
            names=last.state.directory,
            absent=frozenset(self._asking.absent),
            growths=growth_between(self._first.state, last.state),
            impossible=impossible_amounts(last.state),
            prometheus=self._stored.result() if self._stored else None,
            problems=(*self._asking.problems, *(self._stored.problems if self._stored else ())),
        )
