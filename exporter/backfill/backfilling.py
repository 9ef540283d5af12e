"""Makes the past: day by day through a ledger of its own, and each day's samples before the ledger remembers the day.

Days are posted like a live exporter posts them, under the labels that hold now. So the state at the end is the one that
it would have come to, and its counters go on where the samples end.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from exporter.attribution import Attribution
from exporter.backfill.asking import Asking, day_text
from exporter.backfill.points import HOURS_PER_DAY, MILLISECONDS, Point, bounds, points_of_day
from exporter.backfill.samples import Samples, Target
from exporter.backfill.series import api_of, begin_of_period, family_of
from exporter.backfill.workshop import BackfillError, Plan, Workshop
from exporter.configuration.sections import Configuration
from exporter.credentials import admin_key_source, base_url
from exporter.days import SECONDS_PER_DAY
from exporter.exact import Amount, add
from exporter.explanation.facts import attribution_of
from exporter.ledger.counters import SeriesName
from exporter.ledger.ledger import Ledger, Planned
from exporter.ledger.read_only import read_state
from exporter.ledger.store import STATE_FILE, StateError, Store, take_lock
from exporter.metrics.catalogue import LINE_ITEM_INFO, PROJECT_INFO, WORKFLOW_INFO
from exporter.metrics.event_gauges import DaySums, Gauges, event_gauges
from exporter.metrics.info_gauges import line_item_info, project_info, workflow_info
from exporter.openai_api.answer import Answer
from exporter.openai_api.endpoints import COSTS, ENDPOINTS, Endpoint
from exporter.openai_api.errors import OpenAIError

_log = logging.getLogger(__name__)

# What is read at once, and all that is ever in memory: a week of hours, the most a page holds, where they are few rows.
_DAYS_AT_ONCE: Final = 7
_ROWS_AT_ONCE: Final = 20_000
# When a live day's gauges are read off by the recording rules, and a little before: they look back five minutes.
_GAUGES_AT: Final = (23 * 3_600 + 46 * 60, 23 * 3_600 + 50 * 60)
# What of a configuration decides which series there are, and how they are named.
_NAMING: Final[dict[str, Any]] = {
    "labels": True,
    "workflows": True,
    "limits": True,
    "directory": {"api_keys", "user_emails"},
}


_HAS_STATE: Final = (
    "{} holds a state already: its counters began at 0, and Prometheus would take what was before for growth. Name a "
    "folder for a new state with --storage.path; Prometheus must then see the exporter as another instance, or forget "
    "its old series."
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be made.

    Attributes:
        storage_path: where the exporter will go on from.
        output: the file to write.
        since: the first day, a UTC midnight.
        until: the midnight after the last one.
        ends_yesterday: nobody said until when: one that was cut off goes on to the end it had in view.
        target: the labels that Prometheus adds to what it scrapes from the exporter.
    """

    storage_path: Path
    output: Path
    since: int
    until: int
    target: Target = ()
    ends_yesterday: bool = False


@dataclass(frozen=True, slots=True)
class Outside:
    """What a backfill needs of the world.

    Attributes:
        environment: where the key and the base URL may come from.
        tell: is told of progress, a line each.
        clock: Unix seconds.
        sleep: waits.
    """

    environment: Mapping[str, str]
    tell: Callable[[str], None]
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Made:
    """What there is now.

    Attributes:
        first: the first day of the history, a UTC midnight; later than asked for where the API holds no more.
        end: the midnight after its last day.
        series: how many counters the exporter goes on with.
        absent: APIs that the organization does not have.
    """

    first: int
    end: int
    series: int
    absent: frozenset[str]


