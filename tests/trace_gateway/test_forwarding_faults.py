import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.trace_gateway.upstream import Patience, proxy_of_environment, upstream_address
from tests.trace_gateway.forwarded import (
    COUNTED_PATH,
    OK,
    Received,
    running_forwarding,
    scripted_upstream,
)
from tests.web.loopback import (
    PATIENCE,
    Address,
    ask,
    connected,
    read_to_the_end,
    read_until,
    status_of,
)

POST = f"POST {COUNTED_PATH} HTTP/1.1\r\nHost: gateway\r\n".encode()
WHOLE = POST + b"Content-Length: 2\r\n\r\nhi"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhalf"


@pytest.mark.parametrize("size", [2, 500_000])
def test_an_upstream_that_is_down_is_a_502_also_for_who_still_sends(size: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with running_forwarding(f"http://127.0.0.1:{port}") as gateway:
        answer = ask(gateway.address, POST + b"Content-Length: %d\r\n\r\n" % size + b"x" * size)
    assert status_of(answer) == 502
    assert answer.endswith(b"\r\n\r\nThe upstream of this gateway did not answer: unreachable.\n")
    assert gateway.value("upstream_errors_total", reason="unreachable") == 1
    assert gateway.value("requests_total", code="502") == 1
    assert gateway.recorder.exchanges == []


def test_an_upstream_that_says_nothing_is_a_504(caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()

    def wait(_: Received) -> bytes:
        release.wait(PATIENCE)
        return b""

    with (
        scripted_upstream(wait) as upstream,
        running_forwarding(upstream.url, patience=Patience(between_bytes=0.2)) as gateway,
    ):
        first, second = ask(gateway.address, WHOLE), ask(gateway.address, WHOLE)
        release.set()
    assert (status_of(first), status_of(second)) == (504, 504)
    assert gateway.value("upstream_errors_total", reason="timeout") == 2
    assert [record.getMessage() for record in caplog.records] == ["the upstream failed"]


@pytest.mark.parametrize(("answer", "reason"), [(b"", "cut"), (b"SSH-2.0-x\r\n\r\n", "not_http")])
def test_an_upstream_that_gives_no_answer_is_a_502_and_is_asked_once(answer: bytes, reason: str) -> None:
    with scripted_upstream(lambda _: answer) as upstream, running_forwarding(upstream.url) as gateway:
        assert status_of(ask(gateway.address, WHOLE)) == 502
    assert gateway.value("upstream_errors_total", reason=reason) == 1
    assert len(upstream.received) == 1


def test_an_answer_that_is_cut_is_cut_for_the_client_too_and_counted_as_accepted() -> None:
    with scripted_upstream(lambda _: HALF) as upstream, running_forwarding(upstream.url) as gateway:
        received = ask(gateway.address, WHOLE)
    assert received == b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
    assert gateway.value("upstream_errors_total", reason="cut") == 1
    (exchange,) = gateway.recorder.exchanges
    assert (exchange.request_body, exchange.answer_body) == (b"hi", None)


def test_a_chunked_answer_that_is_cut_does_not_look_whole() -> None:
    cut = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n4\r\nhalf\r\n"
    with scripted_upstream(lambda _: cut) as upstream, running_forwarding(upstream.url) as gateway:
        received = ask(gateway.address, WHOLE)
    assert received == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"


def test_a_client_that_leaves_amid_its_body_leaves_the_upstream_with_as_little() -> None:
    with scripted_upstream(lambda _: OK) as upstream, running_forwarding(upstream.url) as gateway:
        with connected(gateway.address) as client:
            client.sendall(POST + b"Content-Length: 100\r\n\r\nhi")
        received = upstream.wait_for_one()
    assert (received.body, received.whole) == (b"hi", False)
    assert gateway.value("requests_total", code="499") == 1
    assert gateway.recorder.exchanges == []


@pytest.mark.parametrize("size", [2, 2_000_000])
def test_a_trace_is_counted_though_its_client_has_left_before_the_answer(size: int) -> None:
    release = threading.Event()

    def wait(_: Received) -> bytes:
        release.wait(PATIENCE)
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, b"x" * size)

    with scripted_upstream(wait) as upstream, running_forwarding(upstream.url) as gateway:
        with connected(gateway.address, receive_buffer=4096) as client:
            client.sendall(WHOLE)
            upstream.wait_for_one()
        release.set()
        assert gateway.recorder.counted.wait(PATIENCE)
    (exchange,) = gateway.recorder.exchanges
    assert exchange.answer_body == b"x" * size


def test_an_upstream_that_answers_before_it_has_read_is_heard() -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig"

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(PATIENCE)
                read = b""
                while b"first" not in read:
                    read += connection.recv(1000)
                connection.sendall(refusal)
                connection.shutdown(socket.SHUT_WR)
                read_to_the_end(connection)

        refusing = threading.Thread(target=refuse)
        refusing.start()
        host, port = listener.getsockname()
        with running_forwarding(f"http://{host}:{port}") as gateway, connected(gateway.address) as client:
            client.sendall(POST + b"Content-Length: 1000005\r\n\r\nfirst")
            client.sendall(b"x" * 1_000_000)
            assert read_until(client, b"big").startswith(b"HTTP/1.1 413 Too Large")
        refusing.join()


def test_no_word_of_a_request_gets_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "exporter")
    secret = POST + b"Authorization: Bearer the-key\r\nContent-Length: 10\r\n\r\nthe-prompt"
    answers = iter([OK, b"", HALF, b"the-answer\r\n\r\n"])
    with scripted_upstream(lambda _: next(answers)) as upstream, running_forwarding(upstream.url) as gateway:
        for _ in range(4):
            ask(gateway.address, secret)
        ask(gateway.address, secret[:-3])
    told = "".join(str(record.__dict__) for record in caplog.records if record.name.startswith("exporter"))
    assert "upstream failed" in told
    assert "the-" not in told


