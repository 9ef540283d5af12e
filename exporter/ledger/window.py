"""Which UTC days a poll has to read, and which the ledger has to keep. Pure."""

from collections.abc import Callable, Collection

from exporter.days import SECONDS_PER_DAY, day_of, previous_month_of
from exporter.ledger.account import Account
from exporter.openai_api.endpoints import COSTS, Endpoint


def read_window(endpoint: Endpoint, account: Account, now: float, revision_days: int) -> tuple[int, int]:
    """Return the window to read: first second, and the second after the last, both UTC midnights.

    It reaches over the open day and `revision_days` closed days before it. It also reaches back to every day that
    could still be revised when the account was last answered: what changed during an outage is not lost. Costs reach
    back to the previous month until the account covers it.
    """
    today = day_of(now)
    start = today - revision_days * SECONDS_PER_DAY
    if account.applied_through is not None:
        start = min(start, account.applied_through - revision_days * SECONDS_PER_DAY)
    elif account.covered_from is not None:
        # Only answers without a bucket so far.
        start = min(start, account.covered_from)
    if endpoint is COSTS:
        previous_month = previous_month_of(today)
        if account.covered_from is None or account.covered_from > previous_month:
            start = min(start, previous_month)
    return start, today + SECONDS_PER_DAY


def first_day_too_coarse(
    account: Account, grouping: Collection[str], refused: Callable[[int], Collection[str]]
) -> int | None:
    """Return the first day whose rows tell less apart than `grouping` would, None if there is none.

    A day is read again at the finer grain, however old: gauges of a month follow a mapping that needs it.

    Args:
        account: the account.
        grouping: the dimensions wanted.
        refused: the dimensions that the API refuses to windows that start on a day.
    """
    wanted = set(grouping)
    for day in sorted(account.buckets):
        bucket = account.buckets[day]
        missing = wanted - set(bucket.grouping) if bucket.rows else set()
        if missing and not missing <= set(refused(day)):
            return day
    return None


def first_day_kept(endpoint: Endpoint, applied_through: int, revision_days: int) -> int:
    """Return the first day the ledger keeps: the next poll may read it, or a gauge of the previous month shows it."""
    revisable = applied_through - revision_days * SECONDS_PER_DAY
    return min(revisable, previous_month_of(applied_through)) if endpoint is COSTS else revisable
