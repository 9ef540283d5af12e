"""The state on disk: one SQLite file, one transaction per change, one process at a time."""

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import islice
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Final, NamedTuple, Self

from exporter.exact import Amount
from exporter.ledger.account import Account, Bucket
from exporter.ledger.counters import Counter, SeriesName
from exporter.ledger.settlement import Settlement
from exporter.openai_api.answer import Billed, BilledItem, RowKey, RowValues
from exporter.openai_api.endpoints import COSTS, ENDPOINTS, Endpoint
from exporter.permissions import THIS_PROCESS, Use

STATE_FILE: Final = "ledger.sqlite3"
LOCK_FILE: Final = "ledger.lock"
SCHEMA_VERSION: Final = 2
_LINES_AT_ONCE: Final = 20
# Tells our file from any other SQLite file: "OUEx".
APPLICATION_ID: Final = 0x4F554578

_BILLED: Final = """
CREATE TABLE billed (
  api TEXT, day INTEGER, line_item TEXT, unit TEXT, usd TEXT NOT NULL, quantity TEXT NOT NULL,
  PRIMARY KEY (api, day, line_item, unit)
) WITHOUT ROWID;
"""
# What each older version lacks.
_UPGRADES: Final = {1: _BILLED}

_SCHEMA: Final = f"""
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
{_BILLED}
"""


class StateError(Exception):
    """The state cannot be used. The message names the path and the remedy."""


class DirectoryEntry(NamedTuple):
    """What the directory says of one id. `status` is empty where there is none."""

    name: str
    status: str = ""


@dataclass(frozen=True, slots=True)
class StoredState:
    """What the file held. `restored` is False for a file made just now; `directory` is by kind and id."""

    restored: bool
    accounts: Mapping[str, Account]
    counters: Mapping[SeriesName, Counter]
    directory: Mapping[str, Mapping[str, "DirectoryEntry"]]


