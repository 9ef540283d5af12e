"""A small HTTP/1.1 server that answers whatever a thousand idle, slow or hostile clients do beside it."""

import asyncio
import errno
import logging
import resource
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

from exporter.web.http_conversation import AnswerNotTakenError, ClientGoneError, Conversation
from exporter.web.large_answers import LargeAnswers
from exporter.web.limits import DEFAULT_LIMITS, Limits
from exporter.web.messages import Handler, WantsStream, wants_none
from exporter.web.places import Places
from exporter.web.plain_channel import PlainChannel, Writer, bound_unsent, reset_on_close
from exporter.web.protection import Protection
from exporter.web.tls_channel import READ_BYTES, Reader, TlsChannel
from exporter.web.tls_context import allows

__all__ = ["HttpServer", "Limits", "serving_in_thread"]

_log = logging.getLogger(__name__)

_BACKLOG: Final = 1024
_PAUSE_AFTER_FAILED_ACCEPT: Final = 0.05
_SECONDS_BETWEEN_WARNINGS: Final = 60.0


class HttpServer:
    """Listens on one host and port, and hands every whole request to the handler on the running event loop.

    Requests that `wants_stream` picks are handed over as soon as their head is there.
    When all places are taken the connection that has waited longest gives way to a new one. Each new connection asks
    for the protection that holds for it; passwords and headers are the handler's.
    """

    def __init__(  # noqa: PLR0913 - all but the handler by name
        self,
        handler: Handler,
        *,
        host: str,
        port: int,
        limits: Limits = DEFAULT_LIMITS,
        protection: Callable[[], Protection] = Protection,
        wants_stream: WantsStream = wants_none,
    ) -> None:
        self._handler = handler
        self._wants_stream = wants_stream
        self._host = host
        self._port = port
        self._limits = _within_open_files(limits)
        self._protection = protection
        self._places = Places(self._limits)
        # They give way to nobody, so one place must be left that does.
        self._large_answers = LargeAnswers(min(self._limits.large_answers, self._limits.requests_in_flight - 1))
        self._listeners: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._connections: set[_Connection] = set()
        self._stopping = False

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the (first) listening socket."""
        return self.addresses[0]

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each listening socket."""
        if not self._listeners:
            raise RuntimeError("the server does not listen")
        return [listener.getsockname()[:2] for listener in self._listeners]

    async def start(self) -> None:
        """Listen; raises OSError when the port is taken or the host is not this machine's."""
        self._listeners = await _listen(self._host, self._port)
        self._accepting = [asyncio.create_task(self._accept(listener)) for listener in self._listeners]

    async def stop(self) -> None:
        """Stop listening, let the answers under way finish for a bounded time, close the rest."""
        self._stopping = True
        for accepting in self._accepting:
            accepting.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        for listener in self._listeners:
            listener.close()
        self._places.cut_all_waiting()
        ends = [connection.task for connection in self._connections]
        if ends:
            _, unfinished = await asyncio.wait(ends, timeout=self._limits.stop_timeout)
            for end in unfinished:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
        self._large_answers.close()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        silent_until = 0.0
        while True:
            try:
                client, _ = listener.accept()
            except BlockingIOError:
                await _until_somebody_comes(listener)
                continue
            except OSError as error:
                # Mostly the whole machine is short of something: somebody must give way before the next is taken in.
                self._places.cut_the_longest_waiting()
                if loop.time() >= silent_until:
                    _log.warning("cannot accept a connection", extra={"reason": str(error)})
                    silent_until = loop.time() + _SECONDS_BETWEEN_WARNINGS
                await asyncio.sleep(_PAUSE_AFTER_FAILED_ACCEPT)
                continue
            client.setblocking(False)  # noqa: FBT003 - the standard library's own spelling
            self._take_in(client)
            # One at a time, so that a flood of connections leaves the open ones their turns.
            await asyncio.sleep(0)

    def _take_in(self, client: socket.socket) -> None:
        connection = _Connection(
            client,
            self._handler,
            self._limits,
            self._places,
            self._large_answers,
            self._protection,
            lambda: self._stopping,
            self._wants_stream,
        )
        self._connections.add(connection)
        connection.task.add_done_callback(lambda _: self._connections.discard(connection))


