"""Which UTC days of an API are compared, and which the state does not know. Pure."""

from dataclasses import dataclass

from exporter.days import SECONDS_PER_DAY
from exporter.ledger.account import Account


@dataclass(frozen=True, slots=True)
class Span:
    """The days that are wanted, both included, UTC midnights; None leaves an end to the state and to today."""

    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class DaysOf:
    """The days of one API.

    Attributes:
        first: the first to compare, a UTC midnight.
        last: the last; before `first` where there is none to compare.
        unknown_from: the first day that was wanted and that the state does not know (any more), None if it knows all.
    """

    first: int
    last: int
    unknown_from: int | None = None


def days_of(account: Account, span: Span, *, today: int, revision_days: int) -> DaysOf:
    """Return the days to compare.

    Left open, they are those that an exporter still reads again, and all after them. Days after the newest that the
    state was answered for are compared too: it holds nothing of them.
    """
    newest = today if account.applied_through is None else min(account.applied_through, today)
    open_from = newest - revision_days * SECONDS_PER_DAY
    last = today if span.until is None else min(span.until, today)
    first = min(open_from, last) if span.since is None else span.since
    # What was never read is held to begin where an exporter would begin to read.
    known_from = open_from if account.covered_from is None else account.covered_from
    if first < known_from:
        return DaysOf(known_from, last, first)
    return DaysOf(first, last)
