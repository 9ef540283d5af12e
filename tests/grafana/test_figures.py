"""Against a real Prometheus that watched the simulated organization: every query answers, and figures are the truth."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any, Final

import pytest

from exporter.simulator.clock import SettableClock
from exporter.simulator.server import Simulator
from tests.end_to_end.prometheus_server import PrometheusServer
from tests.end_to_end.reconciled_truth import TOKEN_APIS, Figure, comparison, what_happened
from tests.grafana.dashboard_files import DASHBOARDS, PanelQuery, queries, read
from tests.grafana.simulated_past import DAY, END, LAST_LOOK, READ_OFF, TODAY, Reader, Series, simulated_past

pytestmark = pytest.mark.timeout(600)

BOARDS: Final = {file.stem: read(file) for file in DASHBOARDS}
MONTH_BEGAN: Final = TODAY - 15 * DAY
FIRST_DAY: Final = MONTH_BEGAN - DAY
"""On the first day of the record its yesterday is seen too."""
DAYS: Final = range(FIRST_DAY, TODAY + DAY, DAY)

MAY_BE_EMPTY: Final[dict[tuple[str, int], str]] = {
    ("openai-exporter", 404): "nothing was sent again",
    ("openai-exporter", 501): "no row was rejected",
    ("openai-exporter", 603): "no family is full",
    ("openai-exporter", 802): "Prometheus' own series about a scrape are not part of the made past",
    ("openai-exporter", 803): "the same",
    ("openai-usage", 604): "every model has a price",
    # The simulated organization counts its own traces.
    **{("openai-exporter", panel): "there is no trace gateway" for panel in (*range(901, 908), 909)},
}
"""Panels that the simulated organization gives nothing to show, and why."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    with simulated_past(tmp_path_factory.mktemp("past")) as running:
        yield running


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    """The same organization once more: equal seeds live equal lives."""
    return Simulator(seed="acme", clock=SettableClock(END))


@pytest.fixture(scope="module")
def readers(server: PrometheusServer) -> dict[str, Reader]:
    return {uid: Reader(server, board) for uid, board in BOARDS.items()}


@pytest.mark.parametrize("uid", BOARDS)
def test_every_query_of_every_panel_answers_and_with_data_where_there_is_something_to_show(
    uid: str, readers: dict[str, Reader]
) -> None:
    shown: dict[tuple[str, int], bool] = defaultdict(bool)
    for query in queries(BOARDS[uid]):
        shown[uid, query.panel] |= bool(readers[uid].ask(query))
    empty = {place for place, anything in shown.items() if not anything}
    assert empty == {place for place in MAY_BE_EMPTY if place[0] == uid}


def test_whole_weeks_and_months_are_added_up(readers: dict[str, Reader], billed: Callable[[int], Decimal]) -> None:
    for panel in (602, 603):
        days = values(one(ask(readers, "openai-spend", panel)))
        assert sum(days.values()) == pytest.approx(float(sum(map(billed, DAYS))))


@pytest.fixture(scope="module")
def book(simulator: Simulator) -> Callable[[Iterable[int]], dict[Figure, Decimal]]:
    """The true comparison of bill and traces over days, each as it was known when it was read off."""

    def compared(days: Iterable[int]) -> dict[Figure, Decimal]:
        happened = what_happened(simulator, days, told_by=lambda day: min(day + READ_OFF, LAST_LOOK))
        return comparison(happened, lambda _owner: "")

    return compared


@pytest.fixture(scope="module")
def bill(simulator: Simulator) -> Callable[[int], list[dict[str, Any]]]:
    """The true bill of a day as it was known when it was read off, or is known now."""
    known: dict[int, list[dict[str, Any]]] = {}

    def rows(day: int) -> list[dict[str, Any]]:
        if day not in known:
            as_of = min(day + READ_OFF, LAST_LOOK)
            known[day] = simulator.truth(day, day + DAY, as_of=as_of, apis=["costs"])["costs"]
        return known[day]

    return rows


@pytest.fixture(scope="module")
def billed(bill: Callable[[int], list[dict[str, Any]]]) -> Callable[[int], Decimal]:
    return lambda day: sum((row["amount"] for row in bill(day)), Decimal(0))


def ask(readers: dict[str, Reader], uid: str, panel: int, place: int = 0) -> Series:
    """Return what the panel's query at that place shows."""
    found: list[PanelQuery] = [query for query in queries(BOARDS[uid]) if query.panel == panel]
    return readers[uid].ask(found[place])


def one(series: Series) -> dict[int, float]:
    """Return the values of the only series."""
    (values_by_moment,) = series.values()
    return values_by_moment


def values(by_moment: dict[int, float]) -> dict[int, float]:
    return dict(sorted(by_moment.items()))


def by_label(series: Series, label: str) -> dict[str, dict[int, float]]:
    return {dict(pairs).get(label, ""): found for pairs, found in series.items()}


def test_the_month_to_date_is_what_the_api_says_now(readers: dict[str, Reader], simulator: Simulator) -> None:
    rows = simulator.truth(MONTH_BEGAN, TODAY + DAY, as_of=LAST_LOOK, apis=["costs"])["costs"]
    true = float(sum(row["amount"] for row in rows))
    assert true > 1_000
    assert one(ask(readers, "openai-spend", 101)) == {END: pytest.approx(true)}


