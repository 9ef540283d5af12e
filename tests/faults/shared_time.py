"""A clock that several processes read and one test sets: what time it is, and how much of it has truly passed."""

import mmap
from pathlib import Path

_BYTES = 16
_CLOCK, _STEADY = range(2)


class SharedTime:
    """Two numbers of seconds in a file that every process maps into its memory.

    The clock can be stepped, as people and time services step clocks; steady seconds only ever go on.
    """

    def __init__(self, path: Path) -> None:
        with path.open("a+b") as file:
            file.truncate(_BYTES)
            self._map = mmap.mmap(file.fileno(), _BYTES)
        # Whole aligned numbers: nobody reads half of one.
        self._seconds = memoryview(self._map).cast("d")

    def now(self) -> float:
        """Unix seconds."""
        return self._seconds[_CLOCK]

    def steady(self) -> float:
        return self._seconds[_STEADY]

    def set(self, now: float) -> None:
        """Step the clock; no time passes."""
        self._seconds[_CLOCK] = now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._seconds[_STEADY] += seconds
        self._seconds[_CLOCK] += seconds
