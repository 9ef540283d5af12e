import random
import signal
import stat
import time
from pathlib import Path

import pytest

from exporter.ledger.account import Account, Bucket
from exporter.ledger.counters import Counter, SeriesName
from exporter.ledger.ledger import Ledger
from exporter.ledger.store import (
    APPLICATION_ID,
    LOCK_FILE,
    SCHEMA_VERSION,
    STATE_FILE,
    DirectoryEntry,
    StateError,
    Store,
)
from exporter.openai_api.answer import RowKey
from exporter.openai_api.endpoints import ENDPOINTS
from tests.ledger import state_holder
from tests.ledger.examples import BY_KEY, EMBEDDINGS, answer, cost, day, embedding, money, tokens
from tests.ledger.state_folders import output, process


def series_of(_: str, key: RowKey) -> tuple[SeriesName | None, ...]:
    return (SeriesName("openai_cost_usd_total", (("line_item", key[2] or ""), ("project", key[0] or "(none)"))),)


def bill(ledger: Ledger, rows: dict[RowKey, str], moment: int = 0) -> None:
    news = answer(
        {0: {key: money(amount) for key, amount in rows.items()}},
        api="costs",
        window=(-3, 0),
        answered_at=day(0) + moment,
    )
    ledger.apply(news, series_of, now=day(0) + moment, revision_days=3)


# What is saved comes back.


def test_a_folder_without_a_state_gets_an_empty_one(tmp_path: Path) -> None:
    with Store.open(tmp_path / "new" / "folder") as store:
        state = store.load()

    assert (state.restored, state.accounts, state.counters, state.directory) == (False, {}, {}, {})


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    unusual = cost('quotes " and \\ and \n and ü and 😀', None)
    with Store.open(tmp_path) as store:
        ledger = Ledger(store, 10_000)
        ledger.learn_names(
            "projects", {"proj_a": DirectoryEntry("Ünï 😀", "active"), "proj_b": DirectoryEntry("b", "archived")}
        )
        ledger.learn_names("api_keys", {"key_a": DirectoryEntry("ci")})
        bill(ledger, {})
        bill(
            ledger, {unusual: "7.000000000000000000000000000000000001", cost(None): "1E+2", cost("credit"): "-0.5"}, 10
        )
        bill(ledger, {unusual: "6.999999999999999999999999999999999999", cost(None): "100"}, 20)
        ledger.show_ripe_series(now=day(1), wait=60)
        bill(ledger, {unusual: "7.5", cost(None): "99.5", cost("newest"): "1"}, 30)
        for number in range(4):
            state_holder.apply(ledger, number)
        coarser = answer({0: {embedding("m99"): tokens(1)}}, window=(0, 0), grouping=BY_KEY, answered_at=day(0) + 40)
        ledger.apply(coarser, state_holder.series_of, now=day(0) + 40, revision_days=3)

    with Store.open(tmp_path) as store:
        again = Ledger(store, 10_000)
        restored = store.load()

    assert again.restored
    assert again.accounts == ledger.accounts
    assert again.book.counters == ledger.book.counters
    assert again.directory == ledger.directory
    assert ledger.accounts["costs"].held == {cost(None): money("0.5")}
    assert {counter.shown for counter in again.book.counters.values()} == {True, False}
    assert restored.accounts[EMBEDDINGS.api].grouping == BY_KEY
    assert restored.accounts["costs"].buckets[day(0)] == Bucket(
        ("project_id", "line_item"),
        {unusual: money("7.5"), cost(None): money("99.5"), cost("newest"): money("1")},
    )


