"""List prices from the optional package `genai-prices`, which carries them along: nothing is ever downloaded."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

from exporter.exact import EXACT

ListPrice = Callable[[str, str, str, int], Decimal | None]
"""US dollars for one token by list; None where the list has no such price.

Arguments: the model, its token_type, its modality, and the day the price is to hold on (Unix seconds)."""

# Tiered prices depend on the size of the call, and the smallest size is the plain price: a few tokens are priced.
_TOKENS: Final = 1_000
_PRICES_KEPT: Final = 10_000

_MODALITIES: Final = ("text", "audio", "image")


class _Units(NamedTuple):
    """How the package calls a token type.

    Attributes:
        direction: what it is a part of, before its modality.
        plain: of any modality.
        of_modality: of one, which stands in the braces.
    """

    direction: str
    plain: str
    of_modality: str


_UNITS: Final = {
    "input": _Units("input", "input", "input_{}"),
    "input_cached": _Units("input", "cache_read", "cache_{}_read"),
    "input_cache_write": _Units("input", "cache_write", "cache_{}_write"),
    "output": _Units("output", "output", "output_{}"),
}


def load_list_prices() -> ListPrice | None:
    """Return the list's prices, or None if the package is not installed. Loading takes some tenths of a second."""
    try:
        from genai_prices import Usage, calc_price  # noqa: PLC0415 - optional, and slow to load
    except ImportError:
        return None

    @lru_cache(maxsize=_PRICES_KEPT)
    def list_price(model: str, token_type: str, modality: str, day: int) -> Decimal | None:
        units = _UNITS.get(token_type)
        if units is None:
            return None
        try:
            priced = calc_price(
                Usage(**dict.fromkeys(_counted(units, modality), _TOKENS)),
                model,
                provider_id="openai",
                genai_request_timestamp=datetime.fromtimestamp(day, UTC),
            )
        except (LookupError, ValueError):
            # It knows no such model, or only prices that do not tell what this token costs.
            return None
        prices = {name for name, price in vars(priced.model_price).items() if price is not None}
        # A model without any price is free. One with prices says what it costs only where it has a price for that.
        if prices and prices.isdisjoint(_sufficient(units, modality)):
            return None
        return EXACT.divide(priced.total_price, Decimal(_TOKENS))

    return list_price


def _counted(units: _Units, modality: str) -> set[str]:
    """Return all the sums that such a token is part of; the package wants each of them spelled out."""
    counted = {units.direction, units.plain}
    if modality in _MODALITIES:
        counted |= {f"{units.direction}_{modality}", units.of_modality.format(modality)}
    return {f"{unit}_tokens" for unit in counted}


def _sufficient(units: _Units, modality: str) -> set[str]:
    """Return the prices of which the list must have one.

    The package would take a missing price of cached input from plain input, and audio's from text. Text and images
    have a price of their own only where it differs from the plain one; audio always costs more.
    """
    sufficient = {units.of_modality.format(modality)} if modality in _MODALITIES else set()
    if modality != "audio":
        sufficient.add(units.plain)
    return {f"{unit}_mtok" for unit in sufficient}
