from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.days import SECONDS_PER_DAY, day_of
from exporter.exact import Amount
from exporter.ledger.account import Account, Bucket
from exporter.ledger.settlement import settle
from exporter.ledger.window import first_day_kept, first_day_too_coarse, read_window
from exporter.openai_api.answer import RowKey
from exporter.openai_api.endpoints import COSTS, ENDPOINTS, Endpoint
from tests.ledger.examples import EMBEDDINGS, NOON, cost, day, embedding, money, posted
from tests.ledger.simulated_states import NaiveApi, Sums, held_sums, measure_names, non_zero

VECTOR_STORES = ENDPOINTS["usage/vector_stores"]


def seen(first: int, newest: int, api: str = EMBEDDINGS.api) -> Account:
    return Account(api, covered_from=day(first), applied_through=day(newest))


def days(endpoint: Endpoint, account: Account, now: int, revision_days: int = 3) -> tuple[int, int]:
    """Return the first and the last day of the window, by number."""
    start, end = read_window(endpoint, account, now, revision_days)
    return (start - day(0)) // SECONDS_PER_DAY, (end - day(0)) // SECONDS_PER_DAY - 1


def test_the_first_read_takes_the_open_day_and_the_revision_window() -> None:
    assert days(EMBEDDINGS, Account(EMBEDDINGS.api), day(10) + NOON) == (7, 10)


def test_the_open_day_begins_at_midnight_utc() -> None:
    assert days(EMBEDDINGS, seen(7, 10), day(11) - 1) == (7, 10)
    # The day that has just left the window is read once more: it may have been revised since the last poll.
    assert days(EMBEDDINGS, seen(7, 10), day(11)) == (7, 11)
    assert days(EMBEDDINGS, seen(8, 11), day(11) + 60) == (8, 11)


def test_after_an_outage_all_is_read_that_could_be_revised_when_it_began() -> None:
    assert days(EMBEDDINGS, seen(7, 10), day(15) + NOON) == (7, 15)


def test_a_clock_set_back_still_reads_up_to_its_own_day() -> None:
    assert days(EMBEDDINGS, seen(7, 10), day(5) + NOON) == (2, 5)


def test_costs_reach_back_to_the_previous_month_until_they_cover_it() -> None:
    # Day 0 is 2 November; 1 October is day -32.
    assert days(COSTS, Account("costs"), day(10) + NOON) == (-32, 10)
    assert days(COSTS, seen(-10, 10, "costs"), day(10) + NOON) == (-32, 10)
    assert days(COSTS, seen(-32, 10, "costs"), day(10) + NOON) == (7, 10)
    # 2 December is day 30: October may go, November is covered.
    assert days(COSTS, seen(-32, 29, "costs"), day(30) + NOON) == (26, 30)


@pytest.mark.parametrize("later", [0, 1, 5, 40])
@pytest.mark.parametrize("endpoint", [EMBEDDINGS, VECTOR_STORES], ids=lambda endpoint: endpoint.api)
def test_no_day_is_forgotten_that_the_next_poll_reads(endpoint: Endpoint, later: int) -> None:
    kept_from = first_day_kept(endpoint, day(10), revision_days=3)
    account = Account(endpoint.api, covered_from=kept_from, applied_through=day(10))

    assert read_window(endpoint, account, day(10 + later) + NOON, 3)[0] == kept_from


def test_costs_of_the_previous_month_are_kept_for_its_gauge() -> None:
    assert first_day_kept(COSTS, day(28), revision_days=3) == day(-32)
    assert first_day_kept(COSTS, day(29), revision_days=3) == day(-1)
    # Day 29 is 1 December: with a window of 40 days more is kept than the month.
    assert first_day_kept(COSTS, day(29), revision_days=40) == day(-11)


