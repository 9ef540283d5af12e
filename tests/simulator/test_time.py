"""What changes over time, when it stops, and that equal seeds live equal lives."""

from collections.abc import Iterator
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Any

import pytest

from exporter.openai_api.endpoints import COSTS, ENDPOINTS, USAGE_ENDPOINTS
from exporter.simulator.billing import EXACT
from exporter.simulator.clock import SettableClock
from exporter.simulator.line_items import unit_of
from exporter.simulator.server import Simulator
from tests.simulator.asking import DAY, NOW, TODAY, ask, ask_api, read_all

Row = dict[str, Any]


def day_over_time(simulator: Simulator, api: str, measure: str, hours: range) -> list[Any]:
    """A day's total as known at each hour after it began."""
    with localcontext(EXACT):
        return [
            sum(row[measure] for row in simulator.truth(TODAY, TODAY + DAY, as_of=TODAY + hour * 3600)[api])
            for hour in hours
        ]


@pytest.fixture(scope="module")
def calm() -> Simulator:
    return Simulator(clock=SettableClock(NOW))


def test_equal_seeds_give_equal_answers_whatever_was_asked_before(clock: SettableClock) -> None:
    first, second, other = (Simulator(seed=seed, clock=clock) for seed in ("one", "one", "two"))
    clock.set(NOW + 5 * DAY)
    read_all(second, "usage/completions", start_time=TODAY)
    clock.set(NOW)
    for endpoint in (*USAGE_ENDPOINTS, COSTS):
        answers = [
            {
                bucket["start_time"]: sorted(map(repr, bucket["results"]))
                for bucket in read_all(
                    each, endpoint.api, start_time=TODAY - 2 * DAY, group_by=list(endpoint.dimensions)
                )
            }
            for each in (first, second, other)
        ]
        assert answers[0] == answers[1]
        assert answers[0] != answers[2] or endpoint.is_level


def test_every_api_has_something_every_working_day(calm: Simulator) -> None:
    for day in range(TODAY - 2 * DAY, TODAY, DAY):
        for api, rows in calm.truth(day, day + DAY, as_of=day + 3 * DAY).items():
            assert rows, api


@pytest.mark.parametrize("api", sorted(ENDPOINTS))
def test_nothing_is_known_before_a_day_begins_and_nothing_changes_three_days_after(calm: Simulator, api: str) -> None:
    assert calm.truth(TODAY, TODAY + DAY, as_of=TODAY)[api] == []
    settled = calm.truth(TODAY, TODAY + DAY, as_of=TODAY + 3 * DAY)[api]
    assert settled == calm.truth(TODAY, TODAY + DAY, as_of=TODAY + 100 * DAY)[api]


def test_usage_of_a_closed_day_still_grows_and_is_taken_back(calm: Simulator) -> None:
    closed = day_over_time(calm, "usage/completions", "input_tokens", range(24, 73))
    steps = [after - before for before, after in pairwise(closed)]
    assert any(step > 0 for step in steps[:24])
    assert any(step > 0 for step in steps[24:])
    assert any(step < 0 for step in steps)
    assert closed[-1] == pytest.approx(closed[0], rel=0.1)


def test_the_open_day_grows_all_day(calm: Simulator) -> None:
    growing = day_over_time(calm, "usage/completions", "num_model_requests", range(25))
    assert all(after > before for before, after in pairwise(growing))


def test_some_rows_vanish(calm: Simulator) -> None:
    vanished: set[Any] = set()
    for day in range(TODAY - 6 * DAY, TODAY, DAY):
        early, late = (
            {tuple(row[name] for name in ENDPOINTS[api].dimensions) for row in rows}
            for as_of in (day + DAY, day + 3 * DAY)
            for api, rows in calm.truth(day, day + DAY, as_of=as_of).items()
            if api == "usage/completions"
        )
        vanished |= early - late
    assert vanished


def test_costs_are_hours_behind_and_restated_both_ways(calm: Simulator) -> None:
    amounts = day_over_time(calm, "costs", "amount", range(73))
    assert amounts[5] == 0
    assert 0 < amounts[12] < amounts[24] < amounts[29]
    late = [after - before for before, after in pairwise(amounts[29:])]
    assert any(step > 0 for step in late)
    assert any(step < 0 for step in late)


def test_something_is_new_every_few_seconds_of_a_working_day(calm: Simulator) -> None:
    minute_by_minute = [calm.truth(TODAY, TODAY + DAY, as_of=NOW + seconds) for seconds in range(0, 300, 15)]
    changed = [before != after for before, after in pairwise(minute_by_minute)]
    assert changed.count(True) >= len(changed) - 2
    apis = {api for before, after in pairwise(minute_by_minute) for api in before if before[api] != after[api]}
    assert len(apis) >= 4


