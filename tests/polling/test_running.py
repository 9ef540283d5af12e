"""What time alone brings about, and the threads: the day turns, new series ripen, a stop is prompt and final."""

import logging
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from exporter.openai_api.endpoints import ENDPOINTS
from exporter.polling.poller import Stopped
from tests.polling.conftest import Start, StartScripted
from tests.polling.living import DAY, HOUR, MINUTE, RENAMED, Living, Organization
from tests.polling.patience import wait_until

MIDNIGHT = RENAMED // DAY * DAY + DAY


def open_files(page: str) -> int:
    [count] = [line.split()[1] for line in page.splitlines() if line.startswith("process_open_fds ")]
    return int(float(count))


def day_tokens(living: Living, day: str) -> dict[frozenset[tuple[str, str]], float]:
    return {
        frozenset(labels.items()) - {("day", day)}: value
        for labels, value in living.samples("openai_usage_day_tokens")
        if labels["day"] == day
    }


def test_midnight_turns_the_day_over_without_any_successful_poll(start: Start, organization: Organization) -> None:
    living = start("")
    organization.clock.set(MIDNIGHT - 30)
    living.poller.poll_due()
    organization.set_faults(status=[{"prefix": "/v1/", "status": 503}])
    today = day_tokens(living, "today")
    assert sum(today.values()) > 0
    organization.clock.set(MIDNIGHT)
    living.poller.poll_due()
    assert {key: value for key, value in day_tokens(living, "yesterday").items() if value} == {
        key: value for key, value in today.items() if value
    }
    assert set(day_tokens(living, "today").values()) == {0}


def test_a_new_series_stands_at_0_for_two_scrape_intervals_and_then_shows_its_value(start: Start) -> None:
    living = start("polling: {directory_interval: 1m}\nscrape_interval: 2m")
    living.clock.set(RENAMED - 5 * MINUTE)
    living.poller.poll_due()
    first_seen: dict[str, float] = dict.fromkeys(living.shown(), living.clock())
    grown: set[str] = set()
    while living.clock() < RENAMED + 12 * MINUTE:
        living.pass_time(30)
        for name, value in living.shown().items():
            since = living.clock() - first_seen.setdefault(name, living.clock())
            if since < 4 * MINUTE:
                assert value == "0", name
            elif since == 4 * MINUTE and value != "0":
                grown.add(name)
    assert any("employee-copilot" in name for name in grown)


def test_a_new_series_waits_anew_after_a_restart_and_then_shows_its_value(start: Start) -> None:
    living = start("polling: {directory_interval: 1m}")
    living.poller.poll_due()
    while not (waiting := [n for n, c in living.ledger.book.counters.items() if c.value and not c.shown]):
        living.pass_time(MINUTE)
    [*_, name] = waiting
    value = living.ledger.book.counters[name].value
    living.restart()
    living.poller.advance()
    at_zero = set(living.shown().values())
    assert at_zero == {"0"} or "0" in at_zero
    assert not living.ledger.book.counters[name].shown
    living.clock.advance(2 * MINUTE - 1)
    living.poller.advance()
    assert not living.ledger.book.counters[name].shown
    living.clock.advance(1)
    living.poller.advance()
    assert living.ledger.book.counters[name].shown
    assert str(value) in living.shown().values()


def test_running_polls_every_api_and_ends_promptly(start: Start) -> None:
    living = start("")
    running = threading.Thread(target=living.poller.run)
    running.start()
    wait_until(lambda: living.poller.why_not_ready() is None)
    assert living.value("openai_up") == 1
    assert all(living.requests(api) == (2 if api == "costs" else 1) for api in ENDPOINTS)
    began = time.monotonic()
    living.poller.stop()
    running.join()
    assert time.monotonic() - began < 2


def test_a_slow_api_holds_up_no_other(start: Start, organization: Organization) -> None:
    living = start("")
    organization.set_faults(prefix="/v1/organization/usage/completions", slow_seconds=8.0)
    running = threading.Thread(target=living.poller.run)
    running.start()
    others = [api for api in ENDPOINTS if api != "usage/completions"]
    wait_until(lambda: all(living.poller.health.apis[api].success for api in others))
    assert living.poller.health.apis["usage/completions"].success is None
    living.poller.stop()
    running.join()


@pytest.mark.parametrize("api", ["usage/completions", "costs", "projects"])
def test_a_poll_that_waits_for_an_answer_when_the_process_ends_applies_nothing(
    start: Start, organization: Organization, caplog: pytest.LogCaptureFixture, api: str
) -> None:
    living = start("")
    organization.set_faults(slow_seconds=3.0)
    poll = threading.Thread(target=living.poller.poll, args=(api,))
    poll.start()
    time.sleep(0.1)
    began = time.monotonic()
    living.poller.stop()
    living.exporter.store.close()
    living.exporter.connection.close()
    assert time.monotonic() - began < 2
    poll.join()
    assert all(account.covered_from is None for account in living.ledger.accounts.values())
    assert not living.ledger.directory["projects"]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_poll_that_waits_to_try_again_ends_with_the_process(start: Start) -> None:
    living = start("")
    ended = threading.Event()

    def wait_long() -> None:
        with pytest.raises(Stopped):
            living.poller.sleep(600)
        ended.set()

    waiting = threading.Thread(target=wait_long)
    waiting.start()
    living.poller.stop()
    assert ended.wait(2)
    waiting.join()


def test_nothing_is_shown_or_learned_after_the_stop(start: Start) -> None:
    living = start("")
    living.poller.poll_due()
    living.poller.stop()
    before = living.counters()
    living.clock.advance(HOUR)
    living.poller.poll_due()
    assert living.counters() == before


def test_a_poll_between_two_pages_when_the_process_ends_is_no_news(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    living = start("")

    def end(*_: object) -> None:
        living.poller.stop()
        living.exporter.connection.close()

    monkeypatch.setattr(living.self_metrics, "answered", end)
    living.poller.poll("costs")
    assert living.success("costs") is None
    assert living.ledger.accounts["costs"].covered_from is None
    assert not caplog.records


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the library looks there")
def test_the_process_is_looked_at_again_and_again(start_scripted: StartScripted) -> None:
    exporter = start_scripted("")
    exporter.pass_time()
    before = open_files(exporter.page())
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(tempfile.TemporaryFile())
        exporter.pass_time(1)
        assert open_files(exporter.page()) == before + 40
