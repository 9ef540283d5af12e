"""When each API's turn comes: after success, failure and absence, and whatever the clock does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.polling.schedule import Turn

NOW = 1_793_264_400.125


def test_the_first_poll_is_due_at_once() -> None:
    assert Turn(900, NOW).is_due(NOW)


def test_after_a_success_the_interval_counts_from_when_the_poll_began() -> None:
    turn = Turn(900, NOW)
    turn.succeeded(NOW)
    assert not turn.is_due(NOW)
    assert not turn.is_due(NOW + 899)
    assert turn.is_due(NOW + 900)


@pytest.mark.parametrize(
    ("interval", "waits"),
    [
        (86_400, [30, 60, 120, 240, 480, 960]),
        (900, [30, 60, 120, 240, 480, 900, 900]),
        (60, [30, 60, 60]),
        (10, [10, 10]),
    ],
)
def test_after_failures_the_wait_doubles_from_half_a_minute_to_the_interval(interval: float, waits: list[int]) -> None:
    turn = Turn(interval, NOW)
    now = NOW
    for wait in waits:
        turn.failed(now)
        assert not turn.is_due(now + wait - 1)
        assert turn.is_due(now + wait)
        now += wait


def test_a_success_ends_the_doubling() -> None:
    turn = Turn(900, NOW)
    for _ in range(5):
        turn.failed(NOW)
    turn.succeeded(NOW)
    turn.failed(NOW)
    assert turn.is_due(NOW + 30)


def test_thousands_of_failures_wait_an_interval_and_no_more() -> None:
    turn = Turn(900, NOW)
    for _ in range(5_000):
        turn.failed(NOW)
    assert turn.due == NOW + 900


def test_an_absent_endpoint_rests_and_its_own_pace_comes_back_with_it() -> None:
    turn = Turn(60, NOW)
    turn.rest(NOW, 21_600)
    assert not turn.is_due(NOW)
    assert not turn.is_due(NOW + 21_599)
    assert turn.is_due(NOW + 21_600)
    turn.succeeded(NOW + 21_600)
    assert turn.is_due(NOW + 21_660)


def test_a_rest_is_never_shorter_than_the_interval() -> None:
    turn = Turn(86_400, NOW)
    turn.rest(NOW, 21_600)
    assert not turn.is_due(NOW + 86_399)


def test_waiting_for_another_key_costs_no_more_than_half_a_minute_and_counts_as_nothing() -> None:
    turn = Turn(1_800, NOW)
    turn.failed(NOW)
    turn.await_key(NOW)
    assert not turn.is_due(NOW + 29)
    assert turn.is_due(NOW + 30)
    turn.failed(NOW)
    assert not turn.is_due(NOW + 59)
    quick = Turn(5, NOW)
    quick.await_key(NOW)
    assert quick.is_due(NOW + 5)


@pytest.mark.parametrize("wait", ["succeeded", "failed", "rest"])
def test_a_clock_set_back_makes_no_wait_longer(wait: str) -> None:
    turn = Turn(900, NOW)
    match wait:
        case "succeeded":
            turn.succeeded(NOW)
        case "failed":
            turn.failed(NOW)
        case _:
            turn.rest(NOW, 21_600)
    assert turn.is_due(NOW - 3_600)


def test_a_clock_set_back_before_the_first_poll_does_not_delay_it() -> None:
    assert Turn(900, NOW).is_due(NOW - 3_600)


def test_a_clock_set_forward_makes_one_poll_due_and_not_many() -> None:
    turn = Turn(900, NOW)
    turn.succeeded(NOW)
    assert turn.is_due(NOW + 100 * 86_400)
    turn.succeeded(NOW + 100 * 86_400)
    assert not turn.is_due(NOW + 100 * 86_400 + 1)


@given(
    st.floats(0, 4e9, allow_nan=False),
    st.floats(1, 86_400, allow_nan=False),
    st.lists(st.sampled_from(["succeeded", "failed", "rest", "await_key"]), min_size=1, max_size=20),
)
def test_at_the_very_moment_a_poll_ends_the_next_is_never_due_yet(now: float, interval: float, ends: list[str]) -> None:
    turn = Turn(interval, now)
    for end in ends:
        if end == "rest":
            turn.rest(now, 21_600)
        else:
            getattr(turn, end)(now)
    assert not turn.is_due(now)
    assert turn.is_due(now + max(interval, 21_600))