class _Connection:
    """A connection from its acceptance to its end."""

    def __init__(  # noqa: PLR0913, PLR0917 - each is a collaborator of its own, given once by the server
        self,
        client: socket.socket,
        handler: Handler,
        limits: Limits,
        places: Places,
        large_answers: LargeAnswers,
        protection: Callable[[], Protection],
        stopping: Callable[[], bool],
        wants_stream: WantsStream,
    ) -> None:
        self._socket = client
        self._handler = handler
        self._wants_stream = wants_stream
        self._limits = limits
        self._places = places
        self._large_answers = large_answers
        self._protection = protection
        self._stopping = stopping
        self._is_open = False
        places.enter(self)
        self.task: Final = asyncio.get_running_loop().create_task(self._serve())
        self.task.add_done_callback(self._free)

    def cut(self) -> None:
        """End the connection soon, whatever it is doing."""
        self.task.cancel()

    def _free(self, task: asyncio.Task[None]) -> None:
        self._places.leave(self)
        # What ended the task holds on to its frames, and they to an answer, until it was asked for.
        with suppress(asyncio.CancelledError):
            task.exception()
        if not self._is_open:
            self._socket.close()

    async def _serve(self) -> None:
        try:
            plain_reader, plain_writer = await self._open()
            reader: Reader = plain_reader
            writer: Writer = PlainChannel(self._socket, plain_writer)
            try:
                protection = self._protection()
                if protection.context is not None:
                    channel = TlsChannel(self._socket, plain_reader, plain_writer, protection.context)
                    await self._shake_hands(channel, protection)
                    reader = writer = channel
                conversation = Conversation(
                    reader,
                    writer,
                    handler=self._handler,
                    limits=self._limits,
                    places=self._places,
                    large_answers=self._large_answers,
                    client=self,
                    stopping=self._stopping,
                    wants_stream=self._wants_stream,
                )
                await conversation.carry_on()
                writer.close()
            except AnswerNotTakenError:
                self._drop_what_is_unsent()
                raise
            finally:
                if not plain_writer.is_closing():
                    self._abort(plain_writer.transport)
        except (ClientGoneError, ConnectionAbortedError, ssl.SSLError) as error:
            _log.debug("a connection was cut")
            _forget_frames(error)
        except Exception:  # noqa: BLE001 - a fault of one connection is told and ends no other
            _log.exception("a connection failed")

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        # Head and body are written apart: the body must not wait for the client to acknowledge the head.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = asyncio.StreamReader(limit=READ_BYTES, loop=loop)
        protocol = _Protocol(reader, loop=loop)
        try:
            bound_unsent(self._socket)
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, self._socket)
        except OSError as error:
            raise ClientGoneError from error
        self._is_open = True
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _shake_hands(self, channel: TlsChannel, protection: Protection) -> None:
        try:
            async with asyncio.timeout(self._limits.head_timeout):
                client = await channel.shake_hands()
            if not allows(client.getpeercert(), protection.allowed_client_names):
                await channel.part()
                raise ConnectionAbortedError("its certificate has none of the allowed names")
        except OSError as error:
            reason = error.reason if isinstance(error, ssl.SSLError) else str(error)
            _log.debug("no TLS with a client", extra={"reason": reason or type(error).__name__})
            raise ClientGoneError from error

    def _abort(self, transport: asyncio.WriteTransport) -> None:
        if transport.get_write_buffer_size() > 0:
            self._drop_what_is_unsent()
        transport.abort()

    def _drop_what_is_unsent(self) -> None:
        """Close with a reset: what a slow reader has not taken would stay in the kernel for minutes."""
        reset_on_close(self._socket)


class _Protocol(asyncio.StreamReaderProtocol):
    """The standard library's; it keeps the error that ended the connection, and should keep nothing else."""

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        _forget_frames(exc)
        super().connection_lost(exc)


def _forget_frames(error: BaseException | None) -> None:
    """Let an error that a closed connection keeps not keep the answer as well, until somebody collects such circles."""
    # An error that is kept, and raised again while what it caused is handled, comes after itself.
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _within_open_files(limits: Limits) -> Limits:
    """Leave a quarter of the files this process may open to the rest of it: polls and state must never lack one."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY or limits.max_connections <= allowed * 3 // 4:
        return limits
    connections = allowed * 3 // 4
    in_flight = min(limits.requests_in_flight, connections // 2)
    return replace(limits, max_connections=connections, requests_in_flight=in_flight)


async def _until_somebody_comes(listener: socket.socket) -> None:
    """Wait, and take nobody in: the loop's own `sock_accept` loses the connection it has when it is cancelled."""
    loop = asyncio.get_running_loop()
    somebody_came = loop.create_future()

    def tell() -> None:
        if not somebody_came.done():
            somebody_came.set_result(None)

    loop.add_reader(listener, tell)
    try:
        await somebody_came
    finally:
        loop.remove_reader(listener)


async def _listen(host: str, port: int) -> list[socket.socket]:
    """Open the listening sockets; an empty host and "::" mean every address, of both families where there are two."""
    if host in {"", "::"} and socket.has_dualstack_ipv6():
        both = socket.create_server(("::", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
        both.setblocking(False)  # noqa: FBT003 - the standard library's own spelling
        return [both]
    found = await asyncio.get_running_loop().getaddrinfo(
        host or "0.0.0.0",  # noqa: S104 - an empty host asks for every address
        port,
        type=socket.SOCK_STREAM,
        flags=socket.AI_PASSIVE,
    )
    listeners: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((family, address[:2]) for family, *_, address in found):
            # With port 0 the first listener finds a port, and the others share it.
            wanted = port or (listeners[0].getsockname()[1] if listeners else 0)
            try:
                listener = socket.create_server((address[0], wanted), family=family, backlog=_BACKLOG)
            except OSError as error:
                # A name such as localhost may stand for an address of a family that is switched off.
                if error.errno != errno.EADDRNOTAVAIL or not listeners:
                    raise
                continue
            listener.setblocking(False)  # noqa: FBT003 - the standard library's own spelling
            listeners.append(listener)
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


@contextmanager
def serving_in_thread(  # noqa: PLR0913 - all but the handler by name
    handler: Handler,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    limits: Limits = DEFAULT_LIMITS,
    protection: Callable[[], Protection] = Protection,
    wants_stream: WantsStream = wants_none,
) -> Iterator[tuple[str, int]]:
    """Serve on an event loop of a background thread while the block runs; yields the address."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        server = HttpServer(
            handler, host=host, port=port, limits=limits, protection=protection, wants_stream=wants_stream
        )
        runner.run(server.start())
        thread = threading.Thread(target=loop.run_forever, name="http-server", daemon=True)
        thread.start()
        try:
            yield server.address
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
