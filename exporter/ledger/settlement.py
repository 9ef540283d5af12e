"""The heart: what one complete answer changes in an account, and what it posts to counters. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

from exporter.days import SECONDS_PER_DAY, day_of
from exporter.exact import add_each, subtract
from exporter.ledger.account import NO_ROWS, Account, Bucket, Rows
from exporter.ledger.regrouping import common_grain, credit, move_held
from exporter.ledger.window import first_day_kept
from exporter.openai_api.answer import Answer, RowKey, RowValues
from exporter.openai_api.endpoints import Endpoint


@dataclass(frozen=True, slots=True)
class Settlement:
    """What an answer comes to.

    Attributes:
        account: the account after it; the one before where nothing is new.
        postings: what counters grow by, per row key; never negative.
        changed: by day, the rows whose values changed; None where a row is gone.
        repriced: the days whose quantities changed.
        emerged: keys that a bucket held with other values, or not at all, before: their series must be exposed.
        revisions_up: values of closed days that grew.
        revisions_down: values of closed days that fell.
    """

    account: Account
    postings: Rows
    changed: Mapping[int, Mapping[RowKey, RowValues | None]]
    emerged: Mapping[RowKey, RowValues]
    revisions_up: int = 0
    revisions_down: int = 0
    repriced: frozenset[int] = frozenset()


def settle(endpoint: Endpoint, account: Account, answer: Answer, *, now: int, revision_days: int) -> Settlement:
    """Work out what `answer` changes.

    A day not covered before (the very first answer, or a window wider than ever) becomes part of the zero line: its
    values are remembered and not posted. A row missing from the answer is zero.

    Args:
        endpoint: the account's endpoint.
        account: the account before.
        answer: a complete answer.
        now: our clock, Unix seconds.
        revision_days: closed days that are read again; older ones are forgotten, where no gauge needs them.
    """
    # The earlier of both clocks, so that a clock that runs ahead closes no day; unless the API's is plainly wrong.
    today = day_of(min(now, answer.answered_at) if answer.answered_at >= answer.start else now)
    zero = (0,) * len(endpoint.measures)
    counted_from = answer.end if account.covered_from is None or endpoint.is_level else account.covered_from
    buckets = dict(account.buckets)
    net: dict[RowKey, RowValues] = {}
    changed: dict[int, dict[RowKey, RowValues | None]] = {}
    emerged: dict[RowKey, RowValues] = {}
    up = down = 0
    applied_through, kept_from = _reach(endpoint, account, answer, today, revision_days)
    # Days that are neither held nor to be kept have nothing to be compared with: they would look new at every poll.
    known_from = kept_from if account.covered_from is None else min(kept_from, account.covered_from)
    for day in range(max(answer.start, known_from), answer.end, SECONDS_PER_DAY):
        rows = answer.buckets.get(day, NO_ROWS)
        held_bucket = buckets.get(day)
        before = held_bucket.rows if held_bucket else NO_ROWS
        regrouped = held_bucket is not None and held_bucket.grouping != answer.grouping
        counted = before
        if regrouped and held_bucket is not None:
            counted = credit(before, rows, common_grain(endpoint.dimensions, held_bucket.grouping, answer.grouping))
            changed[day] = dict.fromkeys(before, None) | dict(rows)
        differences = _differences(counted, rows, zero)
        if not differences and not regrouped:
            continue
        for key, delta in differences.items():
            if not regrouped:
                changed.setdefault(day, {})[key] = rows.get(key)
            if key in rows:
                emerged[key] = add_each(emerged[key], rows[key]) if key in emerged else rows[key]
            if day >= counted_from:
                net[key] = add_each(net[key], delta) if key in net else delta
            if account.covered_from is not None and account.covered_from <= day < today:
                up += any(value > 0 for value in delta)
                down += any(value < 0 for value in delta)
        buckets[day] = Bucket(answer.grouping, rows)
    quantities = {day: items for day, items in account.quantities.items() if not answer.start <= day < answer.end}
    quantities = {day: items for day, items in (quantities | dict(answer.quantities)).items() if day >= kept_from}
    held = account.held
    if held and account.grouping != answer.grouping:
        present = {key for rows in answer.buckets.values() for key in rows}
        held = move_held(held, net, present, common_grain(endpoint.dimensions, account.grouping, answer.grouping))
    postings, held = _post(net, held, zero)
    settled = Account(
        api=account.api,
        covered_from=kept_from,
        applied_through=applied_through,
        grouping=answer.grouping,
        buckets={day: bucket for day, bucket in buckets.items() if day >= kept_from},
        quantities=quantities,
        held=held,
        changed_at=now if any(changed.values()) or account.changed_at is None else account.changed_at,
    )
    return Settlement(
        # The very same object tells everybody that nothing is new. Days that did not change are the same too, so that
        # no rows are compared here.
        account=account if not changed and settled == account else settled,
        postings=postings,
        changed=changed,
        emerged=emerged,
        revisions_up=up,
        revisions_down=down,
        repriced=frozenset(
            day
            for day in quantities.keys() | account.quantities.keys()
            if quantities.get(day) != account.quantities.get(day)
        ),
    )


def _reach(
    endpoint: Endpoint, account: Account, answer: Answer, today: int, revision_days: int
) -> tuple[int | None, int]:
    """Return the newest day answered for, if any, and the first day to keep, once `answer` is taken in."""
    kept_from = answer.start if account.covered_from is None else min(answer.start, account.covered_from)
    applied_through = account.applied_through
    # An answer without a bucket answers for no day: its window may lie in the future, by a clock of ours that is ahead.
    if answer.buckets:
        newest = min(max(answer.buckets), today)
        applied_through = newest if applied_through is None else max(newest, applied_through)
    if applied_through is not None:
        kept_from = max(kept_from, first_day_kept(endpoint, applied_through, revision_days))
    return applied_through, kept_from


def _differences(before: Rows, after: Rows, zero: RowValues) -> dict[RowKey, RowValues]:
    """Return after - before for every key that is new, gone or has other values."""
    differences = {}
    for key, values in after.items():
        old = before.get(key)
        # A new row of zeros is news too: a level that fell.
        if values != old:
            differences[key] = tuple(map(subtract, values, old or zero))
    # Not by sets of keys: to make them takes long in one go, and no scrape gets its turn meanwhile.
    for key, values in before.items():
        if key not in after:
            differences[key] = tuple(map(subtract, zero, values))
    return differences


def _post(net: Rows, held: Rows, zero: RowValues) -> tuple[dict[RowKey, RowValues], dict[RowKey, RowValues]]:
    """Turn net changes into postings that never fall: a fall is held back, later growth absorbs it first."""
    postings: dict[RowKey, RowValues] = {}
    still_held = dict(held)
    for key in chain(net, (key for key in held if key not in net)):
        owed = held.get(key, zero)
        growth = tuple(map(subtract, net.get(key, zero), owed))
        if any(value > 0 for value in growth):
            postings[key] = tuple(max(value, 0) for value in growth)
        if any(value < 0 for value in growth):
            # Not `-value`: Python's unary minus rounds to 28 digits.
            still_held[key] = tuple(subtract(0, min(value, 0)) for value in growth)
        else:
            still_held.pop(key, None)
    return postings, still_held
