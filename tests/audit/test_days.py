import pytest

from exporter.audit.days import DaysOf, Span, days_of
from exporter.ledger.account import Account

DAY = 86_400
TODAY = 20_000 * DAY
KNOWN = Account("costs", covered_from=TODAY - 40 * DAY, applied_through=TODAY)


def day(back: int) -> int:
    return TODAY - back * DAY


@pytest.mark.parametrize(
    ("account", "span", "days"),
    [
        # What is still read again.
        (KNOWN, Span(), DaysOf(day(3), day(0))),
        (KNOWN, Span(since=day(30)), DaysOf(day(30), day(0))),
        (KNOWN, Span(day(30), day(20)), DaysOf(day(30), day(20))),
        (KNOWN, Span(until=day(20)), DaysOf(day(20), day(20))),
        # What is to come is not there yet.
        (KNOWN, Span(until=day(-5)), DaysOf(day(3), day(0))),
        (KNOWN, Span(since=day(50)), DaysOf(day(40), day(0), unknown_from=day(50))),
        (KNOWN, Span(day(50), day(45)), DaysOf(day(40), day(45), unknown_from=day(50))),
        # An exporter that stopped ten days ago: all since then, too.
        (Account("costs", covered_from=day(40), applied_through=day(10)), Span(), DaysOf(day(13), day(0))),
        # A clock that ran ahead.
        (Account("costs", covered_from=day(40), applied_through=day(-1)), Span(), DaysOf(day(3), day(0))),
        # Started two days ago with a window that has grown since.
        (Account("costs", covered_from=day(2), applied_through=day(0)), Span(), DaysOf(day(2), day(0), day(3))),
        # Never read.
        (Account("costs"), Span(), DaysOf(day(3), day(0))),
        (Account("costs"), Span(since=day(9)), DaysOf(day(3), day(0), unknown_from=day(9))),
    ],
)
def test_the_days_to_compare_are_those_wanted_that_the_state_knows_or_should_know(
    account: Account, span: Span, days: DaysOf
) -> None:
    assert days_of(account, span, today=TODAY, revision_days=3) == days
