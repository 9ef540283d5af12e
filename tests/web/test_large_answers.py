import asyncio
import gc
import socket
import struct
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any

import pytest

from exporter.web.http_server import HttpServer, Limits, _forget_frames, serving_in_thread
from exporter.web.large_answers import LARGE_ANSWER_BYTES, LargeAnswers
from exporter.web.messages import Request, Response
from exporter.web.plain_channel import PlainChannel
from tests.web.loopback import PATIENCE, ask, connected, read_exactly, read_head, status_of, wait_for_reset
from tests.web.pages import BIG, Pages

PAGE = [memoryview(bytes([65 + number % 26]) * 70_000) for number in range(100)]
WHOLE = b"".join(PAGE)
GET_BIG = b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n"


class Connection(socket.socket):
    """Counts the calls of the system that send."""

    sent = 0

    def sendmsg(self, *arguments: Any) -> int:  # noqa: ANN401 - passed on as they come
        self.sent += 1
        return super().sendmsg(*arguments)


@asynccontextmanager
async def channel() -> AsyncIterator[tuple[PlainChannel, Connection, socket.socket]]:
    """Yield both ends of a connection on loopback: the server's, its socket, and the client's, which blocks."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        client.settimeout(PATIENCE)
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
        ours = Connection(fileno=accepted.detach())
        ours.setblocking(False)  # noqa: FBT003 - the standard library's own spelling
        _, writer = await asyncio.open_connection(sock=ours)
        try:
            yield PlainChannel(ours, writer), ours, client
        finally:
            writer.transport.abort()


@pytest.fixture
def large_answers() -> Iterator[LargeAnswers]:
    """Send one at a time."""
    one_at_a_time = LargeAnswers(1)
    yield one_at_a_time
    one_at_a_time.close()


def test_a_page_is_sent_in_one_call_of_the_system_however_little_the_client_takes_at_once(
    large_answers: LargeAnswers,
) -> None:
    async def send() -> tuple[bool, bytes, int]:
        async with channel() as (writer, ours, client):
            taking = asyncio.create_task(asyncio.to_thread(read_exactly, client, len(WHOLE)))
            was_sent = await large_answers.send(writer, PAGE, patience=PATIENCE)
            return was_sent, await taking, ours.sent

    assert asyncio.run(send()) == (True, WHOLE, 1)


def test_the_event_loop_reads_nothing_while_a_thread_may_block_the_socket_and_everything_after_it(
    large_answers: LargeAnswers,
) -> None:
    async def send() -> tuple[bool, bool, bool]:
        async with channel() as (writer, ours, client):
            sending = asyncio.create_task(large_answers.send(writer, PAGE, patience=PATIENCE))
            await asyncio.to_thread(read_exactly, client, 1)
            meanwhile = writer.transport.is_reading()
            await asyncio.to_thread(read_exactly, client, len(WHOLE) - 1)
            await sending
            return meanwhile, writer.transport.is_reading(), ours.getblocking()

    assert asyncio.run(send()) == (False, True, False)


def test_what_was_not_read_before_is_not_read_afterwards(large_answers: LargeAnswers) -> None:
    async def send() -> bool:
        async with channel() as (writer, _, client):
            writer.transport.pause_reading()
            sending = asyncio.create_task(large_answers.send(writer, PAGE, patience=PATIENCE))
            await asyncio.to_thread(read_exactly, client, len(WHOLE))
            await sending
            return writer.transport.is_reading()

    assert not asyncio.run(send())


def test_no_more_are_sent_at_once_than_there_are_threads(large_answers: LargeAnswers) -> None:
    async def send() -> list[bool]:
        async with channel() as (first, _, slow), channel() as (second, _, other):
            sending = asyncio.create_task(large_answers.send(first, PAGE, patience=PATIENCE))
            await asyncio.to_thread(read_exactly, slow, 1)
            refused = await large_answers.send(second, PAGE, patience=PATIENCE)
            await asyncio.to_thread(read_exactly, slow, len(WHOLE) - 1)
            await sending
            taking = asyncio.create_task(asyncio.to_thread(read_exactly, other, len(WHOLE)))
            accepted = await large_answers.send(second, PAGE, patience=PATIENCE)
            await taking
            return [refused, accepted]

    assert asyncio.run(send()) == [False, True]


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells what the client has taken")
def test_a_client_that_takes_nothing_is_told_from_one_that_takes_little(large_answers: LargeAnswers) -> None:
    async def send() -> bool:
        async with channel() as (writer, _, client):
            sending = asyncio.create_task(large_answers.send(writer, PAGE, patience=1.5))
            for _ in range(20):
                # More than the patience in all, and never so long without a byte.
                await asyncio.sleep(0.1)
                await asyncio.to_thread(read_exactly, client, 64 * 1024)
            assert not sending.done()
            with pytest.raises(TimeoutError):
                await sending
            writer.transport.abort()
            return await asyncio.to_thread(wait_for_reset, client)

    assert asyncio.run(send())


def test_a_client_that_leaves_frees_its_thread(large_answers: LargeAnswers) -> None:
    async def send() -> bool:
        async with channel() as (writer, _, client):
            sending = asyncio.create_task(large_answers.send(writer, PAGE, patience=PATIENCE))
            await asyncio.to_thread(read_exactly, client, 1)
            client.close()
            with pytest.raises(OSError, match=r"."):
                await sending
        async with channel() as (writer, _, client):
            taking = asyncio.create_task(asyncio.to_thread(read_exactly, client, len(WHOLE)))
            was_sent = await large_answers.send(writer, PAGE, patience=PATIENCE)
            await taking
            return was_sent

    assert asyncio.run(send())


def test_who_is_cut_amid_a_large_answer_is_reset_and_frees_its_thread_at_once(large_answers: LargeAnswers) -> None:
    async def send() -> bool:
        async with channel() as (writer, _, client):
            sending = asyncio.create_task(large_answers.send(writer, PAGE, patience=3600))
            await asyncio.to_thread(read_exactly, client, 1)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            # It would wait for a thread that still sends.
            large_answers.close()
            writer.transport.abort()
            return await asyncio.to_thread(wait_for_reset, client)

    assert asyncio.run(send())


def _sending() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "large-answer"]


def test_a_stopped_server_leaves_no_thread_behind_that_waits_for_a_client() -> None:
    async def stop() -> None:
        server = HttpServer(Pages(), host="127.0.0.1", port=0, limits=Limits(stop_timeout=0.05))
        await server.start()
        with socket.create_connection(server.address, timeout=PATIENCE) as client:
            client.setblocking(False)  # noqa: FBT003 - the standard library's own spelling
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(client, GET_BIG)
            await loop.sock_recv(client, 1)
            assert _sending()
            await server.stop()
            assert not _sending()

    asyncio.run(stop())


def test_requests_that_came_amid_a_large_answer_are_answered_after_it() -> None:
    with serving_in_thread(Pages()) as address, connected(address, receive_buffer=16 * 1024) as client:
        client.sendall(GET_BIG)
        head = read_head(client)
        client.sendall(b"GET /one HTTP/1.1\r\nHost: a\r\n\r\n" + GET_BIG)
        assert b"200" in head
        assert read_exactly(client, len(BIG)) == BIG
        assert b"200" in read_head(client)
        assert read_exactly(client, 12) == b"GET|/one|||\n"
        read_head(client)
        assert read_exactly(client, len(BIG)) == BIG


def test_more_large_answers_than_threads_arrive_whole_too() -> None:
    with serving_in_thread(Pages(), limits=Limits(large_answers=1)) as address, ExitStack() as clients:
        readers = [clients.enter_context(connected(address, receive_buffer=16 * 1024)) for _ in range(3)]
        for reader in readers:
            reader.sendall(GET_BIG.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        received = [bytearray() for _ in readers]
        left = set(range(len(readers)))
        while left:
            for number in list(left):
                data = readers[number].recv(1 << 20)
                received[number] += data
                if not data:
                    left.discard(number)
    assert len(BIG) > LARGE_ANSWER_BYTES
    assert [bytes(each).partition(b"\r\n\r\n")[2] == BIG for each in received] == [True] * 3


def test_who_takes_a_large_answer_is_not_cut_for_those_who_take_nothing() -> None:
    limits = Limits(max_connections=40, requests_in_flight=3)
    with serving_in_thread(Pages(), limits=limits) as address, ExitStack() as clients:
        reader = clients.enter_context(connected(address, receive_buffer=16 * 1024))
        reader.sendall(GET_BIG)
        read_head(reader)
        received = bytearray()
        for _ in range(8):
            idler = clients.enter_context(connected(address, receive_buffer=4096))
            idler.sendall(GET_BIG)
            assert idler.recv(1)
            received += read_exactly(reader, 1_000_000)
        received += read_exactly(reader, len(BIG) - len(received))
    assert received == BIG


def test_large_answers_leave_one_place_that_gives_way() -> None:
    limits = Limits(max_connections=20, requests_in_flight=2, large_answers=2)
    with serving_in_thread(Pages(), limits=limits) as address, ExitStack() as clients:
        for _ in range(2):
            idler = clients.enter_context(connected(address, receive_buffer=4096))
            idler.sendall(GET_BIG)
            assert idler.recv(1)
        assert status_of(ask(address, b"GET / HTTP/1.0\r\n\r\n")) == 200


@pytest.mark.parametrize(
    ("request_", "more"),
    [
        (b"GET /big HTTP/1.0\r\n\r\n", b"\r\n"),
        (b"GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", GET_BIG),
    ],
)
def test_what_a_client_sends_amid_its_last_answer_does_not_cost_it_the_end(request_: bytes, more: bytes) -> None:
    with serving_in_thread(Pages()) as address, connected(address, receive_buffer=16 * 1024) as client:
        client.sendall(request_)
        read_head(client)
        client.sendall(more)
        assert read_exactly(client, len(BIG)) == BIG
        assert client.recv(1) == b""


def test_where_the_system_gives_no_thread_large_answers_arrive_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoThread(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    with serving_in_thread(Pages()) as address, connected(address) as client, monkeypatch.context() as system:
        system.setattr(threading, "Thread", NoThread)
        for _ in range(2):
            client.sendall(GET_BIG)
            read_head(client)
            assert read_exactly(client, len(BIG)) == BIG


def test_an_answer_that_only_its_end_ends_is_sent_by_no_thread_which_would_make_a_cut_look_like_the_end() -> None:
    async def answer(_: Request) -> Response:
        return Response(200, (BIG,), raw_headers=[(b"Content-Type", b"text/plain")])

    with serving_in_thread(answer, limits=Limits(stop_timeout=0.05)) as address:
        client = socket.create_connection(address, timeout=PATIENCE)
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        read_head(client)
        assert not _sending()
    with client, pytest.raises(ConnectionResetError):
        read_exactly(client, len(BIG))


class Page(bytearray):
    """Tells when it ends."""


@pytest.mark.parametrize(
    ("how", "threads"), [("resets", 0), ("resets", 1), ("takes nothing", 0), ("takes nothing", 1), ("is cut", 0)]
)
def test_a_client_that_does_not_take_its_page_does_not_keep_it_while_nothing_is_collected(
    how: str, threads: int
) -> None:
    pages: list[weakref.ref[Page]] = []

    async def answer(request: Request) -> Response:
        if request.path != "/":
            return Response(200, (b"",))
        page = Page(BIG)
        pages.append(weakref.ref(page))
        return Response(200, (page,))  # type: ignore[arg-type]  # bytes can tell nobody that they end

    patience = 0.1 if how == "takes nothing" else PATIENCE
    limits = Limits(requests_in_flight=1 + threads, large_answers=threads, write_timeout=patience)
    gc.disable()
    try:
        with ExitStack() as clients:
            address = clients.enter_context(serving_in_thread(answer, limits=limits))
            client = clients.enter_context(connected(address, receive_buffer=16 * 1024))
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            read_head(client)
            if how == "resets":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
            elif how == "takes nothing":
                assert wait_for_reset(client)
            else:
                assert status_of(ask(address, b"GET /other HTTP/1.0\r\n\r\n")) == 200
            give_up_at = time.monotonic() + PATIENCE
            while pages[0]() is not None and time.monotonic() < give_up_at:
                time.sleep(0.01)  # the end of the connection comes a moment later
        assert pages[0]() is None
    finally:
        gc.enable()


def test_a_lost_connections_error_that_caused_itself_stops_nobody() -> None:
    kept, raised = ConnectionResetError(), ConnectionAbortedError()
    with suppress(ConnectionAbortedError):
        try:
            raise kept
        except ConnectionResetError as error:
            raise raised from error
    kept.__context__ = raised
    _forget_frames(raised)
    assert (kept.__traceback__, raised.__traceback__) == (None, None)
