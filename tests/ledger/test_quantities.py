"""What each line item came to: replaced day by day, kept as long as the day, and written down whatever else changes."""

import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.days import SECONDS_PER_DAY
from exporter.ledger import store as store_module
from exporter.ledger.account import Account, Rows
from exporter.ledger.ledger import Applied, Ledger
from exporter.ledger.settlement import settle
from exporter.ledger.store import LOCK_FILE, SCHEMA_VERSION, STATE_FILE, DirectoryEntry, StateError, Store
from exporter.openai_api.answer import Answer, Billed, BilledItem, Quantities
from exporter.openai_api.endpoints import COSTS
from tests.ledger import state_holder
from tests.ledger.examples import answer, cost, day, money
from tests.ledger.first_version import state_of_version_1, version_of
from tests.ledger.state_folders import contents, output
from tests.ledger.test_store import bill, series_of

INPUT = BilledItem("gpt-5, input", "tokens")
STORAGE = BilledItem("Vector storage", "gibibyte_hours")


def read(
    quantities: Mapping[int, Quantities], *, window: tuple[int, int], rows: Mapping[int, Rows] | None = None
) -> Answer:
    """Return an answer of costs with these quantities by number of the day, and rows if any."""
    plain = answer(rows or {}, api="costs", window=window)
    return replace(plain, quantities={day(number): items for number, items in quantities.items()})


def apply(ledger: Ledger, news: Answer) -> Applied:
    return ledger.apply(news, series_of, now=news.answered_at, revision_days=3)


def kept(account: Account) -> dict[int, Quantities]:
    """Return what the account holds, by number of the day."""
    return {(midnight - day(0)) // SECONDS_PER_DAY: items for midnight, items in account.quantities.items()}


def one(usd: str, quantity: str | int) -> Quantities:
    return {INPUT: Billed(Decimal(usd), Decimal(quantity))}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Store.open(tmp_path / "state") as store:
        yield Ledger(store, 10_000)


def reopened(ledger: Ledger) -> Ledger:
    """Return what another process would find."""
    return Ledger(ledger._store, 10_000)


def test_each_day_of_the_window_is_replaced_and_the_others_are_kept(ledger: Ledger) -> None:
    apply(ledger, read({-3: one("3", 30), -1: one("1", 10), 0: one("0.5", 5)}, window=(-32, 0)))
    both = {INPUT: Billed(2, 20), STORAGE: Billed(Decimal("0.1"), Decimal("24.5"))}
    settlement = apply(ledger, read({-1: both}, window=(-2, 0))).settlement

    # Day 0 has none any more.
    assert kept(settlement.account) == {-3: one("3", 30), -1: both}
    assert settlement.repriced == {day(-1), day(0)}
    assert kept(reopened(ledger).accounts["costs"]) == kept(settlement.account)


def test_quantities_are_forgotten_with_their_days(ledger: Ledger) -> None:
    apply(ledger, read({number: one("1", number + 40) for number in range(-32, 1)}, window=(-32, 0)))
    # Day 29 is 1 December: November and what can be revised stay.
    apply(ledger, read({29: one("1", 5)}, window=(26, 29)))

    account = ledger.accounts["costs"]
    assert account.covered_from == day(-1)
    assert sorted(kept(account)) == [-1, 0, 29]
    assert kept(reopened(ledger).accounts["costs"]) == kept(account)
    assert ledger._store._connection.execute("SELECT count(*) FROM billed").fetchall() == [(3,)]


def test_days_older_than_what_is_kept_are_not_taken_in() -> None:
    account = Account("costs", covered_from=day(-1), applied_through=day(29))
    news = read({-20: one("1", 1), 29: one("2", 2)}, window=(-20, 29))
    settlement = settle(COSTS, account, news, now=day(29), revision_days=3)

    assert kept(settlement.account) == {29: one("2", 2)}


def test_a_change_of_quantities_alone_is_written_and_moves_no_counter(ledger: Ledger) -> None:
    rows = {0: {cost("gpt-5, input"): money("5")}}
    apply(ledger, read({}, window=(-32, 0)))
    apply(ledger, read({0: one("5", 100)}, window=(-3, 0), rows=rows))
    counters, changed_at = dict(ledger.book.counters), ledger.accounts["costs"].changed_at
    later = replace(read({0: one("5", 125)}, window=(-3, 0), rows=rows), answered_at=day(0) + 80_000)
    applied = apply(ledger, later)

    assert applied.committed
    assert applied.rows_changed == 0
    assert ledger.book.counters == counters
    assert not applied.settlement.postings
    # What is fresh is money and usage.
    assert applied.settlement.account.changed_at == changed_at
    assert kept(reopened(ledger).accounts["costs"]) == {0: one("5", 125)}
    assert not apply(ledger, later).committed


def test_an_equal_amount_in_other_words_is_no_change(ledger: Ledger) -> None:
    apply(ledger, read({0: one("5", 100)}, window=(-32, 0)))
    spelled_otherwise = {INPUT: Billed(Decimal("5.000"), Decimal("1E+2"))}

    assert not apply(ledger, read({0: spelled_otherwise}, window=(-3, 0))).committed


def test_what_failed_to_be_written_is_not_held_in_memory_either(ledger: Ledger) -> None:
    apply(ledger, read({0: one("5", 100)}, window=(-32, 0)))
    ledger._store._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StateError):
        apply(ledger, read({0: one("9", 100)}, window=(-3, 0)))

    assert kept(ledger.accounts["costs"]) == kept(reopened(ledger).accounts["costs"]) == {0: one("5", 100)}


