import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest

from exporter.web.http_server import Limits, serving_in_thread
from exporter.web.messages import Request, Response
from tests.web.loopback import ask, connected, read_to_the_end, read_until, status_of


def _wants_stream(request: Request) -> bool:
    return request.path != "/whole"


async def _answer(request: Request) -> Response:
    if request.path == "/whole":
        return Response(200, (request.body,))
    assert request.content is not None
    assert request.head is not None
    match request.path:
        case "/echo":
            return Response(299, request.content, raw_headers=[], reason=b"Odd Reason")
        case "/raw":
            body = b"".join([piece async for piece in request.content])
            told = [(b"Set-Cookie", b"a"), (b"X-Target", request.head.target), *request.head.headers[1:]]
            return Response(204 if not body else 200, (body,), raw_headers=[*told, (b"Set-Cookie", b"b")])
        case "/count":
            length = 0
            async for piece in request.content:
                length += len(piece)
            return Response(200, (str(length).encode(),))
        case "/never":
            await asyncio.Event().wait()
    return Response(403, (b"not wanted",))


def test_a_body_is_read_as_it_comes_and_the_answer_leaves_before_its_end() -> None:
    with serving_in_thread(_answer, wants_stream=_wants_stream) as address, connected(address) as client:
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        head = read_until(client, b"3\r\none\r\n")
        client.sendall(b"3\r\ntwo\r\n0\r\n\r\n")
        rest = read_until(client, b"0\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 299 Odd Reason\r\n")
    assert rest.startswith(b"3\r\ntwo\r\n")


def test_raw_headers_are_sent_in_order_with_repeated_ones_and_nothing_beside_them() -> None:
    with serving_in_thread(_answer, wants_stream=_wants_stream) as address, connected(address) as client:
        client.sendall(
            b"POST /raw?q=%20 HTTP/1.1\r\nHost: a\r\nX-Twice: 1\r\nx-twice: 2\r\nContent-Length: 2\r\n\r\nok"
        )
        received = read_until(client, b"ok")
        # The connection goes on.
        client.sendall(b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        assert read_until(client, b"\r\n\r\n3").startswith(b"HTTP/1.1 200")
    assert received == (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nX-Target: /raw?q=%20\r\nX-Twice: 1\r\nx-twice: 2\r\n"
        b"Content-Length: 2\r\nSet-Cookie: b\r\n\r\nok"
    )


def test_a_body_beyond_the_limit_reaches_a_handler_that_reads_it_as_it_comes_and_no_other() -> None:
    with serving_in_thread(_answer, wants_stream=_wants_stream) as address:
        body = b"Host: a\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000
        assert ask(address, b"POST /count HTTP/1.1\r\n" + body).endswith(b"1000000")
        assert status_of(ask(address, b"POST /whole HTTP/1.1\r\n" + body)) == 413


def test_who_still_sends_what_nobody_wants_reads_the_answer_and_sees_the_connection_end() -> None:
    with serving_in_thread(_answer, wants_stream=_wants_stream) as address, connected(address) as client:
        client.sendall(b"POST /unwanted HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000)
        client.shutdown(socket.SHUT_WR)
        received = read_to_the_end(client)
    assert status_of(received) == 403
    assert b"connection: close" in received.lower()
    assert received.endswith(b"not wanted")


def test_a_body_that_falls_silent_is_told_so() -> None:
    limits = Limits(body_timeout=0.1)
    with serving_in_thread(_answer, wants_stream=_wants_stream, limits=limits) as address, connected(address) as client:
        client.sendall(b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nbo")
        assert status_of(read_to_the_end(client)) == 408


def test_a_body_that_trickles_is_told_so() -> None:
    limits = Limits(body_timeout=0.5, body_bytes_per_second=10_000)
    with serving_in_thread(_answer, wants_stream=_wants_stream, limits=limits) as address, connected(address) as client:
        client.sendall(b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        client.settimeout(0.02)
        received = b""
        deadline = time.monotonic() + 10
        while not received and time.monotonic() < deadline:
            client.sendall(b"x")
            try:
                received = client.recv(1000)
            except TimeoutError:
                continue
        assert status_of(received) == 408


@pytest.mark.parametrize("rest", [b"Content-Length: 5\r\n\r\nbo", b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n"])
def test_a_body_that_ends_too_soon_or_is_none_is_refused(rest: bytes) -> None:
    with serving_in_thread(_answer, wants_stream=_wants_stream) as address:
        assert status_of(ask(address, b"POST /count HTTP/1.1\r\nHost: a\r\n" + rest)) == 400


def test_a_body_that_falls_silent_gives_way_when_the_server_is_full() -> None:
    limits = Limits(max_connections=3, requests_in_flight=1)
    with (
        serving_in_thread(_answer, wants_stream=_wants_stream, limits=limits) as address,
        connected(address) as silent,
    ):
        silent.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nbo")
        read_until(silent, b"bo\r\n")
        deadline = time.monotonic() + 10
        # It is silent as soon as the server has come to wait for it.
        while (
            status := status_of(ask(address, b"GET /other HTTP/1.0\r\n\r\n"))
        ) == 503 and time.monotonic() < deadline:
            pass
        assert status == 403
        with pytest.raises((EOFError, ConnectionResetError)):
            read_until(silent, b"never")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"http://other.test/p%2f?x=/y", b"/p%2f?x=/y"),
        (b"http://other.test?x=/y", b"/?x=/y"),
        (b"http://other.test", b"/"),
        (b"//p/../q?u=http://z", b"//p/../q?u=http://z"),
        (b"*", b"*"),
    ],
)
def test_the_target_of_a_raw_head_is_path_and_query_as_they_came(target: bytes, expected: bytes) -> None:
    seen: list[bytes] = []

    async def note(request: Request) -> Response:
        assert request.head is not None
        seen.append(request.head.target)
        return Response(200)

    with serving_in_thread(note, wants_stream=lambda _: True) as address:
        assert status_of(ask(address, b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")) == 200
    assert seen == [expected]


class _Watched(AsyncIterator[bytes]):
    def __init__(self) -> None:
        self.closed = 0

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize(("method", "headers"), [(b"GET", []), (b"HEAD", []), (b"GET", [(b"bad name", b"")])])
def test_an_answer_that_can_be_closed_is_closed_also_where_nothing_is_read_of_it(
    method: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    body = _Watched()

    async def answer(_: Request) -> Response:
        return Response(200, body, raw_headers=headers)

    with serving_in_thread(answer) as address:
        status = status_of(ask(address, method + b" / HTTP/1.1\r\nHost: a\r\n\r\n"))
    assert (status, body.closed) == (500 if headers else 200, 1)
