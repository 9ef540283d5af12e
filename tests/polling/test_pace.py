"""How long an API is left alone: not at all while it moves, longer the longer it has not, and never for too long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.polling.pace import Lately, Pace, wait_after

DAY = 86_400
NOON = 1_793_264_400 // DAY * DAY + DAY // 2
MINUTE = 60.0
USUAL = Pace(MINUTE, 15 * MINUTE)

_moments = st.floats(NOON - DAY, NOON + DAY)
_paces = st.builds(Pace, st.floats(1, DAY), st.floats(1, DAY))
_lately = st.builds(Lately, st.floats(NOON - 30 * DAY, NOON + DAY), st.booleans())


def until_midnight(now: float) -> float:
    return DAY - now % DAY


@pytest.mark.parametrize(
    ("quiet_minutes", "empty", "with_rows"),
    [(0, 1, 1), (7, 1, 1), (8, 2, 1), (16, 4, 1), (24, 4, 2), (32, 8, 2), (48, 8, 4), (60, 15, 5), (700, 15, 5)],
)
def test_the_wait_doubles_with_the_quiet_time_sooner_where_nothing_is_used_at_all(
    quiet_minutes: float, empty: float, with_rows: float
) -> None:
    since = NOON - quiet_minutes * MINUTE
    assert wait_after(USUAL, Lately(since, has_rows=False), NOON) == empty * MINUTE
    assert wait_after(USUAL, Lately(since, has_rows=True), NOON) == with_rows * MINUTE


@given(_paces, _moments, st.booleans(), st.floats(0, 1))
def test_what_moved_just_now_is_polled_at_its_interval(pace: Pace, now: float, has_rows: bool, share: float) -> None:  # noqa: FBT001 - given by hypothesis
    assert wait_after(pace, Lately(now - share * pace.interval, has_rows), now) == pace.interval


@given(_paces, _lately, _moments)
def test_no_wait_is_shorter_than_the_interval_or_longer_than_the_longest(
    pace: Pace, lately: Lately, now: float
) -> None:
    wait = wait_after(pace, lately, now)
    longest = min(pace.longest, 300) if lately.has_rows else pace.longest
    assert pace.interval <= wait <= max(pace.interval, longest)


@given(_paces, _lately, _moments)
def test_a_longer_wait_is_a_small_part_of_the_quiet_time_before_it(pace: Pace, lately: Lately, now: float) -> None:
    wait = wait_after(pace, lately, now)
    assert wait == pace.interval or wait <= (now - lately.quiet_since) / (12 if lately.has_rows else 4)


@given(_paces, _moments, st.booleans(), st.floats(0, DAY), st.floats(0, DAY))
def test_more_quiet_time_never_makes_a_wait_shorter(
    pace: Pace,
    now: float,
    has_rows: bool,  # noqa: FBT001 - given by hypothesis
    quiet: float,
    more: float,
) -> None:
    earlier, later = (wait_after(pace, Lately(now - each, has_rows), now) for each in (quiet + more, quiet))
    assert earlier >= later


@given(_paces, _lately, _moments)
def test_no_wait_beyond_the_interval_reaches_into_the_minutes_before_midnight(
    pace: Pace, lately: Lately, now: float
) -> None:
    wait = wait_after(pace, lately, now)
    assert wait == pace.interval or wait <= until_midnight(now) - 600


# A moment of our time is no finer than some hundred nanoseconds.
@given(st.floats(0, 8 * MINUTE - 1e-3), st.booleans())
def test_the_day_s_turn_counts_as_a_change(after: float, has_rows: bool) -> None:  # noqa: FBT001 - given by hypothesis
    midnight = NOON + DAY // 2
    assert wait_after(USUAL, Lately(NOON - 10 * DAY, has_rows), midnight + after) == MINUTE


@given(_lately, _moments, st.floats(1, DAY))
def test_an_interval_above_the_longest_is_kept(lately: Lately, now: float, interval: float) -> None:
    assert wait_after(Pace(interval, interval / 2), lately, now) == interval


def test_a_clock_set_back_means_full_pace() -> None:
    assert wait_after(USUAL, Lately(NOON + DAY, has_rows=False), NOON) == MINUTE
