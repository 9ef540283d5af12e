"""When within its interval each API is polled, so that not all are asked in the same second. Pure."""

import math
from hashlib import blake2b
from typing import Final

# A share of a wait: what the sum of a date and a wait may be off by, and more.
_ROUNDING: Final = 1e-6
_BYTES: Final = 8


def phases(apis: tuple[str, ...], place: str) -> dict[str, float]:
    """Return where in its interval each API is polled, from 0 up to 1: evenly apart, and elsewhere at another place.

    Args:
        apis: in an order that stays.
        place: tells one exporter from all others.
    """
    first = int.from_bytes(blake2b(place.encode(), digest_size=_BYTES).digest()) / 2 ** (8 * _BYTES)
    return {api: (first + number / len(apis)) % 1 for number, api in enumerate(apis)}


def due_in_phase(now: float, wait: float, phase: float) -> float:
    """Return the latest moment in the phase that is no more than `wait` seconds away.

    No wait becomes longer by it, nor shorter than half: an API comes into its phase over two polls, and keeps it.
    """
    latest = now + wait
    in_phase = (math.floor(latest / wait - phase + _ROUNDING) + phase) * wait
    return min(latest, max(in_phase, now + wait / 2))
