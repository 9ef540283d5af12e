from dataclasses import replace
from decimal import Decimal

import pytest

from exporter.ledger.account import Account, Rows, held_by_measure
from exporter.ledger.settlement import Settlement, settle
from exporter.openai_api.answer import Answer
from exporter.openai_api.endpoints import COSTS, ENDPOINTS, Endpoint
from tests.ledger.examples import (
    BY_KEY,
    EMBEDDINGS,
    NOON,
    answer,
    cost,
    day,
    embedding,
    held,
    money,
    posted,
    tokens,
)

VECTOR_STORES = ENDPOINTS["usage/vector_stores"]
M, N = embedding("m"), embedding("n")


def settled(
    account: Account, news: Answer, *, endpoint: Endpoint = EMBEDDINGS, now: int | None = None, revision_days: int = 3
) -> Settlement:
    return settle(endpoint, account, news, now=news.answered_at if now is None else now, revision_days=revision_days)


def after(*answers: Answer, endpoint: Endpoint = EMBEDDINGS) -> Account:
    """Return the account after these answers."""
    account = Account(endpoint.api)
    for news in answers:
        account = settled(account, news, endpoint=endpoint).account
    return account


# Rule 8: no state.


def test_what_the_api_holds_at_the_first_answer_is_the_zero_line() -> None:
    first = settled(Account(EMBEDDINGS.api), answer({-1: {M: tokens(500)}, 0: {M: tokens(100)}}, window=(-3, 0)))

    assert first.postings == {}
    assert first.account.held == {}
    # Gauges are right at once, and the series is there to be seen at 0.
    assert first.account.buckets[day(-1)].rows == {M: tokens(500)}
    assert first.emerged.keys() == {M}


def test_growth_since_the_zero_line_is_posted_also_where_it_is_late() -> None:
    account = after(answer({-1: {M: tokens(500)}, 0: {M: tokens(100)}}, window=(-3, 0)))

    next_one = settled(account, answer({-1: {M: tokens(530)}, 0: {M: tokens(107)}}, window=(-3, 0)))

    assert next_one.postings == {M: tokens(37)}


def test_a_new_day_is_posted_whole() -> None:
    account = after(answer({0: {M: tokens(100)}}, window=(-3, 0)))

    assert settled(account, answer({0: {M: tokens(100)}, 1: {M: tokens(8)}}, window=(-3, 1))).postings == {M: tokens(8)}


def test_days_before_the_zero_line_are_never_posted_when_the_window_widens() -> None:
    account = after(answer({0: {M: tokens(100)}}, window=(-3, 0)))

    wider = settled(account, answer({-6: {M: tokens(9)}, 0: {M: tokens(100)}}, window=(-7, 0)), revision_days=7)

    assert wider.postings == {}
    assert wider.account.covered_from == day(-7)
    # They are remembered now: what is revised from here on counts.
    revised = answer({-6: {M: tokens(10)}, 0: {M: tokens(100)}}, window=(-7, 0))
    assert settled(wider.account, revised, revision_days=7).postings == {M: tokens(1)}


def test_a_fall_below_the_zero_line_is_held_back_too() -> None:
    account = after(answer({0: {M: tokens(100)}}, window=(-3, 0)), answer({0: {M: tokens(90)}}, window=(-3, 0)))

    assert held(account) == 10
    assert settled(account, answer({0: {M: tokens(115)}}, window=(-3, 0))).postings == {M: tokens(15)}


def test_an_answer_that_says_nothing_new_leaves_the_very_same_account() -> None:
    account = after(answer({0: {M: tokens(100)}}, window=(-3, 0)))

    again = answer({0: {M: tokens(100)}}, window=(-3, 0))

    assert settled(account, again).account is account
    assert settled(account, replace(again, answered_at=again.answered_at + 60)).account is account


@pytest.mark.parametrize(
    "news",
    [
        answer({0: {M: tokens(101)}}, window=(-3, 0)),
        answer({0: {M: tokens(100)}}, window=(-4, 0)),
        answer({0: {M: tokens(100)}, 1: {}}, window=(-2, 1)),
        replace(answer({0: {M: tokens(100)}}, window=(-3, 0)), grouping=BY_KEY),
    ],
    ids=["more tokens", "an older day", "a new day", "another grouping"],
)
def test_an_answer_that_says_anything_new_makes_another_account(news: Answer) -> None:
    account = after(answer({0: {M: tokens(100)}}, window=(-3, 0)))

    assert settled(account, news, revision_days=7).account is not account