@pytest.mark.parametrize(
    ("url", "host_header", "target"),
    [
        ("https://a.example", "a.example", b"/x"),
        ("http://a.example:8080/p/", "a.example:8080", b"/p/x"),
        ("http://[::1]:80/p", "[::1]:80", b"/p/x"),
    ],
)
def test_an_upstreams_address_is_a_url(url: str, host_header: str, target: bytes) -> None:
    address = upstream_address(url)
    assert (address.netloc, address.target(b"/x")) == (host_header, target)


@pytest.mark.parametrize(
    "url", ["a.example", "ftp://a", "http://", "http://u:p@a", "http://a/?q", "http://a/#f", "http://a:x", "http://ä"]
)
def test_what_is_no_address_of_an_upstream_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        upstream_address(url)


def test_the_environment_names_the_proxy_and_who_is_reached_without(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy.test:3128")
    monkeypatch.setenv("no_proxy", "inside.test")
    found = [proxy_of_environment(upstream_address(url)) for url in ("https://a.test", "https://inside.test")]
    assert found == ["http://proxy.test:3128", None]
    assert proxy_of_environment(upstream_address("http://a.test")) is None


@contextmanager
def _started(*flags: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "exporter", "trace-gateway", *flags]
    gateway = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2], env={"NO_PROXY": "*"}
    )
    try:
        yield gateway
    finally:
        if gateway.poll() is None:
            gateway.kill()
            gateway.communicate()


def _free_address() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        return host, port


def _wait_until_it_listens(gateway: subprocess.Popen[str]) -> None:
    assert gateway.stderr is not None
    assert "msg=listening" in gateway.stderr.readline()


