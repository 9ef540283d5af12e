from collections.abc import Mapping, Sequence
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.exact import Amount, subtract, total
from exporter.ledger.account import Rows
from exporter.ledger.regrouping import common_grain, credit, move_held, share
from exporter.openai_api.answer import RowKey, RowValues
from exporter.openai_api.endpoints import COSTS
from tests.ledger.examples import BY_KEY, BY_MODEL, EMBEDDINGS, cost, embedding, tokens

PROPERTY = settings(max_examples=150, deadline=None, database=None)
MODEL_GRAIN = common_grain(EMBEDDINGS.dimensions, BY_MODEL, BY_KEY)

COUNTS = st.integers(min_value=0, max_value=10**9)
MONEY = st.decimals(min_value=0, max_value=1000, places=36)


def m(api_key: str | None = None, model: str = "m") -> RowKey:
    return embedding(model, api_key=api_key)


def grand_total(rows: Rows, measure: int = 0) -> Amount:
    return total(values[measure] for values in rows.values())


# share: one amount over several wishes.


@pytest.mark.parametrize(
    ("whole", "wanted", "shares"),
    [
        (50, [60, 40], [30, 20]),
        (100, [60, 40], [60, 40]),
        (0, [60, 40], [0, 0]),
        (0, [0, 0], [0, 0]),
        # Never a fraction of a token: of 10 over three equal wishes 3, 3 and 4.
        (10, [7, 7, 7], [3, 3, 4]),
        (1, [5, 5], [0, 1]),
        # More than is wanted: each gets its wish, and the largest takes what is over.
        (110, [60, 40], [70, 40]),
        (110, [40, 60], [40, 70]),
        (5, [0, 0], [5, 0]),
        # Credits: the wishes as they are, the difference on the largest.
        (10, [-5, 20], [-5, 15]),
        (-7, [3, 4], [3, -10]),
    ],
)
def test_an_amount_is_shared_in_whole_units(whole: int, wanted: Sequence[Amount], shares: list[Amount]) -> None:
    assert share(whole, wanted) == shares


def test_money_is_shared_to_its_last_decimal() -> None:
    # Four units of the last decimal, asked for in the proportion 1 to 3.
    assert share(Decimal("4E-36"), [Decimal("1E-36") * 2, Decimal("6E-36")]) == [Decimal("1E-36"), Decimal("3E-36")]


