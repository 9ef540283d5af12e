import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from exporter.ledger.counters import Counter
from exporter.ledger.read_only import AbsentStateError, ObservedState, read_state
from exporter.ledger.store import LOCK_FILE, SCHEMA_VERSION, STATE_FILE, DirectoryEntry, StateError, Store
from tests.ledger import state_holder
from tests.ledger.examples import EMBEDDINGS, day, embedding
from tests.ledger.state_folders import filled, output, process

BASE_URL = "https://api.example/v1"


def everything(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Return all files of a folder: what they hold, when they were written, and which they are."""
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in sorted(folder.iterdir())
    }


def newest_poll(observed: ObservedState) -> int:
    """Return which poll was applied last, after a look at whether it was applied whole."""
    account = observed.state.accounts[EMBEDDINGS.api]
    rows = account.buckets[day(0)].rows if account.buckets else {}
    number = int(rows[embedding("polls")][0]) if rows else 0
    assert rows == (state_holder.rows_at(number) if number else {})
    # Other tables are of the same moment.
    for key, values in rows.items():
        held = account.held.get(key, (0, 0))
        for name, value, held_back in zip(state_holder.series_of("", key), values, held, strict=True):
            counter = observed.state.counters.get(name, Counter()) if name else Counter()
            assert counter.value - held_back == value
    return number


def refusal(folder: Path) -> str:
    before = everything(folder)
    with pytest.raises(StateError) as caught:
        read_state(folder)
    assert everything(folder) == before
    return str(caught.value)


def test_a_state_that_nobody_uses_is_read_whole_and_nothing_is_touched(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    with Store.open(tmp_path) as store:
        store.claim(BASE_URL)
        store.save_directory("projects", {"proj_a": DirectoryEntry("a", "active")})
    with Store.open(tmp_path) as store:
        stored = store.load()
    before = everything(tmp_path)
    assert sorted(before) == [LOCK_FILE, STATE_FILE]

    observed = read_state(tmp_path)

    assert everything(tmp_path) == before
    assert observed.state == stored
    assert observed.state.accounts == {
        api: account for api, account in ledger.accounts.items() if account.covered_from is not None
    }
    assert observed.base_url == BASE_URL
    assert observed.written_at == (tmp_path / STATE_FILE).stat().st_mtime_ns / 1e9


def test_the_newest_commit_of_a_running_exporter_is_read_and_nothing_is_touched(tmp_path: Path) -> None:
    with process("commit-when-asked", tmp_path) as running:
        assert running.stdout is not None
        assert running.stdin is not None
        for number in range(6):
            running.stdin.write("\n")
            running.stdin.flush()
            assert running.stdout.readline() == f"{number}\n"
            before = everything(tmp_path)
            assert len(before[f"{STATE_FILE}-wal"][0]) > 0

            observed = read_state(tmp_path)

            assert everything(tmp_path) == before
            assert newest_poll(observed) == number
            assert observed.written_at == before[f"{STATE_FILE}-wal"][1] / 1e9
        running.stdin.close()
        assert running.wait(timeout=60) == 0
    assert newest_poll(read_state(tmp_path)) == 5


def test_reading_while_another_process_commits_all_the_time_gives_whole_commits(tmp_path: Path) -> None:
    with process("commit-for-ever", tmp_path) as running:
        assert running.stdout is not None
        for _ in range(30):
            acknowledged = int(running.stdout.readline())
            assert newest_poll(read_state(tmp_path)) >= acknowledged
        running.kill()


def test_what_a_killed_exporter_left_in_its_log_is_read_and_stays_there(tmp_path: Path) -> None:
    with process("commit-for-ever", tmp_path) as running:
        assert running.stdout is not None
        for _ in range(20):
            running.stdout.readline()
        running.kill()
    before = everything(tmp_path)
    assert len(before[f"{STATE_FILE}-wal"][0]) > 0

    observed = read_state(tmp_path)

    assert everything(tmp_path) == before
    with Store.open(tmp_path) as store:
        assert store.load() == observed.state
    assert len(observed.state.accounts[EMBEDDINGS.api].buckets) == 1


def test_a_log_without_its_index_cannot_be_read_without_being_written(tmp_path: Path) -> None:
    with process("commit-for-ever", tmp_path) as running:
        assert running.stdout is not None
        running.stdout.readline()
        running.kill()
    (tmp_path / f"{STATE_FILE}-shm").unlink()

    assert "Start the exporter on it once" in refusal(tmp_path)


def test_a_state_of_the_first_version_is_read_and_stays_one(tmp_path: Path) -> None:
    filled(tmp_path)
    with Store.open(tmp_path) as store:
        stored = store.load()
    older = sqlite3.connect(tmp_path / STATE_FILE)
    older.executescript("DROP TABLE billed; PRAGMA user_version = 1;")
    older.close()
    before = everything(tmp_path)

    observed = read_state(tmp_path)

    assert everything(tmp_path) == before
    assert observed.state == stored


def test_a_folder_without_a_state_is_told_and_not_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for folder in (tmp_path, tmp_path / "none", tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(AbsentStateError, match=r"there is no state in .*--storage\.path"):
            read_state(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_empty_file_is_no_state(tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).touch()

    with pytest.raises(AbsentStateError, match="no exporter ever wrote to it"):
        read_state(tmp_path)

    assert (tmp_path / STATE_FILE).stat().st_size == 0


def test_a_newer_state_is_refused_as_the_exporter_does(tmp_path: Path) -> None:
    filled(tmp_path)
    newer = sqlite3.connect(tmp_path / STATE_FILE)
    newer.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    newer.close()

    assert f"written by a newer version (state version {SCHEMA_VERSION + 1}" in refusal(tmp_path)


def test_another_programs_database_is_refused_as_the_exporter_does(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / STATE_FILE)
    other.execute("CREATE TABLE song (title TEXT)")
    other.close()

    assert "not a state of this program" in refusal(tmp_path)


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9])
def test_a_damaged_state_is_refused_as_the_exporter_does(tmp_path: Path, kept: float) -> None:
    filled(tmp_path)
    path = tmp_path / STATE_FILE
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])

    message = refusal(tmp_path)

    assert str(path) in message
    assert "Restore it from a backup" in message


def test_a_row_nobody_of_us_wrote_is_refused(tmp_path: Path) -> None:
    filled(tmp_path)
    other = sqlite3.connect(tmp_path / STATE_FILE)
    other.execute("UPDATE row SET amounts = '{'")
    other.commit()
    other.close()

    assert "Restore it from a backup" in refusal(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_a_state_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    filled(tmp_path)

    (message,) = output("read-as-nobody", tmp_path)

    assert message.startswith(f"cannot read the state file {tmp_path / STATE_FILE}: Permission denied")


def test_a_name_that_means_something_in_an_address_is_a_folders_name(tmp_path: Path) -> None:
    folder = tmp_path / "state ?mode=rwc#ü%20"
    filled(tmp_path)
    shutil.copytree(tmp_path, folder)

    assert read_state(folder).state.restored
