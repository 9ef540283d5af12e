from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.exact import EXACT, Amount, subtract
from exporter.openai_api.answer import Billed, BilledItem, Quantities
from exporter.pricing.billed_prices import BilledPrices, Combination
from tests.pricing.bills import DAY, TODAY, YESTERDAY, Lines, bill

REALTIME: Lines = {
    "gpt-realtime text, input": (4, 1000),
    "gpt-realtime audio, input": (32, 1000),
    "gpt-realtime audio, cached input": (1, 1000),
}


def price(
    quantities: Mapping[int, Quantities],
    token_type: str = "input",  # noqa: S107 - no password
    modality: str = "text",
    service_tier: str = "",
    *,
    model: str = "gpt-5",
) -> Decimal | None:
    return BilledPrices(quantities, TODAY).price(Combination(model, token_type, modality, service_tier))


# Which days.


def test_a_price_is_the_amount_over_the_quantity_of_the_newest_seven_closed_days() -> None:
    week = [{"gpt-5, input": (1, 100 * (age + 1))} for age in range(7)]

    assert price(bill(*week)) == Decimal(7) / 2800
    assert price(bill(*week, {"gpt-5, input": (1000, 1)})) == Decimal(7) / 2800


def test_the_open_day_and_what_follows_never_count() -> None:
    closed = bill({"gpt-5, input": (1, 100)})

    assert price({**closed, **bill({"gpt-5, input": (50, 1)}, newest=TODAY)}) == Decimal("0.01")
    assert price({**closed, **bill({"gpt-5, input": (50, 1)}, newest=TODAY + DAY)}) == Decimal("0.01")
    assert price(bill({"gpt-5, input": (50, 1)}, newest=TODAY)) is None


def test_a_model_that_is_used_weekly_is_priced_over_its_own_newest_seven_days() -> None:
    eight_weeks = {TODAY - 7 * week * DAY: bill({"gpt-5, input": (week, 10)})[YESTERDAY] for week in range(1, 9)}

    assert price(eight_weeks) == Decimal(1 + 2 + 3 + 4 + 5 + 6 + 7) / 70


def test_days_without_tokens_are_passed_over() -> None:
    days: list[Lines] = [{"gpt-5, input": (0, 0)}, {"gpt-5, input": (-1, -100)}, *[{"gpt-5, input": (1, 50)}] * 8]

    assert price(bill(*days)) == Decimal("0.02")


# Which lines.


def test_long_contexts_and_surfaces_are_added_up_before_dividing() -> None:
    lines: Lines = {
        "gpt-5, input": (1, 100),
        "gpt-5, input, long context": (3, 100),
        "evals | gpt-5, input": (2, 200),
        "gpt-5, output": (40, 10),
    }

    assert price(bill(lines), service_tier="default") == Decimal("0.015")
    assert price(bill(lines)) == Decimal("0.015")


def test_each_tier_has_its_price_and_no_tier_means_all_of_them() -> None:
    lines: Lines = {
        "gpt-5, input": (10, 1000),
        "priority | gpt-5, input": (20, 1000),
        "flex | gpt-5, input": (3, 1000),
        "priority | gpt-5, input, long context": (40, 1000),
    }

    assert price(bill(lines), service_tier="default") == Decimal("0.01")
    assert price(bill(lines), service_tier="priority") == Decimal("0.03")
    assert price(bill(lines), service_tier="flex") == Decimal("0.003")
    assert price(bill(lines)) == Decimal("0.01825")
    assert price(bill(lines), service_tier="auto") == Decimal("0.01825")


def test_the_days_of_all_tiers_together_are_the_newest_seven_of_any() -> None:
    # Priority was used long ago: it has a price, but no part in what a token costs these days.
    days: list[Lines] = [*[{"gpt-5, input": (1, 100)}] * 7, {"priority | gpt-5, input": (9, 100)}]

    assert price(bill(*days), service_tier="priority") == Decimal("0.09")
    assert price(bill(*days)) == Decimal("0.01")


def test_each_modality_has_its_price_where_the_bill_tells_them_apart() -> None:
    assert price(bill(REALTIME), modality="text", model="gpt-realtime") == Decimal("0.004")
    assert price(bill(REALTIME), modality="audio", model="gpt-realtime") == Decimal("0.032")


def test_a_line_without_modality_prices_them_all() -> None:
    for modality in ("text", "audio", "image", "unspecified"):
        assert price(bill({"gpt-5, input": (1, 100)}), modality=modality) == Decimal("0.01")


