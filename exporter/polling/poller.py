"""The poller: reads an API, applies the answer to the ledger, makes it durable, and swaps the page. The only writer."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from exporter.attribution import Attribution
from exporter.budgets import BudgetSelection
from exporter.configuration.loading import ConfigurationError
from exporter.configuration.sections import Configuration
from exporter.days import day_of
from exporter.ledger.account import Account
from exporter.ledger.ledger import Ledger
from exporter.ledger.store import StateError
from exporter.ledger.window import first_day_too_coarse, read_window
from exporter.metrics.self_metrics import SelfMetrics
from exporter.metrics.snapshot import Pages, SnapshotBuilder, Surroundings
from exporter.openai_api.admin_key import AdminKey
from exporter.openai_api.answer import Answer, RowKey
from exporter.openai_api.connection import Connection
from exporter.openai_api.directory import Directory
from exporter.openai_api.endpoints import COSTS, ENDPOINTS, Endpoint
from exporter.openai_api.errors import BadAnswer, EndpointAbsent, KeyRefused, OpenAIError, Unreachable
from exporter.openai_api.projects import Project
from exporter.openai_api.reading import WindowReader
from exporter.openai_api.readings import Readings
from exporter.polling.announcements import Announcements
from exporter.polling.directories import (
    API_KEYS,
    LISTS_BY_PROJECT,
    NAME_DIMENSIONS,
    PROJECTS,
    SPEND_LIMITS,
    USERS,
    read_directory,
    still_shown,
    wanted_directories,
    without,
)
from exporter.polling.health import Health
from exporter.polling.interpreter import LARGE_POLLS, forget_bit_by_bit, let_scrapes_interrupt
from exporter.polling.missing_names import MissingNames
from exporter.polling.refused_keys import RefusedKeys
from exporter.polling.spend_limit_rounds import SpendLimitRounds
from exporter.polling.timetable import NoRoomLeftError, Timetable
from exporter.pricing.list_prices import load_list_prices

_log = logging.getLogger(__name__)

# After a fault of ours in the polling loop itself.
_PAUSE_AFTER_FAULT_SECONDS: Final = 30.0
# A new series stands at 0 for this many scrapes, so that Prometheus has surely seen the zero.
_SCRAPES_AT_ZERO: Final = 2
_LONGEST_NAP_SECONDS: Final = 1.0
_READS_AT_ONCE: Final = 4
# From so many rows on, what a poll makes is worth sparing the garbage collector.
_MANY_ROWS: Final = 10_000


class Stopped(Exception):  # noqa: N818 - no error: the process is asked to end
    """Raised where a poll must not go on because the process is ending."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a reload replaces as one: a configuration and what hands out the key."""

    configuration: Configuration
    key: Callable[[], AdminKey]