def test_sigterm_lets_a_request_end_and_own_pages_have_an_address_of_their_own(tmp_path: Path) -> None:
    release = threading.Event()

    def wait(received: Received) -> bytes:
        if received.target == COUNTED_PATH.encode():
            release.wait(PATIENCE * 3)
        return OK

    users = tmp_path / "web.yml"
    users.write_text("basic_auth_users: {a: $2b$04$......................123456789012345678901234567890a}\n")
    users.chmod(0o600)
    listen, telemetry = _free_address(), _free_address()
    with (
        scripted_upstream(wait) as upstream,
        _started(
            f"--upstream={upstream.url}",
            f"--web.listen-address={listen[0]}:{listen[1]}",
            f"--web.telemetry-address={telemetry[0]}:{telemetry[1]}",
            f"--web.config.file={users}",
            "--log.level=debug",
        ) as gateway,
    ):
        _wait_until_it_listens(gateway)
        # A password is asked for where the gateway's own pages are, and nowhere else.
        assert status_of(ask(telemetry, b"GET /metrics HTTP/1.0\r\n\r\n")) == 401
        assert ask(listen, b"GET /metrics HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer the-key\r\n\r\n") == OK
        assert upstream.wait_for_one().values(b"authorization") == [b"Bearer the-key"]
        with connected(listen) as client:
            client.settimeout(PATIENCE * 3)
            client.sendall(POST + b"Authorization: Bearer the-key\r\nContent-Length: 12\r\n\r\n[the-prompt]")
            upstream.wait_for_one()
            gateway.send_signal(signal.SIGTERM)
            _wait_until_nobody_listens(listen)
            release.set()
            assert read_to_the_end(client) == OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        _, told = gateway.communicate(timeout=PATIENCE * 3)
        assert gateway.returncode == 0
    assert "msg=stopped" in told
    assert "the-" not in told


def _wait_until_nobody_listens(address: Address) -> None:
    deadline = time.monotonic() + PATIENCE * 3
    while time.monotonic() < deadline:
        try:
            socket.create_connection(address, PATIENCE).close()
        except OSError:
            return
        time.sleep(0.01)  # the gateway's own time to hear the signal
    pytest.fail("it still listens")


def test_the_command_counts_what_it_forwards_and_shows_it_beside_the_forwarded_paths(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"
    trace = b'{"actionName": "bot", "status": "success", "model": "m", "metrics": {"promptTokens": 7}}'
    configuration = tmp_path / "exporter.yml"
    configuration.write_text("scrape_interval: 1s\n")
    listen = _free_address()
    with (
        scripted_upstream(lambda _: answer) as upstream,
        _started(
            f"--upstream={upstream.url}",
            f"--web.listen-address={listen[0]}:{listen[1]}",
            f"--config.file={configuration}",
        ) as gateway,
    ):
        _wait_until_it_listens(gateway)
        assert ask(listen, POST + b"Content-Length: %d\r\n\r\n%b" % (len(trace), trace)) == answer
        page = _scraped_until(listen, 'workflow="bot"', " 7.0\n")
        statuses = [
            status_of(ask(listen, line + b" HTTP/1.0\r\n\r\n"))
            for line in (b"GET /-/healthy", b"GET /-/ready", b"POST /-/ready", b"GET /-/other")
        ]
        gateway.terminate()
        gateway.communicate(timeout=PATIENCE * 3)
        assert gateway.returncode == 0
    assert 'aitracer_gateway_requests_total{code="201"} 1.0' in page
    assert statuses == [200, 200, 405, 201]


def _scraped_until(address: Address, label: str, value: str) -> str:
    """The page on which such a series of tokens has such a value; it begins at 0."""
    deadline = time.monotonic() + PATIENCE * 3
    while time.monotonic() < deadline:
        page = ask(address, b"GET /metrics HTTP/1.0\r\n\r\n").decode()
        for line in page.splitlines(keepends=True):
            if line.startswith("aitracer_trace_tokens_total{") and label in line and line.endswith(value):
                return page
        time.sleep(0.1)  # the time that the series stands at 0
    pytest.fail("the tokens were not counted")