@PROPERTY
@given(
    wanted=st.one_of(st.lists(COUNTS, min_size=1, max_size=6), st.lists(MONEY, min_size=1, max_size=6)),
    others=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_shares_sum_to_the_whole_and_none_exceeds_its_wish(wanted: list[Amount], others: list[bool]) -> None:
    whole = total(wish for wish, taken in zip(wanted, others, strict=False) if taken)

    shares = share(whole, wanted)

    assert total(shares) == whole
    assert all(0 <= each <= wish for each, wish in zip(shares, wanted, strict=True))


@PROPERTY
@given(
    whole=st.decimals(min_value=-1000, max_value=1000, places=36),
    wanted=st.lists(st.decimals(min_value=-1000, max_value=1000, places=36), min_size=1, max_size=6),
)
def test_shares_sum_to_the_whole_whatever_is_wanted(whole: Decimal, wanted: list[Amount]) -> None:
    shares = share(whole, wanted)

    assert total(shares) == whole
    # What is due to each, less what it has: all the growth falls on some, or all the fall; never both at once.
    changes = [subtract(wish, each) for wish, each in zip(wanted, shares, strict=True)]
    assert all(change >= 0 for change in changes) or all(change <= 0 for change in changes)


# credit: what a bucket's rows were counted for at the old grain, as the rows of the new grain.


def test_a_finer_grain_credits_each_key_with_its_part_of_what_was_counted() -> None:
    old = {m(): tokens(100)}
    new = {m("key_a"): tokens(60), m("key_b"): tokens(40)}

    assert credit(old, new, MODEL_GRAIN) == new


def test_growth_that_comes_with_a_finer_grain_falls_on_all_keys_alike() -> None:
    old = {m(): tokens(100)}
    new = {m("key_a"): tokens(150), m("key_b"): tokens(50)}

    # 100 of 200 were counted: half of each, so 75 and 25 are left to be posted.
    assert credit(old, new, MODEL_GRAIN) == {m("key_a"): tokens(75), m("key_b"): tokens(25)}


def test_a_coarser_grain_credits_the_one_row_with_all_that_its_keys_were_counted_for() -> None:
    old = {m("key_a"): tokens(60), m("key_b"): tokens(40), m(): tokens(5)}

    assert credit(old, {m(): tokens(110)}, MODEL_GRAIN) == {m(): tokens(105)}


def test_a_fall_that_comes_with_a_finer_grain_lands_on_the_largest_key_alone() -> None:
    old = {m(): tokens(100)}
    new = {m("key_a"): tokens(30), m("key_b"): tokens(50)}

    # 20 too many were counted. Nothing is posted for key_a, and 20 will be held back for key_b.
    assert credit(old, new, MODEL_GRAIN) == {m("key_a"): tokens(30), m("key_b"): tokens(70)}


def test_models_do_not_pay_for_each_other() -> None:
    old = {m(model="big"): tokens(100), m(model="small"): tokens(10)}
    new = {m("key_a", "big"): tokens(100), m("key_a", "small"): tokens(11), m("key_b", "small"): tokens(11)}

    assert credit(old, new, MODEL_GRAIN) == {
        m("key_a", "big"): tokens(100),
        m("key_a", "small"): tokens(5),
        m("key_b", "small"): tokens(5),
    }


def test_what_was_counted_for_rows_that_are_gone_keeps_a_key_of_its_own() -> None:
    old = {m("key_a"): tokens(60), m("key_b"): tokens(40)}

    assert credit(old, {}, MODEL_GRAIN) == {m(): tokens(100)}


def test_a_dimension_for_another_meets_at_what_both_have() -> None:
    by_user = ("project_id", "user_id", "model")
    old: Rows = {("proj_a", "user-1", None, "m"): (70, 7), ("proj_a", "user-2", None, "m"): (30, 3)}
    new: Rows = {("proj_a", None, "key_a", "m"): (100, 10)}

    assert credit(old, new, common_grain(EMBEDDINGS.dimensions, by_user, BY_KEY)) == new


def test_currencies_never_meet() -> None:
    reduce = common_grain(COSTS.dimensions, ("project_id", "line_item", "api_key_id"), ("project_id",))

    assert reduce(("proj_a", None, "gpt-5, input", "key_a", None, "usd")) == cost(None, currency="usd")
    assert reduce(("proj_a", None, "gpt-5, input", "key_a", None, "eur")) == cost(None, currency="eur")


AMOUNTS = st.one_of(st.just(0), st.integers(min_value=-50, max_value=10**6), st.integers(min_value=0, max_value=9))
FINE_ROWS = st.dictionaries(
    st.builds(m, st.sampled_from([None, "key_a", "key_b", "key_c"]), st.sampled_from(["m", "n"])),
    st.tuples(AMOUNTS, AMOUNTS),
    max_size=8,
)


@PROPERTY
@given(old=FINE_ROWS, new=FINE_ROWS, coarse_first=st.booleans())
def test_credits_sum_per_group_and_measure_to_what_was_counted(
    old: dict[RowKey, RowValues], new: dict[RowKey, RowValues], *, coarse_first: bool
) -> None:
    if coarse_first:
        old = {key: values for key, values in old.items() if key[2] is None}

    credited = credit(old, new, MODEL_GRAIN)

    for model in ("m", "n"):
        for measure in (0, 1):
            assert grand_total(_of(credited, model), measure) == grand_total(_of(old, model), measure)
    assert set(credited) <= {*new, m(), m(model="n")}


@PROPERTY
@given(old=FINE_ROWS, new=FINE_ROWS, order=st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_credit(
    old: dict[RowKey, RowValues], new: dict[RowKey, RowValues], order: Random
) -> None:
    old_again, new_again = list(old.items()), list(new.items())
    order.shuffle(old_again)
    order.shuffle(new_again)

    assert credit(dict(old_again), dict(new_again), MODEL_GRAIN) == credit(old, new, MODEL_GRAIN)


# move_held: what is held back, when the grain changes.


def test_a_coarser_grain_gathers_what_is_held_back() -> None:
    held = {m("key_a"): tokens(6), m("key_b"): tokens(4)}

    assert move_held(held, {}, [m()], MODEL_GRAIN) == {m(): tokens(10)}


def test_a_finer_grain_gives_what_is_held_back_to_keys_whose_growth_absorbs_it() -> None:
    held = {m(): tokens(10)}
    net = {m("key_b"): tokens(7), m("key_c"): tokens(9)}

    # key_a did not grow; key_b absorbs its 7, key_c the other 3.
    assert move_held(held, net, [m("key_a"), m("key_b"), m("key_c")], MODEL_GRAIN) == {
        m("key_b"): tokens(7),
        m("key_c"): tokens(3),
    }


def test_what_no_growth_absorbs_waits_at_the_first_key() -> None:
    held = {m(): tokens(10)}
    net = {m("key_b"): tokens(7)}

    assert move_held(held, net, [m("key_b"), m("key_a")], MODEL_GRAIN) == {
        m("key_a"): tokens(3),
        m("key_b"): tokens(7),
    }


def test_what_is_held_back_for_rows_that_are_gone_keeps_a_key_of_its_own() -> None:
    assert move_held({m("key_a"): tokens(10)}, {}, [m("key_a", "other")], MODEL_GRAIN) == {m(): tokens(10)}


@PROPERTY
@given(
    held=st.dictionaries(
        st.builds(m, st.sampled_from([None, "key_a", "key_b"]), st.sampled_from(["m", "n"])),
        st.tuples(st.integers(min_value=0, max_value=30), st.integers(min_value=0, max_value=30)),
        max_size=6,
    ),
    net=FINE_ROWS,
    more=FINE_ROWS,
)
def test_nothing_held_back_is_lost_or_turned_negative_on_the_move(
    held: dict[RowKey, RowValues], net: dict[RowKey, RowValues], more: dict[RowKey, RowValues]
) -> None:
    moved = move_held(held, net, {*net, *more}, MODEL_GRAIN)

    for model in ("m", "n"):
        for measure in (0, 1):
            assert grand_total(_of(moved, model), measure) == grand_total(_of(held, model), measure)
    assert all(value >= 0 for values in moved.values() for value in values)


def _of(rows: Mapping[RowKey, RowValues], model: str) -> Rows:
    return {key: values for key, values in rows.items() if key[3] == model}
