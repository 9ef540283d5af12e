"""A bounded memory of what was counted already."""

import secrets
import threading
from collections import deque
from hashlib import blake2b
from typing import Final

REMEMBERED: Final = 100_000
"""Traces that are remembered: minutes of a busy gateway, where retries come within seconds."""


class Seen:
    """Remembers the last identities it was shown, as hashes under a key of its own; the oldest go first.

    Safe to use from several threads.
    """

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._lock = threading.Lock()
        self._key = secrets.token_bytes(16)
        self._order: deque[bytes] = deque(maxlen=remembered)
        self._known: set[bytes] = set()

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._known)

    def knows(self, *identity: str) -> bool:
        """Whether an identity is remembered."""
        mark = self._mark(identity)
        with self._lock:
            return mark in self._known

    def is_new(self, *identity: str) -> bool:
        """Remember an identity, and return whether it was not remembered before."""
        mark = self._mark(identity)
        with self._lock:
            if mark in self._known:
                return False
            if len(self._order) == self._order.maxlen:
                self._known.discard(self._order[0])
            self._order.append(mark)
            self._known.add(mark)
            return True

    def _mark(self, identity: tuple[str, ...]) -> bytes:
        digest = blake2b(key=self._key, digest_size=16)
        for part in identity:
            # JSON can hold halves of characters. The length keeps ("ab", "c") apart from ("a", "bc").
            text = part.encode("utf-8", "surrogatepass")
            digest.update(len(text).to_bytes(8))
            digest.update(text)
        return digest.digest()