def account_of(groupings: dict[int, tuple[str, ...]], *, empty: tuple[int, ...] = ()) -> Account:
    """Return an account of costs whose days were read at these groupings."""
    buckets = {
        day(number): Bucket(grouping, {} if number in empty else {cost("gpt-5, input"): money("1")})
        for number, grouping in groupings.items()
    }
    return Account("costs", covered_from=day(min(groupings)), applied_through=day(max(groupings)), buckets=buckets)


def too_coarse(account: Account, wanted: tuple[str, ...], refused: Mapping[str, int] | None = None) -> int | None:
    """Return the number of the first day to read again; `refused` says by dimension which days it is refused to."""
    found = first_day_too_coarse(
        account, wanted, lambda start: {name for name, until in (refused or {}).items() if start < day(until)}
    )
    return None if found is None else (found - day(0)) // SECONDS_PER_DAY


COARSE = ("project_id", "line_item")
FINE = ("project_id", "line_item", "api_key_id")
FINEST = ("project_id", "user_id", "line_item", "api_key_id")


def test_the_first_day_that_tells_less_apart_than_is_wanted_is_read_again() -> None:
    mixed = account_of({5: FINE, 3: COARSE, 0: FINE, 4: COARSE})

    assert too_coarse(mixed, FINE) == 3
    assert too_coarse(mixed, FINEST) == 0
    assert too_coarse(account_of({0: FINE, 1: FINEST}), FINE) is None
    # What tells more apart than is wanted does no harm.
    assert too_coarse(account_of({0: FINEST}), COARSE) is None
    assert too_coarse(Account("costs"), FINE) is None


def test_a_day_without_rows_has_nothing_to_tell_apart() -> None:
    assert too_coarse(account_of({0: COARSE, 1: COARSE}, empty=(0,)), FINE) == 1
    assert too_coarse(account_of({0: COARSE}, empty=(0,)), FINE) is None


def test_a_day_that_the_api_refuses_to_tell_apart_is_not_read_in_vain() -> None:
    account = account_of(dict.fromkeys(range(5), COARSE))

    assert too_coarse(account, FINE, {"api_key_id": 3}) == 3
    assert too_coarse(account, FINE, {"api_key_id": 9}) is None
    # Of two dimensions one is to be had.
    assert too_coarse(account, FINEST, {"api_key_id": 9}) == 0
    assert too_coarse(account, FINEST, {"api_key_id": 9, "user_id": 2}) == 2
    assert too_coarse(account, FINEST, {"api_key_id": 9, "user_id": 9}) is None


Edit = tuple[int, tuple[str | None, str, str | None], Decimal]
KEYS = st.sampled_from([("proj_a", "m", "key_a"), ("proj_a", "m", "key_b"), (None, "n", None)])
EDITS = st.lists(
    st.tuples(
        st.integers(min_value=0, max_value=40),
        KEYS,
        st.one_of(
            st.just(Decimal(0)), st.decimals(min_value=-3, max_value=9, places=36), st.integers(0, 99).map(Decimal)
        ),
    ),
    max_size=5,
)
GAPS = st.sampled_from([900, 900, 40_000, SECONDS_PER_DAY, SECONDS_PER_DAY, 4 * SECONDS_PER_DAY, 40 * SECONDS_PER_DAY])
GROUPINGS = st.sampled_from([("project_id", "model", "line_item"), ("api_key_id", "model", "line_item"), ()])
# An hour before a month's turn.
BEGINNING = int(datetime(2026, 10, 31, 23, tzinfo=UTC).timestamp())


