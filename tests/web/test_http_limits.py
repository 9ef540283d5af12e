import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from exporter.web.http_server import Limits, serving_in_thread
from exporter.web.messages import Request, Response
from tests.web.loopback import ask, connected, read_to_the_end, read_until, status_of, wait_for_reset
from tests.web.pages import BIG, Pages

GET_BIG = b"GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
LARGE = 1_500_000
SCRAPE = b"GET / HTTP/1.0\r\n\r\n"


@pytest.fixture
def open_clients() -> Iterator[ExitStack]:
    with ExitStack() as clients:
        yield clients


def test_a_connection_that_sends_nothing_is_closed_without_a_word() -> None:
    with serving_in_thread(Pages(), limits=Limits(head_timeout=0.1)) as address, connected(address) as client:
        assert read_to_the_end(client) == b""


@pytest.mark.parametrize(
    "beginning", [b"G", b"GET / HTTP/1.1\r\nHost: a\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nbo"]
)
def test_a_request_that_does_not_become_whole_in_time_is_told_so(beginning: bytes) -> None:
    with serving_in_thread(Pages(), limits=Limits(head_timeout=0.1)) as address, connected(address) as client:
        client.sendall(beginning)
        assert status_of(read_to_the_end(client)) == 408


def test_bytes_that_trickle_in_do_not_stretch_the_time_for_a_request() -> None:
    with serving_in_thread(Pages(), limits=Limits(head_timeout=0.3)) as address, connected(address) as client:
        client.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        client.settimeout(0.02)
        received = b""
        deadline = time.monotonic() + 5
        while not received and time.monotonic() < deadline:
            client.sendall(b"x")
            try:
                received = client.recv(1000)
            except TimeoutError:
                continue
        assert status_of(received) == 408


def test_a_kept_connection_is_closed_when_it_idles_too_long() -> None:
    with serving_in_thread(Pages(), limits=Limits(idle_timeout=0.1)) as address, connected(address) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_to_the_end(client).endswith(b"GET|/|||\n")


def test_a_client_that_takes_nothing_of_its_answer_is_cut() -> None:
    with serving_in_thread(Pages(), limits=Limits(write_timeout=0.1)) as address:
        with connected(address, receive_buffer=4096) as client:
            client.sendall(GET_BIG)
            assert wait_for_reset(client)
        assert status_of(ask(address, SCRAPE)) == 200


def test_the_kernel_does_not_take_the_end_of_a_large_answer_for_a_client_that_takes_nothing() -> None:
    with (
        serving_in_thread(_large, limits=Limits(write_timeout=0.1)) as address,
        connected(address, receive_buffer=4096) as client,
    ):
        client.sendall(SCRAPE)
        assert wait_for_reset(client)


def test_a_client_that_takes_a_large_answer_slowly_but_steadily_gets_it_whole() -> None:
    limits = Limits(write_timeout=1.5)
    with serving_in_thread(_large, limits=limits) as address, connected(address, receive_buffer=4096) as client:
        client.sendall(SCRAPE)
        received = 0
        while data := client.recv(4096):
            received += len(data)
            time.sleep(0.01)  # the reader's own pace
    assert received > LARGE


async def _large(_: Request) -> Response:
    """Answer with what the kernel would take whole."""
    return Response(200, (b"x" * LARGE,))


def test_a_client_that_takes_its_answer_too_slowly_is_cut() -> None:
    limits = Limits(write_timeout=5, answer_timeout=0.3)
    with serving_in_thread(Pages(), limits=limits) as address, connected(address, receive_buffer=4096) as client:
        client.sendall(GET_BIG)
        assert _read_steadily_but_slowly(client) < len(BIG)


def _read_steadily_but_slowly(client: socket.socket) -> int:
    received = 0
    try:
        while data := client.recv(4096):
            received += len(data)
            time.sleep(0.005)  # the reader's own pace
    except ConnectionResetError:
        return received
    pytest.fail("the answer came to its end")


def test_the_longest_waiting_connection_gives_way_to_a_new_one(open_clients: ExitStack) -> None:
    limits = Limits(max_connections=4, requests_in_flight=2)
    with serving_in_thread(Pages(), limits=limits) as address:
        first, second, *_ = [open_clients.enter_context(connected(address)) for _ in range(4)]
        # What trickles in does not make a connection younger.
        first.sendall(b"GET / HTTP/1.1\r\n")
        assert status_of(ask(address, SCRAPE)) == 200
        assert first.recv(1000) == b""
        second.sendall(SCRAPE)
        assert status_of(read_to_the_end(second)) == 200


def test_a_connection_whose_answer_is_under_way_never_gives_way_to_a_new_one(open_clients: ExitStack) -> None:
    limits = Limits(max_connections=4, requests_in_flight=3)
    with serving_in_thread(Pages(), limits=limits) as address:
        held = open_clients.enter_context(connected(address))
        held.sendall(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
        ask(address, SCRAPE)
        for _ in range(12):
            open_clients.enter_context(connected(address))
        assert status_of(ask(address, b"GET /release HTTP/1.0\r\n\r\n")) == 200
        assert status_of(read_until(held, b"GET|/held|||\n")) == 200


def test_the_longest_stalled_reader_gives_way_to_a_new_request(open_clients: ExitStack) -> None:
    limits = Limits(max_connections=20, requests_in_flight=2, large_answers=0)
    with serving_in_thread(Pages(), limits=limits) as address:
        first, second = (open_clients.enter_context(connected(address, receive_buffer=4096)) for _ in range(2))
        for slow in (first, second):
            slow.sendall(GET_BIG)
            assert slow.recv(100).startswith(b"HTTP/1.1 200")
        assert status_of(ask(address, SCRAPE)) == 200
        assert wait_for_reset(first)
        assert len(read_to_the_end(second)) > len(BIG) - 1000


def test_a_request_beyond_those_in_flight_is_refused_when_none_of_them_stalls(open_clients: ExitStack) -> None:
    limits = Limits(max_connections=20, requests_in_flight=1, stop_timeout=0.05)
    with serving_in_thread(Pages(), limits=limits) as address:
        held = open_clients.enter_context(connected(address))
        held.sendall(b"GET /held HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
        # Once told to go on, it is this request's turn before that of any connection opened later.
        assert read_until(held, b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        held.sendall(b"x")
        statuses = [status_of(ask(address, SCRAPE)) for _ in range(3)]
        assert statuses[-1] == 503


@pytest.mark.parametrize(("connections", "in_flight"), [(10, 10), (10, 0), (0, 0)])
def test_limits_that_leave_no_room_for_a_new_client_are_refused(connections: int, in_flight: int) -> None:
    with pytest.raises(ValueError, match="requests_in_flight"):
        Limits(max_connections=connections, requests_in_flight=in_flight)
