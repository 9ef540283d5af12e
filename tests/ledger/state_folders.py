"""Folders with a state in them, and other processes that use one."""

import subprocess
import sys
from pathlib import Path

from exporter.ledger.ledger import Ledger
from exporter.ledger.store import LOCK_FILE, STATE_FILE, Store
from tests.ledger import state_holder

ROOT = Path(__file__).parents[2]


def filled(folder: Path) -> Ledger:
    """Make a state of some pages, close it, and return the ledger as it was."""
    with Store.open(folder) as store:
        ledger = Ledger(store, 10_000)
        for number in range(6):
            state_holder.apply(ledger, number)
    assert sorted(path.name for path in folder.iterdir()) == [LOCK_FILE, STATE_FILE]
    return ledger


def contents(folder: Path) -> dict[str, bytes]:
    """Return what the files hold, but for the lock and SQLite's index of its log: they say who looked, not what is."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in {".sqlite3", ".sqlite3-wal"}}
    return {name: content for name, content in files.items() if content}


def process(what: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.ledger.state_holder", what, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def output(what: str, folder: Path) -> list[str]:
    with process(what, folder) as running:
        said, _ = running.communicate(timeout=60)
        assert running.returncode == 0
        return said.splitlines()
