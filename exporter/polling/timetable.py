"""When each API is polled next: at its own pace, apart from the others, and within the budget of requests."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from exporter.configuration.sections import Polling
from exporter.ledger.account import Account
from exporter.metrics.self_metrics import SelfMetrics
from exporter.openai_api.endpoints import COSTS, ENDPOINTS
from exporter.openai_api.errors import OpenAIError
from exporter.polling.pace import Lately, Pace, wait_after
from exporter.polling.request_budget import SECONDS_PER_HOUR, Demand, Shares, SpentRequests, fits, shares
from exporter.polling.schedule import Turn
from exporter.polling.spread import phases

_log = logging.getLogger(__name__)

# An endpoint the organization does not have is asked for again this often.
_ABSENT_RECHECK_SECONDS: Final = 6 * 3600.0
# The API may ask for a pause between polls, up to this long.
_LONGEST_REST_SECONDS: Final = 3600.0
# A poll that has to wait for the budget looks again this soon.
_LOOK_AGAIN_SECONDS: Final = 30.0
# Others give way to it for an hour and as long as polls take that are under way: longer they would wait in vain.
_LONGEST_PRECEDENCE_SECONDS: Final = SECONDS_PER_HOUR + 600.0
# They do so again this often, or what found no room once would never find any.
_PRECEDENCE_AGAIN_SECONDS: Final = 6 * 3600.0
# A list that took more requests than an hour has is tried again this often: they may have been retries.
_TOO_LARGE_RECHECK_SECONDS: Final = 6 * 3600.0


class BudgetTooSmall(OpenAIError):  # noqa: N818 - named for what happened
    """A list takes more requests than the budget ever has."""

    def __init__(self, api: str, requests: int, budget: int) -> None:
        super().__init__(
            api,
            f"it takes {requests} requests to read it, and an hour may have {budget}",
            "allow more with polling.requests_per_hour, or switch it off under directory and labels",
        )


class NoRoomLeftError(Exception):
    """Raised where a poll must not go on because this hour's requests are used up."""


@dataclass(slots=True)
class _Entry:
    """One API of the timetable.

    Attributes:
        turn: when it is due.
        pace: how often it is polled.
        unquiet_at: when its polls began or last failed, Unix seconds.
        wait: what its own pace makes of it now, in seconds.
        comes_first: see `Demand`.
        requests: that its newest poll took, 1 before the first and where no hour has so many.
        waiting_since: since when its poll waits for the budget, by the steady clock; None if it does not.
        too_large: the requests that its newest poll took, and when by the steady clock, if no hour has so many.
    """

    turn: Turn
    pace: Pace
    unquiet_at: float
    wait: float
    comes_first: bool
    requests: int = 1
    waiting_since: float | None = None
    too_large: tuple[int, float] | None = None


