"""Answers that come before the whole request was sent, and what comes before an answer and behind a body."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpcore
import pytest
import trustme

from exporter.trace_gateway import early_answers
from exporter.trace_gateway.early_answers import ListeningStream
from tests.trace_gateway.forwarded import COUNTED_PATH, OK, running_forwarding, scripted_upstream
from tests.web.loopback import PATIENCE, Address, ask, connected, read_until

POST = f"POST {COUNTED_PATH} HTTP/1.1\r\nHost: g\r\n".encode()
EXPECTING = POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
REFUSAL = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig"
REFUSED = REFUSAL.replace(b"Connection: close\r\n", b"").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
# More than all buffers on the way take, and what is taken in any time.
MUCH, SOME = 20_000_000, 2_000_000


@contextmanager
def upstream_that(converses: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve one connection in a way of its own; yields the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)

        def serve() -> None:
            plain, _ = listener.accept()
            plain.settimeout(PATIENCE)
            with plain if tls is None else tls.wrap_socket(plain, server_side=True) as connection:
                converses(connection)

        serving = threading.Thread(target=serve)
        serving.start()
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{listener.getsockname()[1]}"
        serving.join()


def send_much(client: socket.socket, size: int = MUCH) -> None:
    """Send a large body, as far as somebody takes it."""

    def send() -> None:
        with contextlib.suppress(OSError):
            client.sendall(b"x" * size)

    client.sendall(POST + b"Content-Length: %d\r\n\r\n" % size)
    threading.Thread(target=send).start()


def answer_to_much(address: Address) -> bytes:
    with connected(address) as client:
        send_much(client)
        return read_until(client, b"big")


def read_head(connection: socket.socket) -> bytes:
    read = b""
    while b"\r\n\r\n" not in read:
        read += connection.recv(65536)
    return read


def test_who_refuses_a_large_body_and_hangs_up_is_heard() -> None:
    def refuse(connection: socket.socket) -> None:
        read_head(connection)
        # Closed with much of the body unread: what is sent then is answered with a reset.
        connection.sendall(REFUSAL)

    with upstream_that(refuse) as url, running_forwarding(url) as gateway:
        assert answer_to_much(gateway.address) == REFUSED
    assert gateway.value("requests_total", code="413") == 1


class BrokenStream(httpcore.AsyncNetworkStream):
    """As asyncio's: what fails to be sent closes the socket, with all that was not read of it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.pieces = 0
        self.is_broken = asyncio.Event()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - the library's own
        await asyncio.wait_for(self.is_broken.wait(), timeout)
        raise httpcore.ReadError(str(max_bytes))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 - the same
        self.pieces += 1
        if self.pieces > 1:
            self.connection.close()
            self.is_broken.set()
            raise httpcore.WriteError(str(len(buffer)))

    async def aclose(self) -> None:
        self.connection.close()

    def get_extra_info(self, info: str) -> socket.socket | None:
        return self.connection if info == "socket" else None


def test_an_answer_that_came_before_the_connection_broke_is_not_lost() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(REFUSAL)
        ours.setblocking(False)  # noqa: FBT003 - the standard library's own spelling

        async def send() -> bytes:
            stream = ListeningStream(BrokenStream(ours))
            await stream.write(POST + b"Content-Length: 100000\r\n\r\n", PATIENCE)
            with pytest.raises(httpcore.WriteError):
                await stream.write(b"x" * 1000, PATIENCE)
            answer = await stream.read(1000, PATIENCE)
            with pytest.raises(httpcore.ReadError):
                await stream.read(1000, PATIENCE)
            await stream.aclose()
            return answer

        assert asyncio.run(send()) == REFUSAL


