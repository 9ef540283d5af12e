from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import pairwise

import pytest

from exporter.exact import Amount
from exporter.ledger.account import Account, Bucket
from exporter.ledger.counters import SeriesName
from exporter.metrics.catalogue import EFFECTIVE_PRICE, UNPRICED_TOKENS
from exporter.metrics.price_gauges import CountedTokens, EffectivePrices, price_gauges
from exporter.openai_api.answer import RowKey, RowValues
from exporter.openai_api.endpoints import ENDPOINTS
from exporter.pricing.estimates import token_counts
from exporter.pricing.price_book import PriceBook
from tests.answers import Rows, answer
from tests.pricing import simulated_bill
from tests.pricing.bills import DAY, TODAY, YESTERDAY, Lines, bill

COMPLETIONS, EMBEDDINGS = "usage/completions", "usage/embeddings"
LINES: Lines = {
    "gpt-5, input": (1, 1000),
    "priority | gpt-5, input": (3, 1000),
    "gpt-image-1 image, output": (4, 1000),
    "gpt-old-2024-01-01, input": (5, 1000),
}


def accounts(**rows_by_operation: Mapping[int, Rows]) -> dict[str, Account]:
    """An account of every API; those named have rows by day."""
    known = {api: Account(api) for api in ENDPOINTS}
    for operation, days in rows_by_operation.items():
        api = f"usage/{operation}"
        buckets = answer(api, days, answered_at=TODAY).buckets
        known[api] = Account(api, buckets={day: Bucket((), rows) for day, rows in buckets.items()})
    return known


def prices(known: Mapping[str, Account], book: PriceBook) -> dict[tuple[str, ...], Amount]:
    """Label values to price."""
    series = price_gauges(known, book, TODAY)[EFFECTIVE_PRICE]
    assert all(name.family == EFFECTIVE_PRICE.name for name in series)
    assert all(tuple(label for label, _ in name.labels) == EFFECTIVE_PRICE.labels for name in series)
    assert all(isinstance(price, Decimal) for price in series.values())
    return {tuple(value for _, value in name.labels): price for name, price in series.items()}


def unpriced(known: Mapping[str, Account], book: PriceBook) -> dict[SeriesName, Amount]:
    return price_gauges(known, book, TODAY)[UNPRICED_TOKENS]


def unpriced_of(model: str) -> SeriesName:
    return SeriesName("openai_exporter_unpriced_tokens", (("model", model),))


def test_used_models_are_priced_under_usages_spelling_and_others_under_the_bills() -> None:
    usage: Rows = [{"model": "gpt-image-1-2025-04-23", "output_image_tokens": 5}]
    found = prices(accounts(completions={YESTERDAY: usage}), PriceBook(bill(LINES), TODAY, {}, None))

    assert found == {
        ("gpt-image-1-2025-04-23", "output", "image", "", "billed"): Decimal("0.004"),
        ("gpt-image-1-2025-04-23", "output", "image", "default", "billed"): Decimal("0.004"),
        ("gpt-5", "input", "unspecified", "", "billed"): Decimal("0.002"),
        ("gpt-5", "input", "unspecified", "default", "billed"): Decimal("0.001"),
        ("gpt-5", "input", "unspecified", "priority", "billed"): Decimal("0.003"),
        ("gpt-old-2024-01-01", "input", "unspecified", "", "billed"): Decimal("0.005"),
        ("gpt-old-2024-01-01", "input", "unspecified", "default", "billed"): Decimal("0.005"),
    }


def test_a_tier_that_only_usage_knows_has_its_series_too() -> None:
    usage: Rows = [{"model": "gpt-5", "service_tier": "auto", "input_text_tokens": 5}]
    found = prices(accounts(completions={TODAY: usage}), PriceBook(bill(LINES), TODAY, {}, None))

    assert found["gpt-5", "input", "text", "auto", "billed"] == Decimal("0.002")
    assert found["gpt-5", "input", "text", "priority", "billed"] == Decimal("0.003")
    assert found["gpt-5", "input", "text", "", "billed"] == Decimal("0.002")


def test_where_a_price_comes_from_is_a_label() -> None:
    book = PriceBook({}, TODAY, {}, lambda _model, _type, _modality, _day: Decimal("1e-6"))
    usage: Rows = [{"model": "gpt-5", "input_text_tokens": 5}]

    assert prices(accounts(completions={TODAY: usage}), book) == {
        ("gpt-5", "input", "text", "", "list"): Decimal("1e-6")
    }