class Timetable:
    """The turns of all enabled APIs. Safe to use from several threads."""

    def __init__(
        self,
        self_metrics: SelfMetrics,
        account: Callable[[str], Account | None],
        *,
        place: str,
        steady: Callable[[], float],
    ) -> None:
        """Have no API yet.

        Args:
            self_metrics: know how many requests were sent, and are told what is planned.
            account: the ledger's, by API; None for a list.
            place: tells this exporter from others: they poll at other seconds.
            steady: seconds by a clock that is never set.
        """
        self._self_metrics = self_metrics
        self._account = account
        self._place = place
        self._steady = steady
        self._lock = threading.RLock()
        self._entries: dict[str, _Entry] = {}
        self._budget: int | None = None
        self._spent = SpentRequests()
        self._charged: dict[str, int] = {}
        self._reserved: Counter[str] = Counter()
        self._shortage_told = False
        self_metrics.requests_used.set_function(self.requests_used)

    def __contains__(self, api: str) -> bool:
        return api in self._entries

    @property
    def intervals(self) -> Mapping[str, float]:
        """Seconds between polls while an API moves."""
        return {api: entry.pace.interval for api, entry in self._entries.items()}

    def plan(self, polling: Polling, lists: tuple[str, ...], now: float) -> None:
        """Begin anew with these lists and every endpoint: all of them are due at once.

        The requests of the last hour stay spent.
        """
        paces = dict.fromkeys(lists, _steadily(polling.directory_interval.total_seconds()))
        usage = Pace(polling.usage_interval.total_seconds(), polling.usage_idle_interval.total_seconds())
        for api, endpoint in ENDPOINTS.items():
            paces[api] = _steadily(polling.costs_interval.total_seconds()) if endpoint is COSTS else usage
        phase = phases(tuple(paces), self._place)
        with self._lock:
            self._budget = polling.requests_per_hour
            for api in self._entries.keys() - paces.keys():
                self._self_metrics.poll_interval.remove(api)
            before = self._entries
            self._entries = {
                api: _Entry(
                    Turn(pace.interval, now, phase=phase[api]),
                    pace,
                    unquiet_at=now,
                    wait=pace.interval,
                    comes_first=api == COSTS.api or self._has_rows(api),
                    requests=before[api].requests if api in before and self._has(before[api].requests) else 1,
                )
                for api, pace in paces.items()
            }
            self._shortage_told = False
            self._self_metrics.request_budget.set(float("inf") if self._budget is None else self._budget)
            for api, pace in paces.items():
                self._self_metrics.poll_interval.labels(api).set(pace.interval)

    def due(self, now: float, busy: Collection[str]) -> list[str]:
        """Return the APIs to poll now, but for the busy ones; polls for which there is no budget wait."""
        with self._lock:
            due = [api for api, entry in self._entries.items() if api not in busy and entry.turn.is_due(now)]
            if self._budget is None or not due:
                return due
            # Who has waited longest is first among equals.
            steady = self._steady()
            order = sorted(due, key=lambda api: self._precedence(self._entries[api], steady))
            begun = {api for api in order if self._begins(api, now, self._budget)}
            return [api for api in due if api in begun]

    def ask_now(self, api: str, now: float) -> None:
        """Make a poll due."""
        with self._lock:
            if api in self._entries:
                self._entries[api].turn.due = now

    def await_key(self, api: str, now: float) -> None:
        """Look soon whether there is another key."""
        with self._lock:
            if api in self._entries:
                self._entries[api].waiting_since = None
                self._entries[api].turn.await_key(now)

    def ended(self, api: str) -> None:
        """Take note of the requests that a poll sent, however it ended."""
        with self._lock:
            sent = self._self_metrics.requests_sent(api)
            requests = sent - self._charged.get(api, 0)
            self._charged[api] = sent
            self._reserved.pop(api, None)
            if requests:
                self._spent.add(api, requests, self._steady())
                if api in self._entries:
                    has_room = self._has(requests)
                    self._entries[api].requests = requests if has_room else 1
                    self._entries[api].too_large = None if has_room else (requests, self._steady())

    def succeeded(self, api: str, now: float) -> None:
        """Wait as long as the API's pace and the budget want it, from `now`, when the poll began."""
        with self._lock:
            entry = self._entries[api]
            entry.waiting_since = None
            account = self._account(api)
            changed_at = entry.unquiet_at if account is None or account.changed_at is None else account.changed_at
            lately = Lately(max(entry.unquiet_at, changed_at), self._has_rows(api))
            entry.wait = wait_after(entry.pace, lately, now)
            entry.comes_first = api == COSTS.api or (lately.has_rows and entry.wait == entry.pace.interval)
            wait = entry.wait * self._stretch(entry)
            entry.turn.succeeded(now, wait)
            self._self_metrics.poll_interval.labels(api).set(wait)

    def failed(self, api: str, now: float, retry_after: float | None = None) -> None:
        """Try again soon, or when the API said so."""
        with self._lock:
            entry = self._entries[api]
            entry.waiting_since = None
            entry.unquiet_at = now
            entry.wait = entry.pace.interval
            stretch = self._stretch(entry)
            entry.turn.failed(now, stretch)
            if retry_after is not None:
                entry.turn.rest(now, min(retry_after, _LONGEST_REST_SECONDS))
            self._self_metrics.poll_interval.labels(api).set(entry.wait * stretch)

    def absent(self, api: str, now: float) -> None:
        """Rest for hours: the organization does not have it."""
        with self._lock:
            entry = self._entries[api]
            entry.waiting_since = None
            entry.wait = max(entry.pace.interval, _ABSENT_RECHECK_SECONDS)
            entry.comes_first = False
            entry.unquiet_at = now + entry.wait
            entry.turn.rest(now, entry.wait)
            self._self_metrics.poll_interval.remove(api)

    def check_room(self, api: str, requests: int) -> None:
        """Let a poll that turns out to take so many requests go on, if the hour has them.

        Raises:
            BudgetTooSmall: no hour ever has.
            NoRoomLeftError: this one has not.
        """
        with self._lock:
            if self._budget is None or api not in self._entries:
                return
            if requests > self._budget:
                raise BudgetTooSmall(api, requests, self._budget)
            self._entries[api].requests = requests
            self._reserved.pop(api, None)
            if not self._fits(api, self._budget):
                raise NoRoomLeftError
            self._reserved[api] = requests

    def has_room(self, api: str) -> bool:
        """Tell whether the hour's budget has what another poll takes, whoever would come first."""
        with self._lock:
            if self._budget is None or api not in self._entries:
                return True
            used = self._spent.within_the_hour(self._steady()) + self._reserved
            return used.total() + self._entries[api].requests <= self._budget

    def check_size(self, api: str) -> None:
        """Let a list be read unless its newest read, not long ago, took more requests than an hour has.

        Raises:
            BudgetTooSmall: it did.
        """
        with self._lock:
            too_large = self._entries[api].too_large if api in self._entries else None
            if too_large is None or self._budget is None:
                return
            requests, found_at = too_large
            if self._steady() - found_at < _TOO_LARGE_RECHECK_SECONDS:
                raise BudgetTooSmall(api, requests, self._budget)

    def postpone(self, api: str, now: float) -> None:
        """Look again soon whether the hour has room for a poll."""
        with self._lock:
            if api not in self._entries:
                return
            entry = self._entries[api]
            if entry.waiting_since is None:
                entry.waiting_since = self._steady()
                self._self_metrics.polls_postponed.labels(api).inc()
            entry.turn.postpone(now, min(entry.pace.interval, _LOOK_AGAIN_SECONDS))
            self._tell_shortage()

    def waits_for_budget(self, api: str) -> bool:
        """Tell whether a poll is due and waits for the budget."""
        entry = self._entries.get(api)
        return entry is not None and entry.waiting_since is not None

    def requests_used(self) -> int:
        """Return how many requests were sent within the last hour, those of polls under way too."""
        with self._lock:
            under_way = self._self_metrics.requests_sent() - sum(self._charged.values())
            return self._spent.within_the_hour(self._steady()).total() + under_way

    def _has_rows(self, api: str) -> bool:
        account = self._account(api)
        return account is not None and any(bucket.rows for bucket in account.buckets.values())

    def _demands(self) -> dict[str, Demand]:
        return {api: Demand(entry.wait, entry.requests, entry.comes_first) for api, entry in self._entries.items()}

    def _stretch(self, entry: _Entry) -> float:
        if self._budget is None:
            return 1.0
        shared: Shares = shares(self._demands().values(), self._budget)
        stretch = shared.first_stretch if entry.comes_first else shared.rest_stretch
        if stretch > 1:
            self._tell_shortage()
        return stretch

    def _has(self, requests: int) -> bool:
        return self._budget is None or requests <= self._budget

    def _precedence(self, entry: _Entry, steady: float) -> tuple[bool, float]:
        return not entry.comes_first, -_waited(entry, steady)

    def _begins(self, api: str, now: float, budget: int) -> bool:
        entry = self._entries[api]
        if self._gives_way(entry) or not self._fits(api, budget):
            self.postpone(api, now)
            return False
        self._reserved[api] = entry.requests
        return True

    def _gives_way(self, entry: _Entry) -> bool:
        """Tell whether another poll of the rest has waited longer: small ones must not keep a large one out."""
        steady = self._steady()
        return not entry.comes_first and any(
            not other.comes_first
            and _waited(other, steady) > _waited(entry, steady)
            and _waited(other, steady) % _PRECEDENCE_AGAIN_SECONDS <= _LONGEST_PRECEDENCE_SECONDS
            for other in self._entries.values()
        )

    def _fits(self, api: str, budget: int) -> bool:
        # What it is expected to send itself counts once, also where a poll was to begin and did not.
        reserved = Counter({other: requests for other, requests in self._reserved.items() if other != api})
        return fits(api, self._demands(), budget, self._spent.within_the_hour(self._steady()) + reserved)

    def _tell_shortage(self) -> None:
        if self._shortage_told:
            return
        self._shortage_told = True
        wanted = sum(demand.per_hour for demand in self._demands().values())
        _log.warning(
            "the budget of requests is short, so polls are further apart: first what is idle and lists, last costs and "
            "what is in use; allow more with polling.requests_per_hour, or ask for less",
            extra={"requests_per_hour": self._budget, "wanted_per_hour": round(wanted)},
        )


def _waited(entry: _Entry, steady: float) -> float:
    return 0.0 if entry.waiting_since is None else steady - entry.waiting_since


def _steadily(interval: float) -> Pace:
    return Pace(interval, interval)
