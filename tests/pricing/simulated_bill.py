"""The simulated organization's bill and usage, as the price book gets them: no API, no ledger."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields
from decimal import Decimal

from exporter.exact import add
from exporter.openai_api.answer import Billed, BilledItem, Quantities, RowKey, RowValues
from exporter.openai_api.endpoints import TOKEN_MEASURES, USAGE_ENDPOINTS, Endpoint
from exporter.openai_api.tokens import TokenCounts, partition
from exporter.simulator.billing import Billing
from exporter.simulator.line_items import CREDIT, unit_of
from exporter.simulator.measures import openai_fields
from exporter.simulator.organization import Dimension, build_organization
from exporter.simulator.traffic import Traffic
from tests.answers import MONDAY

DAY = 86_400
TODAY = MONDAY

TRAFFIC = Traffic(build_organization(), "acme")
BILLING = Billing(TRAFFIC, "acme")

_TOKEN_FIELDS = {field.name for field in fields(TokenCounts)}


def settled_quantities(day: int) -> Quantities:
    """What the bill of a day comes to once nothing changes any more."""
    return _quantities((dimensions, measures) for dimensions, measures in BILLING.settled(day).items())


def known_quantities(day: int, now: int) -> Quantities:
    """What the bill said about a day at that time."""
    return _quantities((delta.dimensions, delta.measures) for delta in BILLING.day(day) if delta.arrival <= now)


def _quantities(charges: Iterator[tuple[tuple[Dimension, ...], Sequence[Decimal]]]) -> Quantities:
    sums: dict[BilledItem, Billed] = {}
    for (_, _, line_item, *_), (usd, quantity) in charges:
        # The API gives credits no quantity.
        if line_item == CREDIT:
            continue
        item = BilledItem(str(line_item), unit_of(str(line_item)) or "")
        known = sums.get(item, Billed(0, 0))
        sums[item] = Billed(add(known.usd, usd), add(known.quantity, quantity))
    return sums


def usage_rows(day: int, grouping: Collection[str]) -> Iterator[tuple[Endpoint, RowKey, RowValues]]:
    """A day's true rows of all endpoints that count tokens, as the client would read them under that grouping."""
    for endpoint in USAGE_ENDPOINTS:
        if not set(endpoint.measures) & set(TOKEN_MEASURES):
            continue
        sums: dict[RowKey, list[int]] = defaultdict(list)
        for dimensions, values in TRAFFIC.settled(day, endpoint.api).items():
            named = zip(endpoint.dimensions, dimensions, strict=True)
            key = tuple(str(value) if name in grouping and value is not None else None for name, value in named)
            known = sums[key] or [0] * len(values)
            sums[key] = [left + right for left, right in zip(known, values, strict=True)]
        for key, values in sums.items():
            yield endpoint, key, _row_values(endpoint, values)


def _row_values(endpoint: Endpoint, values: Sequence[int]) -> RowValues:
    told = openai_fields(endpoint.api, values)
    if "output_text_tokens" not in endpoint.measures:
        return told["input_tokens"], told["num_model_requests"]
    counts = TokenCounts(**{name: value for name, value in told.items() if name in _TOKEN_FIELDS})
    return (*partition(counts), told["num_model_requests"])
