"""Short ways to write accounts and answers down, for tests of the ledger that work their figures out by hand."""

from collections.abc import Mapping
from decimal import Decimal

from exporter.days import SECONDS_PER_DAY
from exporter.exact import Amount, total
from exporter.ledger.account import Account, Rows
from exporter.ledger.counters import SeriesName
from exporter.ledger.settlement import Settlement
from exporter.openai_api.answer import Answer, RowKey, RowValues
from exporter.openai_api.endpoints import COSTS, ENDPOINTS

EMBEDDINGS = ENDPOINTS["usage/embeddings"]
BY_MODEL = ("project_id", "model")
BY_KEY = ("project_id", "api_key_id", "model")
BY_LINE_ITEM = ("project_id", "line_item")

NOVEMBER_2 = 1_793_577_600
"""2026-11-02 00:00 UTC, day 0 of the examples."""
NOON = SECONDS_PER_DAY // 2


def day(number: int) -> int:
    """Return the midnight that begins day `number`; day 0 is 2 November 2026, day -2 is 31 October."""
    return NOVEMBER_2 + number * SECONDS_PER_DAY


def embedding(model: str, project: str | None = "proj_a", *, api_key: str | None = None) -> RowKey:
    return (project, None, api_key, model)


def cost(line_item: str | None, project: str | None = "proj_a", currency: str = "usd") -> RowKey:
    return (project, None, line_item, None, None, currency)


def tokens(amount: int) -> RowValues:
    """Values of an embeddings row: tokens, no requests."""
    return (amount, 0)


def money(amount: str) -> RowValues:
    return (Decimal(amount),)


def answer(
    days: Mapping[int, Rows],
    *,
    api: str = EMBEDDINGS.api,
    window: tuple[int, int],
    grouping: tuple[str, ...] | None = None,
    answered_at: int | None = None,
) -> Answer:
    """Return the answer for the days from `window[0]` to `window[1]`, both included, given by number."""
    first, last = window
    return Answer(
        api=api,
        start=day(first),
        end=day(last + 1),
        grouping=grouping or (BY_LINE_ITEM if api == COSTS.api else BY_MODEL),
        buckets={day(number): dict(days.get(number, {})) for number in range(first, last + 1)},
        answered_at=day(last) + NOON if answered_at is None else answered_at,
        rejected={},
    )


def embeddings_series(key: RowKey, measure: str = "tokens") -> SeriesName:
    """Name a counter series after every element of a row's key."""
    names = (*EMBEDDINGS.dimensions, "measure")
    return SeriesName("embeddings", tuple(zip(names, (*(element or "" for element in key), measure), strict=True)))


def posted(settlement: Settlement, measure: int = 0) -> Amount:
    return total(values[measure] for values in settlement.postings.values())


def held(account: Account, measure: int = 0) -> Amount:
    return total(values[measure] for values in account.held.values())
