import asyncio
import gc
import logging
import socket
import warnings
from collections.abc import Iterator

import httpx
import pytest

from exporter.web.http_server import HttpServer, Limits, serving_in_thread
from tests.web.loopback import PATIENCE, Address, ask, connected, read_to_the_end, read_until, status_of
from tests.web.pages import BIG, Pages


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    with serving_in_thread(Pages()) as address:
        yield address


@pytest.fixture
def client(address: Address) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{address[0]}:{address[1]}", timeout=PATIENCE) as client:
        yield client


def test_a_request_reaches_the_handler_decoded_and_with_its_repeated_headers_joined(client: httpx.Client) -> None:
    answer = client.post("/caf%C3%A9%20x?a=%20b", headers=[("X-A", "1"), ("x-a", "2")], content=b"body")
    assert answer.text == "POST|/café x|a=%20b|body|1, 2\n"
    assert answer.headers["content-length"] == str(len(answer.content))
    assert "date" in answer.headers


def test_chunked_request_bodies_arrive_whole(client: httpx.Client) -> None:
    assert client.post("/", content=iter([b"one", b"two"])).text == "POST|/||onetwo|\n"


def test_a_target_in_absolute_form_is_its_path(address: Address) -> None:
    answer = ask(address, b"GET http://anybody.test:80/page?q HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answer.endswith(b"GET|/page|q||\n")


def test_one_connection_carries_many_requests_even_sent_all_at_once(address: Address) -> None:
    with connected(address) as client:
        client.sendall(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(20)))
        received = read_until(client, b"GET|/19|||\n")
        client.sendall(b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n")
        assert status_of(read_until(client, b"GET|/last|||\n")) == 200
    assert received.count(b"HTTP/1.1 200 OK") == 20
    assert [received.index(b"GET|/%d|" % number) for number in range(20)] == sorted(
        received.index(b"GET|/%d|" % number) for number in range(20)
    )


@pytest.mark.parametrize("request_line", [b"GET / HTTP/1.0\r\n", b"GET / HTTP/1.1\r\nConnection: close\r\n"])
def test_a_client_that_does_not_want_the_connection_kept_sees_its_end(address: Address, request_line: bytes) -> None:
    with connected(address) as client:
        client.sendall(request_line + b"Host: a\r\n\r\n")
        assert b"connection: close" in read_to_the_end(client).lower()


@pytest.mark.parametrize("path", ["/big", "/streamed"])
def test_head_gets_the_headers_of_get_and_no_body(client: httpx.Client, address: Address, path: str) -> None:
    answer = ask(address, f"HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert status_of(answer) == 200
    assert answer.endswith(b"\r\n\r\n")
    assert _without_date(client.head(path).headers) == _without_date(client.get(path).headers)


def _without_date(headers: httpx.Headers) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "date"}


def test_a_client_that_expects_100_continue_is_told_to_go_on_before_it_sends_the_body(address: Address) -> None:
    with connected(address) as client:
        client.sendall(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert read_until(client, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"body")
        assert read_until(client, b"POST|/p||body|\n").startswith(b"HTTP/1.1 200")


def test_a_large_answer_arrives_whole(client: httpx.Client) -> None:
    answer = client.get("/big")
    assert answer.content == BIG
    assert answer.headers["content-length"] == "20000000"


def test_an_answer_without_content_has_neither_body_nor_length(client: httpx.Client) -> None:
    answer = client.get("/nothing")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-length" not in answer.headers
    assert "content-type" not in answer.headers


def test_a_streamed_answer_is_chunked_and_leaves_the_connection_usable(address: Address) -> None:
    with connected(address) as client:
        client.sendall(b"GET /streamed HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        received = read_until(client, b"GET|/next|||\n")
    assert b"transfer-encoding: chunked" in received.lower()
    assert b"4\r\none,\r\n3\r\ntwo\r\n0\r\n\r\n" in received


def test_a_cut_answer_ends_where_it_stands(address: Address, caplog: pytest.LogCaptureFixture) -> None:
    received = ask(address, b"GET /cut HTTP/1.1\r\nHost: a\r\n\r\n")
    assert received.endswith(b"\r\n\r\n4\r\nhalf\r\n")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("path", ["/cut", "/failing-stream"])
def test_a_stream_that_is_cut_does_not_look_whole_where_answers_end_with_the_connection(
    address: Address, path: str
) -> None:
    with connected(address) as client:
        client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        with pytest.raises(ConnectionResetError):
            read_to_the_end(client)


def test_a_stream_that_ends_ends_with_the_connection_for_who_knows_no_chunks(address: Address) -> None:
    assert ask(address, b"GET /streamed HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\none,two")


def test_a_stream_that_fails_is_cut_and_told_to_the_log(address: Address, caplog: pytest.LogCaptureFixture) -> None:
    received = ask(address, b"GET /failing-stream HTTP/1.1\r\nHost: a\r\n\r\n")
    assert received.endswith(b"half\r\n")
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("ERROR", "a connection failed")


@pytest.mark.parametrize("path", ["/broken", "/bad-header"])
def test_a_page_that_fails_tells_the_log_why_and_the_client_nothing(
    client: httpx.Client, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.text) == (500, "Internal server error.\n")
    assert "x-forged" not in answer.headers
    (record,) = (record for record in caplog.records if record.name.startswith("exporter"))
    assert (record.levelname, record.getMessage(), getattr(record, "path", None)) == ("ERROR", "a page failed", path)
    assert record.exc_info is not None
    assert client.get("/after").status_code == 200


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03nonsense\r\n\r\n", 400),
        (b"\x00" * 1000, 400),
        (b"GET\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nshort", 400),
        (b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", 200),
        (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    ],
)
def test_nonsense_is_refused_without_a_word_in_the_log(
    address: Address, caplog: pytest.LogCaptureFixture, raw: bytes, status: int
) -> None:
    assert status_of(ask(address, raw)) == status
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


def test_an_oversized_head_is_refused(address: Address) -> None:
    answer = ask(address, b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 100_000)
    assert status_of(answer) == 431


def test_an_oversized_body_is_refused_before_it_is_sent(address: Address) -> None:
    with connected(address) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\nExpect: 100-continue\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert status_of(read_to_the_end(client)) == 413


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_still_sending_its_oversized_body_reads_why(client: httpx.Client, *, chunked: bool) -> None:
    content = iter([b"x" * 10_000] * 50) if chunked else b"x" * 500_000
    answer = client.post("/", content=content)
    assert answer.status_code == 413
    assert "65536" in answer.text


def test_who_reads_only_after_sending_an_oversized_body_still_learns_why(address: Address) -> None:
    with connected(address) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 5_000_000)
        client.shutdown(socket.SHUT_WR)
        assert status_of(read_to_the_end(client)) == 413


def test_an_ipv6_host_is_served() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        with serving_in_thread(Pages(), host="::1") as address:
            assert address[0] == "::1"
            assert status_of(ask(address, b"GET / HTTP/1.0\r\n\r\n")) == 200
    except OSError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")


@pytest.mark.parametrize("host", ["", "0.0.0.0", "localhost"])  # noqa: S104 - that it listens everywhere is the test
def test_hosts_that_stand_for_many_addresses_are_served_on_ipv4_loopback(host: str) -> None:
    with serving_in_thread(Pages(), host=host) as (_, port):
        assert status_of(ask(("127.0.0.1", port), b"GET / HTTP/1.0\r\n\r\n")) == 200


def test_a_taken_port_is_an_error_at_start() -> None:
    async def start_on(port: int) -> None:
        await HttpServer(Pages(), host="127.0.0.1", port=port).start()

    with serving_in_thread(Pages()) as (_, port), pytest.raises(OSError, match="in use"):
        asyncio.run(start_on(port))


def test_stop_lets_an_answer_finish_and_closes_what_waits() -> None:
    async def scenario() -> tuple[bytes, bytes]:
        pages = Pages()
        server = HttpServer(pages, host="127.0.0.1", port=0)
        await server.start()
        idle_reader, idle_writer = await asyncio.open_connection(*server.address)
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
        # Answered on a connection opened later, so the held request has been read by then.
        await _get(server.address, b"/")
        stopping = asyncio.create_task(server.stop())
        idle = await idle_reader.read()
        pages.release.set()
        answer = await reader.read()
        await stopping
        idle_writer.close()
        writer.close()
        return answer, idle

    answer, idle = asyncio.run(asyncio.wait_for(scenario(), PATIENCE))
    assert answer.endswith(b"GET|/held|||\n")
    assert b"connection: close" in answer
    assert idle == b""


def test_stop_waits_no_longer_than_its_limit() -> None:
    async def scenario() -> bytes:
        server = HttpServer(Pages(), host="127.0.0.1", port=0, limits=Limits(stop_timeout=0.05))
        await server.start()
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
        await _get(server.address, b"/")
        await server.stop()
        writer.close()
        return await reader.read()

    assert asyncio.run(asyncio.wait_for(scenario(), PATIENCE)) == b""


async def _get(address: Address, path: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET " + path + b" HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer


def test_who_comes_while_the_server_stops_is_not_left_open() -> None:
    async def stop_while_somebody_comes(turns: int) -> None:
        server = HttpServer(Pages(), host="127.0.0.1", port=0)
        await server.start()
        await asyncio.sleep(0)
        clients = [socket.create_connection(server.address) for _ in range(3)]
        for _ in range(turns):
            await asyncio.sleep(0)
        await server.stop()
        for client in clients:
            client.close()

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for number in range(20):
            asyncio.run(stop_while_somebody_comes(number % 4))
        gc.collect()
    assert [str(warning.message) for warning in told if "unclosed" in str(warning.message)] == []
