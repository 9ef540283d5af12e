"""What one token of a model costs: what the organization's own bill says, else the configuration, else a list. Pure."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple

from exporter.configuration.sections import ModelPrices, TokenPrices
from exporter.openai_api.answer import Quantities
from exporter.pricing.billed_prices import ALL_TIERS, BilledPrices, Combination
from exporter.pricing.list_prices import ListPrice
from exporter.pricing.models import find


class Price(NamedTuple):
    """What one token costs.

    Attributes:
        usd_per_token: rounded to 28 digits where it was billed, else as it was written.
        source: billed, configured or list.
    """

    usd_per_token: Decimal
    source: str


class PriceBook:
    """The prices that hold on one day. Each is worked out when it is first asked for, and kept."""

    def __init__(
        self,
        quantities: Mapping[int, Quantities],
        today: int,
        configured: Mapping[str, ModelPrices],
        list_price: ListPrice | None,
    ) -> None:
        """Nothing is worked out yet.

        Args:
            quantities: the bill's line items by UTC midnight, as many days as there are.
            today: the UTC midnight of the open day; its bill is incomplete and not looked at.
            configured: the configuration's prices by model.
            list_price: the price list, if there is one.
        """
        self._billed = BilledPrices(quantities, today)
        self._today = today
        self._configured = configured
        self._list_price = list_price
        self._prices: dict[Combination, Price | None] = {}

    def price(self, model: str, token_type: str, modality: str, service_tier: str = ALL_TIERS) -> Price | None:
        """Return the price of one token, None where nobody knows it.

        Billed prices differ by tier if the bill does; configured and list prices are the same for every tier.

        Args:
            model: as usage, the bill or the configuration spells it.
            token_type: as in the metric contract: input, input_cached, input_cache_write or output.
            modality: text, audio, image or unspecified.
            service_tier: as the API spells it; empty for all tiers together.
        """
        combination = Combination(model, token_type, modality, service_tier)
        if combination not in self._prices:
            self._prices[combination] = self._price(combination)
        return self._prices[combination]

    def billed_name(self, model: str) -> str | None:
        """Return how the bill spells this model, None where it has no tokens of it."""
        return self._billed.name(model)

    def billed_tiers(self, model: str) -> frozenset[str]:
        """Return the service tiers that the bill tells apart for this model."""
        return self._billed.tiers(model)

    def billed_combinations(self) -> Iterator[Combination]:
        """Yield all that the bill has a price for, in the bill's own spelling: each tier, and all tiers together."""
        for combination in self._billed.combinations():
            price = self.price(*combination)
            if price is not None and price.source == "billed":
                yield combination

    def _price(self, combination: Combination) -> Price | None:
        model, token_type, modality, _ = combination
        billed = self._billed.price(combination)
        if billed is not None:
            return Price(billed, "billed")
        prices = find(model, self._configured)
        configured = None if prices is None else _configured_price(prices, token_type, modality)
        if configured is not None:
            return Price(configured, "configured")
        listed = None if self._list_price is None else self._list_price(model, token_type, modality, self._today)
        return None if listed is None else Price(listed, "list")


def _configured_price(prices: ModelPrices, token_type: str, modality: str) -> Decimal | None:
    if token_type not in TokenPrices.model_fields:
        return None
    of_modality = {"text": prices.text, "audio": prices.audio, "image": prices.image}.get(modality, prices)
    price: Decimal | None = getattr(of_modality, token_type)
    plain: Decimal | None = getattr(prices, token_type)
    return plain if price is None else price