EXTREMES = st.one_of(
    st.decimals(min_value="-1e18", max_value="1e18", places=60, allow_nan=False),
    st.integers(0, 10**18 - 1).map(Decimal),
    st.sampled_from([Decimal(0), Decimal("1E+17"), Decimal("1E-60"), Decimal("-0.5")]),
)
ITEMS = st.dictionaries(
    st.builds(BilledItem, st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8"))),
    st.builds(Billed, EXTREMES, EXTREMES),
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.integers(-3, 0), ITEMS.filter(bool), max_size=4), min_size=1, max_size=3))
def test_any_text_and_any_amount_comes_back_exactly(polls: list[dict[int, Quantities]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with Store.open(Path(folder)) as store:
            first = Ledger(store, 10)
            for quantities in polls:
                apply(first, read(quantities, window=(-3, 0)))
        with Store.open(Path(folder)) as store:
            again = Ledger(store, 10).accounts["costs"]
    assert kept(again) == polls[-1]


@pytest.mark.parametrize(
    ("column", "text"), [("usd", "NaN"), ("quantity", "many"), ("quantity", ""), ("api", "usage/unknown")]
)
def test_a_quantity_nobody_of_us_wrote_is_refused(tmp_path: Path, column: str, text: str) -> None:
    with Store.open(tmp_path) as store:
        apply(Ledger(store, 10), read({0: one("5", 100)}, window=(-3, 0)))
    other = sqlite3.connect(tmp_path / STATE_FILE)
    other.execute(f"UPDATE billed SET {column} = ?", (text,))  # noqa: S608 - names from the table above
    other.commit()
    other.close()

    with pytest.raises(StateError, match="Restore it from a backup"), Store.open(tmp_path) as store:
        store.load()


# States of the first version.


@pytest.fixture
def before(tmp_path: Path) -> Ledger:
    """A ledger of costs and embeddings with something held back, as it was when version 1 in `old` was closed."""
    with Store.open(tmp_path / "newest") as store:
        store.claim("https://api.test/v1")
        ledger = Ledger(store, 10_000)
        ledger.learn_names("projects", {"proj_a": DirectoryEntry("a", "active")})
        for moment, amount in enumerate(["1", "7.000000000000000000000000000000000001", "6.5"]):
            bill(ledger, {cost("gpt-5, input"): amount, cost("Vector storage", None): "1"}, moment)
        ledger.show_ripe_series(now=day(0) + 600, wait=60)
        for number in range(4):
            state_holder.apply(ledger, number)
    state_of_version_1(tmp_path / "newest", tmp_path / "old")
    return ledger


def test_a_state_of_the_first_version_is_opened_and_goes_on(tmp_path: Path, before: Ledger) -> None:
    assert version_of(tmp_path / "old")[0] == 1
    with Store.open(tmp_path / "old") as store:
        store.claim("https://api.test/v1")
        ledger = Ledger(store, 10_000)
        assert ledger.restored
        assert (ledger.accounts, ledger.book.counters, ledger.directory) == (
            before.accounts,
            before.book.counters,
            before.directory,
        )
        assert before.accounts["costs"].held
        rows = {0: {cost("gpt-5, input"): money("6.75"), cost("Vector storage", None): money("3")}}
        applied = apply(ledger, read({0: one("6.75", 100)}, window=(-3, 0), rows=rows))
    # A quarter is absorbed by what is held back.
    assert applied.settlement.postings == {cost("Vector storage", None): money("2")}

    version, tables = version_of(tmp_path / "old")
    assert (version, tables) == (SCHEMA_VERSION, version_of(tmp_path / "newest")[1])
    with Store.open(tmp_path / "old") as store:
        again = Ledger(store, 10_000)
    assert again.accounts == ledger.accounts
    assert again.book.counters == ledger.book.counters
    assert kept(again.accounts["costs"]) == {0: one("6.75", 100)}


def test_an_upgraded_state_has_the_tables_of_a_new_one(tmp_path: Path, before: Ledger) -> None:
    assert before.restored is False
    tables = []
    for folder in (tmp_path / "old", tmp_path / "newest"):
        Store.open(folder).close()
        looked_at = sqlite3.connect(folder / STATE_FILE)
        tables.append(sorted(looked_at.execute("SELECT name, sql FROM sqlite_master").fetchall()))
        looked_at.close()
    assert tables[0] == tables[1]


def test_an_upgrade_that_fails_half_way_changes_nothing(
    tmp_path: Path, before: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old"
    with monkeypatch.context() as patched:
        patched.setattr(store_module, "_UPGRADES", {1: store_module._UPGRADES[1] + "DROP TABLE nowhere;"})
        with pytest.raises(StateError, match="Nothing was changed"):
            Store.open(old)
    assert version_of(old) == (1, version_of(tmp_path / "newest")[1] - {"billed"})

    with Store.open(old) as store:
        assert Ledger(store, 10_000).accounts == before.accounts


def test_an_upgrade_killed_half_way_changes_nothing(tmp_path: Path, before: Ledger) -> None:
    upgrading = sqlite3.connect(tmp_path / "old" / STATE_FILE, isolation_level=None)
    upgrading.executescript(f"BEGIN; {store_module._UPGRADES[1]} PRAGMA user_version = {SCHEMA_VERSION};")
    killed = tmp_path / "killed"
    killed.mkdir()
    for path in (tmp_path / "old").iterdir():
        (killed / path.name).write_bytes(path.read_bytes())
    upgrading.close()

    assert version_of(killed)[0] == 1
    with Store.open(killed) as store:
        assert Ledger(store, 10_000).accounts == before.accounts
    assert version_of(killed)[0] == SCHEMA_VERSION


def test_an_upgrade_on_a_full_disk_changes_nothing_and_says_so(tmp_path: Path, before: Ledger) -> None:
    old = tmp_path / "old"
    held = contents(old)
    (message,) = output("open-on-a-full-disk", old)

    assert str(old) in message
    assert "isk" in message
    assert contents(old) == held
    with Store.open(old) as store:
        assert Ledger(store, 10_000).accounts == before.accounts


def test_a_state_of_the_first_version_that_may_not_be_written_is_named(tmp_path: Path, before: Ledger) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        held = contents(tmp_path / "old")
        for file_name, content in {LOCK_FILE: b"", **held}.items():
            (folder / file_name).write_bytes(content)
            (folder / file_name).chmod(0o666)
        # The files may be written, but nothing may be made beside them.
        folder.chmod(0o555)
        (message,) = output("open-as-nobody", folder)
        assert message.startswith(f"cannot use the state file {folder / STATE_FILE}: ")
        assert "Nothing was changed. Free or enlarge the disk, mend the file's permissions" in message
        (folder / STATE_FILE).chmod(0o444)
        (message,) = output("open-as-nobody", folder)
        assert "Nothing was changed" in message
        assert contents(folder) == held
        folder.chmod(0o755)
    assert before.accounts


@pytest.mark.parametrize("version", [0, -1])
def test_a_version_that_never_was_is_damage(tmp_path: Path, before: Ledger, version: int) -> None:
    assert before.accounts
    other = sqlite3.connect(tmp_path / "old" / STATE_FILE)
    other.execute(f"PRAGMA user_version = {version}")
    other.close()
    held = contents(tmp_path / "old")

    with pytest.raises(StateError, match="Restore it from a backup"):
        Store.open(tmp_path / "old")
    assert contents(tmp_path / "old") == held
