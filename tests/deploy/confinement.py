"""Runs a command confined as the systemd unit confines it, as far as that goes without systemd: its system calls.

`python -m tests.deploy.confinement ALLOWED FAMILIES COMMAND…` puts the filters on itself and becomes the command.
ALLOWED are names of system calls, FAMILIES numbers of address families, both with commas.
"""

import ctypes
import errno
import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Final

LIBRARY: Final = "libseccomp.so.2"

_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000
_UNKNOWN: Final = -1
_EQUAL: Final = 4
_GREATER: Final = 6
_MASKED: Final = 7
_SHM_EXEC: Final = 0o100000


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


class _Filter:
    """One seccomp filter of libseccomp."""

    def __init__(self, otherwise: int) -> None:
        self._library = ctypes.CDLL(LIBRARY)
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(otherwise)))

    def add(self, action: int, name: str, *comparisons: _Comparison) -> bool:
        """Add a rule; return whether this system has such a call."""
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number == _UNKNOWN:
            return False
        array = (_Comparison * len(comparisons))(*comparisons)
        added = self._library.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), number, ctypes.c_uint(len(comparisons)), array
        )
        # A call of another architecture cannot be reached at all.
        if added not in {0, -errno.EDOM}:
            raise OSError(-added, f"no rule for {name}: {os.strerror(-added)}")
        return True

    def load(self) -> None:
        """Put it on this process and its children, for good."""
        loaded = self._library.seccomp_load(self._context)
        if loaded:
            raise OSError(-loaded, os.strerror(-loaded))


def allowed_calls(systemd_analyze: str, filters: Sequence[str]) -> frozenset[str]:
    """Return what the unit's SystemCallFilter= lines come to: names, groups, and groups taken away with ~."""
    allowed: set[str] = set()
    for line in filters:
        calls = {call for word in line.removeprefix("~").split() for call in _expanded(systemd_analyze, word)}
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    return frozenset(allowed)


def _expanded(systemd_analyze: str, word: str) -> Iterator[str]:
    if not word.startswith("@"):
        yield word
        return
    done = subprocess.run(
        [systemd_analyze, "--no-pager", "syscall-filter", word], capture_output=True, text=True, check=True, timeout=60
    )
    for line in done.stdout.splitlines():
        # The group's name stands at the margin, its description begins with #.
        if line.startswith("    ") and not line.strip().startswith("#"):
            yield from _expanded(systemd_analyze, line.strip())


def confine(allowed: Sequence[str], families: Sequence[int]) -> None:
    """Put on this process what SystemCallFilter=, RestrictAddressFamilies= and MemoryDenyWriteExecute= mean."""
    calls = _Filter(_REFUSE | errno.EPERM)
    if not [name for name in allowed if calls.add(_ALLOW, name)]:
        raise ValueError("no system call would be allowed")
    memory = _Filter(_ALLOW)
    written_and_run = mmap.PROT_WRITE | mmap.PROT_EXEC
    memory.add(_REFUSE | errno.EPERM, "mmap", _Comparison(2, _MASKED, written_and_run, written_and_run))
    for name in ("mprotect", "pkey_mprotect"):
        memory.add(_REFUSE | errno.EPERM, name, _Comparison(2, _MASKED, mmap.PROT_EXEC, mmap.PROT_EXEC))
    memory.add(_REFUSE | errno.EPERM, "shmat", _Comparison(2, _MASKED, _SHM_EXEC, _SHM_EXEC))
    network = _Filter(_ALLOW)
    highest = max(families)
    for family in set(range(highest)) - set(families):
        network.add(_REFUSE | errno.EAFNOSUPPORT, "socket", _Comparison(0, _EQUAL, family))
    network.add(_REFUSE | errno.EAFNOSUPPORT, "socket", _Comparison(0, _GREATER, highest))
    for each in (memory, network, calls):
        each.load()


def family_numbers(names: str) -> list[int]:
    """Return the numbers of address families, such as AF_INET."""
    return [int(getattr(socket, name)) for name in names.split()]


def main() -> None:
    """Confine this process, and become the command."""
    allowed, families, *command = sys.argv[1:]
    # What loads a filter must not be refused by it.
    confine([*allowed.split(","), "seccomp"], [int(each) for each in families.split(",")])
    os.execv(command[0], command)  # noqa: S606 - a test's own command, without a shell


if __name__ == "__main__":
    main()
