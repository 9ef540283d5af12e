"""Copies of bodies for counting, within a bound for each and one for all of them together."""

from typing import Final

MEBIBYTE: Final = 1024 * 1024


class Copies:
    """How many bytes all copies together hold."""

    def __init__(self, *, each: int = 8 * MEBIBYTE, together: int = 64 * MEBIBYTE) -> None:
        self.each: Final = each
        self.together: Final = together
        self.held = 0

    def begin(self, announced: int | None = None) -> "Copy":
        """Begin a copy of one body; of one that is announced as too large there is none from the start."""
        copy = Copy(self)
        if announced is not None and announced > self.each:
            copy.drop()
        return copy


class Copy:
    """A copy of one body, given up as soon as it is too large."""

    def __init__(self, copies: Copies) -> None:
        self._copies = copies
        # Bytes when it is whole.
        self._bytes: bytearray | bytes | None = bytearray()

    @property
    def given_up(self) -> bool:
        """Whether there is none any more."""
        return self._bytes is None

    def __len__(self) -> int:
        """Return the bytes held."""
        return 0 if self._bytes is None else len(self._bytes)

    def add(self, piece: bytes) -> None:
        """Add what comes next, or give the copy up."""
        if not isinstance(self._bytes, bytearray):
            return
        if len(self) + len(piece) > self._copies.each or self._copies.held + len(piece) > self._copies.together:
            self.drop()
            return
        self._bytes += piece
        self._copies.held += len(piece)

    def content(self) -> bytes | None:
        """Return all of it, None if it was given up; afterwards nothing is added."""
        if isinstance(self._bytes, bytearray):
            self._bytes = bytes(self._bytes)
        return self._bytes

    def drop(self) -> None:
        """Give the bytes back; doing so twice changes nothing."""
        self._copies.held -= len(self)
        self._bytes = None
