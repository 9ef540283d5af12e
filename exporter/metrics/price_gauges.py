"""Gauges of what one token costs, and of the tokens whose price nobody knows. Pure."""

from collections.abc import Iterator, Mapping

from exporter.days import SECONDS_PER_DAY
from exporter.exact import Amount, add
from exporter.ledger.account import Account, Bucket
from exporter.ledger.counters import SeriesName
from exporter.metrics.catalogue import EFFECTIVE_PRICE, UNPRICED_TOKENS
from exporter.metrics.event_gauges import Gauges
from exporter.openai_api.endpoints import USAGE_ENDPOINTS, Endpoint
from exporter.pricing.billed_prices import ALL_TIERS, Combination
from exporter.pricing.estimates import TokenCount, added_up, token_counts
from exporter.pricing.price_book import PriceBook


class CountedTokens:
    """The tokens of a day's rows; remembered until the day's rows change. A poll changes a few days of one API only."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[Bucket, tuple[TokenCount, ...]]] = {}

    def of(self, accounts: Mapping[str, Account]) -> Iterator[tuple[int, TokenCount]]:
        """Yield every day's tokens, those that cost the same together; older days are forgotten."""
        known = {
            (endpoint.api, day): self._newest(endpoint, day, bucket)
            for endpoint in USAGE_ENDPOINTS
            if endpoint.api in accounts
            for day, bucket in accounts[endpoint.api].buckets.items()
        }
        self._known = known
        for (_, day), (_, counts) in known.items():
            for count in counts:
                yield day, count

    def _newest(self, endpoint: Endpoint, day: int, bucket: Bucket) -> tuple[Bucket, tuple[TokenCount, ...]]:
        known = self._known.get((endpoint.api, day))
        # Buckets are never changed, only replaced.
        if known is not None and known[0] is bucket:
            return known
        return bucket, tuple(
            count for key, values in added_up(endpoint, bucket.rows) for count in token_counts(endpoint, key, values)
        )


class EffectivePrices:
    """What a book says of the tokens there are; remembered until another book is open, or other kinds are used."""

    def __init__(self) -> None:
        self._known: tuple[PriceBook, frozenset[Combination], dict[SeriesName, Amount]] | None = None

    def of(self, book: PriceBook, used: frozenset[Combination]) -> dict[SeriesName, Amount]:
        """Return the prices' series."""
        # A book has one day's prices, and keeps them.
        if self._known is None or self._known[0] is not book or self._known[1] != used:
            self._known = book, used, dict(_prices(book, used))
        return self._known[2]


def price_gauges(
    accounts: Mapping[str, Account],
    book: PriceBook,
    today: int,
    *,
    tokens: CountedTokens | None = None,
    prices: EffectivePrices | None = None,
) -> Gauges:
    """Return the effective prices, and the tokens of today and yesterday that have none.

    Every kind of token that the remembered days have is priced under usage's spelling of its model, which is what rules
    join with, exactly once per model, token type, modality and service tier: without a tier for rows that are not told
    apart by it, and by each tier that usage or the bill names. What else the bill has a price for is there under the
    bill's spelling.

    Args:
        accounts: the ledger by `api`.
        book: the prices.
        today: the UTC midnight of the open day.
        tokens: remembers what did not change since the last call.
        prices: the same.
    """
    used: set[Combination] = set()
    unpriced: dict[str, Amount] = {}
    for day, count in (tokens or CountedTokens()).of(accounts):
        combination = Combination(count.model, count.token_type, count.modality, count.service_tier)
        used.add(combination)
        if today - SECONDS_PER_DAY <= day <= today and book.price(*combination) is None:
            unpriced[count.model] = add(unpriced.get(count.model, 0), count.tokens)
    return {
        EFFECTIVE_PRICE: (prices or EffectivePrices()).of(book, frozenset(used)),
        UNPRICED_TOKENS: {
            SeriesName(UNPRICED_TOKENS.name, (("model", model),)): tokens for model, tokens in unpriced.items()
        },
    }


def _prices(book: PriceBook, used: frozenset[Combination]) -> Iterator[tuple[SeriesName, Amount]]:
    exposed = set(used)
    for combination in used:
        for tier in (ALL_TIERS, *book.billed_tiers(combination.model)):
            exposed.add(combination._replace(service_tier=tier))
    billed_and_used = {book.billed_name(model) for model in {combination.model for combination in used}}
    for combination in book.billed_combinations():
        if combination.model not in billed_and_used:
            exposed.add(combination)
    for combination in exposed:
        price = book.price(*combination)
        if price is not None:
            labels = (*zip(combination._fields, combination, strict=True), ("source", price.source))
            yield SeriesName(EFFECTIVE_PRICE.name, labels), price.usd_per_token