class Poller:
    """Polls every enabled API.

    `poll_due` does it in the calling thread; `run` does it for ever, each API in a thread of its own while it waits for
    OpenAI. The ledger is only touched under one lock.

    Attributes:
        pages: what the web server shows.
        health: how the polls go.
    """

    def __init__(  # noqa: PLR0913 - here the parts meet, and both clocks
        self,
        setting: Setting,
        ledger: Ledger,
        connection: Connection,
        self_metrics: SelfMetrics,
        *,
        place: str = "",
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """Show what the ledger holds; ask nobody yet.

        Args:
            setting: what to poll, and with which key.
            ledger: of the organization.
            connection: to its API.
            self_metrics: are told how it goes.
            place: tells this exporter from all others, which poll at other seconds.
            clock: Unix seconds.
            steady: seconds by a clock that is never set, for what must last.
        """
        self._setting = setting
        self._ledger = ledger
        self._reader = WindowReader(connection, clock)
        self._directory = Directory(connection)
        self._readings = Readings()
        self._list_price = load_list_prices()
        self._self_metrics = self_metrics
        self._clock = clock
        self._steady = steady
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._places = threading.Semaphore(_READS_AT_ONCE)
        self._in_flight: set[str] = set()
        # Nothing is to be posted under an id where a name can be had.
        self._names_come_first = True
        self._refused_keys = RefusedKeys()
        self._missing_names = MissingNames()
        self._names_lock = threading.Lock()
        self._announcements = Announcements(self_metrics)
        self._spend_limit_rounds = SpendLimitRounds()
        self._timetable = Timetable(self_metrics, self._ledger.accounts.get, place=place, steady=steady)
        self._page_can_wait = self._page_is_old = False
        self._builder = SnapshotBuilder()
        self._attribution = self._newest_attribution()
        self.health = Health(self_metrics)
        self.pages = Pages(
            self._builder.build(ledger, self._attribution, clock(), self._surroundings()),
            self_metrics.render,
        )
        self._plan()
        self_metrics.state_restored.set(ledger.restored)
        self_metrics.state_bytes.set(ledger.state_bytes())
        self_metrics.state_commit.set(ledger.committed_at)
        for api, account in ledger.accounts.items():
            if account.changed_at is not None:
                self.health.data_changed(api, account.changed_at)

    @property
    def interval_by_api(self) -> Mapping[str, float]:
        """Seconds between polls while an API moves, directories first: their names are needed to post."""
        return self._timetable.intervals

    def why_not_ready(self) -> str | None:
        """Return None once every enabled API was polled, else what is still waited for.

        A first poll that waits for the budget of requests is not waited for: that may take an hour.
        """
        waiting = [
            api
            for api, health in self.health.apis.items()
            if health.success is None and not health.absent and not self._timetable.waits_for_budget(api)
        ]
        return f"waiting for the first poll of {', '.join(waiting)}" if waiting else None

    def reconfigure(self, setting: Setting) -> None:
        """Use another setting from now on; everything is polled again at once.

        The same setting again only asks again what was refused: whoever reloads often must not keep polls from their
        end.
        """
        with self._lock:
            absent = {api for api, health in self.health.apis.items() if health.absent}
            for api in absent | self._refused_keys.apis:
                self._timetable.ask_now(api, self._clock())
            self._refused_keys.clear()
            if setting.configuration == self._setting.configuration:
                return
            self._setting = setting
            self._names_come_first = True
            self._missing_names.forget()
            self._spend_limit_rounds.forget()
            self._readings = still_shown(self._readings, setting.configuration)
            self._announcements.configured_anew()
            self._ledger.book.limit = setting.configuration.limits.series_per_family
            self._attribution = self._newest_attribution()
            self._plan()
            self._publish()

    def run(self) -> None:
        """Poll until `stop`. A poll that waits for OpenAI holds up neither the others nor the end.

        All but the first read of names, at start and after a reload: nothing is posted before it ended, well or not.
        """
        let_scrapes_interrupt()
        while not self._stopping.is_set():
            try:
                self._take_turns()
            except Exception:  # noqa: BLE001 - the one loop that keeps the page true must never end
                _log.exception("polling was interrupted, it goes on")
                self._stopping.wait(_PAUSE_AFTER_FAULT_SECONDS)
            self._stopping.wait(_LONGEST_NAP_SECONDS)

    def _take_turns(self) -> None:
        if self._names_come_first:
            self._names_come_first = False
            self._refresh_names_first()
        self.advance()
        for api in self._due():
            self._in_flight.add(api)
            try:
                threading.Thread(target=self._poll_in_turn, args=(api,), name=f"poll {api}", daemon=True).start()
            except BaseException:
                self._in_flight.discard(api)
                raise

    def stop(self) -> None:
        """End `run`, and let no poll touch the ledger any more."""
        self._stopping.set()
        with self._lock:
            _log.debug("no poll is applied any more")

    def sleep(self, seconds: float) -> None:
        """Wait, unless the process is ending: what the API client waits with between tries."""
        if self._stopping.wait(seconds):
            raise Stopped

    def poll_due(self) -> None:
        """Poll all that is due, one after the other, in this thread; the page is made anew once, after all of them."""
        self.advance()
        with self.one_page():
            for api in self._due():
                self.poll(api)

    @contextmanager
    def one_page(self) -> Iterator[None]:
        """Make the page anew once, when the block ends, for polls that nobody looks between."""
        self._page_can_wait = True
        try:
            yield
        finally:
            self._page_can_wait = False
            with self._lock:
                if self._page_is_old:
                    self._publish()

    def advance(self) -> None:
        """Do what the clock alone makes due: look at this process, show new series' values, let the UTC day turn."""
        self._self_metrics.look_at_process()
        now = self._clock()
        wait = _SCRAPES_AT_ZERO * self._setting.configuration.scrape_interval.total_seconds()
        with self._lock:
            try:
                shown = self._ledger.show_ripe_series(now=now, wait=wait, steady=self._steady())
            except StateError:
                # They stay at 0 for now. The polls say so, once: they cannot save either.
                _log.debug("new series cannot be shown yet", exc_info=True)
                shown = False
            if shown or day_of(now) != self.pages.snapshot.today:
                self._publish()

    def poll(self, api: str) -> None:
        """Poll one API once. Whatever goes wrong changes nothing but its health."""
        try:
            self._poll_once(api)
        finally:
            self._timetable.ended(api)

    def _poll_once(self, api: str) -> None:
        setting = self._setting
        began = self._clock()
        watch = time.monotonic()
        if api not in self._timetable:
            # A reload has switched this API off since its turn came.
            return
        # Taken before the request: if the file changes meanwhile, it is the old key that was refused.
        key = _newest_key(setting)
        if self._refused_keys.refusal(api, key) is not None:
            self._timetable.await_key(api, began)
            return
        problem: Exception | None = None
        try:
            with LARGE_POLLS.uncollected() if self._is_large(api) else nullcontext():
                self._poll(api, setting, began)
        except Stopped:
            return
        except NoRoomLeftError:
            self._timetable.postpone(api, began)
            return
        except (OpenAIError, StateError, ConfigurationError) as error:
            problem = error
        except Exception as error:  # noqa: BLE001 - a fault of ours: the other APIs go on, and the log has it all
            if self._stopping.is_set():
                # What was taken from under the poll, such as its connection, is no fault.
                return
            _log.exception("poll failed unexpectedly", extra={"api": api})
            problem = error
        # What it cost decides about the next one.
        self._timetable.ended(api)
        with self._lock:
            # Once it ends nobody listens any more, the log least of all.
            if setting is self._setting and not self._stopping.is_set():
                self._conclude(api, key, began, time.monotonic() - watch, problem)

    def _is_large(self, api: str) -> bool:
        account = self._ledger.accounts.get(api)
        return account is not None and sum(len(bucket.rows) for bucket in account.buckets.values()) > _MANY_ROWS

    def _poll(self, api: str, setting: Setting, now: float) -> None:
        if api in ENDPOINTS:
            self._read_and_apply(ENDPOINTS[api], setting, now)
        else:
            self._read_directory(api, setting, now)

    def _conclude(
        self, api: str, key: AdminKey | None, began: float, seconds: float, problem: Exception | None
    ) -> None:
        self._refused_keys.forget(api)
        if isinstance(problem, EndpointAbsent):
            self.health.is_absent(api, str(problem))
            self._timetable.absent(api, began)
            self._show(without(api, self._readings))
            if api == SPEND_LIMITS:
                # No limit is known any more: whoever has one must not wait for a round to end.
                self._spend_limit_rounds.forget()
        elif problem is not None:
            if isinstance(problem, KeyRefused) and problem.status is not None and key is not None:
                self._refused_keys.remember(api, key, problem)
            self.health.failed(api, began, seconds, problem)
            retry_after = problem.retry_after if isinstance(problem, Unreachable) else None
            self._timetable.failed(api, began, retry_after)
        else:
            self.health.succeeded(api, began, seconds)
            self._timetable.succeeded(api, began)
        self._self_metrics.auth_failed.set(bool(self._refused_keys.apis))

    def _read_and_apply(self, endpoint: Endpoint, setting: Setting, now: float) -> None:
        revision_days = _revision_days(setting.configuration, endpoint)
        account = self._ledger.accounts[endpoint.api]
        grouping = self._attribution.grouping(endpoint)
        start, end = read_window(endpoint, account, now, revision_days)
        coarse = first_day_too_coarse(account, grouping, lambda day: self._reader.refused_groupings(endpoint.api, day))
        first = start if coarse is None else min(start, coarse)
        answer = self._reader.read(endpoint, first, end, grouping, needed_from=start)
        self._refresh_names_for(answer)
        with self._lock:
            self._check_still_wanted(setting)
            _check_no_day_is_missing(self._ledger.accounts[endpoint.api], answer)
            applied = self._ledger.apply(
                answer,
                self._attribution.counter_series,
                now=self._clock(),
                revision_days=revision_days,
                steady=self._steady(),
            )
            if applied.committed:
                self._publish_in_time()
            if applied.settlement.account.changed_at is not None:
                self.health.data_changed(endpoint.api, applied.settlement.account.changed_at)
            self._announcements.applied(endpoint, answer, applied, grouping)
            if endpoint is COSTS:
                selection = BudgetSelection(setting.configuration.budgets, self._attribution)
                self._announcements.budgets(selection, self._ledger.accounts)
        settlement = applied.settlement
        left_over: list[Mapping[RowKey, object]] = [bucket.rows for bucket in account.buckets.values()]
        # Of days that did not change it is the answer's rows that nobody needs.
        left_over += [*answer.buckets.values(), *settlement.changed.values(), settlement.postings, settlement.emerged]
        del account, answer, applied, settlement
        forget_bit_by_bit(left_over)

    def _refresh_names_for(self, answer: Answer) -> None:
        """Learn new ids' names before anything is posted under the ids; never at the price of waiting in vain."""
        # What needs no name waits for none.
        if not any(self._ids_without_name(api, answer) for api in NAME_DIMENSIONS):
            return
        # One at a time: another API that meets the same project at this moment waits for its name too.
        with self._names_lock:
            for api in NAME_DIMENSIONS:
                unknown = self._ids_without_name(api, answer)
                if not unknown or not self._missing_names.may_be_read(api, self._clock()):
                    continue
                # Without room the rows are posted under their ids, as when the list cannot be read.
                if self._timetable.has_room(api):
                    reads = self._missing_names.reads[api]
                    self.poll(api)
                    # It may have been turned away, for want of room for all that it takes.
                    if self._missing_names.reads[api] > reads:
                        nameless = unknown - self._ledger.directory[api].keys()
                        self._missing_names.stay_missing(api, nameless, self._clock())

    def _ids_without_name(self, api: str, answer: Answer) -> frozenset[str]:
        known = self._ledger.directory[api].keys()
        if not self._names_can_be_had(api):
            return frozenset()
        return self._missing_names.of(api, answer, known, self._clock())

    def _names_can_be_had(self, api: str) -> bool:
        # A reload may switch it off at any moment.
        health = self.health.apis.get(api)
        return health is not None and bool(health.success)

    def _refresh_names_first(self) -> None:
        for api in NAME_DIMENSIONS:
            if api in self._timetable and not self._stopping.is_set():
                self.poll(api)

    def _read_directory(self, api: str, setting: Setting, now: float) -> None:
        projects = self._projects_just_read(api, setting)
        if projects is not None and api in LISTS_BY_PROJECT:
            if api == SPEND_LIMITS:
                projects = self._projects_to_ask_for_limits(projects, setting)
            self._timetable.check_room(api, 1 + sum(project.status != "archived" for project in projects))
        else:
            self._timetable.check_size(api)
        found = read_directory(api, self._directory, setting.configuration, projects)
        with self._lock:
            self._check_still_wanted(setting)
            learned = bool(found.names) and self._ledger.learn_names(api, found.names)
            if learned:
                self._attribution = self._newest_attribution()
            readings = still_shown(found.update(self._readings), setting.configuration)
            self._show(readings, even_if_unchanged=learned)
            if api == SPEND_LIMITS and projects is not None:
                self._spend_limit_rounds.were_asked(projects)
        self._missing_names.was_read(api, now)

    def _projects_to_ask_for_limits(self, projects: tuple[Project, ...], setting: Setting) -> tuple[Project, ...]:
        polling = setting.configuration.polling
        return self._spend_limit_rounds.due(
            projects,
            frozenset(limit.project_id for limit in self._readings.spend_limits),
            polling.directory_interval.total_seconds(),
            polling.requests_per_hour,
        )

    def _show(self, readings: Readings, *, even_if_unchanged: bool = False) -> None:
        if even_if_unchanged or readings != self._readings:
            self._readings = readings
            self._publish_in_time()

    def _projects_just_read(self, api: str, setting: Setting) -> tuple[Project, ...] | None:
        refusal = self._refused_keys.refusal(PROJECTS, _newest_key(setting))
        if refusal is not None and api not in {PROJECTS, USERS}:
            # A key that may not list projects may not ask for what is theirs either.
            raise KeyRefused(api, refusal.status, refusal.message)
        if not self.health.apis[PROJECTS].success:
            return None
        return tuple(Project(key, name, status) for key, (name, status) in self._ledger.directory[PROJECTS].items())

    def _check_still_wanted(self, setting: Setting) -> None:
        # An answer read under an older setting is dropped: its poll is repeated at once.
        if self._stopping.is_set() or setting is not self._setting:
            raise Stopped

    def _newest_attribution(self) -> Attribution:
        return Attribution(
            projects=dict(self._ledger.directory[PROJECTS]),
            opt_in=self._setting.configuration.labels.switched_on,
            api_keys=dict(self._ledger.directory[API_KEYS]),
            users=dict(self._ledger.directory[USERS]),
            rules=self._setting.configuration.workflows,
        )

    def _surroundings(self) -> Surroundings:
        return Surroundings(self._setting.configuration, self._readings, self._list_price)

    def _plan(self) -> None:
        configuration = self._setting.configuration
        self._timetable.plan(configuration.polling, wanted_directories(configuration), self._clock())
        self.health.expect(tuple(self._timetable.intervals))

    def _due(self) -> list[str]:
        return self._timetable.due(self._clock(), self._in_flight)

    def _poll_in_turn(self, api: str) -> None:
        try:
            with self._places:
                if not self._stopping.is_set():
                    self.poll(api)
        finally:
            self._in_flight.discard(api)

    def _publish_in_time(self) -> None:
        if self._page_can_wait:
            self._page_is_old = True
        else:
            self._publish()

    def _publish(self) -> None:
        self._page_is_old = False
        snapshot = self._builder.build(self._ledger, self._attribution, self._clock(), self._surroundings())
        self.pages.snapshot = snapshot
        self._announcements.unpriced(snapshot.unpriced_models)
        self._self_metrics.state_commit.set(self._ledger.committed_at)
        self._self_metrics.state_bytes.set(self._ledger.state_bytes())


def _check_no_day_is_missing(account: Account, answer: Answer) -> None:
    """Refuse an answer that says nothing of a day known to have rows: empty days come as empty buckets."""
    for day, bucket in account.buckets.items():
        if bucket.rows and answer.start <= day < answer.end and day not in answer.buckets:
            raise BadAnswer(answer.api, f"the answer lacks {datetime.fromtimestamp(day, UTC):%Y-%m-%d}")


def _newest_key(setting: Setting) -> AdminKey | None:
    """Return the key, or None where it cannot be read at this moment: the poll will say so."""
    try:
        return setting.key()
    except (ConfigurationError, KeyRefused):
        return None


def _revision_days(configuration: Configuration, endpoint: Endpoint) -> int:
    polling = configuration.polling
    window = polling.costs_revision_window if endpoint is COSTS else polling.usage_revision_window
    return window.days
