"""Raw sockets to a server on loopback: clients that behave as no HTTP library would."""

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager

Address = tuple[str, int]

PATIENCE = 10.0
"""Seconds after which a test gives up on an answer."""


@contextmanager
def connected(address: Address, *, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    """Connect; a small receive buffer makes a slow reader."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as client:
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(PATIENCE)
        client.connect(address)
        yield client


def read_to_the_end(client: socket.socket) -> bytes:
    received = bytearray()
    while data := client.recv(65536):
        received += data
    return bytes(received)


def read_until(client: socket.socket, end: bytes) -> bytes:
    received = bytearray()
    while not received.endswith(end):
        data = client.recv(65536)
        if not data:
            raise EOFError(bytes(received))
        received += data
    return bytes(received)


def read_exactly(client: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        data = client.recv(count - len(received))
        if not data:
            raise EOFError(f"{len(received)} of {count} bytes")
        received += data
    return bytes(received)


def read_head(client: socket.socket) -> bytes:
    """Read up to where the body begins, and nothing of it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read_exactly(client, 1)
    return head


def ask(address: Address, raw: bytes) -> bytes:
    """Send the bytes on a connection of their own, say that nothing follows, and read all that comes back."""
    with connected(address) as client:
        client.sendall(raw)
        client.shutdown(socket.SHUT_WR)
        return read_to_the_end(client)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def wait_for_reset(client: socket.socket) -> bool:
    """Wait, without reading anything, until the other side has cut the connection."""
    poll = select.poll()
    poll.register(client, 0)
    return bool(poll.poll(PATIENCE * 1000))
