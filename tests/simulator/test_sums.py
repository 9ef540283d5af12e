"""Whatever the grouping, the width, the page size or the time: the answers add up to the truth."""

from collections import defaultdict
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.openai_api.endpoints import COSTS, ENDPOINTS, USAGE_ENDPOINTS
from exporter.simulator.billing import EXACT
from exporter.simulator.clock import SettableClock
from exporter.simulator.server import Simulator
from tests.simulator.asking import DAY, NOW, TODAY, read_all

Sums = dict[tuple[Any, ...], dict[str, Any]]


@pytest.fixture(scope="module")
def moving_clock() -> SettableClock:
    return SettableClock(NOW)


@pytest.fixture(scope="module")
def shared_simulator(moving_clock: SettableClock) -> Simulator:
    return Simulator(clock=moving_clock)


def true_sums(simulator: Simulator, api: str, grouping: tuple[str, ...], start: int, end: int) -> Sums:
    endpoint = ENDPOINTS[api]
    sums: Sums = defaultdict(lambda: defaultdict(int))
    with localcontext(EXACT):
        for row in simulator.truth(start, end)[api]:
            key = (row["bucket"], *(row[name] for name in grouping))
            for name, value in row.items():
                if name not in {"bucket", "currency", *endpoint.dimensions}:
                    sums[key][name] += value
    return {key: dict(values) for key, values in sums.items()}


def told_sums(buckets: list[dict[str, Any]], api: str, grouping: tuple[str, ...]) -> Sums:
    sums: Sums = {}
    for bucket in buckets:
        for row in bucket["results"]:
            key = (bucket["start_time"], *(row[name] for name in grouping))
            assert key not in sums, "one row per key"
            if api == "costs":
                sums[key] = {"amount": Decimal(row["amount"]["value"])}
            else:
                sums[key] = {name: value for name, value in row.items() if isinstance(value, int) and name != "batch"}
    return sums


def agree(told: Sums, true: Sums) -> None:
    # Free lines are told with a zero amount, and rows of old models leave fields out: absent says nothing.
    told = {key: values for key, values in told.items() if any(values.values())}
    assert told.keys() == true.keys()
    for key, values in told.items():
        assert values == {name: true[key][name] for name in values}
        if "num_model_requests" in true[key]:
            assert "num_model_requests" in values
        if "output_tokens" in true[key]:
            assert {"input_tokens", "input_cached_tokens", "output_tokens"} <= values.keys()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_grouping_at_every_time_adds_up_to_the_truth(
    shared_simulator: Simulator, moving_clock: SettableClock, data: st.DataObject
) -> None:
    moving_clock.set(NOW + data.draw(st.integers(-DAY, DAY), label="seconds from now"))
    endpoint = data.draw(st.sampled_from((*USAGE_ENDPOINTS, COSTS)), label="endpoint")
    subset = data.draw(st.sets(st.sampled_from(endpoint.dimensions)), label="grouping")
    grouping = tuple(name for name in endpoint.dimensions if name in subset)
    limit = data.draw(st.integers(1, 31), label="limit")
    start = TODAY - 3 * DAY
    buckets = read_all(
        shared_simulator, endpoint.api, start_time=start, end_time=TODAY + 2 * DAY, group_by=list(grouping), limit=limit
    )
    told = told_sums(buckets, endpoint.api, grouping)
    agree(told, true_sums(shared_simulator, endpoint.api, grouping, start, TODAY + 2 * DAY))


@pytest.mark.parametrize("api", [endpoint.api for endpoint in USAGE_ENDPOINTS if not endpoint.is_level])
@pytest.mark.parametrize(("width", "limit"), [("1h", 168), ("1m", 1440)])
def test_hours_and_minutes_add_up_to_the_days(shared_simulator: Simulator, api: str, width: str, limit: int) -> None:
    start = TODAY - DAY
    measure = ENDPOINTS[api].measures[-1]
    fine = read_all(shared_simulator, api, start_time=start, bucket_width=width, limit=limit)
    days = read_all(shared_simulator, api, start_time=start)
    for day in days:
        parts = [bucket for bucket in fine if day["start_time"] <= bucket["start_time"] < day["end_time"]]
        assert len(parts) > 10
        told = sum(row[measure] for part in parts for row in part["results"])
        assert told == sum(row[measure] for row in day["results"]) > 0


def test_a_level_is_the_same_in_the_last_hour_as_for_the_day(shared_simulator: Simulator) -> None:
    day = read_all(shared_simulator, "usage/vector_stores", start_time=TODAY - DAY, end_time=TODAY)
    hours = read_all(
        shared_simulator, "usage/vector_stores", start_time=TODAY - DAY, end_time=TODAY, bucket_width="1h", limit=24
    )
    assert len(hours) == 24
    assert hours[-1]["results"] == day[0]["results"]
    assert 0 < hours[0]["results"][0]["usage_bytes"] < hours[-1]["results"][0]["usage_bytes"]


def test_days_long_settled_equal_what_arrived_for_them(shared_simulator: Simulator) -> None:
    start, end = TODAY - 40 * DAY, TODAY - 38 * DAY
    for endpoint in (*USAGE_ENDPOINTS, COSTS):
        grouping = endpoint.dimensions
        told = told_sums(
            read_all(shared_simulator, endpoint.api, start_time=start, end_time=end, group_by=list(grouping)),
            endpoint.api,
            grouping,
        )
        agree(told, true_sums(shared_simulator, endpoint.api, grouping, start, end))


def test_token_fields_are_related_as_the_specification_says(shared_simulator: Simulator) -> None:
    rows = shared_simulator.truth(TODAY - DAY, TODAY)["usage/completions"]
    assert len(rows) > 100
    for row in rows:
        assert (
            row["input_tokens"]
            == row["input_uncached_tokens"] + row["input_cached_tokens"] + row["input_cache_write_tokens"]
        )
        assert (
            row["input_cache_write_tokens"] == row["input_cache_write_30m_tokens"] + row["input_cache_write_12h_tokens"]
        )
        for whole, modalities in (("input_uncached", "input"), ("input_cached", "input_cached"), ("output", "output")):
            split = sum(row[f"{modalities}_{modality}_tokens"] for modality in ("text", "audio", "image"))
            assert split in {0, row[f"{whole}_tokens"]}


@pytest.mark.parametrize(
    ("api", "filters", "dimension", "allowed"),
    [
        ("usage/completions", {"models": ["gpt-5"]}, "model", {"gpt-5"}),
        ("usage/completions", {"batch": "true"}, "batch", {True}),
        ("costs", {"line_items": ["gpt-5, input", "whisper"]}, "line_item", {"gpt-5, input", "whisper"}),
    ],
)
def test_filters_let_through_what_they_name_and_all_of_it(
    shared_simulator: Simulator, api: str, filters: dict[str, Any], dimension: str, allowed: set[Any]
) -> None:
    name, values = next(iter(filters.items()))
    window = {"start_time": TODAY - 2 * DAY, "group_by": [dimension]}
    everything = read_all(shared_simulator, api, **window)
    spelled = {f"{name}[]" if isinstance(values, list) else name: values}
    chosen = read_all(shared_simulator, api, **window, **spelled)
    assert {row[dimension] for bucket in chosen for row in bucket["results"]} == allowed
    assert [bucket["results"] for bucket in chosen] == [
        [row for row in bucket["results"] if row[dimension] in allowed] for bucket in everything
    ]
