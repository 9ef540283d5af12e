"""How much each amount on the bill bought, by line item and day: what prices are learned from."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.exact import subtract
from exporter.openai_api.answer import Billed, BilledItem, Quantities
from exporter.openai_api.endpoints import COSTS, USAGE_ENDPOINTS, Endpoint
from exporter.openai_api.reading import WindowReader
from exporter.openai_api.rows import DayRows, read_rows
from tests.openai_api.stand_ins import AUGUST, DAY, Clock, bucket, cost, page, pages

GROUPING = ("project_id", "line_item")
INPUT = BilledItem("gpt-5, input", "tokens")


def billed(value: object = 1, quantity: object = 100, *, unit: object = "tokens", **more: object) -> dict[str, object]:
    fields = {"line_item": "gpt-5, input", "quantity": quantity, "quantity_unit": unit, **more}
    return cost(value, **fields)


def read(*rows: object, grouping: Sequence[str] = GROUPING) -> DayRows:
    return read_rows(COSTS, grouping, rows)


def quantities(*rows: object) -> Quantities:
    day = read(*rows)
    assert not day.rejected
    return day.quantities


@pytest.mark.parametrize("quantity", [5189, Decimal(5189), "5189", "5189.000", "5.189e3"])
@pytest.mark.parametrize("amount", [Decimal("0.0025945"), "0.002594500000000000000000000000000000"])
def test_amount_and_quantity_are_read_exactly_however_they_are_spelled(amount: object, quantity: object) -> None:
    assert quantities(billed(amount, quantity)) == {INPUT: Billed(Decimal("0.0025945"), 5189)}


def test_quantities_may_have_parts() -> None:
    hours = billed(1, "33.600000000000000000000000000000000001", unit="gibibyte_hours", line_item="Vector storage")

    assert quantities(hours) == {
        BilledItem("Vector storage", "gibibyte_hours"): Billed(1, Decimal("33.600000000000000000000000000000000001"))
    }


def test_a_null_or_missing_quantity_leaves_its_amount_out_too() -> None:
    without = cost(7, line_item="gpt-5, input")

    assert quantities(billed(7, None), without) == {}
    # Else the price of the others would be too high.
    assert quantities(billed(1, 100), billed(7, None), without) == {INPUT: Billed(1, 100)}
    assert list(read(billed(1, 100), billed(7, None)).values.values()) == [(8,)]


def test_a_unit_nobody_named_is_empty_and_units_do_not_mix() -> None:
    rows = [billed(1, 10), billed(2, 20, unit=None), billed(3, 30, unit="1000_tokens"), billed(4, 40, unit="")]
    del rows[1]["quantity_unit"]

    assert quantities(*rows, billed(5, 50, unit=7), billed(6, 60)) == {
        INPUT: Billed(7, 70),
        INPUT._replace(unit=""): Billed(11, 110),
        INPUT._replace(unit="1000_tokens"): Billed(3, 30),
    }


def test_only_dollars_are_priced() -> None:
    euros = {**billed(5, 50), "amount": {"value": 5, "currency": "EUR"}}
    dollars = {**billed(1, 10), "amount": {"value": 1, "currency": "USD"}}

    assert quantities(euros, dollars) == {INPUT: Billed(1, 10)}
    assert quantities({**euros, "quantity": "no number"}) == {}


@pytest.mark.parametrize("quantity", ["many", "", "NaN", float("inf"), True, [5], {}, "1e18", "1e-61", "0." + "1" * 61])
def test_a_quantity_that_cannot_be_read_is_counted_and_costs_no_money(quantity: object) -> None:
    day = read(billed(1, 100), billed(7, quantity), billed(2, 200))

    assert day.rejected == {"invalid_quantity": 1}
    assert day.first_rejected == {"invalid_quantity": "results.1.quantity"}
    assert list(day.values.values()) == [(10,)]
    assert day.quantities == {INPUT: Billed(3, 300)}


def test_a_row_whose_amount_cannot_be_read_has_no_quantity_either() -> None:
    day = read(billed("NaN", 100), {**billed(), "amount": None}, {**billed(), "amount": {"value": 1, "currency": "$"}})

    assert day.quantities == {}
    assert day.rejected == {"invalid_value": 2, "missing_amount": 1}


def test_free_tokens_have_a_quantity_though_they_leave_no_row() -> None:
    day = read(billed(0, 100), billed("0E-6176", 50))

    assert day.values == {}
    assert day.quantities == {INPUT: Billed(0, 150)}


def test_what_was_taken_back_is_taken_off_both() -> None:
    assert quantities(billed(3, 300), billed(-1, -100)) == {INPUT: Billed(2, 200)}
    assert quantities(billed(3, 300), billed(-3, -300)) == {INPUT: Billed(0, 0)}


@pytest.mark.parametrize("grouping", [("project_id",), ()])
def test_there_are_no_quantities_where_line_items_were_not_asked_for(grouping: tuple[str, ...]) -> None:
    day = read(billed(1, 100), billed(1, "no number"), grouping=grouping)

    assert day.quantities == {}
    assert not day.rejected


@pytest.mark.parametrize("line_item", [None, ""])
def test_what_has_no_line_item_has_no_quantity(line_item: str | None) -> None:
    assert quantities(billed(1, 100, line_item=line_item)) == {}


@pytest.mark.parametrize("endpoint", USAGE_ENDPOINTS, ids=lambda endpoint: endpoint.operation)
def test_usage_has_no_quantities(endpoint: Endpoint) -> None:
    counts = dict.fromkeys((*endpoint.measures, "input_tokens", "output_tokens"), 3)
    row = {"object": endpoint.result_object, **counts, "quantity": 5, "line_item": "gpt-5, input"}

    assert read_rows(endpoint, endpoint.dimensions, [row]).quantities == {}


def test_an_answer_has_the_quantities_of_each_of_its_days_and_no_others() -> None:
    frames = [
        page([bucket(0, billed(1, 10), billed(2, 20, project_id="proj_b")), bucket(1)], "two"),
        page([bucket(2, billed(0, 30)), bucket(3, billed(9, 90))]),
    ]
    answer = WindowReader(pages(*frames), Clock()).read(COSTS, AUGUST, AUGUST + 3 * DAY, GROUPING)

    assert answer.quantities == {AUGUST: {INPUT: Billed(3, 30)}, AUGUST + 2 * DAY: {INPUT: Billed(0, 30)}}
    assert answer.buckets[AUGUST + 2 * DAY] == {}


MONEY = st.one_of(
    st.decimals(min_value=-1000, max_value=1000, places=36), st.integers(-5, 10**9).map(Decimal), st.just(Decimal(0))
)
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["gpt-5, input", "gpt-5, output", "whisper"]),
        st.sampled_from(["tokens", "duration_seconds", ""]),
        st.sampled_from(["proj_a", "proj_b", None]),
        MONEY,
        st.one_of(st.none(), st.integers(0, 10**15), MONEY),
    ),
    max_size=12,
)


CUTS = st.lists(st.integers(-100, 100), max_size=4)


@given(ROWS, CUTS, st.sampled_from([str, Decimal]), st.integers(0, 2**32).map(Random))
def test_rows_of_one_line_item_add_up_exactly_in_any_split_and_order(
    rows: list[tuple[str, str, str | None, Decimal, Decimal | int | None]],
    cuts: list[int],
    spelled: type,
    chance: Random,
) -> None:
    expected: dict[BilledItem, tuple[Fraction, Fraction]] = {}
    split: list[dict[str, object]] = []
    for line_item, unit, project, usd, quantity in rows:
        fields = {"unit": unit, "line_item": line_item, "project_id": project}
        if quantity is None:
            split.append(billed(spelled(usd), None, **fields))
            continue
        item = BilledItem(line_item, unit)
        before = expected.get(item, (Fraction(0), Fraction(0)))
        expected[item] = before[0] + Fraction(usd), before[1] + Fraction(quantity)
        last = subtract(usd, sum(cuts)), subtract(quantity, sum(cuts))
        split += [billed(spelled(cut), spelled(cut), **fields) for cut in cuts]
        split.append(billed(spelled(last[0]), spelled(last[1]), **fields))
    chance.shuffle(split)

    found = quantities(*split)

    assert {item: (Fraction(usd), Fraction(quantity)) for item, (usd, quantity) in found.items()} == expected
