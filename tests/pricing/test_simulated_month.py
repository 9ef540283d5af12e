"""Prices learned from the simulated bill, held against the simulator's price list and against the bill itself."""

from collections.abc import Collection, Iterable
from decimal import Decimal
from fractions import Fraction

import pytest

from exporter.days import SECONDS_PER_DAY as DAY
from exporter.exact import Amount, total
from exporter.line_items import parse_line_item
from exporter.openai_api.answer import Quantities
from exporter.pricing.estimates import estimate, token_counts
from exporter.pricing.price_book import Price, PriceBook
from exporter.simulator.measures import token_totals
from exporter.simulator.price_list import (
    BATCH_FACTOR,
    DISCOUNT,
    LONG_CONTEXT_FACTOR,
    MILLION,
    MODELS,
    TIER_FACTORS,
    TokenPrice,
)
from tests.pricing.simulated_bill import TODAY, TRAFFIC, known_quantities, settled_quantities, usage_rows

WEEK = range(TODAY - 7 * DAY, TODAY, DAY)
MONTH = range(TODAY - 31 * DAY, TODAY, DAY)
WITH_TIERS = ("project_id", "model", "service_tier")
WITHOUT_TIERS = ("project_id", "model")

# Called in one tier, never in batches or with long contexts: there is one price and no mix.
UNMIXED = {
    model
    for model in MODELS
    if not MODELS[model].unit_price and model not in {"gpt-5.6-terra", "gpt-5.6-sol", "o4-mini-2025-04-16"}
}
TOKEN_TYPES = ("input", "input_cached", "input_cache_write", "output")


@pytest.fixture(scope="module")
def bill() -> dict[int, Quantities]:
    """Six weeks and a half of settled days, and as much of today as there will ever be."""
    return {day: settled_quantities(day) for day in range(TODAY - 45 * DAY, TODAY + DAY, DAY)}


@pytest.fixture(scope="module")
def book(bill: dict[int, Quantities]) -> PriceBook:
    return PriceBook(bill, TODAY, {}, None)


def contract_price(per_million: Decimal, factor: Decimal = Decimal(1)) -> Price:
    """What one token costs this organization."""
    return Price(per_million * factor * DISCOUNT / MILLION, "billed")


def list_prices(model: str) -> dict[tuple[str, str], Decimal]:
    """US dollars per million tokens, by token type and modality as usage tells them."""
    known = MODELS[model]
    modalities: dict[str, TokenPrice | None] = {"text": known.text, "audio": known.audio, "image": known.image}
    if not known.per_modality:
        modalities = dict.fromkeys(("text", "audio", "image", "unspecified"), known.text)
    prices = {("input_cache_write", "unspecified"): known.text.cache_writes}
    for modality, price in modalities.items():
        if price is not None:
            prices["input", modality] = price.input
            prices["input_cached", modality] = price.cached_input
            prices["output", modality] = price.output
    return prices


def used_combinations(days: Iterable[int]) -> set[tuple[str, str, str, str]]:
    """Model, token type, modality and service tier of all usage; embeddings and moderations know no tier."""
    return {
        (count.model, count.token_type, count.modality, count.service_tier)
        for day in days
        for endpoint, key, values in usage_rows(day, WITH_TIERS)
        for count in token_counts(endpoint, key, values)
    }


def test_learned_prices_are_the_contracts_for_every_kind_of_token(book: PriceBook) -> None:
    used = {combination for combination in used_combinations(WEEK) if combination[0] in UNMIXED}

    for model, token_type, modality, tier in used:
        price = contract_price(list_prices(model)[token_type, modality])
        assert book.price(model, token_type, modality, tier) == price
        assert book.price(model, token_type, modality) == price
    assert {model for model, *_ in used} == UNMIXED
    assert {(token_type, modality) for _, token_type, modality, _ in used} >= {
        (token_type, modality)
        for token_type in ("input", "input_cached", "output")
        for modality in ("text", "audio", "image", "unspecified")
    }


def test_learned_prices_tell_tiers_apart_where_all_of_one_cost_the_same(book: PriceBook) -> None:
    for (token_type, modality), price in list_prices("gpt-5.6-terra").items():
        for tier in ("default", "priority"):
            # Nobody writes to the cache with priority: there all tiers are the default one.
            factor = TIER_FACTORS["default" if token_type == "input_cache_write" else tier]
            assert book.price("gpt-5.6-terra", token_type, modality, tier) == contract_price(price, factor)