@pytest.mark.parametrize("endpoint", [COSTS, EMBEDDINGS], ids=lambda endpoint: endpoint.api)
@settings(max_examples=100, deadline=None, database=None)
@given(
    revision_days=st.integers(min_value=1, max_value=4),
    history=EDITS,
    later=st.lists(st.tuples(GAPS, EDITS, GROUPINGS), min_size=1, max_size=12),
    order=st.integers(min_value=0, max_value=2**32).map(Random),
)
def test_nothing_is_missed_that_changes_within_the_revision_window_however_long_no_poll_succeeds(
    endpoint: Endpoint,
    revision_days: int,
    history: list[Edit],
    later: list[tuple[int, list[Edit], tuple[str, ...]]],
    order: Random,
) -> None:
    """The oracle is the API alone: all it says now of all days, less what it said at the first poll."""
    api, account, clock = NaiveApi(endpoint), Account(endpoint.api), BEGINNING
    counted: Sums = defaultdict(Fraction)
    oldest_visible = day_of(clock) - 400 * SECONDS_PER_DAY
    _edit(api, history, day_of(clock), oldest_visible)
    zero_line: Sums = {}
    for gap, edits, grouping in [(0, [], ("project_id",)), *later]:
        clock += gap
        _edit(api, edits, day_of(clock), oldest_visible)
        start, end = read_window(endpoint, account, clock, revision_days)
        read = api.answer(start, end, grouping, today=day_of(clock), answered_at=clock, order=order)
        settlement = settle(endpoint, account, read, now=clock, revision_days=revision_days)
        if account.covered_from is None:
            zero_line = _all_time(api)
            assert not settlement.postings
        account = settlement.account
        oldest_visible = day_of(clock) - revision_days * SECONDS_PER_DAY
        for key, values in settlement.postings.items():
            for name, value in zip(measure_names(endpoint, key), values, strict=True):
                assert value >= 0
                counted[name] += Fraction(value)
        truth, held = _all_time(api), held_sums(endpoint, account)
        assert non_zero({name: counted[name] - held.get(name, 0) for name in {*counted, *held}}) == non_zero(
            {name: truth.get(name, Fraction()) - zero_line.get(name, 0) for name in {*truth, *zero_line}}
        )


def _edit(api: NaiveApi, edits: list[Edit], today: int, oldest: int) -> None:
    """Give rows of some days new values, or take them away; no day is older than `oldest`."""
    for back, (project, model, api_key), amount in edits:
        edited = max(today - back * SECONDS_PER_DAY, oldest)
        key: RowKey
        values: tuple[Amount, ...]
        if api.endpoint is COSTS:
            key, values = (project, None, f"{model}, input", api_key, None, "usd"), (amount,)
        else:
            key, values = embedding(model, project, api_key=api_key), (abs(int(amount * 7)), abs(int(amount)))
        others = [row for row in api.rows.get(edited, []) if row[0] != key]
        api.rows[edited] = [*others, (key, values)] if any(values) else others


def _all_time(api: NaiveApi) -> Sums:
    sums: Sums = defaultdict(Fraction)
    for edited in api.rows:
        for name, value in api.sums(edited).items():
            sums[name] += value
    return sums


@pytest.mark.parametrize("api_tells_the_time", [True, False])
def test_a_clock_of_ours_that_was_days_ahead_at_the_first_answer_stops_no_counter(*, api_tells_the_time: bool) -> None:
    # Nothing lies in the window of a clock that is 40 days ahead.
    ahead = day(40) + 60
    api, account, random = NaiveApi(EMBEDDINGS), Account(EMBEDDINGS.api), Random(1)  # noqa: S311 - no secrets
    counted: list[Amount] = []
    for number, now in enumerate([ahead, day(0) + 60, day(1), day(2)]):
        today = day(number)
        api.rows[today] = [(embedding("m"), (100, 0))]
        start, end = read_window(EMBEDDINGS, account, now, 3)
        answered_at = today + 60 if api_tells_the_time else now
        read = api.answer(start, end, ("model",), today=today, answered_at=answered_at, order=random)
        settlement = settle(EMBEDDINGS, account, read, now=now, revision_days=3)
        account = settlement.account
        counted.append(posted(settlement))

    # The first answer that says anything is the zero line; the two days after it count.
    assert counted == [0, 0, 100, 100]
