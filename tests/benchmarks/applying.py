"""What applying a poll costs, from the answer's bytes to the new page, and whether it grows with the rows alone."""

import gc
import json
import sqlite3
import time
import tracemalloc
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from exporter.ledger.store import STATE_FILE
from tests.benchmarks.exporter_at_work import exporter_at_work
from tests.benchmarks.measuring import seconds
from tests.benchmarks.organization import COMPLETIONS, ROWS_PER_COMBINATION, OneAnswer, completions
from tests.benchmarks.table import Figure, ratio


class Times(NamedTuple):
    """Seconds, the best of some.

    Attributes:
        json: for `json.loads` of the poll's bytes.
        unchanged: for a poll that brings nothing new.
        changed: for a poll that changes each value of each row.
        commit: the part of `changed` that makes it durable.
        plain_commit: for SQLite alone to write as many rows and counters of the same text.
    """

    json: float
    unchanged: float
    changed: float
    commit: float
    plain_commit: float


def times(rows: int, folder: Path, repetitions: int) -> Times:
    """Measure polls of about so many rows; all kinds take turns."""
    combinations = max(1, rows // ROWS_PER_COMBINATION)
    answer = OneAnswer(completions(combinations, 0))
    found: list[Times] = []
    with exporter_at_work(folder / "state", answer) as at_work:
        commits: list[float] = []
        save = at_work.store.save_settlement

        def timed_save(*arguments: object) -> None:
            began = time.perf_counter()
            save(*arguments)  # type: ignore[arg-type]  # passed on as they come
            commits.append(time.perf_counter() - began)

        at_work.store.save_settlement = timed_save  # type: ignore[assignment, method-assign]  # a watch around it

        def poll() -> None:
            at_work.poll(COMPLETIONS.api)

        poll()
        at_work.show_everything()
        for version in range(1, repetitions + 1):
            at_work.clock.advance(60)
            answer.buckets = completions(combinations, version)
            whole = answer.whole()
            read = seconds(lambda whole=whole: json.loads(whole))  # type: ignore[misc]  # bound at once
            changed = seconds(poll)
            unchanged = seconds(poll)
            plain = plain_commit(folder / "state" / STATE_FILE, folder / f"plain-{version}")
            found.append(Times(read, unchanged, changed, commits[-1], plain))
    return Times(*map(min, zip(*found, strict=True)))


def plain_commit(state: Path, copy: Path) -> float:
    """Return the seconds for SQLite to replace all rows and counters of a state in one transaction."""
    with closing(sqlite3.connect(f"file:{state}?mode=ro", uri=True)) as source:
        schema = [text for (text,) in source.execute("SELECT sql FROM sqlite_master WHERE name IN ('row', 'counter')")]
        contents = {name: source.execute(f"SELECT * FROM {name}").fetchall() for name in ("row", "counter")}  # noqa: S608 - two names of ours
    with closing(sqlite3.connect(copy, isolation_level=None)) as target:
        target.execute("PRAGMA journal_mode = WAL")
        target.execute("PRAGMA synchronous = FULL")
        for statement in schema:
            target.execute(statement)

        def write() -> None:
            target.execute("BEGIN")
            for name, lines in contents.items():
                target.executemany(f"INSERT OR REPLACE INTO {name} VALUES (?, ?, ?, ?)", lines)  # noqa: S608 - as above
            target.execute("COMMIT")

        write()
        return seconds(write)


def applying(rows: int, folder: Path, repetitions: int = 3) -> Sequence[Figure]:
    """Return the figures of polls of about so many rows."""
    best = times(rows, folder, repetitions)
    size = f"{rows:,} rows"
    return (
        ratio(f"a poll of {size}, all as before, against `json.loads` of its bytes", best.unchanged, best.json, 6),
        ratio(f"a poll of {size}, all changed, against `json.loads` of its bytes", best.changed, best.json, 15),
        ratio(f"the commit of {size} and their counters, against SQLite alone", best.commit, best.plain_commit),
    )


def memory_per_row(rows: int, folder: Path) -> float:
    """Return the bytes that an exporter keeps for each row of a poll, its series and pages included."""
    # What the first poll of all loads once is nobody's row.
    with exporter_at_work(folder / "first", OneAnswer(completions(1, 0))) as at_work:
        at_work.poll(COMPLETIONS.api)
    answer = OneAnswer(completions(max(1, rows // ROWS_PER_COMBINATION), 0))
    gc.collect()
    tracemalloc.start()
    try:
        with exporter_at_work(folder / "measured", answer) as measured:
            measured.poll(COMPLETIONS.api)
            measured.show_everything()
            gc.collect()
            kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return kept / rows


def growth(sizes: Sequence[int], folder: Path, repetitions: int = 2, at_most: float = 1.5) -> Sequence[Figure]:
    """Return how time and memory per row grow from the first size to the last."""
    best = {size: times(size, folder / f"growth-{size}", repetitions) for size in sizes}
    kept = {size: memory_per_row(size, folder / f"memory-{size}") for size in sizes}
    first, last = sizes[0], sizes[-1]
    span = f"per row, a poll of {last:,} rows against one of {first:,}"
    return (
        ratio(f"time {span}, all as before", best[last].unchanged / last, best[first].unchanged / first, at_most),
        ratio(f"time {span}, all changed", best[last].changed / last, best[first].changed / first, at_most),
        ratio(f"memory {span}", kept[last], kept[first], at_most),
    )
