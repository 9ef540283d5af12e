"""A counter's day as points in time."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from exporter.backfill.points import Point, points_of_day

DAY = 1_793_836_800
MIDNIGHT = DAY * 1_000
HOUR = 3_600_000

amounts = st.one_of(st.integers(0, 10**9), st.decimals(0, 10**6, places=9))


def test_a_day_begins_with_two_points_so_that_a_range_finds_one_whether_it_takes_its_first_moment_or_not() -> None:
    assert list(points_of_day(DAY, 5, 5, ())) == [Point(MIDNIGHT, 5), Point(MIDNIGHT + 1, 5)]


def test_an_hour_with_growth_has_its_beginning_and_its_end() -> None:
    hours = [0] * 24
    hours[9] = 30
    hours[10] = 12
    assert list(points_of_day(DAY, 100, 142, hours)) == [
        Point(MIDNIGHT, 100),
        Point(MIDNIGHT + 1, 100),
        Point(MIDNIGHT + 9 * HOUR + 1, 100),
        Point(MIDNIGHT + 10 * HOUR, 130),
        Point(MIDNIGHT + 10 * HOUR + 1, 130),
        Point(MIDNIGHT + 11 * HOUR, 142),
    ]


def test_what_the_hours_lack_falls_into_the_last_one_and_what_they_have_too_much_is_cut_off() -> None:
    hours = [0] * 24
    hours[1] = 10
    assert list(points_of_day(DAY, 0, 15, hours))[-1] == Point(MIDNIGHT + 23 * HOUR + 1, 10)
    assert list(points_of_day(DAY, 0, 7, hours))[-1] == Point(MIDNIGHT + 2 * HOUR, 7)


@given(before=amounts, growth=amounts, hours=st.lists(st.integers(-5, 10**9), min_size=24, max_size=24))
def test_whatever_the_hours_say_a_counter_never_falls_nor_leaves_the_day(
    before: int | Decimal, growth: int | Decimal, hours: list[int]
) -> None:
    after = before + growth
    points = list(points_of_day(DAY, before, after, hours))

    assert [point.at for point in points] == sorted({point.at for point in points})
    assert all(MIDNIGHT <= point.at < MIDNIGHT + 24 * HOUR for point in points)
    values = [point.value for point in points]
    assert values == sorted(values)
    assert values[0] == before
    assert values[-1] <= after
