import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.days import SECONDS_PER_DAY, day_of, month_of, previous_month_of

OCTOBER_1, NOVEMBER_1, NOVEMBER_2 = 1_790_812_800, 1_793_491_200, 1_793_577_600
MOMENTS = st.integers(min_value=0, max_value=4_102_444_800)


@pytest.mark.parametrize(
    ("moment", "midnight"),
    [
        (NOVEMBER_2, NOVEMBER_2),
        (NOVEMBER_2 + 1, NOVEMBER_2),
        (NOVEMBER_2 + 86_399.999, NOVEMBER_2),
        (NOVEMBER_2 - 0.001, NOVEMBER_1),
        (NOVEMBER_2 - 1, NOVEMBER_1),
    ],
)
def test_a_day_runs_from_midnight_to_midnight_utc(moment: float, midnight: int) -> None:
    assert day_of(moment) == midnight


@pytest.mark.parametrize(
    ("moment", "first", "first_of_previous"),
    [
        (NOVEMBER_1, NOVEMBER_1, OCTOBER_1),
        (NOVEMBER_2 + 5, NOVEMBER_1, OCTOBER_1),
        (NOVEMBER_1 - 1, OCTOBER_1, OCTOBER_1 - 30 * SECONDS_PER_DAY),
        # January 2026 follows December 2025, and March 2028 a February of 29 days.
        (1_767_225_600, 1_767_225_600, 1_764_547_200),
        (1_835_481_600, 1_835_481_600, 1_832_976_000),
    ],
)
def test_months_are_calendar_months_utc(moment: float, first: int, first_of_previous: int) -> None:
    assert month_of(moment) == first
    assert previous_month_of(moment) == first_of_previous


@settings(max_examples=200, deadline=None, database=None)
@given(MOMENTS)
def test_midnights_and_months_enclose_their_moment(moment: int) -> None:
    assert day_of(moment) <= moment < day_of(moment) + SECONDS_PER_DAY
    assert previous_month_of(moment + 40 * SECONDS_PER_DAY) >= month_of(moment)
    assert previous_month_of(moment) < month_of(moment) <= day_of(moment)
    assert month_of(moment) % SECONDS_PER_DAY == 0
    assert month_of(month_of(moment)) == month_of(moment)
