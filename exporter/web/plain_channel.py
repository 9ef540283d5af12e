"""The way out of one open connection without TLS: what the client's kernel takes at once is never copied here."""

import asyncio
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, Protocol

SLICE_BYTES: Final = 64 * 1024
"""At most so much of an answer is copied for a client that is slow to take it; the rest is the page all share."""

# What the kernel takes of an answer before the client does. Unbounded, it copies megabytes for each slow reader.
_UNSENT_BYTES: Final = 128 * 1024

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

_MOST_PIECES: Final = 512
"""In one call of the system; Linux takes 1024."""

# In Linux' struct tcp_info (linux/tcp.h): tcpi_bytes_acked, since 4.1.
_ACKNOWLEDGED: Final = struct.Struct("=120xQ")


class Writer(Protocol):
    """What a conversation writes to."""

    @property
    def transport(self) -> asyncio.Transport:
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

    def send(self, pieces: Sequence[memoryview], /) -> None:
        """Send the pieces past the transport, whose buffer is empty, and wait in this thread for the client.

        Meanwhile the event loop must neither read nor write. A shutdown of the connection ends the waiting.

        Raises:
            OSError: the client is gone.
        """

    def write_eof(self) -> None:
        """Say that nothing follows."""

    def close(self) -> None:
        """Close as soon as everything is sent."""


def bound_unsent(connection: socket.socket) -> None:
    """Bound what the kernel takes of an answer before the client does.

    Raises:
        OSError: the client is gone.
    """
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)


def reset_on_close(connection: socket.socket) -> None:
    """Let the connection's end be a reset: the kernel drops what the client has not taken, and the client knows."""
    # A transport that has lost its connection has closed the socket already, and some systems refuse a client's loss.
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


def taken_bytes(connection: socket.socket) -> int | None:
    """Return how many bytes the client's kernel has taken since the connection began; None where nobody tells."""
    if sys.platform != "linux" or connection.fileno() < 0:
        return None
    told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED.size)
    return int(_ACKNOWLEDGED.unpack(told)[0]) if len(told) == _ACKNOWLEDGED.size else None


@contextmanager
def blocking(connection: socket.socket) -> Iterator[None]:
    """Let calls wait for the client."""
    connection.setblocking(True)  # noqa: FBT003 - the standard library's own spelling
    try:
        yield
    finally:
        connection.setblocking(False)  # noqa: FBT003 - the standard library's own spelling


class PlainChannel:
    """The server's side of one connection in the clear; a Writer."""

    def __init__(self, connection: socket.socket, writer: asyncio.StreamWriter) -> None:
        self._socket = connection
        self._writer = writer

    @property
    def transport(self) -> asyncio.Transport:
        """The connection itself."""
        return both_ways(self._writer)

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

    def send(self, pieces: Sequence[memoryview], /) -> None:
        """Send the pieces as they are, in as few calls of the system as there can be."""
        left = pieces
        with blocking(self._socket):
            while left:
                left = rest(left, self._socket.sendmsg(left[:_MOST_PIECES]))

    def write_eof(self) -> None:
        """Say that nothing follows."""
        self._writer.write_eof()

    def close(self) -> None:
        """Close as soon as everything is sent."""
        self._writer.close()


def both_ways(writer: asyncio.StreamWriter) -> asyncio.Transport:
    """Return the transport, whose type the standard library knows as that of one direction."""
    transport = writer.transport
    if not isinstance(transport, asyncio.Transport):
        raise TypeError(f"{type(transport).__name__} does not go both ways")
    return transport


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
