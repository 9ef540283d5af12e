from decimal import Decimal
from fractions import Fraction

import pytest

from exporter.exact import Amount
from exporter.openai_api.answer import RowKey, RowValues
from exporter.openai_api.endpoints import ENDPOINTS
from exporter.pricing.estimates import added_up, estimate, token_counts
from exporter.pricing.price_book import PriceBook
from tests.answers import answer
from tests.pricing.bills import TODAY, Lines, bill

COMPLETIONS = ENDPOINTS["usage/completions"]
EMBEDDINGS = ENDPOINTS["usage/embeddings"]
LINES: Lines = {
    "gpt-5, input": (1, 1000),
    "gpt-5, cached input": ("0.1", 1000),
    "gpt-5, output": (8, 1000),
    "priority | gpt-5, input": (3, 1000),
    "text-embedding-3-small, input": ("0.02", 1000),
}
BOOK = PriceBook(bill(LINES), TODAY, {}, None)


def rows(api: str, *rows: dict[str, object]) -> list[tuple[RowKey, RowValues]]:
    return list(answer(api, {TODAY: list(rows)}, answered_at=TODAY).buckets[TODAY].items())


def estimated(api: str, **row: object) -> tuple[Amount, int]:
    ((key, values),) = rows(api, {"project_id": "proj_a", **row})
    return estimate(ENDPOINTS[api], key, values, BOOK)


def test_a_row_costs_each_of_its_tokens_at_its_price() -> None:
    row: dict[str, object] = {
        "model": "gpt-5",
        "service_tier": "default",
        "input_text_tokens": 500,
        "input_image_tokens": 500,
        "input_cached_unspecified_tokens": 2000,
        "output_text_tokens": 125,
        "num_model_requests": 9,
    }

    assert estimated("usage/completions", **row) == (Decimal("2.2"), 0)
    assert estimated("usage/decisions", **row) == (Decimal("2.2"), 0)


def test_a_row_told_apart_by_tier_costs_what_its_tier_costs_and_others_what_all_tiers_cost() -> None:
    for tier, usd in (("default", 1), ("priority", 3), (None, 2), ("auto", 2)):
        row = {"model": "gpt-5", "service_tier": tier, "input_text_tokens": 1000}
        assert estimated("usage/completions", **row) == (Decimal(usd), 0)


def test_embeddings_and_moderations_cost_their_input() -> None:
    assert estimated("usage/embeddings", model="text-embedding-3-small", input_unspecified_tokens=5000) == (
        Decimal("0.1"),
        0,
    )
    assert estimated("usage/moderations", model="gpt-5", input_unspecified_tokens=10) == (Decimal("0.02"), 0)


def test_tokens_without_a_price_are_counted_and_cost_nothing() -> None:
    assert estimated(
        "usage/completions", model="gpt-5", input_text_tokens=1000, input_cache_write_unspecified_tokens=7
    ) == (
        Decimal(2),
        7,
    )
    assert estimated("usage/completions", model="unheard-of", input_text_tokens=3, output_text_tokens=4) == (0, 7)
    assert estimated("usage/completions", model=None, input_text_tokens=3) == (0, 3)


@pytest.mark.parametrize("api", [api for api in ENDPOINTS if api != "costs"])
def test_only_tokens_cost_anything(api: str) -> None:
    endpoint = ENDPOINTS[api]
    values = tuple(0 if measure.endswith("_tokens") else 5 for measure in endpoint.measures)

    assert estimate(endpoint, ("gpt-5",) * len(endpoint.dimensions), values, BOOK) == (0, 0)


def test_a_row_of_costs_is_no_usage() -> None:
    costs = ENDPOINTS["costs"]

    assert estimate(costs, ("proj_a", None, "gpt-5, input", None, None, "usd"), (Decimal(5),), BOOK) == (0, 0)
    assert list(added_up(costs, {("proj_a", None, "gpt-5, input", None, None, "usd"): (Decimal(5),)})) == []


def test_an_estimate_is_exact_however_many_digits_prices_have() -> None:
    thirds = PriceBook(bill({"gpt-5, input": (1, 3), "gpt-5, output": (1, 7)}), TODAY, {}, None)
    ((key, values),) = rows(
        "usage/completions", {"model": "gpt-5", "input_text_tokens": 999_999_999_999_999, "output_text_tokens": 1}
    )
    usd, _ = estimate(COMPLETIONS, key, values, thirds)

    prices = [thirds.price("gpt-5", token_type, "text") for token_type in ("input", "output")]
    assert all(price is not None and len(price.usd_per_token.as_tuple().digits) == 28 for price in prices)
    input_price, output_price = (Fraction(price.usd_per_token) for price in prices if price)
    assert Fraction(usd) == input_price * 999_999_999_999_999 + output_price


def test_rows_that_cost_the_same_are_added_up() -> None:
    keyed = dict(
        rows(
            "usage/completions",
            {"api_key_id": "key_a", "model": "gpt-5", "service_tier": "default", "input_text_tokens": 1},
            {"api_key_id": "key_b", "model": "gpt-5", "service_tier": "default", "output_text_tokens": 10},
            {
                "api_key_id": "key_b",
                "model": "gpt-5",
                "service_tier": "default",
                "batch": "true",
                "input_text_tokens": 100,
            },
            {"api_key_id": "key_b", "model": "gpt-5", "service_tier": "priority", "input_text_tokens": 1000},
            {"api_key_id": "key_b", "model": None, "input_text_tokens": 10_000},
        )
    )
    counts = [count for key, values in added_up(COMPLETIONS, keyed) for count in token_counts(COMPLETIONS, key, values)]

    assert sorted(counts) == [
        ("", "input", "text", "", 10_000),
        ("gpt-5", "input", "text", "default", 101),
        ("gpt-5", "input", "text", "priority", 1000),
        ("gpt-5", "output", "text", "default", 10),
    ]


def test_rows_without_a_tier_dimension_are_added_up_too() -> None:
    keyed = dict(
        rows(
            "usage/embeddings",
            {"api_key_id": "key_a", "model": "text-embedding-3-small", "input_unspecified_tokens": 1},
            {"api_key_id": "key_b", "model": "text-embedding-3-small", "input_unspecified_tokens": 2},
        )
    )
    ((key, values),) = added_up(EMBEDDINGS, keyed)

    assert list(token_counts(EMBEDDINGS, key, values)) == [("text-embedding-3-small", "input", "unspecified", "", 3)]
