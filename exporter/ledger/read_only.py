"""Looks at a state without touching it: no lock, no write and no new file, also while an exporter works on it."""

import os
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from exporter.ledger.store import STATE_FILE, StateError, StoredState, is_new_state, load_state, unusable_state

# An exporter that begins or ends makes or removes files of the state; it has then done so.
_TRIES: Final = 5
_PAUSE_SECONDS: Final = 0.1
_BUSY_SECONDS: Final = 10.0


class AbsentStateError(StateError):
    """There is no state, or nothing was ever written to it."""


@dataclass(frozen=True, slots=True)
class ObservedState:
    """What a state held at one moment.

    Attributes:
        state: all of it.
        base_url: the API it is about, "" where it does not say.
        written_at: when it was last written, Unix seconds, as the file system tells.
    """

    state: StoredState
    base_url: str
    written_at: float


class _Mark(NamedTuple):
    """What tells that a file was changed."""

    size: int
    nanoseconds: int


class _Files(NamedTuple):
    """The files of a state; None for one that is not there."""

    database: _Mark | None
    log: _Mark | None
    log_index: _Mark | None

    @property
    def have_log(self) -> bool:
        """Whether there is more to read than the database itself."""
        return self.log is not None and self.log.size > 0


def read_state(directory: Path) -> ObservedState:
    """Read the state in `directory`, as it is between two transactions.

    Raises:
        AbsentStateError: there is none.
        StateError: it is unreadable, corrupt or newer than this program; the message says what to do.
    """
    path = directory / STATE_FILE
    problem: Exception = StateError("it changes all the time")
    for number in range(_TRIES):
        time.sleep(_PAUSE_SECONDS if number else 0)
        files = _files(path)
        try:
            observed = _observe(path, files)
        except sqlite3.OperationalError as error:
            problem = error
            continue
        except (StateError, sqlite3.DatabaseError) as error:
            if _is_untouched(path, files):
                raise error if isinstance(error, StateError) else unusable_state(path, error) from error
            continue
        if _is_untouched(path, files):
            return observed
    raise StateError(
        f"cannot read the state file {path}: {problem}. Nothing was changed. Mend the permissions of the folder and "
        "its files, or try again."
    ) from problem


def _observe(path: Path, files: _Files) -> ObservedState:
    """Read everything. What it says may be torn if there is no log, and somebody writes meanwhile."""
    if files.database is None:
        raise AbsentStateError(f"there is no state in {path.parent}. Name its folder with --storage.path.")
    if not os.access(path, os.R_OK):
        raise StateError(f"cannot read the state file {path}: Permission denied. Run this as the exporter's own user.")
    if files.have_log and files.log_index is None:
        raise StateError(
            f"cannot read the state file {path}: the index of its log, {path.name}-shm, is missing and would have to "
            "be written. Start the exporter on it once."
        )
    # With a log, readers and the writer know of each other. Without one nobody writes, and SQLite would make one.
    how = "readonly_shm=1" if files.have_log else "immutable=1"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro&{how}", uri=True, timeout=_BUSY_SECONDS, isolation_level=None
    )
    try:
        connection.execute("BEGIN")
        if is_new_state(connection, path):
            raise AbsentStateError(f"the state in {path.parent} is empty: no exporter ever wrote to it.")
        state = load_state(connection, path)
        [(base_url,)] = connection.execute("SELECT min(base_url) FROM origin").fetchall()
    finally:
        connection.close()
    written = max(mark.nanoseconds for mark in (files.database, files.log) if mark)
    return ObservedState(state, base_url or "", written / 1e9)


def _is_untouched(path: Path, files: _Files) -> bool:
    """Whether what was read is what a transaction left: always with a log, else if no exporter began meanwhile."""
    return files.have_log or _files(path) == files


def _files(path: Path) -> _Files:
    return _Files(_mark(path), _mark(Path(f"{path}-wal")), _mark(Path(f"{path}-shm")))


def _mark(path: Path) -> _Mark | None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StateError(
            f"cannot read the state file {path}: {error.strerror}. Run this as the exporter's own user."
        ) from error
    return _Mark(found.st_size, found.st_mtime_ns)
