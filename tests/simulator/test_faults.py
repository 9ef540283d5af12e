"""Everything that `/_simulator/faults` breaks, and that it breaks nothing else."""

import json
from typing import Any

import pytest

from exporter.simulator.server import Simulator
from tests.simulator.asking import DAY, TODAY, ask, ask_api, set_faults

COMPLETIONS = "usage/completions"


def statuses(simulator: Simulator, count: int) -> list[int]:
    return [ask_api(simulator, "usage/images", start_time=TODAY).status for _ in range(count)]


def test_the_error_rate_holds_and_repeats_from_the_seed() -> None:
    # Half an hour apart: the dice know nothing of the data.
    first, again = Simulator(clock=lambda: TODAY + 100.0), Simulator(clock=lambda: TODAY + 1900.0)
    for each in (first, again):
        set_faults(each, error_rate=0.3)
    seen = statuses(first, 400)
    assert {429, 500, 502, 503, 200} == set(seen)
    assert 0.2 < sum(status != 200 for status in seen) / 400 < 0.4
    assert statuses(again, 400) == seen


@pytest.mark.parametrize("retry_after", [None, 7])
def test_a_burst_of_429_ends_by_itself(simulator: Simulator, retry_after: int | None) -> None:
    set_faults(simulator, burst_429={"count": 3, "retry_after": retry_after})
    replies = [ask_api(simulator, "costs", start_time=TODAY) for _ in range(4)]
    assert [reply.status for reply in replies] == [429, 429, 429, 200]
    assert replies[0].headers.get("Retry-After") == (None if retry_after is None else "7")


def test_one_path_can_be_down(simulator: Simulator) -> None:
    set_faults(simulator, status=[{"prefix": "/v1/organization/costs", "status": 503}])
    assert ask_api(simulator, "costs", start_time=TODAY).status == 503
    assert ask_api(simulator, COMPLETIONS, start_time=TODAY).status == 200


def test_a_prefix_keeps_the_other_paths_whole(simulator: Simulator) -> None:
    set_faults(simulator, prefix="/v1/organization/costs", revoked=True)
    assert ask_api(simulator, "costs", start_time=TODAY).status == 401
    assert ask_api(simulator, COMPLETIONS, start_time=TODAY).status == 200


def test_a_revoked_key_and_a_missing_scope_are_told(simulator: Simulator) -> None:
    set_faults(simulator, revoked=True)
    assert ask_api(simulator, "costs", start_time=TODAY).status == 401
    set_faults(simulator, missing_scopes=["api.management.read"])
    assert ask_api(simulator, "costs", start_time=TODAY).status == 200
    reply = ask(simulator, "/v1/organization/projects")
    assert reply.status == 403
    assert "Missing scopes: api.management.read." in reply.error["message"]


def test_a_grouping_can_be_refused(simulator: Simulator) -> None:
    set_faults(simulator, refuse_groupings={"costs": ["user_id"]})
    reply = ask_api(simulator, "costs", start_time=TODAY, group_by=["project_id", "user_id"])
    assert reply.status == 400
    assert reply.error["message"].startswith("group_by=user_id is not available for this time range.")
    assert ask_api(simulator, "costs", start_time=TODAY, group_by=["project_id"]).status == 200
    assert ask_api(simulator, COMPLETIONS, start_time=TODAY, group_by=["user_id"]).status == 200


def test_an_endpoint_can_be_absent(simulator: Simulator) -> None:
    set_faults(simulator, absent_endpoints=["usage/decisions"])
    assert ask_api(simulator, "usage/decisions", start_time=TODAY).status == 404
    assert ask_api(simulator, COMPLETIONS, start_time=TODAY).status == 200


def test_answers_can_be_cut_or_spoilt(simulator: Simulator) -> None:
    whole = ask_api(simulator, "costs", start_time=TODAY)
    set_faults(simulator, cut_probability=1.0)
    cut = ask_api(simulator, "costs", start_time=TODAY)
    assert cut.was_cut
    assert cut.body == whole.body[: len(whole.body) // 2]
    set_faults(simulator, invalid_json=True)
    with pytest.raises(json.JSONDecodeError):
        _ = ask_api(simulator, "costs", start_time=TODAY).json
    set_faults(simulator, wrong_shape=True)
    assert not isinstance(ask_api(simulator, "costs", start_time=TODAY).json["data"], list)


def test_costs_can_go_on_for_ever(simulator: Simulator) -> None:
    set_faults(simulator, endless_pages=True)
    query: dict[str, Any] = {"start_time": TODAY - DAY, "limit": 1}
    page = ask_api(simulator, "costs", **query).json
    starts = []
    for _ in range(6):
        starts += [bucket["start_time"] for bucket in page["data"]]
        assert page["has_more"] is True
        page = ask_api(simulator, "costs", **query, page=page["next_page"]).json
    assert starts == [TODAY + day * DAY for day in range(-1, 5)]
    assert page["data"][0]["results"] == []


def test_a_cursor_can_repeat_or_be_missing(simulator: Simulator) -> None:
    query: dict[str, Any] = {"start_time": TODAY - 5 * DAY, "limit": 2}
    set_faults(simulator, repeated_cursor=True)
    first = ask_api(simulator, COMPLETIONS, **query).json["next_page"]
    assert ask_api(simulator, COMPLETIONS, **query, page=first).json["next_page"] == first
    set_faults(simulator, null_cursor_with_has_more=True)
    page = ask_api(simulator, COMPLETIONS, **query).json
    assert (page["has_more"], page["next_page"]) == (True, None)


def test_costs_can_clamp_the_limit_silently(simulator: Simulator) -> None:
    set_faults(simulator, clamp_costs_limit_to=31)
    page = ask_api(simulator, "costs", start_time=TODAY - 60 * DAY, limit=180).json
    assert len(page["data"]) == 31
    assert page["has_more"] is True


def test_faults_change_no_data(simulator: Simulator) -> None:
    before = ask_api(simulator, "costs", start_time=TODAY - DAY).body
    set_faults(simulator, error_rate=0.9)
    statuses(simulator, 20)
    set_faults(simulator)
    assert ask_api(simulator, "costs", start_time=TODAY - DAY).body == before


def test_unknown_and_bad_settings_are_refused_by_name(simulator: Simulator) -> None:
    for body in (b'{"eror_rate": 0.1}', b'{"error_rate": 2}', b"nonsense"):
        reply = ask(simulator, "/_simulator/faults", method="POST", body=body)
        assert reply.status == 400
        assert "Faults not set" in reply.error["message"]
    reply = ask(simulator, "/_simulator/faults", method="POST", body=b'{"eror_rate": 0.1}')
    assert "eror_rate" in reply.error["message"]
    assert ask(simulator, "/_simulator/faults").json["error_rate"] == 0
