"""The gateway's process takes no more memory for large bodies, slow upstreams, slow clients or many models."""

import contextlib
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from exporter.trace_gateway.copies import MEBIBYTE, Copies
from tests.trace_gateway.forwarded import COUNTED_PATH
from tests.trace_gateway.gateway_process import gateway_process
from tests.web.loopback import Address, connected

pytestmark = pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="only Linux tells, and forgets, the peak of a process"
)

HERE = "127.0.0.1"
PATIENCE = 120.0
AT_ONCE = 3
BODY = 50_000_000
BLOCK = bytes(range(256)) * 1024
READ_BYTES = 1_000_000
PATTERN = bytes(range(256)) * (READ_BYTES // 256 + 2)
# For what the allocator keeps; one body held whole would be far more.
SLACK = 16 * MEBIBYTE


@dataclass
class Flow:
    """Bytes on their way, in all connections together.

    Attributes:
        open: while it is not set, those at the end take nothing.
    """

    sent: int = 0
    open: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, connection: socket.socket, size: int) -> None:
        """Send the block over and over, up to this size."""
        while size:
            count = connection.send(BLOCK[:size])
            size -= count
            with self.lock:
                self.sent += count

    def take(self, connection: socket.socket, size: int, *, of_blocks: bool = True) -> None:
        """Take so many bytes when the time has come, and look whether they are those that were sent."""
        assert self.open.wait(PATIENCE)
        taken = 0
        while taken < size:
            received = connection.recv(min(size - taken, READ_BYTES))
            assert received
            assert not of_blocks or PATTERN.startswith(received, taken % 256)
            taken += len(received)

    def send_chunks(self, connection: socket.socket, size: int) -> None:
        """The same, in chunks, which is no way to say at first how much it will be."""
        for _ in range(size // len(BLOCK)):
            connection.sendall(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK))
            with self.lock:
                self.sent += len(BLOCK)
        connection.sendall(b"0\r\n\r\n")

    def take_chunks(self, connection: socket.socket) -> None:
        """Take them all; what is in them does not look like their end."""
        assert self.open.wait(PATIENCE)
        end = b""
        while end != b"0\r\n\r\n":
            received = connection.recv(READ_BYTES)
            assert received
            end = (end + received)[-5:]

    def wait_until_it_is_stuck(self) -> None:
        """Wait until nothing moves any more: all that is on its way fills memory somewhere."""
        before = -1
        while before != self.sent:
            before = self.sent
            time.sleep(0.3)  # time in which something would move, if it could


def read_head(connection: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        assert byte
        head += byte
    return head


@contextmanager
def generous_upstream(flow: Flow) -> Iterator[str]:
    """Take what is sent, and give as much as the path asks for."""
    with socket.create_server((HERE, 0), backlog=64) as listener:

        def converse(connection: socket.socket) -> None:
            with connection:
                connection.settimeout(PATIENCE)
                head = read_head(connection)
                length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                if length:
                    flow.take(connection, int(length[1]), of_blocks=b"/of-models/" not in head)
                else:
                    flow.take_chunks(connection)
                asked = re.search(rb"/give/(\d+)/", head)
                size = int(asked[1]) if asked else 0
                connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size)
                flow.send(connection, size)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=converse, args=(connection,)).start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"http://{HERE}:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()


@dataclass(frozen=True)
class Gateway:
    """A gateway in a process of its own, with an upstream and clients that send, and take, as much as they can."""

    address: Address
    process: int
    flow: Flow

    def put(self, path: str, size: int, *, of_known_length: bool = True) -> None:
        with connected(self.address) as client:
            client.settimeout(PATIENCE)
            framing = f"Content-Length: {size}" if of_known_length else "Transfer-Encoding: chunked"
            client.sendall(f"POST {path} HTTP/1.1\r\nHost: g\r\n{framing}\r\n\r\n".encode())
            if of_known_length:
                self.flow.send(client, size)
            else:
                self.flow.send_chunks(client, size)
            assert read_head(client).startswith(b"HTTP/1.1 200 ")

    def get(self, path: str, size: int) -> None:
        with connected(self.address) as client:
            client.settimeout(PATIENCE)
            client.sendall(f"POST /give/{size}{path} HTTP/1.1\r\nHost: g\r\nContent-Length: 0\r\n\r\n".encode())
            assert read_head(client).startswith(b"HTTP/1.1 200 ")
            self.flow.take(client, size)

    def grows_by(self, exchange: Callable[[], None], times: int = AT_ONCE) -> int:
        """How many bytes more than before it ever has while so many of these go on at once, slowly at first."""
        Path(f"/proc/{self.process}/clear_refs").write_text("5", encoding="ascii")
        before = self._peak()
        self.flow.open.clear()
        with ThreadPoolExecutor(times) as clients:
            exchanges = [clients.submit(exchange) for _ in range(times)]
            self.flow.wait_until_it_is_stuck()
            self.flow.open.set()
            for each in exchanges:
                each.result(PATIENCE)
        return self._peak() - before

    def _peak(self) -> int:
        status = Path(f"/proc/{self.process}/status").read_text(encoding="ascii")
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert peak is not None
        return int(peak[1]) * 1024


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    flow = Flow()
    with generous_upstream(flow) as url, gateway_process(f"--upstream={url}") as running:
        parts = urlsplit(running.url)
        assert parts.hostname is not None
        assert parts.port is not None
        started = Gateway((parts.hostname, parts.port), running.process, flow)
        # What it needs for any body at all.
        for path in ("/other", COUNTED_PATH):
            started.grows_by(partial(started.put, path, MEBIBYTE))
            started.grows_by(partial(started.get, path, MEBIBYTE))
        yield started


def test_large_bodies_of_several_clients_and_a_slow_upstream_take_none(gateway: Gateway) -> None:
    assert gateway.grows_by(partial(gateway.put, COUNTED_PATH, BODY)) < SLACK


def test_large_answers_for_several_slow_clients_take_none(gateway: Gateway) -> None:
    assert gateway.grows_by(partial(gateway.get, "/other", BODY)) < SLACK


def test_large_bodies_and_answers_to_be_counted_take_no_more_than_their_copies_may(gateway: Gateway) -> None:
    # A copy that grows may be in two places for a moment.
    copies = AT_ONCE * Copies().each * 2
    assert copies + SLACK < AT_ONCE * BODY // 2
    assert gateway.grows_by(partial(gateway.put, COUNTED_PATH, BODY, of_known_length=False)) < copies + SLACK
    assert gateway.grows_by(partial(gateway.get, COUNTED_PATH, BODY)) < copies + SLACK


def test_ten_thousand_models_more_take_none(gateway: Gateway) -> None:
    url = f"http://{gateway.address[0]}:{gateway.address[1]}"
    models = (f"model-{number}" for number in range(20_000))

    def send_traces_of_new_models() -> None:
        traces = [{"model": next(models), "metrics": {"promptTokens": 1}} for _ in range(10_000)]
        with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
            assert client.post(f"{url}/of-models{COUNTED_PATH}", json=traces).status_code == 200
            page = client.get(f"{url}/metrics").text
        # A thousand, and that of all others.
        assert page.count("\naitracer_trace_cost_usd_total{") == 1_001

    # One body and one page of them, and then no more.
    gateway.grows_by(send_traces_of_new_models, times=1)
    assert gateway.grows_by(send_traces_of_new_models, times=1) < 2 * SLACK
