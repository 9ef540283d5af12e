from decimal import Decimal, FloatOperation, Inexact
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.exact import Amount, add, add_each, canonical, subtract, total

AMOUNTS = st.one_of(
    st.integers(min_value=-(10**18), max_value=10**18), st.decimals(min_value=-(10**17), max_value=10**17, places=60)
)


@settings(max_examples=200, deadline=None, database=None)
@given(AMOUNTS, AMOUNTS)
def test_sums_and_differences_are_exact(left: Amount, right: Amount) -> None:
    assert Fraction(add(left, right)) == Fraction(left) + Fraction(right)
    assert Fraction(subtract(left, right)) == Fraction(left) - Fraction(right)


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(AMOUNTS, max_size=20))
def test_a_total_is_exact_in_any_order(amounts: list[Amount]) -> None:
    assert Fraction(total(amounts)) == Fraction(total(reversed(amounts))) == sum(map(Fraction, amounts))


def test_counts_stay_counts() -> None:
    assert isinstance(total([1, 2]), int)
    assert isinstance(subtract(2, 1), int)
    assert add_each((1, Decimal("0.5")), (2, 1)) == (3, Decimal("1.5"))


def test_what_would_have_to_be_rounded_raises() -> None:
    with pytest.raises(Inexact):
        add(Decimal("1E+150"), Decimal("1E-60"))


def test_binary_floats_are_refused() -> None:
    with pytest.raises((FloatOperation, TypeError)):
        add(Decimal(1), 0.1)  # type: ignore[arg-type]  # the point of the test


@pytest.mark.parametrize(
    ("amount", "spelled"),
    [("0.003627500000000000000000000000000000", "0.0036275"), ("0E-6176", "0"), ("-0.00", "0"), ("-1.50", "-1.5")],
)
def test_the_canonical_spelling_has_no_trailing_zeros(amount: str, spelled: str) -> None:
    assert str(canonical(Decimal(amount))) == spelled
