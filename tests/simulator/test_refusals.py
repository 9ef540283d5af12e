"""What the API refuses, in its own words, and how windows and cursors behave."""

from typing import Any

import pytest

from exporter.openai_api.endpoints import ENDPOINTS
from exporter.simulator.clock import SettableClock
from exporter.simulator.query import COSTS_BY_KEY_SINCE
from exporter.simulator.server import Simulator
from tests.simulator.asking import DAY, NOW, TODAY, ask, ask_api, read_all

COMPLETIONS = "usage/completions"


@pytest.mark.parametrize(
    ("key", "status", "words"),
    [
        (None, 401, "didn't provide an API key"),
        ("sk-admin-of-somebody-else", 401, "Incorrect API key"),
        ("sk-proj-abc", 403, "Missing scopes: api.usage.read."),
    ],
)
def test_a_wrong_key_is_told_what_is_wrong_with_it(
    simulator: Simulator, key: str | None, status: int, words: str
) -> None:
    reply = ask(simulator, "/v1/organization/costs", {"start_time": TODAY}, key=key)
    assert reply.status == status
    assert words in reply.error["message"]


@pytest.mark.parametrize(
    ("api", "parameters", "words"),
    [
        (COMPLETIONS, {}, "Missing required parameter: 'start_time'"),
        (COMPLETIONS, {"start_time": "yesterday"}, "expected an integer"),
        (COMPLETIONS, {"start_time": TODAY, "limit": 32}, "Limit must be less than or equal to 31."),
        (COMPLETIONS, {"start_time": TODAY, "limit": 169, "bucket_width": "1h"}, "less than or equal to 168."),
        (COMPLETIONS, {"start_time": TODAY, "limit": 1441, "bucket_width": "1m"}, "less than or equal to 1440."),
        (COMPLETIONS, {"start_time": TODAY, "limit": 0}, "greater than or equal to 1"),
        (COMPLETIONS, {"start_time": TODAY, "bucket_width": "1w"}, "Supported values are: '1m', '1h', '1d'."),
        (COMPLETIONS, {"start_time": TODAY, "end_time": TODAY}, "end_time must be after start_time"),
        (COMPLETIONS, {"start_time": TODAY, "group_by": ["line_item"]}, "Invalid value: 'line_item'."),
        (COMPLETIONS, {"start_time": TODAY, "batch": "perhaps"}, "Supported values are: 'true', 'false'."),
        (COMPLETIONS, {"start_time": TODAY, "colour": "red"}, "Unknown parameter: 'colour'."),
        ("usage/vector_stores", {"start_time": TODAY, "group_by": ["model"]}, "Supported values are: 'project_id'."),
        ("costs", {"start_time": TODAY, "limit": 366}, "Invalid limit provided: 366. Limit must be less than or equal"),
        ("costs", {"start_time": TODAY, "bucket_width": "1h"}, "Supported values are: '1d'."),
        ("costs", {"start_time": TODAY, "end_time": TODAY + 3600}, "must not be on the same date"),
        ("costs", {"start_time": TODAY, "user_ids": "user-1"}, "Unknown parameter: 'user_ids'."),
        (COMPLETIONS, {"start_time": TODAY, "page": "page_AAAA"}, "Invalid page cursor"),
        (COMPLETIONS, {"start_time": TODAY, "page": "not a cursor!"}, "Invalid page cursor"),
    ],
)
def test_a_bad_query_is_refused_by_name(simulator: Simulator, api: str, parameters: dict[str, Any], words: str) -> None:
    reply = ask_api(simulator, api, **parameters)
    assert reply.status == 400
    assert words in reply.error["message"]
    assert reply.error["type"] == "invalid_request_error"


@pytest.mark.parametrize("api", sorted(ENDPOINTS))
def test_more_than_a_year_back_is_refused_with_the_earliest_date(simulator: Simulator, api: str) -> None:
    first = TODAY - 365 * DAY
    assert ask_api(simulator, api, start_time=first).status == 200
    reply = ask_api(simulator, api, start_time=first - 1)
    assert reply.status == 400
    assert reply.error["code"] == "reporting_lookback_exceeded"
    assert "Earliest supported start date: 2025-10-14 (UTC)." in reply.error["message"]


def test_costs_by_key_are_refused_before_they_existed(simulator: Simulator) -> None:
    early = ask_api(simulator, "costs", start_time=COSTS_BY_KEY_SINCE - 1, group_by=["api_key_id"])
    assert early.status == 400
    assert early.error["message"] == (
        "group_by=api_key_id is not available for this time range. Try a start_time on or after 1764979200."
    )
    assert ask_api(simulator, "costs", start_time=COSTS_BY_KEY_SINCE, group_by=["api_key_id"]).status == 200