def backfill(configuration: Configuration, wanted: Wanted, outside: Outside) -> Made:
    """Make the history and the state that goes with it, or go on with one that was cut off.

    Raises:
        BackfillError: it is not, or not wholly, there; run again it goes on, unless the message says otherwise.
        SampleError: the same, the disk is in the way.
        ConfigurationError: the key cannot be used.
        StateError: the state's folder cannot be used, or an exporter runs on it.
    """
    url = base_url(configuration, outside.environment)
    key = admin_key_source(configuration, outside.environment)
    with ExitStack() as stack:
        # No exporter must begin a state of its own meanwhile.
        stack.callback(os.close, take_lock(wanted.storage_path))
        naming = configuration.model_dump_json(include=_NAMING)
        plan = Plan(url, wanted.since, wanted.until, wanted.target, wanted.ends_yesterday, naming)
        workshop = Workshop.open(wanted.output, plan)
        wanted = replace(wanted, until=workshop.plan.until)
        has_state = (wanted.storage_path / STATE_FILE).exists()
        if has_state and not workshop.plan.is_made:
            if not workshop.is_resumed:
                workshop.remove()
            raise BackfillError(_HAS_STATE.format(wanted.storage_path))
        asking = Asking(url, key, clock=outside.clock, sleep=outside.sleep, tell=outside.tell)
        stack.enter_context(asking.connection)
        samples = stack.enter_context(Samples(workshop.folder, wanted.target))
        store = stack.enter_context(Store.open(workshop.folder))
        store.claim(url)
        ledger = Ledger(store, configuration.limits.series_per_family)
        try:
            made = _Backfill(
                configuration, wanted, outside, asking=asking, workshop=workshop, samples=samples, ledger=ledger
            ).run()
        except OpenAIError as error:
            # What a live exporter would do next is nothing that helps here.
            problem = str(error).partition("; ")[0]
            raise BackfillError(
                f"{problem}. What was made so far is kept in {workshop.folder}: run the same command again to go on."
            ) from error
        except StateError as error:
            # What an exporter would make up for at its next poll is made here by the next run.
            raise BackfillError(
                f"cannot write {workshop.folder / STATE_FILE}: {error.__cause__}. Free or enlarge the disk, or mend "
                "the folder's permissions; then run the same command again, it goes on where it was."
            ) from error
        if has_state and not _goes_on_from(ledger, wanted.storage_path):
            raise BackfillError(_HAS_STATE.format(wanted.storage_path))
        # Closed before it is copied: all of it is then in one file.
        store.close()
        samples.close()
        if not has_state:
            workshop.hand_over_state(wanted.storage_path)
        workshop.remove()
    return made


def _goes_on_from(made: Ledger, storage_path: Path) -> bool:
    """Whether the state in its place is the one that was made, or what an exporter made of it since."""
    there = read_state(storage_path).state.counters
    return all(name in there and there[name].value >= counter.value for name, counter in made.book.counters.items())


