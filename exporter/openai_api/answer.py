"""What one complete read of a usage or costs endpoint says: all that crosses from the client to the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from exporter.exact import Amount

RowKey = tuple[str | None, ...]
"""A row's identity in a bucket: its endpoint's `dimensions` in order, None where not grouped by or null in the answer.
Costs rows carry one more element at the end: the currency, in lower case."""

RowValues = tuple[Amount, ...]
"""A row's values, in the order of its endpoint's `measures`."""


class BilledItem(NamedTuple):
    """What the bill counts in one way: a line item and its `quantity_unit`, "" where the API names none."""

    line_item: str
    unit: str


class Billed(NamedTuple):
    """What a line item came to: US dollars, and how much of its unit they bought. Exact."""

    usd: Amount
    quantity: Amount


Quantities = Mapping[BilledItem, Billed]
"""The organization's line items of one day, as far as the API gave a quantity and US dollars; free ones too."""


@dataclass(frozen=True, slots=True)
class Answer:
    """All pages of one read, rows with equal keys in a bucket added up.

    Rows of nothing but zeros are left out, except where the values are a level.

    Attributes:
        api: the endpoint's `api`.
        start: first second of the window asked for, a UTC midnight in Unix seconds.
        end: the second after the window, a UTC midnight.
        grouping: the dimensions the API accepted, in the order of the endpoint's `dimensions`.
        buckets: every bucket the API returned inside the window, by where it begins, for days a UTC midnight; empty
            ones too.
        answered_at: Unix seconds by the API's own clock (`Date` header), or by ours where it sent none.
        rejected: rows that could not be read, by reason.
        quantities: of costs, what each line item came to, by the UTC midnight of its day; rows without a quantity are
            left out, amount and all.
    """

    api: str
    start: int
    end: int
    grouping: tuple[str, ...]
    buckets: Mapping[int, Mapping[RowKey, RowValues]]
    answered_at: int
    rejected: Mapping[str, int]
    quantities: Mapping[int, Quantities] = field(default_factory=dict)
