"""When a mapping needs the bill told apart by key: kept days are read again once, refused ones never over and over."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from exporter.configuration.loading import parse_configuration
from exporter.days import previous_month_of
from exporter.ledger.ledger import Ledger
from exporter.ledger.store import Store
from exporter.metrics.self_metrics import SelfMetrics
from exporter.openai_api.admin_key import AdminKey
from exporter.openai_api.connection import Connection
from exporter.openai_api.errors import RequestRefused
from exporter.polling.poller import Poller, Setting
from exporter.simulator.clock import SettableClock
from tests.openai_api.stand_ins import DAY, ScriptedApi, bucket, page
from tests.openai_api.stand_ins import cost as row

NOW = 1_793_264_400
"""2026-10-29 09:00 UTC."""
TODAY = NOW // DAY * DAY
HOUR = 3_600
KEYS = ("key_a", "key_b")
BY_KEY = 'workflows: [{workflow: a, match: {api_key: "key_a"}}, {workflow: b, match: {api_key: "key_b"}}]'


@dataclass
class Bill:
    """A bill of one dollar per key and day, and a poller that reads nothing else.

    Attributes:
        told_apart_from: keys are refused to windows that start before.
        words: how the refusal ends.
        days_asked: of each poll.
    """

    folder: Path
    clock: SettableClock = field(default_factory=lambda: SettableClock(NOW))
    told_apart_from: int = 0
    words: str = ""
    days_asked: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.api = ScriptedApi(self._answer, NOW)
        self.store = Store.open(self.folder)
        self.start("")

    def start(self, configuration: str) -> None:
        """Begin another process on the same state."""
        self.setting = self._setting(configuration)
        # All that a poll of costs asks of a connection.
        connection = cast("Connection", self.api)
        self.poller = Poller(
            self.setting, Ledger(self.store, 1000), connection, SelfMetrics(), clock=self.clock, steady=self.clock
        )

    def reload(self, configuration: str) -> None:
        self.poller.reconfigure(self._setting(configuration))

    def poll(self) -> int:
        """Poll costs; return how many days were asked for."""
        self.api.queries.clear()
        self.api.answered_at = int(self.clock())
        self.poller.poll("costs")
        assert self.poller.health.apis["costs"].success
        asked = sum((int(dict(q)["end_time"]) - int(dict(q)["start_time"])) // DAY for q in self.api.queries)
        self.days_asked.append(asked)
        return asked

    def told_apart(self) -> list[int]:
        """Return the kept days whose rows tell keys apart."""
        buckets = self.poller._ledger.accounts["costs"].buckets
        return sorted(day for day, kept in buckets.items() if "api_key_id" in kept.grouping)

    def month(self) -> dict[tuple[str, str], float]:
        """Return what the month gauge says by workflow and month."""
        text = b"".join(self.poller.pages.snapshot.text.plain).decode()
        sums: dict[tuple[str, str], float] = {}
        for line in text.splitlines():
            if line.startswith("openai_cost_month_usd{"):
                labels, _, value = line.partition("{")[2].rpartition("} ")
                named = dict(pair.split("=", 1) for pair in labels.replace('"', "").split(","))
                place = named["workflow"], named["month"]
                sums[place] = sums.get(place, 0) + float(value)
        return sums

    def total(self) -> int:
        """Return what the counters come to, in dollars."""
        return int(sum(counter.value for counter in self.poller._ledger.book.counters.values()))

    def _setting(self, configuration: str) -> Setting:
        return Setting(parse_configuration(configuration, "test"), lambda: AdminKey("sk-admin-test"))

    def _answer(self, query: Mapping[str, str], grouping: list[str]) -> object:
        start, end = int(query["start_time"]), int(query["end_time"])
        if "api_key_id" in grouping and start < self.told_apart_from:
            words = f"group_by=api_key_id is not available for this time range.{self.words}"
            return RequestRefused("costs", 400, words, "start_time", "invalid_request_error")
        first = int(query.get("page", start))
        days = range(first, min(end, first + int(query["limit"]) * DAY, int(self.clock()) + 1), DAY)
        cursor = str(days[-1] + DAY) if days[-1] + DAY < min(end, self.clock()) else None
        return page([bucket(0, *_rows(grouping), start=day) for day in days], cursor)


def _rows(grouping: list[str]) -> Iterator[dict[str, object]]:
    for key in KEYS:
        yield row(1, project_id="proj_a", line_item="whisper", api_key_id=key if "api_key_id" in grouping else None)


@pytest.fixture
def bill(tmp_path: Path) -> Iterator[Bill]:
    bill = Bill(tmp_path)
    yield bill
    bill.store.close()


def days_of(first: int, after: int) -> list[int]:
    return list(range(first, after, DAY))


SINCE_THE_PREVIOUS_MONTH = days_of(previous_month_of(NOW), TODAY + DAY)
ORDINARY = 4


def test_all_kept_days_are_told_apart_at_the_next_poll_and_read_no_more(bill: Bill) -> None:
    # Two pages of 31 days ask for the same window.
    assert bill.poll() == 2 * len(SINCE_THE_PREVIOUS_MONTH)
    assert bill.poll() == ORDINARY
    assert bill.month() == {("unmapped", "previous"): 60, ("unmapped", "current"): 58}
    bill.reload(BY_KEY)
    assert bill.poll() == 2 * len(SINCE_THE_PREVIOUS_MONTH)
    assert bill.month() == {(w, m): value for w in "ab" for m, value in (("previous", 30), ("current", 29))}
    assert bill.told_apart() == SINCE_THE_PREVIOUS_MONTH
    assert [bill.poll() for _ in range(30)] == [ORDINARY] * 30
    assert bill.total() == 0


def test_days_read_by_key_once_are_not_read_again_when_the_mapping_goes_and_comes_back(bill: Bill) -> None:
    bill.reload(BY_KEY)
    bill.poll()
    for configuration in ("", BY_KEY, "", BY_KEY):
        bill.reload(configuration)
        assert bill.poll() == ORDINARY
    bill.start(BY_KEY)
    assert bill.poll() == ORDINARY
    assert bill.told_apart() == SINCE_THE_PREVIOUS_MONTH


# Ten days ago is in the middle of what is kept, and before what every poll reads.
SINCE = TODAY - 10 * DAY
HINT = f" Try a start_time on or after {SINCE}."


@pytest.mark.parametrize("words", [HINT, ""])
@pytest.mark.parametrize("restarts", [False, True])
def test_days_that_keys_are_refused_to_stay_unmapped_and_cost_the_others_nothing(
    bill: Bill, words: str, *, restarts: bool
) -> None:
    bill.poll()
    bill.told_apart_from, bill.words = SINCE, words
    bill.reload(BY_KEY)
    known_from = SINCE if words else TODAY - 3 * DAY
    bill.days_asked.clear()
    for _ in range(5 * DAY // (6 * HOUR)):
        bill.poll()
        assert bill.told_apart() == days_of(known_from, int(bill.clock()) + 1)
        if restarts:
            bill.start(BY_KEY)
        bill.clock.advance(6 * HOUR)
    assert {workflow for workflow, _ in bill.month()} == {"a", "b", "unmapped"}
    # A refused request once a day, or per process, is two pages of all that is kept at most.
    tries = len(bill.days_asked) if restarts else 5
    assert sum(bill.days_asked) < len(bill.days_asked) * (ORDINARY + 1) + tries * (2 * 62 + 15)
    # Since the first poll 5 days began, the last of them today.
    assert bill.total() == 2 * ((int(bill.clock()) - 6 * HOUR) // DAY - TODAY // DAY)


@pytest.mark.parametrize("words", [HINT, ""])
def test_days_refused_at_the_very_first_poll_are_regained_as_far_as_they_can_be_had(bill: Bill, words: str) -> None:
    bill.told_apart_from, bill.words = SINCE, words
    bill.reload(BY_KEY)
    bill.poll()
    assert bill.told_apart() == []
    bill.clock.advance(HOUR)
    bill.poll()
    # Without a word of explanation it is tried again in a day.
    assert bill.told_apart() == (days_of(SINCE, TODAY + DAY) if words else [])
    bill.clock.advance(DAY)
    bill.poll()
    known_from = SINCE if words else TODAY - 3 * DAY
    assert bill.told_apart() == days_of(known_from, TODAY + 2 * DAY)
    for _ in range(8):
        bill.clock.advance(6 * HOUR)
        bill.poll()
        assert bill.told_apart() == days_of(known_from, int(bill.clock()) + 1)


def test_a_grouping_refused_to_all_days_is_regained_for_all_of_them(bill: Bill) -> None:
    bill.told_apart_from = 2 * NOW
    bill.reload(BY_KEY)
    bill.poll()
    for _ in range(11):
        bill.clock.advance(6 * HOUR)
        assert bill.poll() <= ORDINARY + 1 + 3 * 62
        assert bill.told_apart() == []
    assert set(bill.month()) == {("unmapped", "current"), ("unmapped", "previous")}
    bill.told_apart_from = 0
    bill.clock.advance(DAY)
    bill.poll()
    # The month has turned.
    assert bill.told_apart()[0] == previous_month_of(bill.clock())
    assert {workflow for workflow, _ in bill.month()} == {"a", "b"}