def test_a_line_without_modality_prices_what_has_no_line_of_its_own() -> None:
    lines: Lines = {"gpt-5, input": (1, 100), "gpt-5 audio, input": (8, 100)}

    assert price(bill(lines), modality="audio") == Decimal("0.08")
    for modality in ("text", "image", "unspecified"):
        assert price(bill(lines), modality=modality) == Decimal("0.01")


@pytest.mark.parametrize("modality", ["unspecified", "image"])
def test_what_the_bill_does_not_name_costs_what_all_modalities_cost_together(modality: str) -> None:
    assert price(bill(REALTIME), modality=modality, model="gpt-realtime") == Decimal("0.018")


def test_a_modality_is_not_taken_for_another_because_that_one_has_the_tier() -> None:
    lines: Lines = {**REALTIME, "priority | gpt-realtime text, input": (8, 1000)}

    assert price(bill(lines), modality="audio", service_tier="priority", model="gpt-realtime") == Decimal("0.032")


def test_a_token_type_is_never_taken_for_another() -> None:
    assert price(bill({"gpt-5, input": (1, 100)}), "input_cached") is None
    assert price(bill({"gpt-5, input": (1, 100)}), "input_cache_write", "unspecified") is None
    assert price(bill(REALTIME), "output", "audio", model="gpt-realtime") is None


def test_what_is_free_costs_nothing() -> None:
    assert price(bill({"gpt-5, input": (0, 100)})) == 0


def test_a_negative_price_is_no_price() -> None:
    assert price(bill({"gpt-5, input": ("-0.01", 100)})) is None


@pytest.mark.parametrize(
    "unit", ["", "characters", "gibibyte_hours", "0_tokens", "01_tokens", "1000_tokens_2", "kilo_tokens"]
)
def test_only_what_is_counted_in_tokens_is_priced(unit: str) -> None:
    assert price(bill({f"gpt-5, input [{unit}]": (1, 100)})) is None


@pytest.mark.parametrize("line_item", ["whisper", "web search tool calls", "whisper-1, audio", "gpt-5"])
def test_lines_that_name_no_token_type_price_nothing(line_item: str) -> None:
    prices = BilledPrices(bill({line_item: (1, 100)}), TODAY)

    assert list(prices.combinations()) == []
    assert prices.name("gpt-5") is None


def test_thousands_and_millions_of_tokens_are_brought_down_to_one() -> None:
    lines: Lines = {"gpt-5, input [1000_tokens]": (2, 1), "gpt-5, output [1000000_tokens]": (10, "0.5")}

    assert price(bill(lines)) == Decimal("0.002")
    assert price(bill(lines), "output") == Decimal("0.00002")


def test_a_quotient_without_end_is_rounded_to_28_digits() -> None:
    assert price(bill({"gpt-5, input": (1, 3)})) == Decimal("0." + "3" * 28)


# Which names.


def test_a_model_is_found_in_the_bills_own_spelling() -> None:
    prices = BilledPrices(
        bill({"gpt-image-1 text, input": (1, 100), "gpt-image-2-2026-04-21 text, input": (2, 100)}), TODAY
    )

    assert prices.name("gpt-image-1-2025-04-23") == "gpt-image-1"
    assert prices.price(Combination("gpt-image-1-2025-04-23", "input", "text", "")) == Decimal("0.01")
    assert prices.price(Combination("gpt-image-2", "input", "text", "")) == Decimal("0.02")


def test_a_fine_tuned_model_never_costs_what_its_base_costs() -> None:
    base = bill({"gpt-4o-2024-08-06, input": (1, 100)})

    assert price(base, model="ft:gpt-4o-2024-08-06:acme::b4x7q2") is None
    assert price(base, model="gpt-4o") == Decimal("0.01")


def test_all_that_is_billed_is_named_by_tier_and_together() -> None:
    lines: Lines = {"gpt-5, input": (1, 1), "flex | gpt-5, input": (1, 1), "gpt-image-1 image, output": (1, 1)}

    assert sorted(BilledPrices(bill(lines), TODAY).combinations()) == [
        ("gpt-5", "input", "unspecified", ""),
        ("gpt-5", "input", "unspecified", "default"),
        ("gpt-5", "input", "unspecified", "flex"),
        ("gpt-image-1", "output", "image", ""),
        ("gpt-image-1", "output", "image", "default"),
    ]
    assert BilledPrices(bill(lines), TODAY).tiers("gpt-5") == {"default", "flex"}


# Whatever the bill.

