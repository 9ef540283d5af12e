from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.attribution import Attribution
from exporter.ledger.counters import CounterBook
from exporter.ledger.ledger import Ledger
from exporter.ledger.store import StateError, Store
from exporter.ledger.window import read_window
from exporter.metrics.event_gauges import event_gauges
from exporter.openai_api.endpoints import ENDPOINTS
from tests.answers import MONDAY, Rows, answer

DAY = 86_400
SERIES_OF = Attribution(projects={}).counter_series
API = "usage/audio_speeches"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as store:
        yield store


def speeches(**characters: int) -> Rows:
    return [{"project_id": name, "model": "tts", "characters": count} for name, count in characters.items()]


def test_at_the_zero_line_the_largest_series_get_the_room_there_is(store: Store) -> None:
    ledger = Ledger(store, series_limit=1)
    first = answer(API, {MONDAY: speeches(small=1, smaller=0, huge=10**9)}, answered_at=MONDAY + 60)
    applied = ledger.apply(first, SERIES_OF, now=MONDAY + 60, revision_days=3)
    projects = {dict(name.labels)["project"] for name in ledger.book.counters}
    assert projects == {"huge", "(other)"}
    # Nothing was posted to (other) yet: there is nothing to warn of.
    assert sum(applied.overflowed.values()) == 0


def test_the_wait_at_zero_is_timed_by_the_clock_that_is_never_set(store: Store) -> None:
    ledger = Ledger(store, series_limit=10)
    grown = answer(API, {MONDAY: speeches(a=1)}, answered_at=MONDAY + 60)
    ledger.apply(grown, SERIES_OF, now=MONDAY + 60, revision_days=3, steady=5.0)
    a_year_later_by_a_clock_that_was_set = MONDAY + 365 * DAY
    assert not ledger.show_ripe_series(now=a_year_later_by_a_clock_that_was_set, wait=120, steady=124.0)
    assert ledger.show_ripe_series(now=MONDAY + 61, wait=120, steady=125.0)


def test_an_api_whose_clock_is_plainly_wrong_does_not_move_the_window(store: Store) -> None:
    ledger = Ledger(store, series_limit=10)
    days = {MONDAY - 3 * DAY: speeches(a=1), MONDAY: speeches(a=2)}
    ledger.apply(answer(API, days, answered_at=0), SERIES_OF, now=MONDAY + 60, revision_days=3)
    window = read_window(ENDPOINTS[API], ledger.accounts[API], MONDAY + 120, 3)
    assert window == (MONDAY - 3 * DAY, MONDAY + DAY)


def test_a_clock_of_ours_that_runs_ahead_closes_no_day(store: Store) -> None:
    ledger = Ledger(store, series_limit=10)
    ahead = MONDAY + 2 * DAY
    days = {MONDAY - DAY: speeches(a=1), MONDAY: speeches(a=2), ahead: []}
    ledger.apply(answer(API, days, answered_at=MONDAY + 60), SERIES_OF, now=ahead, revision_days=3)
    assert ledger.accounts[API].applied_through == MONDAY


def test_a_state_belongs_to_the_api_it_was_begun_with(store: Store) -> None:
    store.claim("https://api.openai.com/v1")
    store.claim("https://api.openai.com/v1")
    with pytest.raises(StateError, match="another organization's history"):
        store.claim("http://127.0.0.1:10186/v1")
    store.claim("https://proxy.example/v1", same_organization=True)
    store.claim("https://proxy.example/v1")


def test_a_level_that_fell_to_zero_is_remembered_over_a_restart(tmp_path: Path) -> None:
    api = "usage/vector_stores"
    held: Rows = [{"project_id": "a", "usage_bytes": 500}]
    gone: Rows = [{"project_id": "a", "usage_bytes": 0}]
    with Store.open(tmp_path) as store:
        news = answer(api, {MONDAY - DAY: held, MONDAY: gone}, answered_at=MONDAY + 60)
        Ledger(store, 10).apply(news, SERIES_OF, now=MONDAY + 60, revision_days=3)
    with Store.open(tmp_path) as store:
        account = Ledger(store, 10).accounts[api]
        levels = event_gauges(ENDPOINTS[api], account, Attribution(projects={}), CounterBook({}, 10), MONDAY)
    assert [list(series.values()) for series in levels.values()] == [[0]]
