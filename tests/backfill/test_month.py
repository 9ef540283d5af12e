"""A month that was backfilled and a day that was lived after it, in a real Prometheus."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from exporter.days import month_of
from exporter.openai_api.endpoints import COSTS
from exporter.simulator.history import blocks
from exporter.simulator.history.blocks import Scrape
from tests.backfill.made import DAY, ENOUGH, NOW, TARGET, TODAY, Organization, organization
from tests.end_to_end.prometheus_server import PrometheusServer, prometheus
from tests.end_to_end.simulated_days import CONFIGURATION, HOUR, Exporter, start_exporter, true_measures
from tests.prometheus_tools import load_blocks, program

MONTH = 30
FIRST = TODAY - MONTH * DAY
END = TODAY + DAY
CENT = 0.005
# Each poll of a day costs, and shows the same.
STEP = 3 * HOUR
_TARGET = ",".join(f'{name}="{value}"' for name, value in TARGET)

Amounts = dict[tuple[str, ...], Decimal]


@dataclass
class Lived:
    """The past, a day of the present, and what both truly were.

    Attributes:
        true_days: what arrived on each day, by its midnight: the bill by project and line item.
        true_usage: the same of usage, by operation and measure.
        settled: the bill of closed days as it was known in the end.
        seam: the counters on the first live page, before the first poll.
        history: the counters as the history leaves them.
        held: of the bill, what counters held at the end of the live day though it was taken back meanwhile.
    """

    server: PrometheusServer
    true_days: dict[int, Amounts]
    true_usage: dict[int, Amounts]
    settled: dict[int, Amounts]
    seam: dict[str, str]
    history: dict[str, str]
    held: Amounts


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    folder = tmp_path_factory.mktemp("month")
    with organization(projects=ENOUGH) as organized:
        organized.backfill(folder, MONTH)
        live = _Live(organized, folder)
        load_blocks(folder / "history.om", folder / "data", "--max-block-duration=744h")
        program("promtool")
        blocks.load((line for scrape in live.scrapes for line in scrape.samples()), folder / "data")
        true_days, true_usage, settled = _truth(organized)
    with prometheus(folder) as server:
        yield Lived(
            server,
            true_days,
            true_usage,
            settled,
            seam=_counters(live.scrapes[0].page),
            history=_last_values(folder / "history.om"),
            held=live.held,
        )


class _Live:
    """An exporter that goes on from the state, to the next midnight."""

    def __init__(self, organized: Organization, folder: Path) -> None:
        self._clock = organized.clock
        simulator = organized.simulator
        self._exporter = start_exporter(
            simulator.base_url, simulator.admin_key, folder / "state", organized.clock, CONFIGURATION
        )
        self.scrapes: list[Scrape] = []
        try:
            self._live(self._exporter)
        finally:
            self._exporter.close()

    def _live(self, exporter: Exporter) -> None:
        self._scrape()
        exporter.poller.poll_due()
        for moment in range(TODAY + STEP, END + 1, STEP):
            self._clock.set(moment)
            exporter.poller.poll_due()
            if moment == END:
                for api in exporter.poller.interval_by_api:
                    exporter.poller.poll(api)
            self._scrape()
        self.held = _held(exporter)

    def _scrape(self) -> None:
        page = b"".join(self._exporter.poller.pages.page(openmetrics=False, gzip=False)).decode()
        self.scrapes.append(Scrape(int(self._clock()), page, _TARGET))


def _held(exporter: Exporter) -> Amounts:
    held: Amounts = defaultdict(Decimal)
    for key, (amount,) in exporter.ledger.accounts["costs"].held.items():
        row = dict(zip(COSTS.dimensions, key, strict=False))
        held[row["project_id"] or "", row["line_item"] or ""] += amount
    return held


def _counters(page: str) -> dict[str, str]:
    lines = (line for line in page.splitlines() if line.startswith(("openai_usage_", "openai_cost_")))
    return {name: value for name, _, value in (line.rpartition(" ") for line in lines) if "_total{" in name}


def _last_values(history: Path) -> dict[str, str]:
    values = {}
    for line in history.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, value, _ = line.rsplit(" ", 2)
            if "_total{" in name:
                values[name.replace(f"{{{_TARGET},", "{")] = value
    return values


def _totals(organized: Organization, day: int, as_of: float) -> tuple[Amounts, Amounts]:
    """Return a day's bill and usage as they were known at a moment."""
    bill: Amounts = defaultdict(Decimal)
    usage: Amounts = defaultdict(Decimal)
    for api, rows in organized.simulator.simulator.truth(day, day + DAY, as_of=as_of).items():
        for row in rows:
            for measure, amount in true_measures(api, row).items():
                if api == "costs":
                    bill[str(row["project_id"] or ""), str(row["line_item"] or "")] += amount
                else:
                    usage[api.removeprefix("usage/"), measure] += amount
    return bill, usage


