"""Tells who else may read or change a file that matters; it warns once per file and change, and refuses nothing."""

import logging
import os
import stat
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from shlex import quote
from typing import Final

_log = logging.getLogger(__name__)

# Services are handed files that belong to root and its group: systemd's credentials name their reader in an access
# list, which shows as a right of that group. Who is in it may do everything anyway.
_ROOT_GROUP: Final = 0


class Use(Enum):
    """What a file is for, and with it who may do what; its owner always may."""

    SECRET = auto()
    """Keys and password hashes: a group of this process may read, as with secrets mounted by Kubernetes."""
    STATE = auto()
    """The state's files: a group of this process may read and write, as on volumes that Kubernetes hands out."""
    STATE_FOLDER = auto()
    """The same, and everybody may look into it: its files protect themselves."""
    OPEN = auto()
    """Configuration and certificates: everybody may read; a group of this process may write."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """A file's mode with its type, its owner and its group."""

    mode: int
    owner: int
    group: int


@dataclass(frozen=True, slots=True)
class Person:
    """Who looks: the process's user and all its groups."""

    user: int
    groups: frozenset[int]


def this_process() -> Person:
    """Return who this process runs as."""
    return Person(os.geteuid(), frozenset((os.getegid(), *os.getgroups())))


def excesses(found: Permissions, use: Use, groups: Collection[int]) -> list[str]:
    """Say who may do what they need not, in words such as "everybody may read it"; an empty list is good.

    Args:
        found: of the file behind any links.
        use: what it is for.
        groups: those of the process.
    """
    if not (stat.S_ISREG(found.mode) or stat.S_ISDIR(found.mode)):
        # A pipe from another program is gone once it is read; a device is the system's matter.
        return []
    is_secret = use in {Use.SECRET, Use.STATE}
    is_own_group = found.group in groups
    told: list[str] = []
    if found.mode & stat.S_IWOTH:
        told.append("everybody may change it")
    elif found.mode & stat.S_IWGRP and (use is Use.SECRET or not is_own_group):
        told.append(f"group {found.group} may change it")
    if is_secret and found.mode & stat.S_IROTH:
        told.append("everybody may read it")
    elif is_secret and found.mode & stat.S_IRGRP and not is_own_group and found.group != _ROOT_GROUP:
        told.append(f"group {found.group} may read it")
    return told


def remedy(path: Path, found: Permissions, use: Use, person: Person) -> str:
    """Return the command that puts it right, or what to do where this user cannot."""
    may_change = person.user in {0, found.owner}
    if use is Use.OPEN:
        return f"chmod go-w {quote(str(path))}"
    if use is Use.STATE_FOLDER:
        if may_change:
            return f"chmod 700 {quote(str(path))}"
        return f"name a folder below it, such as --storage.path={quote(str(path / 'state'))}: it is made with 0700"
    if may_change:
        return f"chmod 600 {quote(str(path))}"
    # Somebody else's file is read by right of a group, or of everybody.
    return (
        f"chmod 640 {quote(str(path))}, with a group that this user is in; "
        "for a secret of Kubernetes, defaultMode: 0440 and fsGroup"
    )


class PermissionWatch:
    """Remembers what was told, so that a file is told of once, and again when it was changed or replaced."""

    def __init__(self) -> None:
        self._told: dict[Path, object] = {}

    def look_at(self, path: Path, use: Use) -> None:
        """Warn if others than need to may read or change the file behind `path`."""
        try:
            status = path.stat()
        except OSError as error:
            if self._is_news(path, error.strerror):
                _log.warning("cannot see who may read a file", extra={"file": str(path), "reason": error.strerror})
            return
        found = Permissions(status.st_mode, status.st_uid, status.st_gid)
        person = this_process()
        told = excesses(found, use, person.groups)
        if not told:
            self._told.pop(path, None)
            return
        if self._is_news(path, (found, status.st_dev, status.st_ino)):
            _log.warning(
                "permissions are loose: %s",
                " and ".join(told),
                extra={
                    "file": str(path),
                    "mode": f"{stat.S_IMODE(status.st_mode):04o}",
                    "remedy": remedy(path, found, use, person),
                },
            )

    def _is_news(self, path: Path, what: object) -> bool:
        is_news = self._told.get(path) != what
        self._told[path] = what
        return is_news


THIS_PROCESS: Final = PermissionWatch()
"""One memory for all readers: a reload, or a second look at the same file, is no news."""