def test_each_days_bar_is_that_days_bill_and_stands_on_that_day(
    readers: dict[str, Reader], billed: Callable[[int], Decimal]
) -> None:
    days = values(one(ask(readers, "openai-spend", 601)))
    assert list(days) == list(DAYS)
    assert days == {day: pytest.approx(float(billed(day))) for day in days}


@pytest.mark.parametrize("panel", [310, 311, 312, 313, 314])
def test_bars_by_project_workflow_model_team_and_unit_stack_up_to_the_bill(
    panel: int, readers: dict[str, Reader], billed: Callable[[int], Decimal]
) -> None:
    stacked: dict[int, float] = defaultdict(float)
    for place in range(2 if panel < 313 else 1):
        for series in ask(readers, "openai-spend", panel, place).values():
            for day, value in series.items():
                stacked[day] += value
    assert stacked == {day: pytest.approx(float(billed(day))) for day in DAYS}


def test_a_projects_bars_are_its_own_bill(
    readers: dict[str, Reader], simulator: Simulator, bill: Callable[[int], list[dict[str, Any]]]
) -> None:
    names = {project.id: project.name(END) for project in simulator.organization.projects}
    shown = by_label(ask(readers, "openai-spend", 310), "project")
    assert len(shown) == 10
    for day in DAYS:
        true: dict[str, Decimal] = defaultdict(Decimal)
        for row in bill(day):
            true[names.get(row["project_id"], "(none)")] += row["amount"]
        for project, days in shown.items():
            assert days.get(day, 0.0) == pytest.approx(float(true[project])), (project, day)


@pytest.mark.parametrize(
    ("panel", "place", "fields"),
    [
        (202, 0, ("input_tokens",)),
        (202, 1, ("output_tokens",)),
        (201, 0, ("input_tokens", "output_tokens")),
    ],
)
def test_tokens_per_day_are_what_usage_says_and_types_add_up_to_all_of_them(
    panel: int, place: int, fields: tuple[str, ...], readers: dict[str, Reader], simulator: Simulator
) -> None:
    stacked: dict[int, float] = defaultdict(float)
    for series in ask(readers, "openai-usage", panel, place).values():
        for day, value in series.items():
            stacked[day] += value
    assert sorted(stacked) == list(range(TODAY - 6 * DAY, TODAY + DAY, DAY))
    for day, value in stacked.items():
        as_of = min(day + READ_OFF, LAST_LOOK)
        rows = simulator.truth(day, day + DAY, as_of=as_of, apis=sorted(TOKEN_APIS)).values()
        assert value == sum(row.get(field, 0) for of_api in rows for row in of_api for field in fields), day


def test_types_of_tokens_do_not_overlap(readers: dict[str, Reader], simulator: Simulator) -> None:
    day = TODAY - 2 * DAY
    shown = {kind: days[day] for kind, days in by_label(ask(readers, "openai-usage", 201), "token_type").items()}
    rows = simulator.truth(day, day + DAY, as_of=day + READ_OFF, apis=sorted(TOKEN_APIS)).values()
    cached = sum(row.get("input_cached_tokens", 0) for of_api in rows for row in of_api)
    assert shown["input_cached"] == cached > 0
    assert set(shown) >= {"input", "input_cached", "output"}


def test_bill_and_traces_are_compared_by_day(
    readers: dict[str, Reader], book: Callable[[Iterable[int]], dict[Figure, Decimal]]
) -> None:
    # Traces are first seen after the midnight with which the record begins: its first day is not whole.
    compared = range(MONTH_BEGAN + DAY, TODAY, DAY)
    true = {day: book([day]) for day in compared}
    for place, name in ((0, "billed_usd:sum"), (1, "traced_usd:sum")):
        days = one(ask(readers, "openai-aitracer", 201, place))
        assert sorted(days) == list(compared)
        for day, value in days.items():
            assert value == pytest.approx(float(true[day][Figure(name, "", "")]), rel=0.01), (name, day)


def test_coverage_and_the_gap_are_those_of_seven_settled_days(
    readers: dict[str, Reader], book: Callable[[Iterable[int]], dict[Figure, Decimal]]
) -> None:
    true = book(range(TODAY - 8 * DAY, TODAY - DAY, DAY))
    for panel, measure in ((103, "usd"), (104, "tokens"), (105, "requests")):
        (shown,) = (
            found
            for place in range(3)
            for series in ask(readers, "openai-aitracer", panel, place).values()
            for found in series.values()
        )
        assert shown == pytest.approx(float(true[Figure("coverage:ratio", "", measure)]), rel=0.01), measure


def test_what_a_budget_has_spent_is_at_least_its_bill(readers: dict[str, Reader], simulator: Simulator) -> None:
    spent = by_label(ask(readers, "openai-spend", 110, 1), "budget")["everything"][END]
    rows = simulator.truth(MONTH_BEGAN, TODAY + DAY, as_of=LAST_LOOK, apis=["costs"])["costs"]
    assert float(sum(row["amount"] for row in rows)) <= spent