def _truth(organized: Organization) -> tuple[dict[int, Amounts], dict[int, Amounts], dict[int, Amounts]]:
    """Return what arrived on each day: of closed days when they were asked for, of the last one since then."""
    past = {day: _totals(organized, day, NOW) for day in range(FIRST, TODAY, DAY)}
    bills = {day: bill for day, (bill, _) in past.items()}
    usages = {day: usage for day, (_, usage) in past.items()}
    settled = {day: _totals(organized, day, NOW + 9 * DAY)[0] for day in past}
    bills[TODAY], usages[TODAY] = _totals(organized, TODAY, END)
    for day in range(TODAY - 4 * DAY, TODAY, DAY):
        for sums, then, now in zip((bills[TODAY], usages[TODAY]), past[day], _totals(organized, day, END), strict=True):
            for key in then.keys() | now.keys():
                sums[key] += now[key] - then[key]
    return bills, usages, settled


def _owed(days: Iterable[Amounts]) -> Amounts:
    """What counters that may not fall hold after days that were posted whole: later growth pays it."""
    owed: Amounts = defaultdict(Decimal)
    for amounts in days:
        for key, amount in amounts.items():
            owed[key] = max(owed[key] - amount, Decimal(0))
    return owed


def _growth(amounts: Amounts, owed_before: Amounts, owed_after: Amounts) -> Amounts:
    """What counters grow by on a day."""
    keys = amounts.keys() | owed_before.keys() | owed_after.keys()
    zero = Decimal(0)
    return {key: amounts.get(key, zero) + owed_after.get(key, zero) - owed_before.get(key, zero) for key in keys}


def _by(server: PrometheusServer, expression: str, at: int, *labels: str) -> dict[tuple[str, ...], float]:
    found = server.query(f"sum by ({', '.join(labels)}) ({expression})", at)
    return {tuple(dict(series).get(label, "") for label in labels): value for series, value in found.items()}


def test_the_increase_at_every_midnight_of_the_month_is_that_day_of_the_bill_to_the_cent(lived: Lived) -> None:
    owed: Amounts = {}
    for number, day in enumerate(range(FIRST, END, DAY)):
        before = owed
        owed = lived.held if day == TODAY else _owed(list(lived.true_days.values())[: number + 1])
        expected = _growth(lived.true_days[day], before, owed)
        found = _by(lived.server, "increase(openai_cost_usd_total[1d])", day + DAY, "project_id", "line_item")
        assert {key for key, amount in expected.items() if amount} <= found.keys()
        for key, value in found.items():
            assert value == pytest.approx(float(expected.get(key, 0)), abs=CENT), (day, key)
        assert sum(found.values()) == pytest.approx(float(sum(expected.values())), abs=CENT)
        assert sum(found.values()) > 1


