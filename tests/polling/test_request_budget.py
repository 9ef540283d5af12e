"""An hour's requests are shared: first what carries money or is in use, then all else, never more than there are."""

from hypothesis import given
from hypothesis import strategies as st

from exporter.polling.request_budget import SECONDS_PER_HOUR, Demand, SpentRequests, fits, shares

_demands = st.lists(
    st.builds(Demand, wait=st.floats(1, 86_400), requests=st.integers(1, 2_000), comes_first=st.booleans()),
    min_size=1,
    max_size=15,
)
_budgets = st.integers(1, 100_000)


@given(_demands, _budgets)
def test_stretched_waits_take_no_more_than_there_is(demands: list[Demand], budget: int) -> None:
    shared = shares(demands, budget)
    asked = sum(each.per_hour / (shared.first_stretch if each.comes_first else shared.rest_stretch) for each in demands)
    assert asked <= budget


@given(_demands, _budgets)
def test_nothing_waits_where_there_is_enough(demands: list[Demand], budget: int) -> None:
    shared = shares(demands, budget)
    if sum(each.per_hour for each in demands) <= 0.8 * budget:
        assert (shared.first_stretch, shared.rest_stretch) == (1, 1)


@given(_demands, _budgets)
def test_the_rest_waits_before_what_comes_first_does(demands: list[Demand], budget: int) -> None:
    shared = shares(demands, budget)
    if shared.first_stretch > 1 and any(not each.comes_first for each in demands):
        assert shared.rest_stretch > 1 or shared.rest < 0.1 * budget


@given(_demands, _budgets)
def test_the_rest_is_never_left_out_for_ever(demands: list[Demand], budget: int) -> None:
    rest = sum(each.per_hour for each in demands if not each.comes_first)
    shared = shares(demands, budget)
    assert shared.rest >= min(rest, 0.09 * budget)


def test_a_large_list_does_not_take_what_costs_need() -> None:
    demands = {"costs": Demand(900, 1, comes_first=True), "limits": Demand(1_800, 90, comes_first=False)}
    used = {"costs": 0, "limits": 0}
    polls = 0
    while fits("limits", demands, 100, used):
        used["limits"] += 90
        polls += 1
    assert polls == 1
    assert fits("costs", demands, 100, used)


@given(
    st.lists(st.tuples(st.floats(0, 120), st.sampled_from(["costs", "a", "b"])), max_size=300),
    st.integers(1, 60),
)
def test_no_hour_has_more_than_its_budget_whatever_is_asked_when(polls: list[tuple[float, str]], budget: int) -> None:
    demands = {
        "costs": Demand(900, 1, comes_first=True),
        "a": Demand(60, 1, comes_first=False),
        "b": Demand(1_800, 3, comes_first=False),
    }
    spent, now = SpentRequests(), 0.0
    sent: list[tuple[float, int]] = []
    for pause, api in polls:
        now += pause
        if fits(api, demands, budget, spent.within_the_hour(now)):
            spent.add(api, demands[api].requests, now)
            sent.append((now, demands[api].requests))
    for end, _ in sent:
        assert sum(count for at, count in sent if end - SECONDS_PER_HOUR < at <= end) <= budget


def test_requests_are_forgotten_an_hour_after_they_were_sent_and_not_before() -> None:
    spent = SpentRequests()
    for second in range(0, 600, 10):
        spent.add("costs", 2, second)
    assert spent.within_the_hour(3_599) == {"costs": 120}
    assert 0 < spent.within_the_hour(3_600 + 300)["costs"] < 120
    assert not spent.within_the_hour(3_600 + 630)
