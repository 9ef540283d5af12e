"""Days of everything that goes wrong, and at the end every token and nano-dollar is where it belongs."""

from decimal import Decimal
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.end_to_end.prometheus_server import prometheus
from tests.end_to_end.simulated_days import DAY, HOUR, STEP, SimulatedDays, simulated_days
from tests.prometheus_tools import load_blocks

BEGAN = 1_793_264_400  # 2026-10-29 09:00 UTC, a Thursday
RENAMED = BEGAN + DAY
FIRST_MIDNIGHT = BEGAN // DAY * DAY + DAY
LAST_MIDNIGHT = FIRST_MIDNIGHT + 4 * DAY  # 2026-11-03: the month has turned
NANO = Decimal("1e-9")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> "Lived":
    return Lived(tmp_path_factory.mktemp("days"))


class Lived:
    """Five simulated days, told once for all tests; what the tests need to know of the way is noted as it goes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.differences_one_poll_later: list[str] = []
        with simulated_days(folder / "state", BEGAN, renamed_at=RENAMED) as days:
            self._live(days)
            self.counted = days.counted()
            self.true = days.truth(days.clock())
            self.page = days.page()
            self.true_costs = days.simulator.simulator.truth(
                LAST_MIDNIGHT - 33 * DAY, LAST_MIDNIGHT + DAY, as_of=days.clock(), apis=["costs"]
            )["costs"]
            self.scrapes = days.scrapes

    def _live(self, days: SimulatedDays) -> None:
        for _ in range(6 * HOUR // STEP):
            days.step()
            self._compare(days)
        days.set_faults(error_rate=0.3)
        days.run_until(FIRST_MIDNIGHT + 10 * HOUR)
        days.restart()
        days.run_until(FIRST_MIDNIGHT + 22 * HOUR)
        days.set_faults(status=[{"prefix": "/v1/", "status": 503}])
        days.run_until(FIRST_MIDNIGHT + DAY + 5 * HOUR)
        days.set_faults(error_rate=0.3, cut_probability=0.05)
        days.run_until(FIRST_MIDNIGHT + DAY + 15 * HOUR)
        days.set_faults()
        days.kill_in_the_middle_of_a_commit()
        self._compare(days)
        days.set_faults(error_rate=0.3)
        days.run_until(FIRST_MIDNIGHT + 3 * DAY)
        days.restart()
        days.run_until(LAST_MIDNIGHT - STEP)
        days.set_faults()
        days.run_until(LAST_MIDNIGHT + HOUR)
        self._compare(days)

    def _compare(self, days: SimulatedDays) -> None:
        now = days.clock()
        # Costs have a slower turn of their own.
        days.exporter.poller.poll("costs")
        counted, true = days.counted(), days.truth(now)
        for key in counted.keys() | true.keys():
            if abs(counted.get(key, Decimal(0)) - true.get(key, Decimal(0))) > NANO:
                self.differences_one_poll_later.append(f"{now}: {key} {counted.get(key)} is not {true.get(key)}")


def test_after_days_of_faults_every_counter_less_what_it_holds_back_equals_the_truth(lived: Lived) -> None:
    assert lived.counted.keys() == lived.true.keys()
    assert {key for key in lived.true if key[0] == "costs"}
    for key, amount in lived.true.items():
        assert abs(lived.counted[key] - amount) <= NANO, key
    assert len(lived.true) > 20


def test_a_change_at_the_api_is_on_the_page_one_poll_later(lived: Lived) -> None:
    assert lived.differences_one_poll_later == []


def test_no_counter_ever_fell_and_something_was_held_back_on_the_way(lived: Lived) -> None:
    # Each scrape already compared every series with the one before; here, that there was something to compare.
    assert len(lived.scrapes) > 200
    assert max(len(samples) for samples in lived.scrapes.values()) > 4 * DAY // STEP
    assert 'openai_exporter_held_back{api="usage/completions"' in lived.page


def test_every_series_was_scraped_at_zero_before_its_first_value(lived: Lived) -> None:
    late = [samples for samples in lived.scrapes.values() if samples[0][0] > BEGAN + DAY]
    assert len(late) > 3
    assert {samples[0][1] for samples in lived.scrapes.values()} == {"0"}


def test_event_time_gauges_equal_the_truth_about_days_and_months(lived: Lived) -> None:
    today = LAST_MIDNIGHT
    days = {"today": [today], "yesterday": [today - DAY]}
    first_of_november = LAST_MIDNIGHT - 2 * DAY
    october = [first_of_november - n * DAY for n in range(1, 32)]
    november = [first_of_november + n * DAY for n in range(3)]
    months = {"current": november, "previous": october}
    for name, label, periods in (("openai_cost_day_usd", "day", days), ("openai_cost_month_usd", "month", months)):
        for period, buckets in periods.items():
            on_page = {
                (sample.labels["project_id"], sample.labels["line_item"]): Decimal(repr(sample.value))
                for family in text_string_to_metric_families(lived.page)
                for sample in family.samples
                if sample.name == name and sample.labels[label] == period and sample.value
            }
            true: dict[tuple[str, str], Decimal] = {}
            for row in lived.true_costs:
                if row["bucket"] in buckets:
                    key = (row["project_id"] or "", row["line_item"] or "")
                    true[key] = true.get(key, Decimal(0)) + Decimal(row["amount"])
            true = {key: amount for key, amount in true.items() if amount}
            assert on_page.keys() == true.keys(), (name, period)
            assert all(abs(on_page[key] - true[key]) <= NANO for key in true), (name, period)


def test_a_renamed_project_goes_on_under_its_new_name_and_its_old_series_stays(lived: Lived) -> None:
    names: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(lived.page):
        for sample in family.samples:
            if sample.name == "openai_usage_requests_total":
                names.setdefault(sample.labels["project_id"], set()).add(sample.labels["project"])
    renamed = [both for both in names.values() if len(both) > 1]
    assert [len(both) for both in renamed] == [2]
    [info] = {
        sample.labels["project"]
        for family in text_string_to_metric_families(lived.page)
        for sample in family.samples
        if sample.name == "openai_project_info" and sample.labels["project"] in renamed[0]
    }
    assert info in renamed[0]


def test_increase_over_each_whole_day_in_a_real_prometheus_is_what_arrived_in_it(lived: Lived) -> None:
    samples = lived.folder / "scrapes.om"
    with samples.open("w", encoding="utf-8") as output:
        families: dict[str, list[str]] = {}
        for (family, labels), values in sorted(lived.scrapes.items()):
            lines = families.setdefault(family, [f"# TYPE {family.removesuffix('_total')} counter\n"])
            lines.extend(f"{family}{labels} {value} {at}\n" for at, value in values)
        output.writelines(line for lines in families.values() for line in lines)
        output.write("# EOF\n")
    load_blocks(samples, lived.folder / "data")
    arrived_at_all = 0
    with prometheus(lived.folder) as server:
        for midnight in range(FIRST_MIDNIGHT + DAY, LAST_MIDNIGHT + 1, DAY):
            for family in {family for family, _ in lived.scrapes}:
                arrived = _arrived(lived, family, midnight)
                [(_, increase)] = server.query(f"sum(increase({family}[1d]))", midnight).items()
                assert increase == pytest.approx(float(arrived), rel=1e-12, abs=1e-9), (family, midnight)
                arrived_at_all += arrived > 0
    assert arrived_at_all > 30


def _arrived(lived: Lived, family: str, midnight: int) -> Decimal:
    """What the page's counters of a family grew by in the day before `midnight`; a new series counts from its 0."""
    total = Decimal(0)
    for (name, _), samples in lived.scrapes.items():
        inside = [Decimal(value) for at, value in samples if midnight - DAY <= at <= midnight]
        if name == family and inside:
            total += inside[-1] - inside[0]
    return total