def test_tokens_of_today_and_yesterday_without_a_price_are_counted_by_model() -> None:
    known = accounts(
        completions={
            TODAY + DAY: [{"model": "gpt-new", "input_text_tokens": 100_000}],
            TODAY: [
                {"project_id": "proj_a", "model": "gpt-new", "input_text_tokens": 1, "output_text_tokens": 2},
                {"project_id": "proj_b", "model": "gpt-new", "service_tier": "flex", "input_text_tokens": 4},
                {"model": "gpt-5", "input_text_tokens": 8},
            ],
            YESTERDAY: [{"model": "gpt-new", "input_audio_tokens": 16}, {"model": "gpt-5", "output_text_tokens": 32}],
            YESTERDAY - DAY: [{"model": "gpt-new", "input_text_tokens": 100_000}],
        },
        embeddings={TODAY: [{"model": "gpt-new", "input_unspecified_tokens": 64}, {"input_unspecified_tokens": 128}]},
    )

    # Of gpt-5 only input is billed.
    assert unpriced(known, PriceBook(bill(LINES), TODAY, {}, None)) == {
        unpriced_of("gpt-new"): 1 + 2 + 4 + 16 + 64,
        unpriced_of("gpt-5"): 32,
        unpriced_of(""): 128,
    }


def test_nothing_is_said_of_models_whose_tokens_all_have_a_price() -> None:
    known = accounts(completions={TODAY: [{"model": "gpt-5", "input_text_tokens": 8}]})

    assert unpriced(known, PriceBook(bill(LINES), TODAY, {}, None)) == {}


def test_there_are_gauges_before_anything_was_read() -> None:
    assert prices({}, PriceBook({}, TODAY, {}, None)) == {}
    assert prices(accounts(), PriceBook({}, TODAY, {}, None)) == {}


def test_what_is_remembered_of_earlier_polls_says_what_is_worked_out_anew() -> None:
    tokens, remembered = CountedTokens(), EffectivePrices()
    first, dearer = (
        PriceBook(bill(LINES), TODAY, {}, None),
        PriceBook(bill({"gpt-5, input": (9, 1000)}), TODAY, {}, None),
    )
    priced: Rows = [{"model": "gpt-5", "input_text_tokens": 5}]
    unknown: Rows = [{"model": "gpt-none", "input_text_tokens": 7}]
    seen = []
    for days, book in (
        ({YESTERDAY: priced}, first),
        ({YESTERDAY: priced, TODAY: unknown}, first),
        ({YESTERDAY: priced, TODAY: [*unknown, {"model": "gpt-image-1-2025-04-23", "output_image_tokens": 3}]}, first),
        ({YESTERDAY: priced}, first),
        ({YESTERDAY: priced}, dearer),
        ({YESTERDAY: unknown}, dearer),
    ):
        known = accounts(completions=days)
        gauges = price_gauges(known, book, TODAY, tokens=tokens, prices=remembered)
        assert gauges == price_gauges(known, book, TODAY)
        # Nothing changed: the same again.
        assert gauges == price_gauges(known, book, TODAY, tokens=tokens, prices=remembered)
        seen.append(gauges)
    assert all(before != after for before, after in pairwise(seen))


@pytest.mark.parametrize("grouping", [("model",), ("model", "service_tier", "api_key_id")])
def test_every_token_of_simulated_usage_meets_exactly_one_price(grouping: tuple[str, ...]) -> None:
    today = simulated_bill.TODAY
    days = range(today - 3 * DAY, today + DAY, DAY)
    book = PriceBook(
        {day: simulated_bill.settled_quantities(day) for day in range(today - 14 * DAY, today + DAY, DAY)},
        today,
        {},
        None,
    )
    known = simulated_accounts(days, grouping)
    gauges = price_gauges(known, book, today)

    joined = [tuple(value for label, value in name.labels if label != "source") for name in gauges[EFFECTIVE_PRICE]]
    assert len(joined) == len(set(joined))
    used = {
        (count.model, count.token_type, count.modality, count.service_tier)
        for api, account in known.items()
        for bucket in account.buckets.values()
        for key, values in bucket.rows.items()
        for count in token_counts(ENDPOINTS[api], key, values)
    }
    assert len(used) > 30
    # With the label service_tier and without it.
    assert used <= set(joined)
    assert {(model, token_type, modality, "") for model, token_type, modality, _ in used} <= set(joined)
    assert {"gpt-image-1", "gpt-image-2-2026-04-21", "ft-gpt-4o-2024-08-06"}.isdisjoint({model for model, *_ in joined})
    assert gauges[UNPRICED_TOKENS] == {}


def simulated_accounts(days: Iterable[int], grouping: tuple[str, ...]) -> dict[str, Account]:
    rows: dict[str, dict[int, dict[RowKey, RowValues]]] = {}
    for day in days:
        for endpoint, key, values in simulated_bill.usage_rows(day, grouping):
            rows.setdefault(endpoint.api, {}).setdefault(day, {})[key] = values
    return {
        api: Account(api, buckets={day: Bucket(grouping, bucket) for day, bucket in by_day.items()})
        for api, by_day in rows.items()
    }