class _Backfill:
    """One run: what it works with, and how far it is."""

    def __init__(  # noqa: PLR0913 - what is wanted, and all that it takes
        self,
        configuration: Configuration,
        wanted: Wanted,
        outside: Outside,
        *,
        asking: Asking,
        workshop: Workshop,
        samples: Samples,
        ledger: Ledger,
    ) -> None:
        self._configuration = configuration
        self._wanted = wanted
        self._outside = outside
        self._asking = asking
        self._workshop = workshop
        self._samples = samples
        self._ledger = ledger
        self._day_sums = DaySums()
        self._attribution = Attribution(projects={})
        self._series_of: dict[str, set[SeriesName]] = {api: set() for api in ENDPOINTS}

    def run(self) -> Made:
        if self._workshop.plan.is_made:
            return self._made(self._first_day())
        self._read_names()
        first = self._first_day()
        self._begin()
        end = self._wanted.until
        for start in range(first, end, _DAYS_AT_ONCE * SECONDS_PER_DAY):
            stop = min(start + _DAYS_AT_ONCE * SECONDS_PER_DAY, end)
            for endpoint in ENDPOINTS.values():
                self._make_days(endpoint, start, stop)
            self._tell_progress(first, stop, end)
        self._make_end(end)
        self._write()
        return self._made(first)

    def _read_names(self) -> None:
        for api, names in self._asking.names(self._configuration).items():
            self._ledger.learn_names(api, names)
        self._attribution = attribution_of(self._configuration, self._ledger.directory)

    def _first_day(self) -> int:
        plan = self._workshop.plan
        if plan.first is None:
            first = self._asking.first_day_held(plan.since, self._attribution.grouping(COSTS))
            if first >= plan.until:
                raise BackfillError(
                    f"OpenAI holds nothing before {day_text(first)}: there is no history of the days asked for. "
                    f"Remove {self._workshop.folder} and ask for later ones."
                )
            if first > plan.since:
                _log.warning(
                    "OpenAI holds no older history: it begins later than asked for",
                    extra={"asked_from": day_text(plan.since), "begins": day_text(first)},
                )
            plan = replace(plan, first=first)
            self._workshop.save(plan)
        return plan.first if plan.first is not None else plan.since

    def _begin(self) -> None:
        """Forget what was made of a day that the ledger does not know."""
        for api, account in self._ledger.accounts.items():
            if account.applied_through is not None:
                self._samples.forget_from(api, account.applied_through + SECONDS_PER_DAY)
            elif account.covered_from is not None:
                self._samples.forget_from(api, account.covered_from)
        for name in self._ledger.book.counters:
            self._series_of[api_of(name)].add(name)
        if self._workshop.is_resumed:
            _log.info("going on with a backfill that was cut off", extra={"folder": str(self._workshop.folder)})

    def _make_days(self, endpoint: Endpoint, start: int, stop: int) -> None:
        done = self._ledger.accounts[endpoint.api].applied_through
        start = start if done is None else max(start, done + SECONDS_PER_DAY)
        while start < stop:
            end = min(start + self._days_at_once(endpoint) * SECONDS_PER_DAY, stop)
            if not self._make_days_at_once(endpoint, start, end):
                return
            start = end

    def _days_at_once(self, endpoint: Endpoint) -> int:
        """Return how many days may be in memory together, by the newest one that was made."""
        account = self._ledger.accounts[endpoint.api]
        if account.applied_through is None:
            return 1
        rows = len(account.buckets[account.applied_through].rows) if account.applied_through in account.buckets else 0
        return max(1, min(_DAYS_AT_ONCE, _ROWS_AT_ONCE // max(1, rows * HOURS_PER_DAY)))

    def _make_days_at_once(self, endpoint: Endpoint, start: int, stop: int) -> bool:
        """Read days and make them; False where the organization does not have the endpoint."""
        done = self._ledger.accounts[endpoint.api].applied_through
        self._outside.tell(f"{endpoint.api}: asking for {day_text(start)} to {day_text(stop - 1)}")
        days = self._asking.days(endpoint, start, stop, self._attribution.grouping(endpoint))
        if days is None and done is not None:
            raise BackfillError(
                f"{endpoint.api}: OpenAI answered for the days up to {day_text(done)} and refuses later ones. What was "
                f"made so far is kept in {self._workshop.folder}: run the same command again to go on."
            )
        if days is None:
            return False
        if days.answered_at < stop:
            raise BackfillError(
                f"by OpenAI's clock {day_text(stop - 1)} is not over yet. Set this machine's clock right; then run the "
                "same command again, it goes on where it was."
            )
        if done is None:
            self._draw_zero_line(endpoint, start)
        if days.rejected:
            _log.warning(
                "rows could not be read and are not in the history",
                extra={
                    "api": endpoint.api,
                    "days": f"{day_text(start)} to {day_text(stop - 1)}",
                    "rows": sum(days.rejected.values()),
                    "reasons": ",".join(sorted(days.rejected)),
                },
            )
        hours = None
        if endpoint is not COSTS and not endpoint.is_level and any(days.buckets.values()):
            hours = self._asking.hours(endpoint, days)
        for day in range(start, stop, SECONDS_PER_DAY):
            self._make_day(endpoint, _only(days, day), hours)
        return True

    def _draw_zero_line(self, endpoint: Endpoint, first: int) -> None:
        """Count from the first day on. An API that the organization does not have yet is left to the exporter."""
        grouping = self._attribution.grouping(endpoint)
        nothing = Answer(endpoint.api, first, first, grouping, {}, int(self._now()), {})
        self._take_over(self._work_out(endpoint, nothing))

    def _make_day(self, endpoint: Endpoint, answer: Answer, hours: Answer | None) -> None:
        planned = self._work_out(endpoint, answer)
        book = self._ledger.book
        growing = planned.counters.totals
        by_hour = {} if hours is None else self._by_hour(hours, answer.start, growing)
        known = self._series_of[endpoint.api]
        known.update(growing)
        with self._samples.adding():
            self._add_gauges(endpoint)
            for name in known:
                counter = book.counters.get(name)
                before = counter.value if counter is not None else 0
                points = points_of_day(answer.start, before, growing.get(name, before), by_hour.get(name, ()))
                self._samples.add(endpoint.api, family_of(name), name, points)
        # Only now: what the ledger knows is never made again.
        self._take_over(planned)

    def _by_hour(self, hours: Answer, day: int, growing: Mapping[SeriesName, Amount]) -> dict[SeriesName, list[Amount]]:
        """Return what each hour of a day brought to the series that grow on it."""
        sums: dict[SeriesName, list[Amount]] = {}
        for number in range(HOURS_PER_DAY):
            for key, values in hours.buckets.get(day + number * 3_600, {}).items():
                for name, value in zip(self._attribution.counter_series(hours.api, key), values, strict=True):
                    if name is None or not value:
                        continue
                    target = name if name in growing or name in self._ledger.book.counters else name.folded()
                    if target in growing:
                        of_series = sums.setdefault(target, [0] * HOURS_PER_DAY)
                        of_series[number] = add(of_series[number], value)
        return sums

    def _add_gauges(self, endpoint: Endpoint) -> None:
        """Add what the gauges showed late on the newest day that the ledger knows."""
        account = self._ledger.accounts[endpoint.api]
        day = account.applied_through
        if day is None:
            return
        gauges: Gauges = event_gauges(
            endpoint, account, self._attribution, self._ledger.book, day, day_sums=self._day_sums
        )
        if endpoint is COSTS:
            gauges |= {
                PROJECT_INFO: project_info(self._attribution.projects),
                WORKFLOW_INFO: workflow_info(self._attribution.rules),
                LINE_ITEM_INFO: line_item_info(account),
            }
        first = self._first_day()
        for family, series in gauges.items():
            for name, value in series.items():
                if begin_of_period(name, day) < first:
                    continue
                points = [Point((day + second) * MILLISECONDS, value) for second in _GAUGES_AT]
                self._samples.add(endpoint.api, family, name, points)

    def _make_end(self, end: int) -> None:
        """Add what is shown at the end, and let the exporter show it at once: Prometheus has seen all these series."""
        for endpoint in ENDPOINTS.values():
            with self._samples.adding():
                self._add_gauges(endpoint)
                for name in self._series_of[endpoint.api]:
                    points = bounds(end, self._ledger.book.counters[name].value)
                    self._samples.add(endpoint.api, family_of(name), name, points)
        self._ledger.show_all_series(now=self._now())

    def _write(self) -> None:
        self._outside.tell(f"writing {self._wanted.output}")
        self._workshop.write_history(self._samples.lines(), self._wanted.output)

    def _made(self, first: int) -> Made:
        return Made(first, self._wanted.until, len(self._ledger.book.counters), frozenset(self._asking.absent))

    def _work_out(self, endpoint: Endpoint, answer: Answer) -> Planned:
        polling = self._configuration.polling
        window = polling.costs_revision_window if endpoint is COSTS else polling.usage_revision_window
        return self._ledger.work_out(
            answer, self._attribution.counter_series, now=self._now(), revision_days=window.days
        )

    def _take_over(self, planned: Planned) -> None:
        self._ledger.take_over(planned, now=self._now())

    def _now(self) -> float:
        return self._outside.clock()

    def _tell_progress(self, first: int, done: int, end: int) -> None:
        days, all_days = ((moment - first) // SECONDS_PER_DAY for moment in (done, end))
        self._outside.tell(f"{days} of {all_days} days made, {self._asking.requests} requests so far")


def _only(days: Answer, day: int) -> Answer:
    return replace(
        days,
        start=day,
        end=day + SECONDS_PER_DAY,
        buckets={day: days.buckets[day]},
        quantities={day: days.quantities[day]} if day in days.quantities else {},
    )
