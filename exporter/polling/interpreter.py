"""How a large poll and the scrapes meanwhile share the one interpreter."""

import gc
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

# A scrape waits for the interpreter several times: whenever it has waited for the kernel or for another thread. With
# Python's own 5 ms that takes longer than all else, and with 0.1 ms the scrape itself is interrupted too often.
_LONGEST_WAIT_SECONDS: Final = 0.001
_SECONDS_BETWEEN_COLLECTIONS: Final = 3600.0
_ROWS_FORGOTTEN_AT_ONCE: Final = 100


def let_scrapes_interrupt() -> None:
    """Let whoever waits for the interpreter have it soon. It holds for the whole process."""
    sys.setswitchinterval(_LONGEST_WAIT_SECONDS)


def forget_bit_by_bit(mappings: list[Mapping[Any, Any]]) -> None:
    """Empty a list of large mappings, and let none of them end in one go: scrapes would wait until it has.

    They are not changed, for others may still hold them.
    """
    while mappings:
        mapping = mappings.pop()
        parts = [list(mapping), list(mapping.values())]
        del mapping
        for part in parts:
            while part:
                del part[-_ROWS_FORGOTTEN_AT_ONCE:]


class LargePolls:
    """Keeps the cyclic garbage collector from looking through millions of rows while large polls are under way.

    It would find nothing, for rows hold no cycles, and nothing else runs while it looks. What a large poll leaves
    behind is set aside; once an hour everything is looked through.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way = 0
        self._collected_at = time.monotonic()

    @contextmanager
    def uncollected(self) -> Iterator[None]:
        """Collect nothing until the block ends, and every other one of this kind."""
        with self._lock:
            self._under_way += 1
            gc.disable()
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1
                if not self._under_way:
                    self._settle()
                    gc.enable()

    def _settle(self) -> None:
        now = time.monotonic()
        if now - self._collected_at >= _SECONDS_BETWEEN_COLLECTIONS:
            self._collected_at = now
            gc.unfreeze()
            gc.collect()
        gc.freeze()


LARGE_POLLS: Final = LargePolls()
"""The one of this process, as there is one collector."""
