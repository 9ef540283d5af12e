"""Bills written down by hand."""

from collections.abc import Mapping
from decimal import Decimal

from exporter.openai_api.answer import Billed, BilledItem, Quantities

DAY = 86_400
TODAY = 20_000 * DAY
YESTERDAY = TODAY - DAY

Lines = Mapping[str, tuple[str | int, str | int]]
"""US dollars and quantity by line item; the unit is tokens, unless the text ends with another in brackets."""


def bill(*days: Lines, newest: int = YESTERDAY) -> dict[int, Quantities]:
    """The line items of `newest` and the days before it."""
    return {newest - age * DAY: dict(_billed(lines)) for age, lines in enumerate(days)}


def _billed(lines: Lines) -> list[tuple[BilledItem, Billed]]:
    items = []
    for text, (usd, quantity) in lines.items():
        line_item, _, unit = text.partition(" [")
        items.append(
            (BilledItem(line_item, unit.rstrip("]") if unit else "tokens"), Billed(Decimal(usd), Decimal(quantity)))
        )
    return items
