"""A forwarding side that runs, a stand-in for counting, and an upstream that answers as it was told to."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import h11
from prometheus_client import CollectorRegistry

from exporter.trace_gateway.copies import Copies
from exporter.trace_gateway.exchange import Exchange, TraceCounting
from exporter.trace_gateway.forwarding import Forwarding
from exporter.trace_gateway.forwarding_metrics import ForwardingMetrics
from exporter.trace_gateway.upstream import Patience, Upstream, upstream_address
from exporter.web.http_server import HttpServer, Limits
from tests.web.loopback import PATIENCE, Address

COUNTED_PATH: Final = "/api/traces"
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Recorder:
    """Takes the place of counting, and keeps what it was given."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.threads: list[str] = []
        self.counted = threading.Event()
        self.may_count = threading.Event()
        self.may_count.set()
        self.fault: Exception | None = None

    def reads(self, method: str, path: str) -> bool:
        return (method, path) == ("POST", COUNTED_PATH)

    def count(self, exchange: Exchange) -> None:
        assert self.may_count.wait(PATIENCE)
        self.threads.append(threading.current_thread().name)
        self.exchanges.append(exchange)
        self.counted.set()
        if self.fault is not None:
            raise self.fault


@dataclass(frozen=True, slots=True)
class Received:
    """A request as an upstream got it; `whole` if it came to its end."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    whole: bool

    def values(self, name: bytes) -> list[bytes]:
        return [value for each, value in self.headers if each.lower() == name]


@dataclass
class ScriptedUpstream:
    address: Address
    scheme: str = "http"
    received: list[Received] = field(default_factory=list)
    seen: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address[0]}:{self.address[1]}"

    def wait_for_one(self) -> Received:
        """The request that came last, once there is one more."""
        assert self.seen.acquire(timeout=PATIENCE)
        return self.received[-1]


@contextmanager
def scripted_upstream(
    answer: Callable[[Received], bytes], tls: ssl.SSLContext | None = None
) -> Iterator[ScriptedUpstream]:
    """Answer every whole request with the bytes given; the connection ends behind those that say so, or hold none."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        upstream = ScriptedUpstream(listener.getsockname(), "https" if tls else "http")
        connections: list[socket.socket] = []
        threads: list[threading.Thread] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connection.settimeout(PATIENCE)
                    connections.append(connection)
                    threads.append(threading.Thread(target=_converse, args=(connection, tls, upstream, answer)))
                    threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield upstream
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def _converse(
    plain: socket.socket,
    tls: ssl.SSLContext | None,
    upstream: ScriptedUpstream,
    answer: Callable[[Received], bytes],
) -> None:
    with plain, contextlib.suppress(OSError), _encrypted(plain, tls) as connection:
        while received := _read(connection):
            upstream.received.append(received)
            upstream.seen.release()
            if not received.whole:
                return
            answered = answer(received)
            connection.sendall(answered)
            if not answered or b"\r\nConnection: close" in answered:
                return


def _encrypted(plain: socket.socket, tls: ssl.SSLContext | None) -> socket.socket:
    return plain if tls is None else tls.wrap_socket(plain, server_side=True)


def _read(connection: socket.socket) -> Received | None:
    http = h11.Connection(h11.SERVER)
    head: h11.Request | None = None
    body = bytearray()
    whole = False
    try:
        while not whole:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(connection.recv(65536))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                whole = True
            else:
                return None
    except h11.RemoteProtocolError:
        whole = False
    if head is None:
        return None
    return Received(head.method, head.target, head.headers.raw_items(), bytes(body), whole)


@dataclass(frozen=True, slots=True)
class RunningForwarding:
    address: Address
    recorder: Recorder
    copies: Copies
    registry: CollectorRegistry

    def value(self, name: str, **labels: str) -> float:
        """A sample, 0 for none."""
        return self.registry.get_sample_value(f"aitracer_gateway_{name}", labels) or 0.0


@contextmanager
def running_forwarding(  # noqa: PLR0913 - all but the URL by name
    url: str,
    *,
    patience: Patience | None = None,
    copies: Copies | None = None,
    limits: Limits | None = None,
    proxy: str | None = None,
    counting: TraceCounting | None = None,
) -> Iterator[RunningForwarding]:
    """Forward to the URL, in a thread of its own; what is counted goes to the recorder, if to nobody else."""
    recorder, held, registry = Recorder(), copies or Copies(), CollectorRegistry()
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        upstream = Upstream(upstream_address(url), proxy=proxy, connections=16, patience=patience)
        forwarding = Forwarding(upstream, counting or recorder, ForwardingMetrics(registry), copies=held)
        server = HttpServer(
            forwarding, host="127.0.0.1", port=0, limits=limits or Limits(), wants_stream=lambda _: True
        )
        runner.run(server.start())
        thread = threading.Thread(target=loop.run_forever)
        thread.start()

        async def stop() -> None:
            await server.stop()
            await forwarding.finish()

        try:
            yield RunningForwarding(server.address, recorder, held, registry)
        finally:
            asyncio.run_coroutine_threadsafe(stop(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            assert held.held == 0
            assert registry.get_sample_value("aitracer_gateway_requests_in_flight") == 0