def test_a_learned_price_is_that_of_batches_where_all_is_batches(book: PriceBook) -> None:
    prices = list_prices("o4-mini-2025-04-16")
    for (token_type, modality), price in prices.items():
        if token_type != "input_cache_write":
            learned = contract_price(price, BATCH_FACTOR)
            assert book.price("o4-mini-2025-04-16", token_type, modality, "default") == learned
            assert book.price("o4-mini-2025-04-16", token_type, modality, "flex") == learned


def true_mix(model: str, tier: str | None) -> dict[str, Fraction]:
    """What a token really cost over the week, from what happened, tiers, batches and long contexts together."""
    text = MODELS[model].text
    per_million = (text.input, text.cached_input, text.cache_writes, text.output)
    usd = dict.fromkeys(TOKEN_TYPES, Fraction(0))
    tokens = dict.fromkeys(TOKEN_TYPES, 0)
    cells = [cell for day in WEEK for cell in TRAFFIC.plan(day) if not cell.vanishes]
    for use, measures in ((cell.stream.use, cell.measures) for cell in cells):
        if use.model == model and use.api == "usage/completions" and tier in (None, use.service_tier):
            factor = TIER_FACTORS[use.service_tier] * (BATCH_FACTOR if use.batch else 1)
            for token_type, count, price in zip(TOKEN_TYPES, token_totals(measures), per_million, strict=True):
                long = int(count * use.long_context)
                paid = count - long + long * Fraction(LONG_CONTEXT_FACTOR)
                usd[token_type] += paid * Fraction(factor * price * DISCOUNT / MILLION)
                tokens[token_type] += count
    return {token_type: usd[token_type] / count for token_type, count in tokens.items() if count}


@pytest.mark.parametrize(
    ("model", "tier"),
    [
        ("gpt-5.6-sol", "default"),
        ("gpt-5.6-sol", "priority"),
        ("gpt-5.6-sol", ""),
        ("gpt-5.6-terra", ""),
        ("o4-mini-2025-04-16", ""),
    ],
)
def test_a_learned_price_of_a_mix_is_the_true_mix(book: PriceBook, model: str, tier: str) -> None:
    mix = true_mix(model, tier or None)

    assert len(mix) >= 3
    for token_type, true in mix.items():
        price = book.price(model, token_type, "unspecified", tier)
        assert price is not None
        assert abs(Fraction(price.usd_per_token) - true) < true / 10**20


def test_the_simulated_mixes_are_mixes() -> None:
    plain = {model: Fraction(MODELS[model].text.output * DISCOUNT / MILLION) for model in MODELS}

    for model, tier in (("gpt-5.6-sol", "default"), ("gpt-5.6-sol", "priority"), ("gpt-5.6-terra", None)):
        assert true_mix(model, tier)["output"] > plain[model] * Fraction("1.01")


def estimated_and_billed(bill: dict[int, Quantities], grouping: Collection[str]) -> dict[int, tuple[Amount, Amount]]:
    """Of each day of the month: usage at the prices known when the day ended, and what its token lines came to."""
    compared = {}
    for day in MONTH:
        # The bill as it stood at the day's end: the last days not settled yet, the day itself still open.
        end = day + DAY
        known = {past: bill[past] for past in bill if past < day - 2 * DAY}
        known |= {recent: known_quantities(recent, end) for recent in range(day - 2 * DAY, end, DAY)}
        book = PriceBook(known, day, {}, None)
        estimates = [estimate(endpoint, key, values, book) for endpoint, key, values in usage_rows(day, grouping)]
        assert sum(unpriced for _, unpriced in estimates) == 0
        billed = [billed.usd for item, billed in bill[day].items() if parse_line_item(item.line_item).token_type]
        compared[day] = total(usd for usd, _ in estimates), total(billed)
    return compared


def is_within_one_per_cent(estimated: Amount, billed: Amount) -> bool:
    return abs(Fraction(estimated) - Fraction(billed)) < Fraction(billed) / 100


def test_every_closed_days_estimate_is_within_one_per_cent_of_its_bill(bill: dict[int, Quantities]) -> None:
    for estimated, billed in estimated_and_billed(bill, WITH_TIERS).values():
        assert billed > 100
        assert is_within_one_per_cent(estimated, billed)


def test_without_service_tiers_in_usage_a_whole_month_still_is(bill: dict[int, Quantities]) -> None:
    # Not every day: what is used with priority does not rest at the weekend, and a week's mix of tiers is none of a
    # Sunday's. That is why usage has to be told apart by tier.
    days = estimated_and_billed(bill, WITHOUT_TIERS).values()
    estimated, billed = (total(day[part] for day in days) for part in (0, 1))

    assert is_within_one_per_cent(estimated, billed)
