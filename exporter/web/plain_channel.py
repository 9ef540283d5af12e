"""The way out of one open connection without TLS: what the client's kernel takes at once is never copied here."""

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Sequence
from typing import Final, Protocol

SLICE_BYTES: Final = 64 * 1024
"""At most so much of an answer is copied for a client that is slow to take it; the rest is the page all share."""

LARGE_ANSWER_BYTES: Final = 1024 * 1024

# What the kernel takes of an answer before the client does. Unbounded, it copies megabytes for each slow reader.
_UNSENT_BYTES: Final = 128 * 1024
# The same for one of few large ones. Each time the kernel is full, the rest waits for the client and the interpreter.
_UNSENT_BYTES_OF_FEW: Final = 4 * 1024 * 1024

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

_MOST_PIECES: Final = 512
"""In one call of the system; Linux takes 1024."""


class Writer(Protocol):
    """What a conversation writes to."""

    @property
    def transport(self) -> asyncio.WriteTransport:
        """The connection itself, whose buffer holds what was handed over and the client has not taken."""

    def hand_over(self, pieces: Sequence[memoryview], /) -> int:
        """Hand over the beginning of the pieces, none of them empty, while the transport's buffer is empty.

        Returns:
            How many bytes that was, at least one. What the client did not take of them, a slice at most, is in the
            transport's buffer; drain() waits for it.

        Raises:
            OSError: the client is gone.
        """

    async def drain(self) -> None:
        """Wait until the transport's buffer is empty."""

    def write_eof(self) -> None:
        """Say that nothing follows."""

    def close(self) -> None:
        """Close as soon as everything is sent."""


def bound_unsent(connection: socket.socket, *, one_of_few: bool = False) -> None:
    """Bound what the kernel takes of an answer before the client does.

    Raises:
        OSError: the client is gone.
    """
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        # Who is slow to take megabytes must not pass for somebody who takes nothing: see untaken_bytes.
        most = _UNSENT_BYTES_OF_FEW if one_of_few and sys.platform == "linux" else _UNSENT_BYTES
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, most)


def reset_on_close(connection: socket.socket) -> None:
    """Let the connection's end be a reset: the kernel drops what the client has not taken, and the client knows."""
    # A transport that has lost its connection has closed the socket already.
    if connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


def untaken_bytes(connection: socket.socket) -> int:
    """Return how many bytes the kernel holds for the client; 0 where the system does not tell."""
    if sys.platform != "linux" or connection.fileno() < 0:
        return 0
    return int.from_bytes(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)


class PlainChannel:
    """The server's side of one connection in the clear; a Writer.

    A large page goes to the kernel in one call, past the transport. In slices it took hundreds of calls, and waited for
    the interpreter after each while a poll was applied: that was nearly all of a scrape's time.
    """

    def __init__(self, connection: socket.socket, writer: asyncio.StreamWriter) -> None:
        self._socket = connection
        self._writer = writer

    @property
    def transport(self) -> asyncio.WriteTransport:
        """The connection itself."""
        return self._writer.transport

    def hand_over(self, pieces: Sequence[memoryview], /) -> int:
        """Hand over what the client takes at once, and a slice if that is not all."""
        try:
            taken = self._socket.sendmsg(pieces[:_MOST_PIECES])
        except (BlockingIOError, InterruptedError):
            taken = 0
        untaken = beginning(rest(pieces, taken), SLICE_BYTES)
        self._writer.write(untaken)
        return taken + len(untaken)

    async def drain(self) -> None:
        """Wait until the transport's buffer is empty."""
        await self._writer.drain()

    def write_eof(self) -> None:
        """Say that nothing follows."""
        self._writer.write_eof()

    def close(self) -> None:
        """Close as soon as everything is sent."""
        self._writer.close()


def beginning(pieces: Sequence[memoryview], most: int) -> bytes:
    """Return a copy of up to so many bytes."""
    return b"".join(first(pieces, most))


def first(pieces: Sequence[memoryview], most: int) -> list[memoryview]:
    """Return up to so many bytes; nothing in it is empty."""
    found: list[memoryview] = []
    for piece in pieces:
        if most > 0 and piece:
            found.append(piece[:most])
        most -= len(piece)
    return found


def rest(pieces: Sequence[memoryview], count: int) -> list[memoryview]:
    """Return what follows the first bytes; nothing in it is empty."""
    found: list[memoryview] = []
    for piece in pieces:
        if count < len(piece):
            found.append(piece[count:])
        count = max(0, count - len(piece))
    return found