class Store:
    """The open state file; closing it lets another process have it.

    Raises:
        StateError: from `open` when the state is locked, unreadable, corrupt or newer than this program; from the
            writing methods when a transaction fails, which then changed nothing.
    """

    def __init__(self, directory: Path, connection: sqlite3.Connection, lock: int) -> None:
        self._directory = directory
        self._connection = connection
        self._lock: int | None = lock

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open the state in `directory`, making both if they are not there."""
        lock = take_lock(directory)
        path = directory / STATE_FILE
        try:
            # Made here, not by SQLite: so nobody else may read it, nor the log that takes over its permissions.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
            try:
                _prepare(connection, path)
            except BaseException:
                connection.close()
                raise
        except (OSError, sqlite3.OperationalError) as error:
            os.close(lock)
            raise StateError(
                f"cannot use the state file {path}: {error}. Nothing was changed. "
                "Free or enlarge the disk, mend the file's permissions, or end what else has it open."
            ) from error
        except sqlite3.DatabaseError as error:
            os.close(lock)
            raise unusable_state(path, error) from error
        except BaseException:
            os.close(lock)
            raise
        _look_at_permissions(directory)
        return cls(directory, connection, lock)

    def close(self) -> None:
        """Close the file and give up the lock; closing twice does no harm."""
        self._connection.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def claim(self, base_url: str, *, same_organization: bool = False) -> None:
        """Tie the state to the API it is about: another organization's history must never be posted as growth.

        Args:
            base_url: the API's address.
            same_organization: the address may have changed; somebody vouches that the organization has not.

        Raises:
            StateError: the state is about another API, or cannot be written.
        """
        [(known,)] = self._connection.execute("SELECT min(base_url) FROM origin").fetchall()
        if known == base_url:
            return
        if known is not None and not same_organization:
            raise StateError(
                f"the state in {self._directory} is about {known}, not about {base_url}: another organization's "
                "history would be counted as growth. Name another folder with --storage.path, or, if it is the same "
                "organization at a new address, start once with --storage.same-organization."
            )
        with self._transaction() as connection:
            connection.execute("DELETE FROM origin")
            connection.execute("INSERT INTO origin VALUES (?)", (base_url,))

    def written_at(self) -> float:
        """Return when the state was last written, Unix seconds, as the file system tells."""
        return max(file.stat().st_mtime for file in self._directory.glob(STATE_FILE + "*"))

    def size(self) -> int:
        """Return the bytes the state takes on disk, its write-ahead log included."""
        return sum(file.stat().st_size for file in self._directory.glob(STATE_FILE + "*"))

    def load(self) -> StoredState:
        """Read everything."""
        return load_state(self._connection, self._directory / STATE_FILE)

    def save_settlement(
        self, settlement: Settlement, totals: Mapping[SeriesName, Amount], held_before: Mapping[RowKey, RowValues]
    ) -> None:
        """Make one applied answer durable: all of it or nothing."""
        account = settlement.account
        endpoint = ENDPOINTS[account.api]
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO account VALUES (?, ?, ?, ?, ?)",
                (
                    account.api,
                    account.covered_from,
                    account.applied_through,
                    json.dumps(account.grouping),
                    account.changed_at,
                ),
            )
            connection.execute(
                "DELETE FROM row WHERE api = ? AND day < ?",
                (account.api, account.covered_from),
            )
            connection.execute("DELETE FROM bucket WHERE api = ? AND day < ?", (account.api, account.covered_from))
            for day, rows in settlement.changed.items():
                if day not in account.buckets:
                    continue
                connection.execute(
                    "INSERT OR REPLACE INTO bucket VALUES (?, ?, ?)", (account.api, day, json.dumps(account.grouping))
                )
                self._write_rows(endpoint, day, rows)
            self._write_quantities(account, settlement.repriced)
            if account.held is not held_before and account.held != held_before:
                connection.execute("DELETE FROM held WHERE api = ?", (account.api,))
                self._write_many(
                    "INSERT INTO held VALUES (?, ?, ?)",
                    (
                        (account.api, _encode_key(endpoint, key), _encode_values(endpoint, values))
                        for key, values in account.held.items()
                    ),
                )
            self._write_many(
                "INSERT INTO counter VALUES (?, ?, ?, 0) "
                "ON CONFLICT (family, labels) DO UPDATE SET total = excluded.total",
                ((name.family, json.dumps(name.labels), str(total)) for name, total in totals.items()),
            )

    def save_shown(self, names: Iterable[SeriesName]) -> None:
        """Remember that these series' values are exposed: after a restart they must never stand at 0 again."""
        with self._transaction():
            self._write_many(
                "UPDATE counter SET shown = 1 WHERE family = ? AND labels = ?",
                ((name.family, json.dumps(name.labels)) for name in names),
            )

    def save_directory(self, kind: str, entries: Mapping[str, DirectoryEntry]) -> None:
        """Remember names by kind and id, so that a restart posts under the names it used before."""
        with self._transaction():
            self._write_many(
                "INSERT OR REPLACE INTO directory VALUES (?, ?, ?, ?)",
                ((kind, identifier, entry.name, entry.status) for identifier, entry in entries.items()),
            )

    def _write_rows(self, endpoint: Endpoint, day: int, rows: Mapping[RowKey, RowValues | None]) -> None:
        self._write_many(
            "DELETE FROM row WHERE api = ? AND day = ? AND key = ?",
            ((endpoint.api, day, _encode_key(endpoint, key)) for key, values in rows.items() if values is None),
        )
        self._write_many(
            "INSERT OR REPLACE INTO row VALUES (?, ?, ?, ?)",
            (
                (endpoint.api, day, _encode_key(endpoint, key), _encode_values(endpoint, values))
                for key, values in rows.items()
                if values is not None
            ),
        )

    def _write_quantities(self, account: Account, days: Iterable[int]) -> None:
        for day in days:
            self._connection.execute("DELETE FROM billed WHERE api = ? AND day = ?", (account.api, day))
            self._write_many(
                "INSERT INTO billed VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (account.api, day, item.line_item, item.unit, str(billed.usd), str(billed.quantity))
                    for item, billed in account.quantities.get(day, {}).items()
                ),
            )

    def _write_many(self, statement: str, lines: Iterable[tuple[object, ...]]) -> None:
        """Execute a statement once for each line.

        SQLite gives the interpreter away at each line, too briefly for who waits for it to wake up, but enough to let
        the wait begin again. While a batch of lines is made ready nothing of the kind happens, and scrapes come in.
        """
        left = iter(lines)
        while batch := list(islice(left, _LINES_AT_ONCE)):
            self._connection.executemany(statement, batch)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # A failed COMMIT (disk full) may have ended the transaction by itself.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StateError(
                f"cannot write the state in {self._directory}: {error}; nothing of this poll was counted, the next one "
                f"makes up for it. {_remedy(error)}"
            ) from error
        _look_at_permissions(self._directory)