def test_weekends_and_nights_are_quieter(calm: Simulator) -> None:
    def requests(start: int, end: int) -> int:
        buckets = read_all(
            calm, "usage/completions", start_time=start, end_time=end, bucket_width="1h", group_by=["project_id"]
        )
        office = next(project.id for project in calm.organization.projects if project.first_name == "internal-tools")
        return sum(row["num_model_requests"] for b in buckets for row in b["results"] if row["project_id"] == office)

    tuesday, sunday = TODAY - DAY, TODAY - 3 * DAY
    assert requests(sunday, sunday + DAY) * 3 < requests(tuesday, tuesday + DAY)
    assert requests(tuesday + 1 * 3600, tuesday + 4 * 3600) * 3 < requests(tuesday + 9 * 3600, tuesday + 12 * 3600)


def cost_rows(simulator: Simulator) -> Iterator[Row]:
    grouping = ["project_id", "line_item", "api_key_id"]
    for bucket in read_all(simulator, "costs", start_time=TODAY - 7 * DAY, group_by=grouping):
        yield from bucket["results"]


def test_the_bill_has_every_kind_of_line(calm: Simulator) -> None:
    line_items = {row["line_item"] for row in cost_rows(calm)}
    assert line_items >= {
        "gpt-4o-2024-08-06, input",
        "gpt-5.4-2026-03-05, cached input",
        "gpt-5.6-terra, cache writes",
        "priority | gpt-5.6-sol, output, long context",
        "flex | o4-mini-2025-04-16, output",
        "gpt-image-1 text, cached input",
        "gpt-image-2-2026-04-21 image, output",
        "gpt-audio-mini-2025-12-15 audio, input",
        "ft-gpt-4o-2024-08-06, output",
        "evals | gpt-4o-mini-2024-07-18, input",
        "assistants api | file search",
        "web search tool calls",
        "whisper",
        "Vector storage",
        "text-embedding-3-small, input",
        "Image models",
        "Promotional credit",
    }


def test_amounts_come_as_numbers_as_long_strings_and_as_an_odd_zero(calm: Simulator) -> None:
    values = [row["amount"]["value"] for row in cost_rows(calm)]
    strings = [value for value in values if isinstance(value, str)]
    assert any(isinstance(value, Decimal) for value in values)
    assert "0E-6176" in strings
    assert any(len(value.partition(".")[2].rstrip("0")) > 25 for value in strings)
    assert any(Decimal(value) < 0 for value in values)
    assert all(Decimal(value).is_finite() for value in values)


def test_rows_of_the_bill_carry_the_extra_keys_and_null_projects(calm: Simulator) -> None:
    rows = list(cost_rows(calm))
    assert any(row["project_id"] is None and row["line_item"] == "gpt-4o-2024-08-06, input" for row in rows)
    named = next(row for row in rows if row["project_id"] is not None)
    assert {"project_name", "organization_id", "organization_name", "user_email"} <= named.keys()
    assert all(row["quantity_unit"] == unit_of(row["line_item"]) for row in rows)
    bucket = ask_api(calm, "costs", start_time=TODAY).json["data"][0]
    assert bucket["start_time_iso"] == "2026-10-14T00:00:00+00:00"


def test_quantities_are_told_with_line_items_only(calm: Simulator) -> None:
    by_project = read_all(calm, "costs", start_time=TODAY - DAY, group_by=["project_id"])
    assert {(row["quantity"], row["quantity_unit"]) for b in by_project for row in b["results"]} == {(None, None)}


def test_a_project_is_renamed_and_another_archived_at_their_moments() -> None:
    clock = SettableClock(NOW)
    simulator = Simulator(clock=clock, renamed_at=NOW + 60, archived_at=NOW + 120)

    def names(**parameters: Any) -> set[str]:  # noqa: ANN401 - the directory's own parameters
        return {each["name"] for each in ask(simulator, "/v1/organization/projects", parameters).json["data"]}

    assert "internal-tools" in names()
    assert "summer-campaign" in names()
    clock.advance(60)
    assert "employee-copilot" in names()
    assert "internal-tools" not in names()
    billed = read_all(simulator, "costs", start_time=TODAY, group_by=["project_id"])[0]["results"]
    assert "employee-copilot" in {row["project_name"] for row in billed}
    clock.advance(60)
    assert "summer-campaign" not in names()
    assert "summer-campaign" in names(include_archived="true")
    archived = next(each for each in simulator.organization.projects if each.first_name == "summer-campaign")
    reply = ask(simulator, f"/v1/organization/projects/{archived.id}/api_keys")
    assert reply.status == 400
    assert "is archived" in reply.error["message"]
