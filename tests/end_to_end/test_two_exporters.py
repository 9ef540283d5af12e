"""Two exporters of one organization, each with a state of its own: what agrees, and what cannot."""

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import pytest

from exporter.configuration.loading import parse_configuration
from exporter.ledger.counters import SeriesName
from exporter.ledger.store import STATE_FILE
from exporter.simulator.clock import SettableClock
from exporter.simulator.server import RunningSimulator, running_simulator
from tests.end_to_end.simulated_days import DAY, HOUR, SimulatedDays, start_exporter

BEGAN = 1_793_264_400
"""2026-10-29 09:00 UTC, a Thursday."""
LATER = BEGAN + 6 * HOUR
COMPARED = LATER + 4 * HOUR

CONFIGURATION = parse_configuration(
    "polling: {usage_interval: 2h, costs_interval: 2h, directory_interval: 6h}\nscrape_interval: 2h\n", "test"
)
NANO = Decimal("1e-9")

_EVENT_TIME = re.compile(r"^(openai_(?!exporter_)\w+(?<!_total)(?:\{.*\})?) (\S+)$", re.MULTILINE)


Name = TypeVar("Name", SeriesName, tuple[str, str])


@contextmanager
def exporter_of(simulator: RunningSimulator, clock: SettableClock, state: Path) -> Iterator[SimulatedDays]:
    exporter = start_exporter(simulator.base_url, simulator.admin_key, state, clock, CONFIGURATION)
    try:
        exporter.poller.poll_due()
        yield SimulatedDays(clock, simulator, state, exporter, int(clock()))
    finally:
        exporter.close()


def advance(until: int, clock: SettableClock, *all_days: SimulatedDays) -> None:
    """Let time pass for all of them; each polls what is due, and is scraped."""
    while clock() < until:
        clock.advance(2 * HOUR)
        for days in all_days:
            days.exporter.poller.poll_due()
            days.scrape()


def counters(days: SimulatedDays) -> dict[SeriesName, Decimal]:
    """Return what each series has counted, also where it still stands at its first 0 on the page."""
    return {name: Decimal(counter.value) for name, counter in days.exporter.ledger.book.counters.items()}


def growth(before: dict[Name, Decimal], after: dict[Name, Decimal]) -> dict[Name, Decimal]:
    grown = {name: value - before.get(name, Decimal(0)) for name, value in after.items()}
    return {name: value for name, value in grown.items() if value}


def gauges(days: SimulatedDays) -> dict[str, str]:
    return dict(_EVENT_TIME.findall(days.page()))


def counter_lines(days: SimulatedDays) -> dict[str, str]:
    return dict(re.findall(r"^(openai_(?!exporter_)\w+_total\{.*\}) (\S+)$", days.page(), re.MULTILINE))


def held_back(days: SimulatedDays) -> Decimal:
    """Return the dollars that counters still hold though the API took them back."""
    found = re.findall(r'^openai_exporter_held_back\{.*measure="(?:usd|amount).*\} (\S+)$', days.page(), re.MULTILINE)
    return sum(map(Decimal, found), Decimal(0))


def copy_state(source: Path, target: Path) -> None:
    """Copy a state as the README says, while its exporter runs."""
    target.mkdir(mode=0o700)
    with (
        closing(sqlite3.connect(source / STATE_FILE)) as running,
        closing(sqlite3.connect(target / STATE_FILE)) as copy,
    ):
        running.backup(copy)


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SimulatedDays, ...]]:
    """The first exporter; one that began hours later; and one that began then from a copy of the first's state."""
    folder = tmp_path_factory.mktemp("states")
    clock = SettableClock(BEGAN)
    with ExitStack() as stack:
        simulator = stack.enter_context(running_simulator(clock=clock, renamed_at=BEGAN + 30 * DAY))
        first = stack.enter_context(exporter_of(simulator, clock, folder / "first"))
        advance(LATER, clock, first)
        copy_state(folder / "first", folder / "copied")
        later = stack.enter_context(exporter_of(simulator, clock, folder / "later"))
        copied = stack.enter_context(exporter_of(simulator, clock, folder / "copied"))
        advance(COMPARED, clock, first, later, copied)
        yield first, later, copied
    shutil.rmtree(folder)


def test_two_exporters_agree_in_gauges_and_in_what_counters_grow_by_though_each_began_at_its_own_zero(
    lives: tuple[SimulatedDays, ...],
) -> None:
    first, later, copied = lives
    counted_before = [counters(days) for days in lives]
    reported_before = [days.counted() for days in lives]
    held_before = held_back(first)
    assert gauges(first) == gauges(later) == gauges(copied)
    # What came before the second began is in the first one's counters alone: to add them up means nothing.
    assert sum(counters(first).values()) > sum(counters(later).values()) > 0
    assert counters(first) == counters(copied)

    advance(COMPARED + DAY, first.clock, *lives)

    assert len(gauges(first)) > 300
    assert any('day="yesterday"' in series for series in gauges(first))
    assert gauges(first) == gauges(later) == gauges(copied)
    grown_first, grown_later, grown_copied = (
        growth(before, counters(days)) for days, before in zip(lives, counted_before, strict=True)
    )
    assert len(grown_first) > 100
    # Each grew by what the API reported in that day.
    for days, before in zip(lives, reported_before, strict=True):
        reported = growth(before, days.counted())
        assert reported.keys() == growth(reported_before[0], first.counted()).keys()
        for measure, amount in growth(reported_before[0], first.counted()).items():
            assert abs(reported[measure] - amount) < NANO, measure
    # What was taken back before the second began is held back by the first alone, until its growth has absorbed that.
    apart = {name for name in grown_later if grown_later[name] != grown_first.get(name, 0)}
    assert grown_first.keys() <= grown_later.keys()
    assert {name.family for name in apart} <= {"openai_cost_usd_total"}
    assert len(apart) < len(grown_later) / 20
    assert 0 <= sum(grown_later[name] - grown_first.get(name, Decimal(0)) for name in apart) <= held_before
    # A copy of the state is the same exporter, for ever.
    assert grown_copied == grown_first
    assert counters(copied) == counters(first)
    assert counter_lines(copied) == counter_lines(first)
