"""States as the first version of the program left them."""

import sqlite3
from pathlib import Path

from exporter.ledger.store import APPLICATION_ID, STATE_FILE, Store

_SCHEMA = """
CREATE TABLE account (
  api TEXT PRIMARY KEY, covered_from INTEGER, applied_through INTEGER, grouping TEXT NOT NULL, changed_at INTEGER
) WITHOUT ROWID;
CREATE TABLE bucket (api TEXT, day INTEGER, grouping TEXT NOT NULL, PRIMARY KEY (api, day)) WITHOUT ROWID;
CREATE TABLE row (api TEXT, day INTEGER, key TEXT, amounts TEXT NOT NULL, PRIMARY KEY (api, day, key)) WITHOUT ROWID;
CREATE TABLE held (api TEXT, key TEXT, amounts TEXT NOT NULL, PRIMARY KEY (api, key)) WITHOUT ROWID;
CREATE TABLE counter (
  family TEXT, labels TEXT, total TEXT NOT NULL, shown INTEGER NOT NULL, PRIMARY KEY (family, labels)
) WITHOUT ROWID;
CREATE TABLE origin (base_url TEXT NOT NULL);
CREATE TABLE directory (
  kind TEXT, id TEXT, name TEXT NOT NULL, status TEXT NOT NULL, PRIMARY KEY (kind, id)
) WITHOUT ROWID;
"""
_TABLES = ("account", "bucket", "row", "held", "counter", "origin", "directory")


def state_of_version_1(newest: Path, folder: Path) -> None:
    """Make a state of version 1 in `folder`, of all that it could hold of the closed state in `newest`."""
    # What was written by another process may still be in its log.
    Store.open(newest).close()
    folder.mkdir()
    path = folder / STATE_FILE
    old = sqlite3.connect(path, isolation_level=None)
    old.execute("PRAGMA journal_mode = WAL")
    old.executescript(f"{_SCHEMA} PRAGMA user_version = 1; PRAGMA application_id = {APPLICATION_ID};")
    old.execute("ATTACH ? AS newest", (str(newest / STATE_FILE),))
    for table in _TABLES:
        old.execute(f"INSERT INTO main.{table} SELECT * FROM newest.{table}")  # noqa: S608 - names from above
    old.close()
    path.chmod(0o600)


def version_of(folder: Path) -> tuple[int, set[str]]:
    """Return the version of a closed state, and its tables."""
    looked_at = sqlite3.connect(folder / STATE_FILE)
    [(version,)] = looked_at.execute("PRAGMA user_version").fetchall()
    tables = {name for (name,) in looked_at.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    looked_at.close()
    return version, tables