def test_the_three_array_spellings_ask_the_same(simulator: Simulator) -> None:
    path = "/v1/organization/usage/completions"
    start = ("start_time", TODAY)
    answers = [
        ask(simulator, path, [start, ("group_by[]", "model"), ("group_by[]", "project_id")]),
        ask(simulator, path, [start, ("group_by", "model"), ("group_by", "project_id")]),
        ask(simulator, path, [start, ("group_by", "model,project_id")]),
    ]
    assert {answer.body for answer in answers} == {answers[0].body}
    row = answers[0].json["data"][0]["results"][0]
    assert row["model"] is not None
    assert row["user_id"] is None
    assert row["batch"] is None


def test_a_cursor_belongs_to_its_query(simulator: Simulator) -> None:
    query = {"start_time": TODAY - 5 * DAY, "limit": 2, "group_by": ["model"]}
    cursor = ask_api(simulator, COMPLETIONS, **query).json["next_page"]
    assert ask_api(simulator, COMPLETIONS, **query, page=cursor).status == 200
    others: list[dict[str, Any]] = [
        {"limit": 3},
        {"start_time": TODAY - 4 * DAY},
        {"group_by": ["project_id"]},
        {"end_time": TODAY},
        {"project_ids": "proj_1"},
    ]
    for other in others:
        reply = ask_api(simulator, COMPLETIONS, **(query | other), page=cursor)
        assert reply.status == 400
        assert "does not belong to this query" in reply.error["message"]
    assert ask_api(simulator, "usage/decisions", **query, page=cursor).status == 400


def test_a_cursor_freezes_the_end_of_the_window(simulator: Simulator, clock: SettableClock) -> None:
    query = {"start_time": TODAY - DAY, "limit": 1}
    cursor = ask_api(simulator, COMPLETIONS, **query).json["next_page"]
    clock.advance(2 * DAY)
    page = ask_api(simulator, COMPLETIONS, **query, page=cursor).json
    assert [(bucket["start_time"], bucket["end_time"]) for bucket in page["data"]] == [(TODAY, NOW)]
    assert page["has_more"] is False


def test_an_unaligned_start_clips_the_first_usage_bucket_and_the_last_ends_now(simulator: Simulator) -> None:
    start = TODAY - DAY + 17 * 3600 + 31 * 60
    buckets = read_all(simulator, COMPLETIONS, start_time=start)
    assert [(bucket["start_time"], bucket["end_time"]) for bucket in buckets] == [(start, TODAY), (TODAY, NOW)]
    whole = read_all(simulator, COMPLETIONS, start_time=TODAY - DAY)
    assert 0 < buckets[0]["results"][0]["input_tokens"] < whole[0]["results"][0]["input_tokens"]


def test_costs_snap_to_whole_days(simulator: Simulator) -> None:
    buckets = read_all(simulator, "costs", start_time=TODAY - DAY + 5000)
    assert [(bucket["start_time"], bucket["end_time"]) for bucket in buckets] == [
        (TODAY - DAY, TODAY),
        (TODAY, TODAY + DAY),
    ]


def test_the_default_page_is_seven_days(simulator: Simulator) -> None:
    page = ask_api(simulator, "costs", start_time=TODAY - 20 * DAY).json
    assert len(page["data"]) == 7
    assert page["has_more"] is True


def test_quiet_buckets_are_told_empty(simulator: Simulator) -> None:
    buckets = read_all(
        simulator, "usage/images", start_time=TODAY - 3 * DAY, end_time=TODAY, bucket_width="1h", limit=100
    )
    assert len(buckets) == 72
    assert any(not bucket["results"] for bucket in buckets)


def test_every_answer_carries_the_simulators_time(simulator: Simulator) -> None:
    assert ask_api(simulator, "costs", start_time=TODAY).headers["Date"] == "Wed, 14 Oct 2026 15:20:00 GMT"
    assert ask_api(simulator, "costs").headers["Date"] == "Wed, 14 Oct 2026 15:20:00 GMT"


def test_nothing_else_is_here(simulator: Simulator) -> None:
    assert ask(simulator, "/v1/chat/completions").status == 404
    assert ask(simulator, "/nowhere").status == 404
    assert ask(simulator, "/v1/organization/costs", {"start_time": TODAY}, method="POST").status == 405