def _remedy(error: sqlite3.Error) -> str:
    # The low byte is the kind; the rest tells where it came from. Errors of Python's own have no code.
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return "End what else has it open for writing: a backup, a shell, another program."
    return "Free or enlarge the disk, or mend the folder's permissions."


def _look_at_permissions(directory: Path) -> None:
    THIS_PROCESS.look_at(directory, Use.STATE_FOLDER)
    for file in directory.glob("ledger.*"):
        THIS_PROCESS.look_at(file, Use.STATE)


def take_lock(directory: Path) -> int:
    """Keep other processes off a state until the file descriptor that is returned is closed.

    Raises:
        StateError: another process has it, or the folder cannot be used.
    """
    path = directory / LOCK_FILE
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(
            f"cannot use the state folder {directory}: {error.strerror}. "
            "Name a folder this user can write with --storage.path."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise StateError(
            f"the state in {directory} is in use by another process (pid {holder}). "
            "Stop that one, or give this one a folder of its own with --storage.path."
        ) from error
    try:
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
    except OSError as error:
        os.close(lock)
        raise StateError(
            f"cannot write to the state folder {directory}: {error.strerror}. Free or enlarge the disk."
        ) from error
    return lock


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    is_new = is_new_state(connection, path)
    # Only now, because it writes to the file. WAL with full synchronisation: a commit is on the disk when it returns,
    # whatever happens to the process.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    if is_new:
        connection.executescript(
            f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; "
            f"PRAGMA application_id = {APPLICATION_ID}; COMMIT;"
        )
        return
    [(version,)] = connection.execute("PRAGMA user_version").fetchall()
    missing = "".join(_UPGRADES[older] for older in range(version, SCHEMA_VERSION))
    if missing:
        connection.executescript(f"BEGIN; {missing} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")


def is_new_state(connection: sqlite3.Connection, path: Path) -> bool:
    """Return whether the file is empty. Writes nothing.

    Raises:
        StateError: it is not ours, or newer than this program.
        sqlite3.DatabaseError: it is damaged, or cannot be read.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if version == 0 and application == 0 and tables == 0:
        return True
    if application != APPLICATION_ID:
        raise StateError(f"{path} is not a state of this program. Name another folder with --storage.path.")
    if version > SCHEMA_VERSION:
        raise StateError(
            f"{path} was written by a newer version (state version {version}, this program knows {SCHEMA_VERSION}). "
            "Start the newer version, or name another folder with --storage.path: counters then begin at zero."
        )
    if version < 1:
        raise sqlite3.DatabaseError(f"there is no state version {version}")
    problem = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    if problem != "ok":
        raise sqlite3.DatabaseError(problem)
    return False


def load_state(connection: sqlite3.Connection, path: Path) -> StoredState:
    """Read everything from the file at `path`, of this or an older version.

    Raises:
        StateError: it holds what no state holds.
    """
    try:
        return _load(connection)
    except (sqlite3.DatabaseError, ValueError, TypeError, KeyError, AttributeError, InvalidOperation) as error:
        raise unusable_state(path, error) from error


def _load(connection: sqlite3.Connection) -> StoredState:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    buckets: dict[str, dict[int, Bucket]] = {api: {} for api in ENDPOINTS}
    rows: dict[tuple[str, int], dict[RowKey, RowValues]] = {}
    for api, day, key, amounts in connection.execute("SELECT api, day, key, amounts FROM row"):
        endpoint = ENDPOINTS[api]
        rows.setdefault((api, day), {})[_decode_key(endpoint, key)] = _decode_values(endpoint, amounts)
    for api, day, grouping in connection.execute("SELECT api, day, grouping FROM bucket"):
        buckets[api][day] = Bucket(tuple(json.loads(grouping)), rows.get((api, day), {}))
    held: dict[str, dict[RowKey, RowValues]] = {api: {} for api in ENDPOINTS}
    for api, key, amounts in connection.execute("SELECT api, key, amounts FROM held"):
        held[api][_decode_key(ENDPOINTS[api], key)] = _decode_values(ENDPOINTS[api], amounts)
    quantities: dict[str, dict[int, dict[BilledItem, Billed]]] = {api: {} for api in ENDPOINTS}
    # A reader that may not write cannot add what an older version lacks.
    billed_rows = (
        connection.execute("SELECT api, day, line_item, unit, usd, quantity FROM billed") if "billed" in tables else ()
    )
    for api, day, line_item, unit, usd, quantity in billed_rows:
        billed = Billed(_decode_amount(usd), _decode_amount(quantity))
        quantities[api].setdefault(day, {})[BilledItem(line_item, unit)] = billed
    accounts = {
        api: Account(
            api=api,
            covered_from=covered_from,
            applied_through=applied_through,
            grouping=tuple(json.loads(grouping)),
            buckets=buckets[api],
            quantities=quantities[api],
            held=held[api],
            changed_at=changed_at,
        )
        for api, covered_from, applied_through, grouping, changed_at in connection.execute(
            "SELECT api, covered_from, applied_through, grouping, changed_at FROM account"
        )
    }
    counters = {
        SeriesName(family, tuple((name, value) for name, value in json.loads(labels))): Counter(
            _decode_amount(total), bool(shown)
        )
        for family, labels, total, shown in connection.execute("SELECT family, labels, total, shown FROM counter")
    }
    directory: dict[str, dict[str, DirectoryEntry]] = {}
    for kind, identifier, name, status in connection.execute("SELECT kind, id, name, status FROM directory"):
        directory.setdefault(kind, {})[identifier] = DirectoryEntry(name, status)
    return StoredState(bool(accounts or counters), accounts, counters, directory)


def _key_names(endpoint: Endpoint) -> tuple[str, ...]:
    return (*endpoint.dimensions, "currency") if endpoint is COSTS else endpoint.dimensions


def _encode_key(endpoint: Endpoint, key: RowKey) -> str:
    # Put together by hand, the same as `json.dumps` would: a large poll writes a hundred thousand of them.
    pairs = [
        f'"{name}": {encode_basestring_ascii(value)}'
        for name, value in zip(_key_names(endpoint), key, strict=True)
        if value is not None
    ]
    return f"{{{', '.join(pairs)}}}"


def _decode_key(endpoint: Endpoint, text: str) -> RowKey:
    values = json.loads(text)
    return tuple(values.get(name) for name in _key_names(endpoint))


def _encode_values(endpoint: Endpoint, values: RowValues) -> str:
    # Figures and names of ours need no escapes.
    pairs = [f'"{name}": "{value}"' for name, value in zip(endpoint.measures, values, strict=True) if value]
    return f"{{{', '.join(pairs)}}}"


def _decode_values(endpoint: Endpoint, text: str) -> RowValues:
    values = json.loads(text)
    return tuple(_decode_amount(values[name]) if name in values else 0 for name in endpoint.measures)


def _decode_amount(text: str) -> Amount:
    amount = int(text) if text.lstrip("-").isdecimal() else Decimal(text)
    if isinstance(amount, Decimal) and not amount.is_finite():
        raise ValueError(f"{text} is no amount")
    return amount


def unusable_state(path: Path, error: Exception) -> StateError:
    """Say that the file at `path` is damaged, and what to do."""
    return StateError(
        f"the state file {path} cannot be read ({error}). Nothing was changed. Restore it from a backup, or move it "
        "away and start again: counters then begin at zero, from what the API holds at that moment."
    )