@pytest.mark.parametrize("encrypted", [False, True])
def test_who_refuses_a_large_body_and_reads_none_of_it_is_heard_while_he_is_still_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, encrypted: bool
) -> None:
    context = None
    if encrypted:
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    answered = threading.Event()

    def refuse(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(CONTINUE + REFUSAL)
        assert answered.wait(PATIENCE)

    with upstream_that(refuse, context) as url, running_forwarding(url) as gateway:
        assert answer_to_much(gateway.address) == REFUSED
        answered.set()


def test_who_hangs_up_without_a_word_amid_a_large_body_is_a_502() -> None:
    def hang_up(connection: socket.socket) -> None:
        read_head(connection)

    with upstream_that(hang_up) as url, running_forwarding(url) as gateway, connected(gateway.address) as client:
        send_much(client)
        assert read_until(client, b"cut.\n").startswith(b"HTTP/1.1 502 ")
    assert gateway.value("upstream_errors_total", reason="cut") == 1


def test_who_accepts_before_he_has_read_everything_still_gets_everything() -> None:
    received = []

    def accept(connection: socket.socket) -> None:
        read = read_head(connection)
        connection.sendall(OK[:-1])
        size = len(read.partition(b"\r\n\r\n")[2])
        while size < SOME:
            size += len(connection.recv(1_000_000))
        received.append(size)
        connection.sendall(OK[-1:])

    with upstream_that(accept) as url, running_forwarding(url) as gateway, connected(gateway.address) as client:
        send_much(client, SOME)
        assert read_until(client, b"ok").startswith(b"HTTP/1.1 200 OK")
    assert received == [SOME]


def test_who_waits_for_permission_is_told_the_refusal_and_sends_nothing() -> None:
    read = []

    def refuse(connection: socket.socket) -> None:
        read.append(read_head(connection))
        connection.sendall(REFUSAL)
        with contextlib.suppress(ConnectionResetError):
            read.append(connection.recv(1000))

    with upstream_that(refuse) as url, running_forwarding(url) as gateway, connected(gateway.address) as client:
        client.sendall(EXPECTING)
        assert read_until(client, b"big") == REFUSED
    assert b"\r\nExpect: 100-continue\r\n" in read[0]
    assert read[1:] in ([], [b""])


def test_who_waits_for_permission_gets_it_from_the_upstream_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early_answers, "_SECONDS_FOR_PERMISSION", PATIENCE)
    allow = threading.Event()
    bodies = []

    def converse(connection: socket.socket) -> None:
        read_head(connection)
        assert allow.wait(PATIENCE)
        connection.sendall(CONTINUE)
        bodies.append(connection.recv(1000))
        connection.sendall(OK)

    with upstream_that(converse) as url, running_forwarding(url) as gateway, connected(gateway.address) as client:
        client.sendall(EXPECTING)
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1000)
        client.settimeout(PATIENCE)
        allow.set()
        assert read_until(client, CONTINUE) == CONTINUE
        client.sendall(b"trace")
        assert read_until(client, b"ok") == OK
    assert bodies == [b"trace"]
    assert [exchange.request_body for exchange in gateway.recorder.exchanges] == [b"trace"]


def test_where_the_upstream_gives_no_permission_the_gateway_does_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early_answers, "_SECONDS_FOR_PERMISSION", 0.05)
    with (
        scripted_upstream(lambda _: OK) as upstream,
        running_forwarding(upstream.url) as gateway,
        connected(gateway.address) as client,
    ):
        for _ in range(2):
            client.sendall(EXPECTING)
            assert read_until(client, CONTINUE) == CONTINUE
            client.sendall(b"trace")
            assert read_until(client, b"ok") == OK
    assert [received.body for received in upstream.received] == [b"trace", b"trace"]


@pytest.mark.parametrize(
    "before", [CONTINUE, b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n", CONTINUE * 2]
)
@pytest.mark.parametrize("size", [5, 200_000])
def test_what_comes_before_an_answer_stays_with_the_gateway(before: bytes, size: int) -> None:
    body = b"x" * size
    with scripted_upstream(lambda _: before + OK) as upstream, running_forwarding(upstream.url) as gateway:
        for _ in range(2):
            assert ask(gateway.address, POST + b"Content-Length: %d\r\n\r\n%b" % (size, body)) == OK
    assert [received.body for received in upstream.received] == [body, body]
    assert len(gateway.recorder.exchanges) == 2


def test_trailers_of_both_sides_are_left_out_and_the_bodies_are_whole() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
    request = POST + b"Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ntrace\r\n0\r\nX-Sum: 2\r\n\r\n"
    with scripted_upstream(lambda _: answer) as upstream, running_forwarding(upstream.url) as gateway:
        received = ask(gateway.address, request)
    assert received == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    (sent,) = upstream.received
    assert (sent.body, sent.values(b"trailer"), sent.values(b"x-sum")) == (b"trace", [], [])