def test_names_alone_are_no_restored_state(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        Ledger(store, 10).learn_names("projects", {"proj_a": DirectoryEntry("a")})

    with Store.open(tmp_path) as store:
        assert not Ledger(store, 10).restored


def test_an_api_never_applied_has_an_empty_account(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        assert Ledger(store, 10).accounts == {api: Account(api) for api in ENDPOINTS}


def test_names_learned_again_are_not_written_again(tmp_path: Path) -> None:
    names = {"proj_a": DirectoryEntry("a", "active")}
    with Store.open(tmp_path) as store:
        ledger = Ledger(store, 10)

        assert ledger.learn_names("projects", names)
        assert not ledger.learn_names("projects", names)
        assert ledger.learn_names("projects", {"proj_a": DirectoryEntry("a", "archived")})
        # Projects that are no longer listed keep their names.
        assert not ledger.learn_names("projects", {})
        assert ledger.directory["projects"] == {"proj_a": DirectoryEntry("a", "archived")}


def test_forgotten_days_leave_the_file_too(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        ledger = Ledger(store, 10_000)
        for number in range(12):
            news = answer({number: {embedding("m"): tokens(5)}}, window=(number - 3, number))
            ledger.apply(news, state_holder.series_of, now=news.answered_at, revision_days=3)
        days = [number for (number,) in store._connection.execute("SELECT DISTINCT day FROM row ORDER BY day")]

    assert days == [day(11)]
    assert ledger.accounts[EMBEDDINGS.api].covered_from == day(8)


def test_nobody_else_may_read_the_state(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with Store.open(tmp_path) as store:
        state_holder.apply(Ledger(store, 10), 0)
        files = list(tmp_path.iterdir())
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files}

    assert len(files) > 2
    assert set(modes.values()) == {0o600}, modes


def test_a_folder_made_for_the_state_is_its_users_alone(tmp_path: Path) -> None:
    Store.open(tmp_path / "made").close()

    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o700


def test_a_commit_is_on_the_disk_when_it_returns(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        (journal,) = store._connection.execute("PRAGMA journal_mode").fetchone()
        (synchronous,) = store._connection.execute("PRAGMA synchronous").fetchone()

    # A process that is killed loses nothing either way; a machine that loses its power does without FULL (2).
    assert (journal, synchronous) == ("wal", 2)


# Kill -9.


def test_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    moments = random.Random(20261121)  # noqa: S311 - no secrets, moments to kill at
    acknowledged = -1
    for _ in range(5):
        with process("commit-for-ever", tmp_path) as running:
            assert running.stdout is not None
            assert int(running.stdout.readline()) in {acknowledged + 1, acknowledged + 2}
            time.sleep(moments.uniform(0.0, 0.25))
            running.send_signal(signal.SIGKILL)
            said = running.stdout.read().split("\n")
        # What follows the last line break was cut off.
        acknowledged = max([acknowledged, *(int(line) for line in said[:-1])])
        with Store.open(tmp_path) as store:
            ledger = Ledger(store, 10_000)
        newest = state_holder.next_poll(ledger) - 1
        # A poll may be in the state whose acknowledgement the kill cut off; never the other way round.
        assert newest >= acknowledged
        acknowledged = newest
        assert_whole(ledger, newest)
    assert acknowledged > 5


def assert_whole(ledger: Ledger, newest: int) -> None:
    """Check that the state is that of poll `newest`, all of it: rows, counters and what is held back."""
    account = ledger.accounts[EMBEDDINGS.api]
    rows = state_holder.rows_at(newest) if newest else {}
    assert (account.buckets[day(0)].rows if newest else {}) == rows
    for key, values in rows.items():
        held = account.held.get(key, (0, 0))
        for name, value, held_back in zip(state_holder.series_of("", key), values, held, strict=True):
            assert name is not None
            counter = ledger.book.counters.get(name, Counter())
            assert counter.value - held_back == value


# A disk that is full.


def test_a_full_disk_changes_nothing_and_the_next_poll_makes_up_for_it(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        ledger = Ledger(store, 10_000)
        for number in range(3):
            state_holder.apply(ledger, number)
        accounts, counters, committed_at = dict(ledger.accounts), dict(ledger.book.counters), ledger.committed_at
        (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        large = {embedding("x" * 500 + str(at)): tokens(at + 1) for at in range(200)}
        news = answer({0: {**state_holder.rows_at(3), **large}}, window=(-3, 0), answered_at=day(0) + 3)

        with pytest.raises(StateError, match="full") as caught:
            ledger.apply(news, state_holder.series_of, now=day(0) + 3, revision_days=3)

        assert str(tmp_path) in str(caught.value)
        assert "Free or enlarge the disk" in str(caught.value)
        assert (ledger.accounts, ledger.book.counters, ledger.committed_at) == (accounts, counters, committed_at)

        store._connection.execute("PRAGMA max_page_count = 1000000")
        ledger.apply(news, state_holder.series_of, now=day(0) + 4, revision_days=3)

    with Store.open(tmp_path) as store:
        again = Ledger(store, 10_000)
    assert again.accounts == ledger.accounts
    assert again.book.counters == ledger.book.counters
    assert again.accounts[EMBEDDINGS.api].buckets[day(0)].rows == news.buckets[day(0)]


def test_names_and_shown_series_on_a_full_disk_stay_as_they_were(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        ledger = Ledger(store, 10_000)
        for number in range(3):
            state_holder.apply(ledger, number)
        store._connection.execute("PRAGMA query_only = ON")

        with pytest.raises(StateError):
            ledger.learn_names("projects", {"proj_a": DirectoryEntry("a")})
        ledger.show_ripe_series(now=day(0), wait=60)
        with pytest.raises(StateError):
            ledger.show_ripe_series(now=day(0) + 120, wait=60)

        assert ledger.directory["projects"] == {}
        assert not any(counter.shown for counter in ledger.book.counters.values())
        store._connection.execute("PRAGMA query_only = OFF")
        assert ledger.show_ripe_series(now=day(0) + 120, wait=60)


def test_a_process_whose_files_cannot_grow_goes_on_when_they_can(tmp_path: Path) -> None:
    failed, message, still, newest = output("commit-on-a-disk-that-fills", tmp_path)

    assert int(failed) > 0
    assert still == "still full"
    assert str(tmp_path) in message
    assert "Free or enlarge the disk" in message
    with Store.open(tmp_path) as store:
        ledger = Ledger(store, 10_000)
    assert state_holder.next_poll(ledger) - 1 == int(newest) >= int(failed)
    assert_whole(ledger, int(newest))


def test_the_file_is_marked_as_ours(tmp_path: Path) -> None:
    Store.open(tmp_path).close()

    header = (tmp_path / STATE_FILE).read_bytes()[:100]
    assert int.from_bytes(header[68:72]) == APPLICATION_ID
    assert int.from_bytes(header[60:64]) == SCHEMA_VERSION


def test_the_size_counts_the_log_too(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        state_holder.apply(Ledger(store, 10), 0)

        on_disk = sum(path.stat().st_size for path in tmp_path.iterdir() if path.name != LOCK_FILE)
        assert store.size() == on_disk > (tmp_path / STATE_FILE).stat().st_size
