"""Connections that hear an upstream while a request is still being sent: who refuses it need not take all of it."""

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import Iterable
from typing import Any, Final

import httpcore

# What a socket takes at once: such a body is sent before anybody could object.
_UNWATCHED_BYTES: Final = 64 * 1024
_READ_BYTES: Final = 64 * 1024
_SECONDS_FOR_PERMISSION: Final = 1.0

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_WANTS_PERMISSION: Final = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)
_INTERIM: Final = re.compile(rb"HTTP/1\.\d 1\d\d[ \r].*?\r\n\r\n", re.DOTALL)
_STATUS: Final = re.compile(rb"HTTP/1\.\d ([2-9])\d\d")


class ListeningBackend(httpcore.AsyncNetworkBackend):
    """Makes the connections of an event loop of asyncio."""

    def __init__(self) -> None:
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's own spelling
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect."""
        return ListeningStream(await self._backend.connect_tcp(host, port, timeout, local_address, socket_options))

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._backend.sleep(seconds)


class ListeningStream(httpcore.AsyncNetworkStream):
    """Raises WriteError where the upstream has refused a request; the library then reads the answer.

    A request that expects permission to send its body waits for a word of the upstream, as long as some seconds.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._is_sending = False
        self._is_watched = False
        self._is_broken = False
        self._heard = bytearray()
        self._heard_something = asyncio.Event()
        # Ends when the answer begins, with whether it is one that makes all further sending useless.
        self._listening: asyncio.Task[bool] | None = None
        self._spare: socket.socket | None = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - as above
        """Return what comes next, nothing at the end."""
        self._is_sending = False
        if self._listening is not None:
            await self._hear_to_the_end(self._listening, timeout)
        if self._heard:
            piece = bytes(self._heard[:max_bytes])
            del self._heard[:max_bytes]
            return piece
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as above
        """Send a piece of a request; the first one is its head."""
        if not buffer:
            return
        if not self._is_sending:
            self._is_sending = True
            length = _LENGTH.search(buffer)
            self._is_watched = length is None or int(length[1]) > _UNWATCHED_BYTES
            await self._stream.write(buffer, timeout)
            if _WANTS_PERMISSION.search(buffer):
                await self._wait_for_permission()
        elif self._is_watched:
            await self._write_and_listen(buffer, timeout)
        else:
            await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        self._drop_spare()
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> httpcore.AsyncNetworkStream:
        """Go on with TLS."""
        return ListeningStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as above
        """Return what the connection below knows."""
        return self._stream.get_extra_info(info)

    async def _wait_for_permission(self) -> None:
        listening = self._listen()
        try:
            async with asyncio.timeout(_SECONDS_FOR_PERMISSION):
                await self._heard_something.wait()
        except TimeoutError:
            # Some give none, and wait for the body.
            return
        if listening.done():
            raise httpcore.WriteError("the upstream has answered without the body")

    async def _write_and_listen(self, buffer: bytes, timeout: float | None) -> None:  # noqa: ASYNC109 - as above
        listening = self._listening or self._listen()
        if _is_refusal(listening):
            raise httpcore.WriteError("the upstream has refused the body")
        writing = asyncio.ensure_future(self._stream.write(buffer, timeout))
        try:
            await asyncio.wait({writing} if listening.done() else {writing, listening}, return_when="FIRST_COMPLETED")
            if not writing.done() and not _is_refusal(listening):
                await asyncio.wait({writing})
        finally:
            if not writing.done():
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
        if writing.cancelled():
            raise httpcore.WriteError("the upstream has refused the body")
        try:
            writing.result()
        except httpcore.WriteError:
            self._is_broken = True
            raise

    def _listen(self) -> asyncio.Task[bool]:
        if self._stream.get_extra_info("ssl_object") is None:
            # Who closes without having read everything resets the connection, and asyncio then drops what it has not
            # read: the answer. Of another hold on the same socket it can still be read. With TLS nobody could decrypt.
            self._spare = self._stream.get_extra_info("socket").dup()
        self._heard_something.clear()
        self._listening = asyncio.get_running_loop().create_task(self._hear_how_the_answer_begins())
        return self._listening

    async def _hear_how_the_answer_begins(self) -> bool:
        try:
            while True:
                piece = await self._stream.read(_READ_BYTES)
                if not piece:
                    return True
                self._heard += piece
                final = _final_status(self._heard)
                if final is not None or len(self._heard) > _READ_BYTES:
                    return final is not None and final[1] in b"45"
                self._heard_something.set()
        finally:
            # Whoever is woken by it finds this task done.
            asyncio.get_running_loop().call_soon(self._heard_something.set)

    async def _hear_to_the_end(self, listening: asyncio.Task[bool], seconds: float | None) -> None:
        done, _ = await asyncio.wait({listening}, timeout=seconds)
        if not done:
            raise httpcore.ReadTimeout("the upstream does not answer")
        self._listening = None
        if self._is_broken and self._spare is not None:
            with contextlib.suppress(OSError):
                self._heard += self._spare.recv(_READ_BYTES)
        self._drop_spare()
        fault = listening.exception()
        if fault is not None and not self._heard:
            raise fault

    def _drop_spare(self) -> None:
        if self._spare is not None:
            self._spare.close()
            self._spare = None


def _final_status(heard: bytearray) -> re.Match[bytes] | None:
    """Match the first line of an answer behind those that announce it."""
    place = 0
    while interim := _INTERIM.match(heard, place):
        place = interim.end()
    return _STATUS.match(heard, place)


def _is_refusal(listening: asyncio.Task[bool]) -> bool:
    """Whether there is no use in sending more: an answer of 4xx or 5xx has begun, or the connection has ended."""
    return listening.done() and (listening.exception() is not None or listening.result())