# Rule 3: rows of a complete answer.


def test_a_row_missing_from_a_complete_answer_is_zero() -> None:
    account = after(answer({}, window=(-3, 0)), answer({0: {M: tokens(40), N: tokens(2)}}, window=(-3, 0)))

    gone = settled(account, answer({0: {N: tokens(2)}}, window=(-3, 0)))

    assert gone.postings == {}
    assert gone.changed == {day(0): {M: None}}
    assert gone.account.held == {M: tokens(40)}


def test_a_row_that_vanishes_and_returns_is_counted_once() -> None:
    full = answer({0: {M: tokens(40)}}, window=(-3, 0))
    account = after(answer({}, window=(-3, 0)), full, answer({}, window=(-3, 0)))

    back = settled(account, full)

    assert back.postings == {}
    assert back.account.held == {}


def test_a_bucket_that_the_api_leaves_out_is_an_empty_one() -> None:
    account = after(answer({}, window=(-3, 0)), answer({-1: {M: tokens(40)}}, window=(-3, 0)))
    news = answer({}, window=(-3, 0))

    without = replace(news, buckets={day(0): {}})

    assert settled(account, without).account.held == {M: tokens(40)}


# Rules 4 and 5: net changes, falls held back.


def test_the_same_answer_again_posts_nothing_and_changes_nothing() -> None:
    news = answer({-1: {M: tokens(5)}, 0: {M: tokens(100), N: tokens(3)}}, window=(-3, 0))
    account = after(answer({}, window=(-3, 0)), news)

    again = settled(account, news, now=news.answered_at + 60)

    assert (again.postings, again.changed, again.emerged) == ({}, {}, {})
    assert again.account == account


def test_a_key_posts_its_net_change_over_all_days() -> None:
    account = after(answer({}, window=(-3, 0)), answer({-1: {M: tokens(50)}, 0: {M: tokens(10)}}, window=(-3, 0)))

    # Yesterday falls by 20, today grows by 35.
    moved = settled(account, answer({-1: {M: tokens(30)}, 0: {M: tokens(45)}}, window=(-3, 0)))

    assert moved.postings == {M: tokens(15)}
    assert held(moved.account) == 0


def test_a_net_fall_is_held_back_until_growth_has_absorbed_it() -> None:
    window = (-3, 0)
    account = after(answer({}, window=window), answer({0: {M: tokens(100)}}, window=window))

    fallen = settled(account, answer({0: {M: tokens(88)}}, window=window))
    assert (posted(fallen), held(fallen.account)) == (0, 12)

    half_way = settled(fallen.account, answer({0: {M: tokens(95)}}, window=window))
    assert (posted(half_way), held(half_way.account)) == (0, 5)

    over = settled(half_way.account, answer({0: {M: tokens(103)}}, window=window))
    assert (posted(over), held(over.account)) == (3, 0)


def test_measures_of_one_row_are_held_back_each_for_itself() -> None:
    window = (-3, 0)
    account = after(answer({}, window=window), answer({0: {M: (100, 10)}}, window=window))

    mixed = settled(account, answer({0: {M: (90, 11)}}, window=window))

    assert mixed.postings == {M: (0, 1)}
    assert mixed.account.held == {M: (10, 0)}
    assert held_by_measure(EMBEDDINGS, mixed.account) == {"input_unspecified_tokens": 10, "num_model_requests": 0}


def test_one_key_does_not_absorb_what_another_holds_back() -> None:
    window = (-3, 0)
    account = after(answer({}, window=window), answer({0: {M: tokens(100)}}, window=window))

    swapped = settled(account, answer({0: {N: tokens(100)}}, window=window))

    assert swapped.postings == {N: tokens(100)}
    assert swapped.account.held == {M: tokens(100)}


# Rule 6, with the amounts OpenAI really sends.


