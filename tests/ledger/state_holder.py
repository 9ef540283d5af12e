"""A process that holds a state, for tests of what another process, a kill or a full disk does to it.

Run as `python -m tests.ledger.state_holder <what> <folder>`. It answers on its standard output, a line at a time.
"""

import os
import resource
import sys
from itertools import count
from pathlib import Path

from exporter.ledger.account import Rows
from exporter.ledger.counters import SeriesName
from exporter.ledger.ledger import Ledger
from exporter.ledger.read_only import read_state
from exporter.ledger.store import StateError, Store
from exporter.openai_api.answer import Answer, RowKey
from tests.ledger.examples import EMBEDDINGS, answer, day, embedding, embeddings_series

NOBODY = 65_534
ROWS = 40


def series_of(_: str, key: RowKey) -> tuple[SeriesName | None, ...]:
    return embeddings_series(key), embeddings_series(key, "requests")


def rows_at(number: int) -> Rows:
    """Return what the API says at poll `number`: the first row counts polls, the others rise and sometimes fall."""
    wobbling = {embedding(f"m{at:02}"): (number * at - number % 5 * at, number) for at in range(1, ROWS)}
    return {embedding("polls"): (number, 0), **{key: values for key, values in wobbling.items() if any(values)}}


def poll(number: int) -> Answer:
    """Return poll `number`; poll 0 is the zero line."""
    return answer({0: rows_at(number)} if number else {}, window=(-3, 0), answered_at=day(0) + number)


def apply(ledger: Ledger, number: int) -> None:
    ledger.apply(poll(number), series_of, now=day(0) + number, revision_days=3)


def next_poll(ledger: Ledger) -> int:
    account = ledger.accounts[EMBEDDINGS.api]
    if account.covered_from is None:
        return 0
    bucket = account.buckets.get(day(0))
    return int(bucket.rows[embedding("polls")][0]) + 1 if bucket else 1


def say(text: object) -> None:
    print(text, flush=True)  # noqa: T201 - how the test hears of it


def hold(folder: Path) -> None:
    with Store.open(folder):
        say("open")
        sys.stdin.read()


def commit_for_ever(folder: Path) -> None:
    with Store.open(folder) as store:
        ledger = Ledger(store, 10_000)
        for number in count(next_poll(ledger)):
            apply(ledger, number)
            say(number)


def commit_when_asked(folder: Path) -> None:
    """Commit once for each line that is read."""
    with Store.open(folder) as store:
        ledger = Ledger(store, 10_000)
        for _ in sys.stdin:
            number = next_poll(ledger)
            apply(ledger, number)
            say(number)


def commit_on_a_disk_that_fills(folder: Path) -> None:
    """Commit until files may not grow any more, tell how far it came, then go on when they may."""
    with Store.open(folder) as store:
        ledger = Ledger(store, 10_000)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, hard))
        for number in count(next_poll(ledger)):
            try:
                apply(ledger, number)
            except StateError as error:
                say(number)
                say(error)
                break
        try:
            apply(ledger, next_poll(ledger) + 1)
        except StateError:
            say("still full")
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        apply(ledger, next_poll(ledger) + 1)
        say(next_poll(ledger) - 1)


def open_on_a_full_disk(folder: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    open_state(folder)


def open_as_nobody(folder: Path) -> None:
    if os.getuid() == 0:
        os.setuid(NOBODY)
    open_state(folder)


def read_as_nobody(folder: Path) -> None:
    if os.getuid() == 0:
        os.setuid(NOBODY)
    try:
        read_state(folder)
    except StateError as error:
        say(error)
    else:
        say("read")


def open_state(folder: Path) -> None:
    try:
        Store.open(folder).close()
    except StateError as error:
        say(error)
    else:
        say("opened")


WHAT = {
    "hold": hold,
    "commit-for-ever": commit_for_ever,
    "commit-when-asked": commit_when_asked,
    "commit-on-a-disk-that-fills": commit_on_a_disk_that_fills,
    "open-on-a-full-disk": open_on_a_full_disk,
    "open-as-nobody": open_as_nobody,
    "read-as-nobody": read_as_nobody,
}

if __name__ == "__main__":
    WHAT[sys.argv[1]](Path(sys.argv[2]))
