from decimal import Decimal

import pytest

from exporter.configuration.sections import ModelPrices
from exporter.pricing.price_book import Price, PriceBook
from tests.pricing.bills import TODAY, Lines, bill

CONFIGURED = {
    "gpt-6-astra": ModelPrices.model_validate({"input": "2e-6", "output": "8e-6", "audio": {"input": "4e-5"}}),
    "gpt-text": ModelPrices.model_validate({"input": "2e-6", "text": {"input": "1e-6"}}),
    "ft-gpt-4o-2024-08-06": ModelPrices.model_validate({"input": "3e-6"}),
    "gpt-free": ModelPrices.model_validate({"input": 0}),
}
BILLED: Lines = {
    "gpt-6-astra-2026-10-01, input": (1, 1_000_000),
    "priority | gpt-6-astra-2026-10-01, input": (2, 1_000_000),
}


def list_price(model: str, token_type: str, modality: str, day: int) -> Decimal | None:
    """A list that knows output of one model, from today on."""
    known = model == "gpt-6-astra" and token_type == "output" and modality == "text" and day == TODAY
    return Decimal("1e-5") if known else None


def test_what_is_billed_goes_before_what_is_configured_and_that_before_the_list() -> None:
    book = PriceBook(bill(BILLED), TODAY, CONFIGURED, list_price)
    unconfigured = PriceBook(bill(BILLED), TODAY, {}, list_price)

    assert book.price("gpt-6-astra", "input", "text") == Price(Decimal("1.5e-6"), "billed")
    assert book.price("gpt-6-astra", "output", "text") == Price(Decimal("8e-6"), "configured")
    assert unconfigured.price("gpt-6-astra", "output", "text") == Price(Decimal("1e-5"), "list")
    assert unconfigured.price("gpt-6-astra", "input_cached", "text") is None
    assert PriceBook({}, TODAY, {}, None).price("gpt-6-astra", "output", "text") is None


def test_a_negative_price_on_the_bill_leaves_the_word_to_the_configuration() -> None:
    refunded: Lines = {"gpt-6-astra, input": (-1, 1_000_000)}

    assert PriceBook(bill(refunded), TODAY, CONFIGURED, None).price("gpt-6-astra", "input", "text") == Price(
        Decimal("2e-6"), "configured"
    )
    assert list(PriceBook(bill(refunded), TODAY, CONFIGURED, None).billed_combinations()) == []


def test_a_configured_price_of_a_modality_holds_for_it_and_the_plain_one_for_the_rest() -> None:
    book = PriceBook({}, TODAY, CONFIGURED, None)

    assert book.price("gpt-6-astra", "input", "audio") == Price(Decimal("4e-5"), "configured")
    for modality in ("text", "image", "unspecified"):
        assert book.price("gpt-6-astra", "input", modality) == Price(Decimal("2e-6"), "configured")
    assert book.price("gpt-text", "input", "text") == Price(Decimal("1e-6"), "configured")
    assert book.price("gpt-text", "input", "unspecified") == Price(Decimal("2e-6"), "configured")
    assert book.price("gpt-6-astra", "output", "audio") == Price(Decimal("8e-6"), "configured")
    assert book.price("gpt-6-astra", "input_cached", "audio") is None


def test_a_configured_price_holds_for_other_spellings_and_never_for_a_base() -> None:
    book = PriceBook({}, TODAY, CONFIGURED, None)

    assert book.price("gpt-6-astra-2026-10-01", "input", "text") == Price(Decimal("2e-6"), "configured")
    assert book.price("ft:gpt-4o-2024-08-06:acme::b4x7q2", "input", "text") == Price(Decimal("3e-6"), "configured")
    assert book.price("gpt-4o-2024-08-06", "input", "text") is None


def test_a_configured_price_of_zero_is_a_price() -> None:
    assert PriceBook({}, TODAY, CONFIGURED, list_price).price("gpt-free", "input", "text") == Price(
        Decimal(0), "configured"
    )


def test_configured_and_list_prices_are_the_same_for_every_tier() -> None:
    configured = PriceBook({}, TODAY, CONFIGURED, None)
    listed = PriceBook({}, TODAY, {}, list_price)

    for tier in ("", "default", "priority", "flex"):
        assert configured.price("gpt-6-astra", "input", "text", tier) == Price(Decimal("2e-6"), "configured")
        assert listed.price("gpt-6-astra", "output", "text", tier) == Price(Decimal("1e-5"), "list")


@pytest.mark.parametrize("token_type", ["", "text", "audio", "inputs", "model_config"])
def test_an_unknown_token_type_has_no_price(token_type: str) -> None:
    assert PriceBook(bill(BILLED), TODAY, CONFIGURED, list_price).price("gpt-6-astra", token_type, "text") is None


def test_the_book_knows_the_bills_spelling_and_tiers() -> None:
    book = PriceBook(bill(BILLED), TODAY, {}, None)

    assert book.billed_name("gpt-6-astra") == "gpt-6-astra-2026-10-01"
    assert book.billed_tiers("gpt-6-astra") == {"default", "priority"}
    assert book.billed_name("gpt-5") is None
    assert book.billed_tiers("gpt-5") == frozenset()
    assert {combination.service_tier for combination in book.billed_combinations()} == {"", "default", "priority"}
