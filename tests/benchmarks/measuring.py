"""How long something takes, and what a set of such times comes to."""

import gc
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

_PROCESSOR_TIMES: Final = Path("/proc/stat")


def seconds(action: Callable[[], object]) -> float:
    """Return how long it takes."""
    # What was thrown away before is none of its business; its own garbage is.
    gc.collect()
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that so many per cent of them do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


class ProcessorTime(NamedTuple):
    """Of all processors since the machine started, in the kernel's ticks; 0 where the system does not tell.

    Attributes:
        total: in all.
        stolen: which a virtual machine wanted, and its host gave to others.
    """

    total: int
    stolen: int

    @classmethod
    def so_far(cls, times: Path = _PROCESSOR_TIMES) -> Self:
        """Read it."""
        if not times.exists():
            return cls(0, 0)
        # User, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in the first two already.
        ticks = [int(each) for each in times.read_text(encoding="ascii").partition("\n")[0].split()[1:9]]
        return cls(sum(ticks), ticks[7])

    def stolen_since(self, earlier: "ProcessorTime") -> float:
        """Return the share, from 0 to 1, that was stolen meanwhile. Above a few per cent, measure again."""
        return (self.stolen - earlier.stolen) / max(1, self.total - earlier.total)
