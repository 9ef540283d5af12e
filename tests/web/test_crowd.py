import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from exporter.web.http_server import serving_in_thread
from tests.web.loopback import Address, ask, connected, status_of
from tests.web.pages import Pages

SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
PROMPT = 2.0

MANY_FILES = 4096

# A server that may open so many files; it tells its port, serves until its input ends, then tells its peak memory.
SERVER = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from exporter.web.http_server import serving_in_thread
from tests.web.pages import Pages
with serving_in_thread(Pages()) as (_, port):
    print(port, flush=True)
    sys.stdin.read()
# Not ru_maxrss: a process inherits that from whoever started it.
with open("/proc/self/status") as status:
    print(*[line.split()[1] for line in status if line.startswith("VmHWM:")])
"""


@pytest.fixture(autouse=True)
def many_open_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < MANY_FILES:
        pytest.skip(f"a crowd needs {MANY_FILES} open files, and {hard} are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, MANY_FILES), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_idle_and_slow_connections_do_not_keep_a_scrape_from_its_answer() -> None:
    with serving_in_thread(Pages()) as address, ExitStack() as crowd:
        for _ in range(1000):
            crowd.enter_context(connected(address))
        for number in range(200):
            _send_in_vain(crowd.enter_context(connected(address)), _half_request(number))
        for _ in range(20):
            _read_slowly(crowd, address)
        _scrape_promptly(address, times=5)


def test_more_slow_readers_than_may_be_answered_do_not_keep_a_scrape_from_its_answer() -> None:
    with serving_in_thread(Pages()) as address, ExitStack() as crowd:
        for _ in range(300):
            _read_slowly(crowd, address)
        _scrape_promptly(address, times=5)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's own peak")
def test_slow_readers_of_a_large_answer_share_it() -> None:
    with _server_of_its_own(open_files=MANY_FILES) as (server, address), ExitStack() as crowd:
        for _ in range(100):
            _read_slowly(crowd, address)
        _scrape_promptly(address, times=1)
        peak, _ = server.communicate()
    # A copy each would be 2 GB. The figure is in KiB.
    assert int(peak) * 1024 < 200_000_000


def test_pipelined_requests_without_end_do_not_keep_a_scrape_from_its_answer() -> None:
    with serving_in_thread(Pages()) as address, ExitStack() as crowd:
        for _ in range(10):
            flood = crowd.enter_context(connected(address))
            flood.settimeout(0)
            _send_in_vain(flood, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 20_000)
        _scrape_promptly(address, times=3)


def test_more_connections_than_files_may_be_open_do_not_keep_a_scrape_from_its_answer() -> None:
    with _server_of_its_own(open_files=64) as (server, address), ExitStack() as crowd:
        for _ in range(300):
            crowd.enter_context(connected(address))
        _scrape_promptly(address, times=5)
        server.communicate()
    assert server.returncode == 0


@contextmanager
def _server_of_its_own(*, open_files: int) -> Iterator[tuple[subprocess.Popen[bytes], Address]]:
    command = [sys.executable, "-c", SERVER, str(open_files)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            yield server, ("127.0.0.1", int(server.stdout.readline()))
        finally:
            server.kill()


def _half_request(number: int) -> bytes:
    if number % 2:
        return b"GET /metrics HTTP/1.1\r\nHost: a\r\nX-Never: en"
    return b"POST /-/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\nhalf"


def _read_slowly(crowd: ExitStack, address: Address) -> None:
    reader = crowd.enter_context(connected(address, receive_buffer=4096))
    reader.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
    assert reader.recv(10).startswith(b"HTTP/1.1 2")


def _send_in_vain(client: socket.socket, data: bytes) -> None:
    try:
        client.send(data)
    except (BlockingIOError, ConnectionError):
        # The crowd may have been shown out before it was done; only the scrape counts.
        return


def _scrape_promptly(address: Address, *, times: int) -> None:
    for _ in range(times):
        begin = time.monotonic()
        assert status_of(ask(address, SCRAPE)) == 200
        assert time.monotonic() - begin < PROMPT
