"""Clients that want the web server's time and places, and not its pages."""

import contextlib
import random
import socket
import struct
from collections.abc import Callable, Iterator

_SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_SECONDS = 60.0

_NONSENSE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x00" * 1_000,
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"CONNECT openai.com:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"POST /-/reload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    b"POST /-/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n",
    b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /%ff%00%2e%2e/%2e%2e HTTP/1.1\r\nHost: a\r\n\r\n",
)

Attack = Callable[["socket.socket", random.Random], None]


def slow_loris(client: socket.socket, chance: random.Random) -> None:
    """Begin a request, and do not go on."""
    client.sendall(_SCRAPE[: chance.randrange(1, len(_SCRAPE) - 1)])


def half_request(client: socket.socket, chance: random.Random) -> None:
    """Begin a request, and say that this was all."""
    client.sendall(_SCRAPE[: chance.randrange(len(_SCRAPE))])
    client.shutdown(socket.SHUT_WR)


def reset(client: socket.socket, chance: random.Random) -> None:
    """Ask for the page, and break off before it comes or while it does."""
    client.sendall(_SCRAPE)
    if chance.random() < 1 / 2:
        client.recv(chance.randrange(1, 2_000))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    client.close()


def giant_header(client: socket.socket, _: random.Random) -> None:
    """Send a head that does not end."""
    client.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n" + b"X-Long: " + b"a" * 200_000)


def pipeline(client: socket.socket, _: random.Random) -> None:
    """Ask for more pages than anybody reads, and read none."""
    client.sendall(_SCRAPE * 20)


def nonsense(client: socket.socket, chance: random.Random) -> None:
    client.sendall(chance.choice(_NONSENSE))


ATTACKS: tuple[Attack, ...] = (slow_loris, half_request, reset, giant_header, pipeline, nonsense)


@contextlib.contextmanager
def hostile_scrapers(port: int, count: int, seed: str) -> Iterator[int]:
    """So many clients, all of them there until the block ends; yields how many got through to attack."""
    chance = random.Random(seed)  # noqa: S311 - the same again for the same seed, no secret
    through = 0
    with contextlib.ExitStack() as crowd:
        for number in range(count):
            attack = ATTACKS[number % len(ATTACKS)]
            # Whoever is cut, refused or not heard to the end has got what it came for.
            with contextlib.suppress(OSError):
                client = crowd.enter_context(socket.create_connection(("127.0.0.1", port), timeout=_SECONDS))
                attack(client, chance)
                through += 1
        yield through
