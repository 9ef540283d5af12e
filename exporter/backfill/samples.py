"""The samples made so far: a file of its own, for they come day by day and are wanted series by series."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from exporter.backfill.points import MILLISECONDS, Point
from exporter.ledger.counters import SeriesName
from exporter.metrics.catalogue import Family
from exporter.metrics.rendering import render_header, render_name, render_value

SAMPLES_FILE: Final = "samples.sqlite3"

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS family (name TEXT PRIMARY KEY, header TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, api TEXT NOT NULL, family TEXT NOT NULL, name TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS sample (series INTEGER, at INTEGER, value TEXT NOT NULL, PRIMARY KEY (series, at))
  WITHOUT ROWID;
"""
_SERIES: Final = "SELECT id, name FROM series WHERE family = ? ORDER BY name"
_SAMPLES: Final = "SELECT at, value FROM sample WHERE series = ? ORDER BY at"
# 16 MiB, in SQLite's spelling: all the memory that samples ever take.
_CACHE: Final = -16 * 1024

Target = tuple[tuple[str, str], ...]
"""The labels that Prometheus adds to what it scrapes from the exporter."""


class SampleError(Exception):
    """The samples cannot be kept; the message says why and what to do."""


class Samples:
    """All samples made so far. Those of one `adding` are durable when it ends, all or none.

    Raises:
        SampleError: the file cannot be used, or written.
    """

    def __init__(self, folder: Path, target: Target) -> None:
        self._folder = folder
        self._target = target
        with self._explained():
            self._connection = sqlite3.connect(folder / SAMPLES_FILE, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode = WAL")
            # Durable before the ledger is, which says how far this went.
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(f"PRAGMA cache_size = {_CACHE}")
            self._connection.executescript(_SCHEMA)
            self._ids = dict[tuple[str, SeriesName], int]()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def adding(self) -> Iterator[None]:
        """Keep what is added in the block, all of it or nothing."""
        with self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # Series of this block have no number any more.
                self._ids.clear()
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def add(self, api: str, family: Family, name: SeriesName, points: Iterable[Point]) -> None:
        """Add points of one series; those of the same moments are replaced."""
        series = self._series(api, family, name)
        self._connection.executemany(
            "INSERT OR REPLACE INTO sample VALUES (?, ?, ?)",
            ((series, point.at, render_value(point.value)) for point in points),
        )

    def forget_from(self, api: str, moment: int) -> None:
        """Drop what an API's series have from a moment on, Unix seconds: it will be made anew."""
        with self.adding():
            self._connection.execute(
                "DELETE FROM sample WHERE at >= ? AND series IN (SELECT id FROM series WHERE api = ?)",
                (moment * MILLISECONDS, api),
            )

    def lines(self) -> Iterator[str]:
        """Yield everything as OpenMetrics: family by family, series by series, in order of time."""
        with self._explained():
            for family, header in self._connection.execute("SELECT name, header FROM family ORDER BY name"):
                yield header
                for series, name in self._connection.execute(_SERIES, (family,)):
                    for at, value in self._connection.execute(_SAMPLES, (series,)):
                        yield f"{name} {value} {_seconds(at)}\n"
        yield "# EOF\n"

    def _series(self, api: str, family: Family, name: SeriesName) -> int:
        known = self._ids.get((api, name))
        if known is not None:
            return known
        text = render_name(SeriesName(name.family, (*self._target, *name.labels)))
        self._connection.execute(
            "INSERT OR IGNORE INTO family VALUES (?, ?)", (family.name, render_header(family, openmetrics=True))
        )
        self._connection.execute(
            "INSERT OR IGNORE INTO series (api, family, name) VALUES (?, ?, ?)", (api, family.name, text)
        )
        [(identifier,)] = self._connection.execute("SELECT id FROM series WHERE name = ?", (text,))
        self._ids[api, name] = int(identifier)
        return int(identifier)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise SampleError(
                f"cannot use {self._folder / SAMPLES_FILE}: {error}. Free or enlarge the disk, or mend the folder's "
                "permissions; then run the same command again, it goes on where it was."
            ) from error


def _seconds(milliseconds: int) -> str:
    whole, part = divmod(milliseconds, MILLISECONDS)
    return f"{whole}.{part:03d}" if part else str(whole)
