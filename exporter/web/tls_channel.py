"""TLS on top of an open connection, so that places, limits and flow control see what really goes over the wire."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

from exporter.web.plain_channel import SLICE_BYTES, beginning, blocking, both_ways, rest

READ_BYTES: Final = 16 * 1024

# What a thread encrypts in one go: it waits for the interpreter before each, and the ciphertext takes memory.
_LARGE_SLICE_BYTES: Final = 1024 * 1024

_HANDSHAKE_RECORD: Final = 0x16
_FAREWELL_SECONDS: Final = 2.0
_HTTP_TO_TLS: Final = (
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
    b"This port speaks HTTPS, not HTTP.\n"
)


class Reader(Protocol):
    """What a conversation reads from."""

    async def read(self, n: int = -1, /) -> bytes:
        """Return up to n bytes, none at the end."""


class TlsChannel:
    """The server's side of one encrypted connection; a Reader and a Writer."""

    def __init__(
        self,
        connection: socket.socket,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        context: ssl.SSLContext,
    ) -> None:
        self._socket = connection
        self._reader = reader
        self._writer = writer
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._ended = False

    @property
    def transport(self) -> asyncio.Transport:
        """The connection itself."""
        return both_ways(self._writer)

    async def shake_hands(self) -> ssl.SSLObject:
        """Agree on keys; return what there is to know about the client.

        Raises:
            OSError: they did not agree; the client was told.
        """
        first = await self._reader.read(READ_BYTES)
        if first and first[0] != _HANDSHAKE_RECORD:
            self._writer.write(_HTTP_TO_TLS)
            await self.part()
            raise ConnectionAbortedError("the client does not speak TLS")
        self._incoming.write(first)
        while first:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._send()
                if not await self._receive():
                    break
            except ssl.SSLError:
                # The alert that says why.
                self._send()
                await self.part()
                raise
            else:
                self._send()
                return self._tls
        raise ConnectionAbortedError("the client left before there were keys")

    async def part(self) -> None:
        """Say that nothing follows, and wait a moment: closing on a client that still sends would lose the reason."""
        self._writer.write_eof()
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                while await self._reader.read(READ_BYTES):
                    pass
        except TimeoutError:
            return

    async def read(self, n: int = -1, /) -> bytes:
        """Return up to n bytes, none at the end; after the own goodbye, whatever still comes."""
        if self._ended:
            return await self._reader.read(READ_BYTES)
        while True:
            try:
                data = self._tls.read(n if n > 0 else READ_BYTES)
            except ssl.SSLWantReadError:
                self._send()
                if not await self._receive():
                    return b""
            except ssl.SSLZeroReturnError:
                return b""
            else:
                self._send()
                return data

    def hand_over(self, pieces: Sequence[memoryview], /) -> int:
        """Encrypt a slice and hand it over."""
        plain = beginning(pieces, SLICE_BYTES)
        self._tls.write(plain)
        self._send()
        return len(plain)

    async def drain(self) -> None:
        """Wait until the transport's buffer is empty."""
        await self._writer.drain()

    def send(self, pieces: Sequence[memoryview], /) -> None:
        """Encrypt and send the pieces, large slice by large slice."""
        left = pieces
        with blocking(self._socket):
            while left:
                plain = beginning(left, _LARGE_SLICE_BYTES)
                self._tls.write(plain)
                self._socket.sendall(self._outgoing.read())
                left = rest(left, len(plain))

    def write_eof(self) -> None:
        """Say that nothing follows."""
        self._say_goodbye()
        self._writer.write_eof()

    def close(self) -> None:
        """Close as soon as everything is sent."""
        self._say_goodbye()
        self._writer.close()

    def _say_goodbye(self) -> None:
        if self._ended:
            return
        self._ended = True
        # The client's own goodbye is not waited for, and what it sent in its place is not read.
        with suppress(ssl.SSLError):
            self._tls.unwrap()
        self._send()

    def _send(self) -> None:
        if self._outgoing.pending:
            self._writer.write(self._outgoing.read())

    async def _receive(self) -> bool:
        received = await self._reader.read(READ_BYTES)
        self._incoming.write(received)
        return bool(received)