def test_money_is_held_back_to_its_last_decimal() -> None:
    window = (-3, 0)
    item = cost("gpt-5.4-2026-03-05, output")
    # 37 digits: one nano-dollar would be lost by any arithmetic that rounds to 28.
    before, later = "7.003627500000000000000000000000000001", "5.000000000000000000000000000000000002"
    account = after(
        answer({}, api="costs", window=window),
        answer({0: {item: money(before)}}, api="costs", window=window),
        endpoint=COSTS,
    )

    fallen = settled(account, answer({0: {item: money(later)}}, api="costs", window=window), endpoint=COSTS)

    assert fallen.account.held == {item: money("2.003627499999999999999999999999999999")}
    back = settled(fallen.account, answer({0: {item: money(before)}}, api="costs", window=window), endpoint=COSTS)
    assert (back.postings, back.account.held) == ({}, {})


def test_a_credit_is_held_back_and_its_end_posts_nothing() -> None:
    window = (-3, 0)
    credit = cost("Promotional credit", None)
    account = after(
        answer({}, api="costs", window=window),
        answer({0: {credit: money("-5")}}, api="costs", window=window),
        endpoint=COSTS,
    )
    assert account.held == {credit: money("5")}

    gone = settled(account, answer({}, api="costs", window=window), endpoint=COSTS)

    assert (gone.postings, gone.account.held) == ({}, {})


def test_currencies_are_held_back_apart() -> None:
    window = (-3, 0)
    dollars, euros = cost("gpt-5, input"), cost("gpt-5, input", currency="eur")
    account = after(
        answer({}, api="costs", window=window),
        answer({0: {dollars: money("3"), euros: money("2")}}, api="costs", window=window),
        answer({0: {dollars: money("4"), euros: money("1.5")}}, api="costs", window=window),
        endpoint=COSTS,
    )

    assert held_by_measure(COSTS, account) == {"usd": 0, "eur": Decimal("0.5")}


# Rule 11: another grain.

A, B = embedding("m", api_key="key_a"), embedding("m", api_key="key_b")


def test_a_finer_grain_alone_posts_nothing() -> None:
    account = after(answer({}, window=(-3, 0)), answer({-1: {M: tokens(7)}, 0: {M: tokens(100)}}, window=(-3, 0)))
    finer = answer({-1: {B: tokens(7)}, 0: {A: tokens(60), B: tokens(40)}}, window=(-3, 0), grouping=BY_KEY)

    regrouped = settled(account, finer)

    assert regrouped.postings == {}
    assert regrouped.account.held == {}
    assert regrouped.account.grouping == BY_KEY
    # And back again.
    assert settled(regrouped.account, answer({-1: {M: tokens(7)}, 0: {M: tokens(100)}}, window=(-3, 0))).postings == {}


def test_growth_in_the_same_poll_as_a_finer_grain_is_posted_once() -> None:
    account = after(answer({}, window=(-3, 0)), answer({0: {M: tokens(100)}}, window=(-3, 0)))

    regrouped = settled(account, answer({0: {A: tokens(150), B: tokens(50)}}, window=(-3, 0), grouping=BY_KEY))

    # Half was counted before, so each posts its other half.
    assert regrouped.postings == {A: tokens(75), B: tokens(25)}


def test_what_was_held_back_at_the_old_grain_is_absorbed_at_the_new() -> None:
    account = after(
        answer({}, window=(-3, 0)),
        answer({0: {M: tokens(100)}}, window=(-3, 0)),
        answer({0: {M: tokens(90)}}, window=(-3, 0)),
    )

    # 90 were left; with 99 now 9 have come, and 1 of the 10 held back remains.
    regrouped = settled(account, answer({0: {A: tokens(99)}}, window=(-3, 0), grouping=BY_KEY))

    assert (posted(regrouped), held(regrouped.account)) == (0, 1)


def test_a_day_outside_the_window_keeps_the_grain_it_was_read_at() -> None:
    # The 28th of November is day 26. Costs of the whole previous month are kept.
    item, whole = cost("gpt-5, input"), cost(None)
    account = after(answer({-20: {item: money("4")}}, api="costs", window=(-32, 0), answered_at=day(0)), endpoint=COSTS)

    coarser = answer({0: {whole: money("1")}}, api="costs", window=(-3, 0), grouping=("project_id",))
    regrouped = settled(account, coarser, endpoint=COSTS).account

    assert regrouped.buckets[day(-20)].rows == {item: money("4")}
    assert regrouped.buckets[day(-20)].grouping == ("project_id", "line_item")
    assert regrouped.buckets[day(0)].grouping == ("project_id",)


