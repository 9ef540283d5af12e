import socket
import sys
from decimal import Decimal

import pytest
from genai_prices.data import providers
from genai_prices.types import ModelPrice, TieredPrices

from exporter.pricing.list_prices import ListPrice, load_list_prices

MILLION = 1_000_000
# 2026-11-02 UTC.
NOW = 1_793_577_600
# 2025-06-01 and 2025-07-01 UTC; o3 became cheaper in between.
BEFORE_O3_FELL, AFTER_O3_FELL = 1_748_736_000, 1_751_328_000


@pytest.fixture
def list_price(monkeypatch: pytest.MonkeyPatch) -> ListPrice:
    """The list, on a machine without a network."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a price list must not ask the network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    loaded = load_list_prices()
    assert loaded is not None
    return loaded


@pytest.mark.parametrize(
    ("model", "token_type", "modality", "per_million"),
    [
        ("gpt-4o-2024-08-06", "input", "unspecified", "2.5"),
        ("gpt-4o-2024-08-06", "input", "text", "2.5"),
        ("gpt-4o-2024-08-06", "input", "image", "2.5"),
        ("gpt-4o-2024-08-06", "input_cached", "text", "1.25"),
        ("gpt-4o-2024-08-06", "output", "unspecified", "10"),
        ("gpt-realtime-2025-08-28", "input", "text", "4"),
        ("gpt-realtime-2025-08-28", "input", "audio", "32"),
        ("gpt-realtime-2025-08-28", "input_cached", "audio", "0.4"),
        ("gpt-realtime-2025-08-28", "output", "audio", "64"),
        ("gpt-image-1", "input", "image", "10"),
        ("gpt-image-1", "input_cached", "image", "2.5"),
        ("gpt-5.6-sol", "input_cache_write", "unspecified", "5"),
        ("text-embedding-3-small", "input", "unspecified", "0.02"),
        ("ft:gpt-4o-2024-08-06:acme::b4x7q2", "input", "text", "3.75"),
        ("omni-moderation-latest", "input", "unspecified", "0"),
    ],
)
def test_the_list_says_what_one_token_costs(
    list_price: ListPrice, model: str, token_type: str, modality: str, per_million: str
) -> None:
    price = list_price(model, token_type, modality, NOW)

    assert price == Decimal(per_million) / MILLION


@pytest.mark.parametrize(
    ("model", "token_type", "modality"),
    [
        ("gpt-from-the-future", "input", "text"),
        ("mistral-large-latest", "input", "text"),
        ("", "input", "text"),
        ("ft-gpt-4o-2024-08-06", "input", "text"),
        # The list has no such price, and plain input or text is another.
        ("ft:gpt-4o-2024-08-06:acme::b4x7q2", "input_cached", "text"),
        ("gpt-4o-2024-08-06", "input_cache_write", "unspecified"),
        ("gpt-4o-2024-08-06", "input", "audio"),
        ("text-embedding-3-small", "output", "unspecified"),
        ("whisper-1", "input", "audio"),
        ("gpt-4o-2024-08-06", "sideways", "text"),
    ],
)
def test_what_the_list_does_not_say_has_no_price(
    list_price: ListPrice, model: str, token_type: str, modality: str
) -> None:
    assert list_price(model, token_type, modality, NOW) is None


def test_tiered_prices_are_those_of_small_calls(list_price: ListPrice) -> None:
    (openai,) = (provider for provider in providers if provider.id == "openai")
    tiered = {
        model.id: (model.prices.input_mtok, model.prices.output_mtok)
        for model in openai.models
        if isinstance(model.prices, ModelPrice) and isinstance(model.prices.input_mtok, TieredPrices)
    }

    assert tiered
    for model, prices in tiered.items():
        for token_type, price in zip(("input", "output"), prices, strict=True):
            assert isinstance(price, TieredPrices)
            assert list_price(model, token_type, "text", NOW) == price.base / MILLION


def test_the_price_is_the_one_of_the_day(list_price: ListPrice) -> None:
    assert list_price("o3", "input", "text", BEFORE_O3_FELL) == Decimal(10) / MILLION
    assert list_price("o3", "input", "text", AFTER_O3_FELL) == Decimal(2) / MILLION


def test_without_the_package_there_is_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)

    assert load_list_prices() is None