def test_days_that_were_settled_are_the_bill_as_it_is_in_the_end(lived: Lived) -> None:
    for day in range(FIRST, TODAY - 3 * DAY, DAY):
        assert lived.true_days[day] == lived.settled[day]


def test_tokens_and_requests_of_every_day_are_the_truth_to_the_last_one(lived: Lived) -> None:
    measures = ("input", "input_cached", "input_cache_write", "output", "num_model_requests")
    for day in range(FIRST, TODAY, DAY):
        midnight = day + DAY
        found = _by(lived.server, "increase(openai_usage_tokens_total[1d])", midnight, "operation", "token_type")
        requests = _by(lived.server, "increase(openai_usage_requests_total[1d])", midnight, "operation")
        found |= {(operation, "num_model_requests"): value for (operation,), value in requests.items()}
        true = lived.true_usage[day]
        assert {key for key, amount in true.items() if amount and key[1] in measures} <= found.keys()
        for key, value in found.items():
            assert value == pytest.approx(float(true.get(key, 0)), abs=1e-3), (day, key)


def test_live_counters_begin_with_the_very_values_that_the_history_ends_with(lived: Lived) -> None:
    assert lived.seam == lived.history
    assert len(lived.seam) > 150


def test_no_counter_falls_anywhere(lived: Lived) -> None:
    resets = lived.server.query(f'sum(resets({{job="openai", __name__=~"openai_.*_total"}}[{MONTH + 2}d]))', END)
    assert list(resets.values()) == [0]


def test_all_that_was_counted_less_what_is_held_back_is_the_sum_of_all_days(lived: Lived) -> None:
    [counted] = lived.server.query("sum(openai_cost_usd_total)", END).values()
    true = sum((amount for day in lived.true_days.values() for amount in day.values()), Decimal(0))
    assert counted == pytest.approx(float(true + sum(lived.held.values())), abs=CENT)


def test_usage_of_closed_days_is_there_hour_by_hour(lived: Lived) -> None:
    day = TODAY - 7 * DAY
    hours = [
        sum(
            lived.server.query(
                'sum(increase(openai_usage_requests_total{operation="completions"}[1h]))', moment
            ).values()
        )
        for moment in range(day + HOUR, day + DAY + 1, HOUR)
    ]
    true = lived.true_usage[day]["completions", "num_model_requests"]
    assert sum(hours) == pytest.approx(float(true), rel=1e-6)
    assert max(hours) < 0.25 * sum(hours)
    assert sum(hour > 0 for hour in hours) > 12


def test_a_months_gauge_is_there_for_months_that_the_history_holds_from_their_first_day(lived: Lived) -> None:
    days = [day for day in lived.true_days if month_of(TODAY) <= day < TODAY]
    late = TODAY - 10 * 60
    current = sum(sum(lived.true_days[day].values()) for day in days)
    [found] = lived.server.query('sum(openai_cost_month_usd{month="current"})', late).values()
    assert found == pytest.approx(float(current))
    assert not lived.server.query('openai_cost_month_usd{month="previous"}', late)
    assert not lived.server.query("openai_cost_month_usd", FIRST + DAY - 10 * 60)
    assert lived.server.query('openai_cost_day_usd{day="today"}', FIRST + DAY - 10 * 60)
    assert not lived.server.query('openai_cost_day_usd{day="yesterday"}', FIRST + DAY - 10 * 60)


def test_gauges_of_a_closed_day_are_what_the_recording_rules_read_late_on_the_day_after(lived: Lived) -> None:
    for day in range(FIRST, TODAY - DAY, 7 * DAY):
        late = day + DAY + 23 * HOUR + 50 * 60
        found = _by(lived.server, 'openai_cost_day_usd{day="yesterday"}', late, "project_id", "line_item")
        for key, amount in lived.true_days[day].items():
            assert found[key] == pytest.approx(float(amount), abs=1e-9)
        assert sum(found.values()) == pytest.approx(float(sum(lived.true_days[day].values())))