# What self-metrics tell.


def test_changes_of_closed_days_are_revisions_and_those_of_the_open_day_are_not() -> None:
    account = after(answer({-1: {M: tokens(5), N: tokens(5)}, 0: {M: tokens(1)}}, window=(-3, 0)))

    revised = settled(account, answer({-1: {M: tokens(6), N: tokens(3)}, 0: {M: tokens(9)}}, window=(-3, 0)))

    assert (revised.revisions_up, revised.revisions_down) == (1, 1)


def test_neither_the_zero_line_nor_a_wider_window_counts_as_a_revision() -> None:
    first = settled(Account(EMBEDDINGS.api), answer({-1: {M: tokens(5)}}, window=(-3, 0)))
    assert (first.revisions_up, first.revisions_down) == (0, 0)

    wider = settled(first.account, answer({-6: {M: tokens(9)}, -1: {M: tokens(5)}}, window=(-7, 0)), revision_days=7)

    assert (wider.revisions_up, wider.revisions_down) == (0, 0)


def test_data_are_as_fresh_as_the_newest_change() -> None:
    account = after(answer({0: {M: tokens(5)}}, window=(-3, 0), answered_at=day(0) + 100))
    same = answer({0: {M: tokens(5)}}, window=(-3, 0), answered_at=day(0) + 200)
    more = answer({0: {M: tokens(6)}}, window=(-3, 0), answered_at=day(0) + 300)

    assert settled(account, same).account.changed_at == day(0) + 100
    assert settled(account, more).account.changed_at == day(0) + 300


def test_days_that_no_poll_reads_again_are_forgotten() -> None:
    account = after(answer({-3: {M: tokens(5)}}, window=(-3, 0)), answer({}, window=(-3, 1)))

    assert account.covered_from == day(-2)
    assert account.buckets.keys() <= {day(-2), day(-1), day(0), day(1)}
    # What had been taken back on the last look is held back all the same.
    assert held(account) == 5


def test_a_clock_set_back_brings_no_forgotten_day_to_life() -> None:
    news = {-9: {M: tokens(70)}, -8: {M: tokens(5)}}
    account = after(answer({0: {M: tokens(1)}}, window=(-3, 0)))

    set_back = settled(account, answer(news, window=(-10, -7)))

    assert (set_back.postings, set_back.changed, set_back.revisions_up) == ({}, {}, 0)
    assert set_back.account == account


def test_a_day_begun_by_a_fast_clock_of_ours_is_not_closed_before_the_api_closes_it() -> None:
    account = after(answer({0: {M: tokens(1)}}, window=(-3, 0)))
    # By our clock it is day 1 already, by the API's still day 0.
    news = answer({0: {M: tokens(2)}}, window=(-2, 1), answered_at=day(1) - 30)

    settlement = settled(account, replace(news, buckets={day(0): {M: tokens(2)}}), now=day(1) + 30)

    assert settlement.revisions_up == 0
    assert settlement.account.applied_through == day(0)


# A level is no flow.


def test_a_level_is_remembered_and_never_posted() -> None:
    rows: list[Rows] = [{("proj_a",): (5,)}, {("proj_a",): (9,)}, {}]
    account = Account(VECTOR_STORES.api)
    for number, levels in enumerate(rows):
        news = answer(
            {0: levels}, api=VECTOR_STORES.api, window=(-3, 0), grouping=("project_id",), answered_at=day(0) + number
        )
        settlement = settled(account, news, endpoint=VECTOR_STORES)
        account = settlement.account
        assert settlement.postings == {}
        assert account.held == {}
        assert account.buckets.get(day(0)) is not None
    assert account.buckets[day(0)].rows == {}


@pytest.mark.parametrize("hour", [0, NOON, 86_399])
def test_the_hour_of_a_poll_changes_nothing(hour: int) -> None:
    account = after(answer({0: {M: tokens(5)}}, window=(-3, 0)))

    settlement = settled(account, answer({0: {M: tokens(7)}}, window=(-3, 0), answered_at=day(0) + hour))

    assert settlement.postings == {M: tokens(2)}
    assert settlement.account.applied_through == day(0)
