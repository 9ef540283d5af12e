"""The ledger itself: applies answers, makes them durable, and only then lets them be seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from exporter.exact import Amount, add
from exporter.ledger.account import Account, Rows
from exporter.ledger.counters import CounterBook, CounterChanges, SeriesName, SeriesOf
from exporter.ledger.settlement import Settlement, settle
from exporter.ledger.store import DirectoryEntry, Store
from exporter.openai_api.answer import Answer
from exporter.openai_api.endpoints import ENDPOINTS

DIRECTORY_KINDS: Final = ("projects", "api_keys", "users")


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying an answer did, for logs and self-metrics."""

    settlement: Settlement
    rows_changed: int
    overflowed: Mapping[str, int]
    committed: bool


@dataclass(frozen=True, slots=True)
class Planned:
    """What an answer will do once it is taken over.

    Attributes:
        before: the account that it was worked out from.
        settlement: what becomes of the account.
        counters: what becomes of the counters.
    """

    before: Account
    settlement: Settlement
    counters: CounterChanges


class Ledger:
    """All accounts and counters of one organization. One thread at a time may call it; the poller sees to that.

    Attributes:
        restored: whether the state was there before this process.
        accounts: by api; replaced, never changed in place.
        book: the counters.
        directory: names by kind (`DIRECTORY_KINDS`) and id; never forgotten, so that deleted ones keep theirs.
        committed_at: when the state was last written, Unix seconds.
    """

    def __init__(self, store: Store, series_limit: int) -> None:
        state = store.load()
        self._store = store
        self.restored = state.restored
        self.accounts: dict[str, Account] = {api: state.accounts.get(api, Account(api)) for api in ENDPOINTS}
        self.book = CounterBook(state.counters, series_limit)
        self.directory = {kind: dict(state.directory.get(kind, {})) for kind in DIRECTORY_KINDS}
        self.committed_at = store.written_at()

    def apply(
        self, answer: Answer, series_of: SeriesOf, *, now: float, revision_days: int, steady: float | None = None
    ) -> Applied:
        """Apply one complete answer: settle, persist, then publish in memory.

        Args:
            answer: the answer.
            series_of: names a row's counter series, with the labels that hold now.
            now: Unix seconds.
            revision_days: see `settle`.
            steady: seconds by a clock that is never set, to time new series' wait at 0 with; None: `now`.

        Raises:
            StateError: it could not be made durable; then nothing changed.
        """
        return self.take_over(
            self.work_out(answer, series_of, now=now, revision_days=revision_days), now=now, steady=steady
        )

    def work_out(self, answer: Answer, series_of: SeriesOf, *, now: float, revision_days: int) -> Planned:
        """Work out what an answer will do. Changes nothing; the arguments are those of `apply`."""
        before = self.accounts[answer.api]
        settlement = settle(ENDPOINTS[answer.api], before, answer, now=int(now), revision_days=revision_days)
        sizes = _by_series(answer.api, settlement.emerged, series_of)
        postings = _by_series(answer.api, settlement.postings, series_of)
        for name in sizes:
            postings.setdefault(name, 0)
        return Planned(before, settlement, self.book.plan(postings, sizes))

    def take_over(self, planned: Planned, *, now: float, steady: float | None = None) -> Applied:
        """Do what was worked out, with nothing else in between; the rest is as for `apply`.

        Raises:
            StateError: it could not be made durable; then nothing changed.
        """
        before, settlement, changes = planned.before, planned.settlement, planned.counters
        changed = bool(
            settlement.changed
            or settlement.repriced
            or changes.totals
            or settlement.account.covered_from != before.covered_from
            or settlement.account.applied_through != before.applied_through
            or settlement.account.grouping != before.grouping
        )
        if changed:
            self._store.save_settlement(settlement, changes.totals, before.held)
            self.committed_at = now
        self.accounts[settlement.account.api] = settlement.account
        self.book.accept(changes, now if steady is None else steady)
        return Applied(
            settlement=settlement,
            rows_changed=sum(map(len, settlement.changed.values())),
            overflowed=changes.overflowed,
            committed=changed,
        )

    def show_ripe_series(self, *, now: float, wait: float, steady: float | None = None) -> bool:
        """Expose the values of new series that have stood at 0 for `wait` seconds; return whether there were any.

        `now` and `steady` are as for `apply`.

        Raises:
            StateError: it could not be made durable; they then stay at 0.
        """
        names = self.book.ripe(now if steady is None else steady, wait)
        if names:
            self._store.save_shown(names)
            self.committed_at = now
            self.book.show(names)
        return bool(names)

    def show_all_series(self, *, now: float) -> None:
        """Expose all values at once: for series whose zero Prometheus has from elsewhere.

        Raises:
            StateError: it could not be made durable; they then stay at 0.
        """
        names = tuple(name for name, counter in self.book.counters.items() if not counter.shown)
        if names:
            self._store.save_shown(names)
            self.committed_at = now
            self.book.show(names)

    def learn_names(self, kind: str, entries: Mapping[str, DirectoryEntry]) -> bool:
        """Take over names by id; return whether any changed. Ids not named keep theirs.

        Raises:
            StateError: they could not be made durable; then nothing changed.
        """
        known = self.directory[kind]
        news = {identifier: entry for identifier, entry in entries.items() if known.get(identifier) != entry}
        if news:
            self._store.save_directory(kind, news)
            known.update(news)
        return bool(news)

    def state_bytes(self) -> int:
        """Return the size of the state on disk."""
        return self._store.size()


def _by_series(api: str, rows: Rows, series_of: SeriesOf) -> dict[SeriesName, Amount]:
    sums: dict[SeriesName, Amount] = {}
    for key, values in rows.items():
        for name, value in zip(series_of(api, key), values, strict=True):
            if name is not None and value:
                sums[name] = add(sums.get(name, 0), value)
    return sums
