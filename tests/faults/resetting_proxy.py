"""Stands between the exporter and the API, and breaks connections where it is told to."""

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_READ_BYTES = 65_536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
# Behind the status line, in the headers, early or late in a body.
_BREAKS_BEHIND = (0, 10, 100, 300, 1_000, 5_000)


class ResettingProxy:
    """Passes bytes on.

    Attributes:
        breaking: how likely a request's connection breaks before its answer is whole.
        broken: how many did.
    """

    def __init__(self, upstream: tuple[str, int], seed: str) -> None:
        self._upstream = upstream
        self._random = random.Random(seed)  # noqa: S311 - the same again for the same seed, no secret
        self.breaking = 0.0
        self.broken = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what one client sends, a request at a time, and the answers, as far as they are let."""
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        left: list[int | None] = [None]
        answers = asyncio.get_running_loop().create_task(self._pass_answers(up_reader, writer, left))
        try:
            while request := await reader.read(_READ_BYTES):
                if self._random.random() < self.breaking:
                    left[0] = self._random.choice(_BREAKS_BEHIND)
                    if not left[0]:
                        self._break(writer)
                        return
                up_writer.write(request)
                await up_writer.drain()
        except OSError:
            # Either side has gone; so does the other.
            return
        finally:
            answers.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await answers
            up_writer.transport.abort()
            writer.transport.abort()

    async def _pass_answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: list[int | None]
    ) -> None:
        while answer := await reader.read(_READ_BYTES):
            allowed = left[0]
            if allowed is not None and len(answer) >= allowed:
                writer.write(answer[:allowed])
                self._break(writer)
                return
            left[0] = None if allowed is None else allowed - len(answer)
            writer.write(answer)
            await writer.drain()
        writer.close()

    def _break(self, writer: asyncio.StreamWriter) -> None:
        """End a connection, every other time with a reset."""
        self.broken += 1
        client = writer.get_extra_info("socket")
        if self.broken % 2:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()
        else:
            writer.close()


@contextmanager
def resetting_proxy(upstream: tuple[str, int], seed: str) -> Iterator[tuple[ResettingProxy, tuple[str, int]]]:
    """A proxy on a free port of loopback, in a thread of its own until the block ends."""
    proxy = ResettingProxy(upstream, seed)
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        server = runner.run(asyncio.start_server(proxy.take, "127.0.0.1", 0))
        thread = threading.Thread(target=loop.run_forever, name="resetting proxy", daemon=True)
        thread.start()
        try:
            yield proxy, server.sockets[0].getsockname()
        finally:
            loop.call_soon_threadsafe(server.close)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
