"""Gauges of what one token costs, and of the tokens whose price nobody knows. Pure."""

from collections.abc import Iterator, Mapping

from exporter.days import SECONDS_PER_DAY
from exporter.exact import Amount, add
from exporter.ledger.account import Account
from exporter.ledger.counters import SeriesName
from exporter.metrics.catalogue import EFFECTIVE_PRICE, UNPRICED_TOKENS
from exporter.metrics.event_gauges import Gauges
from exporter.openai_api.endpoints import USAGE_ENDPOINTS
from exporter.pricing.billed_prices import ALL_TIERS, Combination
from exporter.pricing.estimates import TokenCount, added_up, token_counts
from exporter.pricing.price_book import PriceBook


def price_gauges(accounts: Mapping[str, Account], book: PriceBook, today: int) -> Gauges:
    """Return the effective prices, and the tokens of today and yesterday that have none.

    Every kind of token that the remembered days have is priced under usage's spelling of its model, which is what rules
    join with, exactly once per model, token type, modality and service tier: without a tier for rows that are not told
    apart by it, and by each tier that usage or the bill names. What else the bill has a price for is there under the
    bill's spelling.

    Args:
        accounts: the ledger by `api`.
        book: the prices.
        today: the UTC midnight of the open day.
    """
    used: dict[Combination, None] = {}
    unpriced: dict[str, Amount] = {}
    for day, count in _counted(accounts):
        combination = Combination(count.model, count.token_type, count.modality, count.service_tier)
        used[combination] = None
        if today - SECONDS_PER_DAY <= day <= today and book.price(*combination) is None:
            unpriced[count.model] = add(unpriced.get(count.model, 0), count.tokens)
    return {
        EFFECTIVE_PRICE: dict(_prices(book, used)),
        UNPRICED_TOKENS: {
            SeriesName(UNPRICED_TOKENS.name, (("model", model),)): tokens for model, tokens in unpriced.items()
        },
    }


def _counted(accounts: Mapping[str, Account]) -> Iterator[tuple[int, TokenCount]]:
    for endpoint in USAGE_ENDPOINTS:
        if endpoint.api in accounts:
            for day, bucket in accounts[endpoint.api].buckets.items():
                for key, values in added_up(endpoint, bucket.rows):
                    for count in token_counts(endpoint, key, values):
                        yield day, count


def _prices(book: PriceBook, used: Mapping[Combination, None]) -> Iterator[tuple[SeriesName, Amount]]:
    exposed = dict(used)
    for combination in used:
        for tier in (ALL_TIERS, *book.billed_tiers(combination.model)):
            exposed[combination._replace(service_tier=tier)] = None
    billed_and_used = {book.billed_name(model) for model in {combination.model for combination in used}}
    for combination in book.billed_combinations():
        if combination.model not in billed_and_used:
            exposed[combination] = None
    for combination in exposed:
        price = book.price(*combination)
        if price is not None:
            labels = (*zip(combination._fields, combination, strict=True), ("source", price.source))
            yield SeriesName(EFFECTIVE_PRICE.name, labels), price.usd_per_token