LINE_ITEMS = [
    f"{prefix}gpt-5{modality}, {direction}"
    for prefix in ("", "priority | ")
    for modality in ("", " text", " audio")
    for direction in ("input", "cached input")
]
BILLS = st.dictionaries(
    st.integers(-10, 1).map(lambda days: TODAY + days * DAY),
    st.dictionaries(
        st.builds(BilledItem, st.sampled_from(LINE_ITEMS), st.sampled_from(["tokens", "1000_tokens"])),
        st.builds(
            Billed,
            st.integers(-(10**29), 10**32).map(lambda amount: EXACT.scaleb(amount, -30)),
            st.integers(-10, 10**9),
        ),
        max_size=6,
    ),
)
COMBINATIONS = st.builds(
    Combination,
    st.sampled_from(["gpt-5", "gpt-5-2026-01-01"]),
    st.sampled_from(["input", "input_cached"]),
    st.sampled_from(["text", "audio", "image", "unspecified"]),
    st.sampled_from(["", "default", "priority", "auto"]),
)
many = settings(max_examples=100, deadline=None, database=None)


@many
@given(BILLS, COMBINATIONS, st.randoms(use_true_random=False))
def test_no_price_depends_on_the_order_of_days_and_lines(
    quantities: dict[int, Quantities], combination: Combination, order: Random
) -> None:
    days = list(quantities)
    order.shuffle(days)
    shuffled = {day: dict(order.sample(list(quantities[day].items()), len(quantities[day]))) for day in days}

    assert BilledPrices(shuffled, TODAY).price(combination) == BilledPrices(quantities, TODAY).price(combination)


@many
@given(BILLS, COMBINATIONS, st.integers(-5, 10**9), st.decimals("-1", "1", places=20))
def test_no_price_depends_on_a_line_being_split_in_two(
    quantities: dict[int, Quantities], combination: Combination, part: int, usd: Decimal
) -> None:
    split = {day: dict(_split(items, part, usd)) for day, items in quantities.items()}

    assert BilledPrices(split, TODAY).price(combination) == BilledPrices(quantities, TODAY).price(combination)


def _split(items: Quantities, part: int, usd: Decimal) -> list[tuple[BilledItem, Billed]]:
    parts = []
    for item, billed in items.items():
        parts.append((item, Billed(subtract(billed.usd, usd), subtract(billed.quantity, part))))
        parts.append((BilledItem(f"{item.line_item}, long context", item.unit), Billed(usd, part)))
    return parts


@many
@given(BILLS, COMBINATIONS)
def test_no_price_depends_on_tokens_being_told_in_thousands(
    quantities: dict[int, Quantities], combination: Combination
) -> None:
    thousands = {day: _in_thousands(items) for day, items in quantities.items()}

    assert BilledPrices(thousands, TODAY).price(combination) == BilledPrices(quantities, TODAY).price(combination)


def _in_thousands(items: Quantities) -> Quantities:
    """Tell in thousands what is told in tokens, unless the line has thousands of its own."""
    told: dict[BilledItem, Billed] = {}
    for item, billed in items.items():
        in_thousands = BilledItem(item.line_item, "1000_tokens")
        if in_thousands in items:
            told[item] = billed
        else:
            told[in_thousands] = Billed(billed.usd, EXACT.divide(billed.quantity, 1000))
    return told


@many
@given(BILLS, BILLS, COMBINATIONS)
def test_nothing_billed_from_today_on_changes_a_price(
    quantities: dict[int, Quantities], later: dict[int, Quantities], combination: Combination
) -> None:
    closed = {day: items for day, items in quantities.items() if day < TODAY}
    open_days = {day: items for day, items in later.items() if day >= TODAY}

    assert BilledPrices(closed | open_days, TODAY).price(combination) == BilledPrices(closed, TODAY).price(combination)


@many
@given(
    st.dictionaries(
        st.integers(-20, 0).map(lambda days: TODAY + days * DAY),
        st.tuples(st.integers(0, 10**42).map(lambda amount: EXACT.scaleb(amount, -40)), st.integers(0, 10**12)),
    )
)
def test_the_price_of_one_line_is_what_fractions_make_of_it(days: dict[int, tuple[Amount, Amount]]) -> None:
    quantities = {day: {BilledItem("gpt-5, input", "tokens"): Billed(*billed)} for day, billed in days.items()}
    counting = sorted((day for day, (_, tokens) in days.items() if tokens and day < TODAY), reverse=True)[:7]
    found = price(quantities)

    if counting:
        amount, tokens = (sum((Fraction(days[day][part]) for day in counting), Fraction(0)) for part in (0, 1))
        true = amount / tokens
        assert found is not None
        assert abs(Fraction(found) - true) <= true / 10**27
    else:
        assert found is None
