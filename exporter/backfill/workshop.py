"""The folder beside the output in which history is made, so that what is cut off can go on, and is met by nobody."""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Self

from exporter.backfill.samples import Target
from exporter.ledger.store import STATE_FILE

_PLAN_FILE: Final = "plan.json"
_OUTPUT_FILE: Final = "history.om"


class BackfillError(Exception):
    """There is no history, or not all of it; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be made: it must be the same when a cut-off backfill goes on.

    Attributes:
        api: the base URL.
        since: the first day asked for, a UTC midnight.
        until: the midnight after the last.
        ends_yesterday: nobody said where it ends: it does with the day before it began, however late it goes on.
        target: labels added to every series.
        naming: what of the configuration decides about the series' own labels.
        first: the first day that the API held when it began; None as long as that was not asked.
        is_made: the history is in its place, and the state may be.
    """

    api: str
    since: int
    until: int
    target: Target
    ends_yesterday: bool = False
    naming: str = ""
    first: int | None = None
    is_made: bool = False

    def is_same(self, other: "Plan") -> bool:
        """Whether both ask for the same, however far they got."""
        until = other.until if self.ends_yesterday and other.ends_yesterday else self.until
        return replace(self, until=until, first=None, is_made=False) == replace(other, first=None, is_made=False)


class Workshop:
    """The folder and the plan in it.

    Attributes:
        folder: where samples and state are made.
        plan: as it was last saved.
        is_resumed: whether an earlier backfill was cut off here.
    """

    def __init__(self, folder: Path, plan: Plan, *, is_resumed: bool) -> None:
        self.folder = folder
        self.plan = plan
        self.is_resumed = is_resumed

    @classmethod
    def open(cls, output: Path, plan: Plan) -> Self:
        """Make the folder, or go on in the one that is there.

        Raises:
            BackfillError: it was made for something else, or cannot be used.
        """
        folder = output.with_name(f"{output.name}.partial")
        try:
            begun = _read(folder / _PLAN_FILE)
            if begun is not None and begun.first is None and not begun.is_same(plan):
                # OpenAI never answered, perhaps because what was asked for was wrong.
                shutil.rmtree(folder)
                begun = None
            if begun is None:
                if output.exists():
                    raise BackfillError(f"{output} exists already. Name another file with --output, or remove it.")
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                workshop = cls(folder, plan, is_resumed=False)
                workshop.save(plan)
                return workshop
        except OSError as error:
            raise _unusable(folder, error) from error
        if not begun.is_same(plan):
            raise BackfillError(
                f"{folder} holds a backfill that was cut off and asked for something else: other days, another API, "
                "other labels, or another configuration of labels, workflows, names or limits. Run it again as it "
                "was, or remove the folder."
            )
        return cls(folder, begun, is_resumed=True)

    def save(self, plan: Plan) -> None:
        """Remember how far it got.

        Raises:
            BackfillError: it cannot be written.
        """
        path = self.folder / _PLAN_FILE
        try:
            _write_whole(path, json.dumps(asdict(plan)).encode())
        except OSError as error:
            raise _unusable(path, error) from error
        self.plan = plan

    def write_history(self, lines: Iterable[str], output: Path) -> None:
        """Write the history, and put it in its place whole.

        Raises:
            BackfillError: it cannot be written.
        """
        unfinished = self.folder / _OUTPUT_FILE
        try:
            # Nobody else may read it, as with the state: it is the bill, by project and perhaps by user.
            with os.fdopen(_create_privately(unfinished), "w", encoding="utf-8") as file:
                file.writelines(lines)
            _put_in_place(unfinished, output)
            self.save(replace(self.plan, is_made=True))
        except OSError as error:
            raise _unusable(output, error) from error

    def hand_over_state(self, storage_path: Path) -> None:
        """Put the state where the exporter will look for it, whole.

        Raises:
            BackfillError: it cannot be written there.
        """
        # Another file system, perhaps: a rename alone would not do.
        unfinished = storage_path / f"{STATE_FILE}.tmp"
        try:
            os.close(_create_privately(unfinished))
            # Not the bytes of the file: SQLite's log may hold the newest of them.
            with (
                closing(sqlite3.connect(self.folder / STATE_FILE)) as made,
                closing(sqlite3.connect(unfinished)) as copy,
            ):
                made.backup(copy)
            # Of a state that somebody removed: SQLite would take them for this one's, and write them over it.
            for kind in ("wal", "shm", "journal"):
                (storage_path / f"{STATE_FILE}-{kind}").unlink(missing_ok=True)
            _put_in_place(unfinished, storage_path / STATE_FILE)
        except OSError as error:
            raise _unusable(storage_path, error) from error
        except sqlite3.Error as error:
            raise BackfillError(
                f"cannot copy the state to {storage_path}: {error}. Free or enlarge the disk; then run the same "
                "command again, it goes on where it was."
            ) from error

    def remove(self) -> None:
        """Clear up, once everything is in its place."""
        try:
            shutil.rmtree(self.folder)
        except OSError as error:
            raise BackfillError(
                f"everything is in its place; only {self.folder} could not be removed: {error}"
            ) from error


def _read(path: Path) -> Plan | None:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        fields = json.loads(text)
        return Plan(**{**fields, "target": tuple((name, value) for name, value in fields["target"])})
    except (ValueError, TypeError, KeyError) as error:
        raise BackfillError(f"{path} is no plan of this program. Remove {path.parent}.") from error


def _write_whole(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f"{path.name}.tmp")
    with os.fdopen(_create_privately(unfinished), "wb") as file:
        file.write(content)
    _put_in_place(unfinished, path)


def _create_privately(path: Path) -> int:
    path.unlink(missing_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _put_in_place(unfinished: Path, path: Path) -> None:
    """Let a file appear under its name whole, and so that it stays."""
    _sync(unfinished)
    unfinished.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(path: Path, error: OSError) -> BackfillError:
    return BackfillError(
        f"cannot use {error.filename or path}: {error.strerror}. Free or enlarge the disk, or mend the permissions; "
        "then run the same command again, it goes on where it was."
    )
