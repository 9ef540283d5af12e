from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.exact import EXACT
from exporter.openai_api.amounts import BadAmountError, parse_amount, parse_currency
from exporter.openai_api.pages import parse_json

AMOUNTS = st.decimals(
    min_value=Decimal(-999999999999999999), max_value=Decimal(999999999999999999), places=36, allow_nan=False
)


@pytest.mark.parametrize(
    ("spelled", "amount"),
    [
        (0, "0"),
        (7, "7"),
        (-3, "-3"),
        (Decimal("0.0025945"), "0.0025945"),
        ("0.003627500000000000000000000000000000", "0.0036275"),
        ("0E-6176", "0"),
        ("-0.00", "0"),
        ("1E+2", "100"),
        ("+.5", "0.5"),
        ("5.", "5"),
        ("-12.34", "-12.34"),
        ("1e-60", "1e-60"),
        ("0.5" + "0" * 500, "0.5"),
        ("999999999999999999.000000000000000000000000000001", "999999999999999999.000000000000000000000000000001"),
    ],
)
def test_an_amount_is_read_exactly_from_number_or_string(spelled: object, amount: str) -> None:
    assert parse_amount(spelled) == Decimal(amount)


@pytest.mark.parametrize(
    "spelled",
    [
        "NaN",
        "sNaN",
        "Infinity",
        "-inf",
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("-Infinity"),
        "1e-61",
        "0." + "1" * 61,
        "0." + "1" * 5000,
        "1e18",
        "-1000000000000000000",
        10**18,
        "1e999999999999999999999",
        "1e-999999999999999999999",
        "1e-1000500",
        "1" * 20_000,
        "",
        " 1",
        "1_000",
        "1,5",
        "0x10",
        "٣",
        True,
        1.5,
        [],
        {},
        None,
    ],
)
def test_what_is_no_amount_is_refused_without_being_repeated(spelled: object) -> None:
    with pytest.raises(BadAmountError) as refusal:
        parse_amount(spelled)
    assert len(str(refusal.value)) < 60


@given(AMOUNTS)
def test_number_and_string_mean_the_same_amount(amount: Decimal) -> None:
    as_number = parse_json(f"[{amount:f}]".encode())
    assert isinstance(as_number, list)
    assert parse_amount(as_number[0]) == parse_amount(str(amount)) == parse_amount(f"{amount:f}") == amount


@given(AMOUNTS, st.integers(0, 20))
def test_equal_amounts_are_spelled_alike(amount: Decimal, zeros: int) -> None:
    plain = f"{amount:f}"
    padded = plain + "0" * zeros if "." in plain else plain
    assert str(parse_amount(padded)) == str(parse_amount(plain))


@given(st.lists(AMOUNTS, max_size=50))
def test_sums_of_parsed_amounts_are_exact_in_any_order(amounts: list[Decimal]) -> None:
    def total(values: list[Decimal]) -> Decimal:
        result = Decimal(0)
        for value in values:
            result = EXACT.add(result, parse_amount(str(value)))
        return result

    exactly = sum(int(EXACT.scaleb(amount, 36)) for amount in amounts)
    assert total(amounts) == total(amounts[::-1])
    assert EXACT.scaleb(total(amounts), 36) == exactly


@pytest.mark.parametrize(("spelled", "code"), [("usd", "usd"), ("USD", "usd"), ("eur", "eur")])
def test_a_currency_is_read_in_lower_case(spelled: str, code: str) -> None:
    assert parse_currency(spelled) == code


@pytest.mark.parametrize("spelled", [None, "", "us", "usdt", "u$d", "usd\n", "ÜSD", 5, ["usd"]])
def test_what_is_no_currency_is_refused(spelled: object) -> None:
    with pytest.raises(BadAmountError):
        parse_currency(spelled)
