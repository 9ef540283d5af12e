import random
import signal
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.ledger.ledger import Ledger
from exporter.ledger.store import SCHEMA_VERSION, STATE_FILE, StateError, Store
from tests.ledger.state_folders import contents, filled, output, process

# The same bytes at every run.
CHANCE = random.Random(20261121)  # noqa: S311 - no secrets, test data


def refusal(folder: Path) -> str:
    """Open a state that cannot be used, and return what is said."""
    before = contents(folder)
    with pytest.raises(StateError) as caught, Store.open(folder) as store:
        store.load()
    assert contents(folder) == before
    return str(caught.value)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder whose parents anyone may pass through; pytest's own are for its user alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


def test_a_folder_that_cannot_be_written_is_named(open_folder: Path) -> None:
    open_folder.chmod(0o555)

    (message,) = output("open-as-nobody", open_folder)

    assert message == (
        f"cannot use the state folder {open_folder}: Permission denied. "
        "Name a folder this user can write with --storage.path."
    )
    assert list(open_folder.iterdir()) == []


def test_a_state_file_that_may_not_be_written_is_named(open_folder: Path) -> None:
    filled(open_folder)
    before = contents(open_folder)
    for path in open_folder.iterdir():
        path.chmod(0o444 if path.name == STATE_FILE else 0o666)
    open_folder.chmod(0o777)

    (message,) = output("open-as-nobody", open_folder)

    assert STATE_FILE in message
    assert "permission" in message.lower()
    assert "backup" not in message
    assert contents(open_folder) == before


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    place = tmp_path / "state"
    place.write_text("a file")

    with pytest.raises(StateError, match=r"cannot use the state folder .*state.*--storage\.path"):
        Store.open(place)

    assert place.read_text() == "a file"


def test_bytes_that_are_no_state_are_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).write_bytes(CHANCE.randbytes(20_000))

    assert_names_the_damage(refusal(tmp_path), tmp_path)


@pytest.mark.parametrize("kept", [0.02, 0.2, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_refused_and_left_alone(tmp_path: Path, kept: float) -> None:
    filled(tmp_path)
    path = tmp_path / STATE_FILE
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])

    assert_names_the_damage(refusal(tmp_path), tmp_path)


def test_a_page_overwritten_is_refused_and_left_alone(tmp_path: Path) -> None:
    filled(tmp_path)
    path = tmp_path / STATE_FILE
    whole = path.read_bytes()
    for page in range(1, len(whole) // 4096):
        path.write_bytes(whole[: page * 4096] + b"\xff" * 4096 + whole[(page + 1) * 4096 :])
        assert_names_the_damage(refusal(tmp_path), tmp_path)


def test_whatever_byte_is_damaged_it_is_a_state_error_or_a_state(tmp_path: Path) -> None:
    filled(tmp_path)
    path = tmp_path / STATE_FILE
    whole = path.read_bytes()
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[CHANCE.randrange(len(whole))] = CHANCE.choice(b'\x00\xff{}[]":,-.eN')
        path.write_bytes(damaged)
        try:
            with Store.open(tmp_path) as store:
                store.load()
        except StateError:
            refused += 1
    assert refused


@pytest.mark.parametrize(
    ("table", "column", "text"),
    [
        ("row", "key", "[]"),
        ("row", "key", "null"),
        ("row", "amounts", '{"input_unspecified_tokens": 5}'),
        ("row", "amounts", '{"input_unspecified_tokens": "five"}'),
        ("row", "amounts", '{"input_unspecified_tokens": "NaN"}'),
        ("row", "amounts", "{"),
        ("row", "api", "usage/unknown"),
        ("bucket", "grouping", "5"),
        ("counter", "total", ""),
        ("counter", "total", "-Infinity"),
        ("counter", "labels", '{"a": "b"}'),
        ("counter", "labels", "[1]"),
    ],
)
def test_a_row_nobody_of_us_wrote_is_refused(tmp_path: Path, table: str, column: str, text: str) -> None:
    filled(tmp_path)
    other = sqlite3.connect(tmp_path / STATE_FILE)
    (value,) = other.execute(f"SELECT {column} FROM {table} LIMIT 1").fetchone()  # noqa: S608 - names from the table above
    other.execute(
        f"UPDATE OR REPLACE {table} SET {column} = ? WHERE {column} = ?",  # noqa: S608 - the same
        (text, value),
    )
    other.commit()
    other.close()

    assert_names_the_damage(refusal(tmp_path), tmp_path)


def assert_names_the_damage(message: str, folder: Path) -> None:
    assert str(folder / STATE_FILE) in message
    assert "Nothing was changed" in message
    assert "Restore it from a backup, or move it away" in message


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path, journal: str) -> None:
    other = sqlite3.connect(tmp_path / STATE_FILE)
    other.execute(f"PRAGMA journal_mode = {journal}")
    other.execute("CREATE TABLE song (title TEXT)")
    other.commit()
    other.close()

    message = refusal(tmp_path)

    assert str(tmp_path / STATE_FILE) in message
    assert "not a state of this program" in message
    assert "--storage.path" in message


def test_a_newer_state_is_refused_and_left_alone(tmp_path: Path) -> None:
    filled(tmp_path)
    other = sqlite3.connect(tmp_path / STATE_FILE)
    other.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    other.commit()
    other.close()

    message = refusal(tmp_path)

    assert str(tmp_path / STATE_FILE) in message
    assert f"state version {SCHEMA_VERSION + 1}" in message
    assert "Start the newer version" in message


def test_a_state_in_use_is_refused_until_its_process_ends(tmp_path: Path) -> None:
    filled(tmp_path)
    with process("hold", tmp_path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        before = contents(tmp_path)

        with pytest.raises(StateError) as caught:
            Store.open(tmp_path)

        assert contents(tmp_path) == before
        assert str(tmp_path) in str(caught.value)
        assert f"(pid {holder.pid})" in str(caught.value)
        assert "Stop that one, or give this one a folder of its own" in str(caught.value)
        holder.send_signal(signal.SIGKILL)
    with Store.open(tmp_path) as store:
        assert Ledger(store, 10).restored


def test_a_state_can_be_opened_again_after_it_was_refused_or_closed(tmp_path: Path) -> None:
    path = tmp_path / STATE_FILE
    path.write_bytes(b"no state at all, and longer than a header of SQLite would be: " * 10)
    refusal(tmp_path)
    path.unlink()

    for _ in range(2):
        with Store.open(tmp_path) as store:
            assert not store.load().restored


def test_a_disk_that_is_full_from_the_start_is_named_as_such(tmp_path: Path) -> None:
    (message,) = output("open-on-a-full-disk", tmp_path)

    assert str(tmp_path) in message
    assert "isk" in message
    assert "backup" not in message
