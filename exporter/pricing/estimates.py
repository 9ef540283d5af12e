"""What rows of usage cost by the price book, long before the bill says so. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from exporter.exact import EXACT, Amount, add
from exporter.metrics.catalogue import COUNTED, USAGE_TOKENS
from exporter.openai_api.answer import RowKey, RowValues
from exporter.openai_api.endpoints import ENDPOINTS, Endpoint
from exporter.pricing.billed_prices import ALL_TIERS
from exporter.pricing.price_book import PriceBook


class _Kind(NamedTuple):
    """Where one kind of token stands in a row's values."""

    place: int
    token_type: str
    modality: str


def _kinds(endpoint: Endpoint) -> tuple[_Kind, ...]:
    return tuple(
        _Kind(place, **dict(counted.labels))
        for place, counted in enumerate(COUNTED.get(endpoint.api, ()))
        if counted.counter is USAGE_TOKENS
    )


_KINDS: Final = {endpoint.api: kinds for endpoint in ENDPOINTS.values() if (kinds := _kinds(endpoint))}

TOKEN_APIS: Final = tuple(_KINDS)
"""Every API that counts tokens."""

# Where the dimensions that prices depend on stand in a row's key, None where an endpoint has none.
_PLACES: Final = {
    endpoint.api: tuple(
        endpoint.dimensions.index(name) if name in endpoint.dimensions else None for name in ("model", "service_tier")
    )
    for endpoint in ENDPOINTS.values()
}


class TokenCount(NamedTuple):
    """Tokens of one kind in a row; an empty service tier: the row is not told apart by it."""

    model: str
    token_type: str
    modality: str
    service_tier: str
    tokens: int


def token_counts(endpoint: Endpoint, key: RowKey, values: RowValues) -> Iterator[TokenCount]:
    """Yield the tokens of a row, kind by kind, those there are; nothing for an endpoint that counts no tokens."""
    kinds = _KINDS.get(endpoint.api, ())
    model, service_tier = [None if place is None else key[place] for place in _PLACES[endpoint.api]]
    for place, token_type, modality in kinds:
        tokens = values[place]
        if tokens:
            yield TokenCount(model or "", token_type, modality, service_tier or ALL_TIERS, int(tokens))


def added_up(endpoint: Endpoint, rows: Mapping[RowKey, RowValues]) -> Iterator[tuple[RowKey, RowValues]]:
    """Yield rows that cost the same, thousands as a few, with nothing in their keys but what prices depend on.

    Nothing for an endpoint that counts no tokens.
    """
    if endpoint.api not in _KINDS:
        return
    places = [place for place in _PLACES[endpoint.api] if place is not None]
    groups: dict[tuple[str | None, ...], list[RowValues]] = defaultdict(list)
    for key, values in rows.items():
        groups[tuple([key[place] for place in places])].append(values)
    for parts, members in groups.items():
        known = dict(zip(places, parts, strict=True))
        key = tuple(known.get(place) for place in range(len(endpoint.dimensions)))
        # Whole numbers: a plain sum is exact.
        yield key, tuple(sum(column) for column in zip(*members, strict=True))


def estimate(endpoint: Endpoint, key: RowKey, values: RowValues, book: PriceBook) -> tuple[Amount, int]:
    """Return what a row of usage costs, in exact US dollars, and how many of its tokens have no price.

    Tools, images, speech and transcriptions are not paid by the token and cost nothing here.
    """
    usd: Amount = 0
    unpriced = 0
    for count in token_counts(endpoint, key, values):
        price = book.price(count.model, count.token_type, count.modality, count.service_tier)
        if price is None:
            unpriced += count.tokens
        else:
            usd = add(usd, EXACT.multiply(price.usd_per_token, count.tokens))
    return usd, unpriced
