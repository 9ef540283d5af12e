"""What one token really cost: amount over quantity on the organization's own bill of the last closed days. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from functools import cached_property, lru_cache
from itertools import islice
from typing import Final, NamedTuple

from exporter.exact import EXACT, Amount, total
from exporter.line_items import parse_line_item
from exporter.openai_api.answer import Billed, BilledItem, Quantities
from exporter.pricing.models import find_name

ALL_TIERS: Final = ""
UNSPECIFIED: Final = "unspecified"

# A week holds the mix of weekdays, batches and long contexts that the next day will be like.
_DAYS: Final = 7
_QUOTIENT: Final = Context(prec=28, traps=[InvalidOperation, Overflow, DivisionByZero])
_TOKENS: Final = re.compile(r"(?:([1-9][0-9]{0,11})_)?tokens")


class Combination(NamedTuple):
    """What there is one price for; an empty service tier means all of them together."""

    model: str
    token_type: str
    modality: str
    service_tier: str


class _Line(NamedTuple):
    """Lines of a model that are added up; an empty modality: they do not tell."""

    token_type: str
    modality: str
    service_tier: str


class _Share(NamedTuple):
    """What one line item of one day adds: its amount and quantity, and how many tokens its unit is."""

    day: int
    billed: Billed
    tokens_per_unit: int


_Lines = Mapping[_Line, list[_Share]]


class BilledPrices:
    """The prices that a bill teaches.

    A price is the amount over the quantity of the newest seven closed days that have one: discounts, batches, surfaces
    and long contexts are in it as they really were. Line items that are not counted in tokens have none.
    """

    def __init__(self, quantities: Mapping[int, Quantities], today: int) -> None:
        """Nothing is worked out yet.

        Args:
            quantities: the line items by UTC midnight; neither their order nor that of the days matters.
            today: the UTC midnight of the open day; it and what follows is not looked at.
        """
        self._quantities = quantities
        self._today = today
        self._names: dict[str, str | None] = {}

    def name(self, model: str) -> str | None:
        """Return how the bill spells this model, None where it has no tokens of it."""
        if model not in self._names:
            self._names[model] = find_name(model, self._bill)
        return self._names[model]

    def tiers(self, model: str) -> frozenset[str]:
        """Return the service tiers that the bill tells apart for this model."""
        name = self.name(model)
        return frozenset() if name is None else frozenset(line.service_tier for line in self._bill[name])

    def combinations(self) -> Iterator[Combination]:
        """Yield all that there are lines for, in the bill's own spelling: each tier, and all tiers together."""
        for model, lines in self._bill.items():
            together = (line._replace(service_tier=ALL_TIERS) for line in lines)
            for token_type, modality, tier in dict.fromkeys((*together, *lines)):
                yield Combination(model, token_type, modality or UNSPECIFIED, tier)

    def price(self, combination: Combination) -> Decimal | None:
        """Return US dollars for one token, None where the bill does not say or would say less than nothing.

        Lines of the modality come first, then lines without one, then all modalities together: that is what unspecified
        tokens are, and what is nearest for a modality the bill of this model never names. At each of these, a tier that
        the bill does not know is priced as all tiers together. A token type is never taken for another.
        """
        name = self.name(combination.model)
        if name is None:
            return None
        lines = self._bill[name]
        # Modality before tier: audio costs ten times as much as text, priority about twice as much as default.
        for modality in (combination.modality, "", None):
            for tier in dict.fromkeys((combination.service_tier, ALL_TIERS)):
                price = _average(
                    share
                    for line, shares in lines.items()
                    if line.token_type == combination.token_type
                    and (modality is None or line.modality == modality)
                    and tier in (ALL_TIERS, line.service_tier)
                    for share in shares
                )
                if price is not None:
                    return price
        return None

    @cached_property
    def _bill(self) -> Mapping[str, _Lines]:
        bill: dict[str, dict[_Line, list[_Share]]] = {}
        for day, items in self._quantities.items():
            if day >= self._today:
                continue
            for item, billed in items.items():
                place = _place(item)
                if place is not None:
                    model, line, tokens_per_unit = place
                    share = _Share(day, billed, tokens_per_unit)
                    bill.setdefault(model, {}).setdefault(line, []).append(share)
        return bill


@lru_cache(maxsize=10_000)
def _place(item: BilledItem) -> tuple[str, _Line, int] | None:
    """Return the model, the line and the tokens per unit of a line item; None if no token is priced by it."""
    parts = parse_line_item(item.line_item)
    unit = _TOKENS.fullmatch(item.unit)
    if not parts.token_type or unit is None:
        return None
    return parts.model, _Line(parts.token_type, parts.modality, parts.service_tier), int(unit[1] or 1)


def _average(shares: Iterable[_Share]) -> Decimal | None:
    by_day: dict[int, list[_Share]] = defaultdict(list)
    for share in shares:
        by_day[share.day].append(share)
    newest = list(islice(_days_with_tokens(by_day), _DAYS))
    amount = total(usd for usd, _ in newest)
    if not newest or amount < 0:
        return None
    return _QUOTIENT.divide(amount, total(tokens for _, tokens in newest))


def _days_with_tokens(by_day: Mapping[int, Iterable[_Share]]) -> Iterator[tuple[Amount, Amount]]:
    """Yield amount and tokens of every day that has tokens, newest first."""
    for day in sorted(by_day, reverse=True):
        shares = by_day[day]
        tokens = total(EXACT.multiply(share.billed.quantity, share.tokens_per_unit) for share in shares)
        # What was taken back whole leaves no tokens, or fewer than none.
        if tokens > 0:
            yield total(share.billed.usd for share in shares), tokens
