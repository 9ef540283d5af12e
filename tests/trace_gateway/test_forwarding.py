import contextlib
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from exporter.trace_gateway import forwarding
from exporter.trace_gateway.copies import Copies
from tests.trace_gateway.forwarded import (
    COUNTED_PATH,
    OK,
    Received,
    RunningForwarding,
    ScriptedUpstream,
    running_forwarding,
    scripted_upstream,
)
from tests.web.loopback import ask, connected, read_until, status_of

POST = f"POST {COUNTED_PATH} HTTP/1.1\r\nHost: gateway\r\n".encode()
VIA = (b"Via", b"1.1 openai-usage-exporter")


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with scripted_upstream(lambda _: OK) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(upstream: ScriptedUpstream) -> Iterator[RunningForwarding]:
    with running_forwarding(upstream.url) as gateway:
        yield gateway


def _answered(answer: bytes, request: bytes = POST + b"Content-Length: 2\r\n\r\nhi") -> tuple[bytes, RunningForwarding]:
    with scripted_upstream(lambda _: answer) as upstream, running_forwarding(upstream.url) as gateway:
        received = ask(gateway.address, request)
    return received, gateway


VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
NAMES = st.from_regex(rb"X-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True)
VALUES = st.from_regex(rb"([!-~\x80-\xff]([ \t!-~\x80-\xff]{0,20}[!-~\x80-\xff])?)?", fullmatch=True)


@given(
    method=st.sampled_from([b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"post", b"head", b"M-SEARCH"]),
    path=st.text(VISIBLE, max_size=30),
    headers=st.lists(st.tuples(NAMES, VALUES), max_size=6),
    pieces=st.none() | st.lists(st.binary(min_size=1, max_size=300), max_size=4),
    chunked=st.booleans(),
)
@example(method=b"POST", path="a/../b//%2F%zz?q=%20&x=[1]#f", headers=[], pieces=[b"\x00"], chunked=True)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_method_target_headers_and_body_reach_the_upstream_byte_for_byte(  # noqa: PLR0913, PLR0917 - all drawn
    gateway: RunningForwarding,
    upstream: ScriptedUpstream,
    method: bytes,
    path: str,
    headers: list[tuple[bytes, bytes]],
    pieces: list[bytes] | None,
    chunked: bool,  # noqa: FBT001 - drawn
) -> None:
    target = b"/" + path.encode()
    body = b"".join(pieces or ())
    framing, sent = [], b""
    if pieces is not None and chunked:
        framing = [(b"Transfer-Encoding", b"chunked")]
        sent = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    elif pieces is not None:
        framing, sent = [(b"Content-Length", b"%d" % len(body))], body
    lines = [(b"Host", b"gateway"), (b"Authorization", b"Bearer k"), *headers, *framing]
    raw = b"".join(b"%b: %b\r\n" % line for line in lines)
    answer = ask(gateway.address, b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method, target, raw, sent))
    received = upstream.received[-1]
    host = f"{upstream.address[0]}:{upstream.address[1]}".encode()
    assert answer == OK
    assert received == Received(method, target, [(b"Host", host), *lines[1:], VIA], body, whole=True)


def test_headers_of_one_connection_stay_there_and_those_of_the_message_go_on(
    gateway: RunningForwarding, upstream: ScriptedUpstream
) -> None:
    ask(
        gateway.address,
        b"POST /x HTTP/1.1\r\nHost: g\r\nConnection: x-mine, Content-Length, close\r\nX-Mine: 1\r\nKeep-Alive: 1\r\n"
        b"Proxy-Authorization: Basic x\r\nProxy-Connection: y\r\nTE: trailers\r\nTrailer: X-T\r\nUpgrade: h2c\r\n"
        b"Via: 1.0 before\r\nX-Other: 2\r\nContent-Length: 2\r\n\r\nhi",
    )
    received = upstream.received[-1]
    assert received.headers[1:] == [(b"Via", b"1.0 before"), (b"X-Other", b"2"), (b"Content-Length", b"2"), VIA]
    assert received.body == b"hi"


def test_a_client_of_http_1_0_is_named_so_and_needs_no_host(
    gateway: RunningForwarding, upstream: ScriptedUpstream
) -> None:
    assert status_of(ask(gateway.address, b"GET /old HTTP/1.0\r\n\r\n")) == 200
    assert upstream.received[-1].values(b"via") == [b"1.0 openai-usage-exporter"]


def test_two_ways_to_tell_a_bodys_end_become_one(gateway: RunningForwarding, upstream: ScriptedUpstream) -> None:
    ask(
        gateway.address,
        b"POST /x HTTP/1.1\r\nHost: g\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    )
    received = upstream.received[-1]
    assert (received.body, received.values(b"content-length")) == (b"hi", [])


def test_the_upstreams_own_path_stands_in_front_and_not_before_a_star() -> None:
    with scripted_upstream(lambda _: OK) as upstream, running_forwarding(f"{upstream.url}/tenant%20a/") as gateway:
        ask(gateway.address, b"GET /api?q HTTP/1.1\r\nHost: g\r\n\r\n")
        ask(gateway.address, b"OPTIONS * HTTP/1.1\r\nHost: g\r\n\r\n")
    assert [received.target for received in upstream.received] == [b"/tenant%20a/api?q", b"*"]


def test_a_proxy_of_the_environment_is_asked_for_the_whole_url() -> None:
    with (
        scripted_upstream(lambda _: OK) as proxy,
        running_forwarding("http://aitracer.test/v2", proxy=proxy.url) as gateway,
    ):
        assert ask(gateway.address, b"GET /x%2f?a=b HTTP/1.1\r\nHost: g\r\n\r\n").endswith(b"ok")
        assert ask(gateway.address, b"OPTIONS * HTTP/1.1\r\nHost: g\r\n\r\n").endswith(b"ok")
    received, of_the_server = proxy.received
    assert received.target == b"http://aitracer.test/v2/x%2f?a=b"
    # Which the last proxy turns into the star again.
    assert of_the_server.target == b"http://aitracer.test"
    assert received.values(b"host") == [b"aitracer.test"]


ANSWERS = [
    b"HTTP/1.1 200 Odd Words\r\nset-cookie: a=1\r\nB: \xe4\r\nSet-Cookie: b=2\r\nContent-Length: 3\r\n\r\n\x00\xff\n",
    b"HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: 8\r\n\r\nnot gzip",
    b"HTTP/1.1 302 Found\r\nLocation: http://[nonsense\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nslow",
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
    b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 77\r\n\r\n',
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer[9:12].decode())
def test_an_answer_reaches_the_client_byte_for_byte(answer: bytes) -> None:
    received, gateway = _answered(answer)
    # Chunks are of one connection: their bounds may move.
    assert received.replace(b"3\r\none\r\n3\r\ntwo", b"6\r\nonetwo") == answer.replace(
        b"3\r\none\r\n3\r\ntwo", b"6\r\nonetwo"
    )
    status = status_of(answer)
    assert len(gateway.recorder.exchanges) == (200 <= status < 300)
    assert gateway.value("requests_total", code=str(status)) == 1
    assert gateway.value("added_latency_seconds_count") == 1


def test_an_answer_to_head_has_the_headers_of_its_body_and_leaves_the_connection_usable() -> None:
    with (
        scripted_upstream(lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n") as upstream,
        running_forwarding(upstream.url) as gateway,
        connected(gateway.address) as client,
    ):
        for _ in range(2):
            client.sendall(b"HEAD /x HTTP/1.1\r\nHost: g\r\n\r\n")
            assert read_until(client, b"\r\n\r\n") == b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"


def test_an_answer_without_an_end_of_its_own_ends_with_the_connection() -> None:
    received, gateway = _answered(b"HTTP/1.0 200 OK\r\nConnection: close\r\nX-A: b\r\n\r\nto the end")
    assert received == (b"HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\na\r\nto the end\r\n0\r\n\r\n")
    assert gateway.recorder.exchanges[0].answer_body == b"to the end"


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
def test_who_has_the_answer_finds_the_trace_counted(answer: bytes) -> None:
    with (
        scripted_upstream(lambda _: answer) as upstream,
        running_forwarding(upstream.url) as gateway,
        connected(gateway.address) as client,
    ):
        for number in range(1, 6):
            client.sendall(POST + b"Content-Length: 2\r\nX-A: 1\r\nx-a: 2\r\n\r\nhi")
            read_until(client, answer.partition(b"\r\n\r\n")[2] or b"\r\n\r\n")
            assert len(gateway.recorder.exchanges) == number
    exchange = gateway.recorder.exchanges[0]
    assert (exchange.path, exchange.request_body, exchange.request_headers["x-a"]) == (COUNTED_PATH, b"hi", "1, 2")
    assert exchange.answer_body == (b"ok" if b"ok" in answer else b"")


def test_what_carries_no_traces_is_not_copied(gateway: RunningForwarding) -> None:
    before = len(gateway.recorder.exchanges)
    ask(gateway.address, b"POST /api/other HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\nhi")
    assert len(gateway.recorder.exchanges) == before


def test_a_fault_of_counting_is_told_without_its_words_and_does_not_concern_the_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with scripted_upstream(lambda _: OK) as upstream, running_forwarding(upstream.url) as gateway:
        gateway.recorder.fault = ValueError("the prompt")
        assert ask(gateway.address, POST + b"Content-Length: 2\r\n\r\nhi") == OK
    assert gateway.value("counting_failures_total") == 1
    assert [record.getMessage() for record in caplog.records] == ["traces were not counted"]
    assert "the prompt" not in caplog.text


@pytest.mark.parametrize(("size", "kept"), [(100, True), (101, False)])
def test_copies_too_large_are_given_up_and_the_bodies_pass(*, size: int, kept: bool) -> None:
    body = b"x" * size
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, body)
    with (
        scripted_upstream(lambda _: answer) as upstream,
        running_forwarding(upstream.url, copies=Copies(each=100, together=1000)) as gateway,
    ):
        assert ask(gateway.address, POST + b"Content-Length: %d\r\n\r\n%b" % (size, body)) == answer
    (exchange,) = gateway.recorder.exchanges
    expected = body if kept else None
    assert (exchange.request_body, exchange.answer_body) == (expected, expected)
    assert upstream.received[0].body == body


def test_of_what_is_announced_as_too_large_no_copy_is_begun() -> None:
    copies = Copies(each=60)
    too_large, fits = copies.begin(61), copies.begin(60)
    for copy in (too_large, fits):
        copy.add(b"x")
    assert (too_large.given_up, fits.content(), copies.held) == (True, b"x", 1)


@pytest.mark.parametrize(
    ("headers", "size", "beside"),
    [("", 1000, False), ("", 40_000, True), ("Content-Encoding: gzip\r\n", 1000, True)],
)
def test_what_may_take_a_while_to_read_is_read_beside_the_forwarding(headers: str, size: int, *, beside: bool) -> None:
    with scripted_upstream(lambda _: OK) as upstream, running_forwarding(upstream.url) as gateway:
        request = POST + headers.encode() + b"Content-Length: %d\r\n\r\n%b" % (size, b"x" * size)
        assert ask(gateway.address, request) == OK
    assert [name.startswith("traces") for name in gateway.recorder.threads] == [beside]


def test_who_is_counted_slowly_has_his_answer_all_the_same_and_is_counted_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forwarding, "_SECONDS_FOR_COUNTING", 0.05)
    with scripted_upstream(lambda _: OK) as upstream, running_forwarding(upstream.url) as gateway:
        gateway.recorder.may_count.clear()
        for _ in range(2):
            assert ask(gateway.address, POST + b"Content-Length: 40000\r\n\r\n" + b"x" * 40_000) == OK
        assert gateway.recorder.exchanges == []
        gateway.recorder.may_count.set()
    assert [len(exchange.request_body or b"") for exchange in gateway.recorder.exchanges] == [40_000, 40_000]


@pytest.mark.parametrize(
    "line", ["GET x HTTP/1.1", "GET @other.test/ HTTP/1.1", "GET :80@other.test/ HTTP/1.1", "POST * HTTP/1.1"]
)
@pytest.mark.parametrize("behind_a_proxy", [False, True])
def test_what_is_no_path_could_name_another_host_and_is_refused(line: str, *, behind_a_proxy: bool) -> None:
    with scripted_upstream(lambda _: OK) as upstream:
        url, proxy = ("http://aitracer.test", upstream.url) if behind_a_proxy else (upstream.url, None)
        with running_forwarding(url, proxy=proxy) as gateway:
            assert status_of(ask(gateway.address, f"{line}\r\nHost: g\r\nContent-Length: 2\r\n\r\nhi".encode())) == 400
    assert upstream.received == []
    assert gateway.value("requests_total", code="400") == 1


def test_all_copies_together_have_a_bound_and_what_is_dropped_makes_room() -> None:
    copies = Copies(each=60, together=100)
    first, second = copies.begin(), copies.begin()
    first.add(b"x" * 60)
    second.add(b"x" * 41)
    assert (len(first), second.content(), copies.held) == (60, None, 60)
    first.drop()
    first.drop()
    third = copies.begin()
    third.add(b"y" * 60)
    assert (third.content(), copies.held) == (b"y" * 60, 60)


def test_an_upstream_that_does_not_read_makes_the_client_wait_and_fills_no_memory() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        with running_forwarding(f"http://{host}:{port}") as gateway, connected(gateway.address) as client:
            client.sendall(POST + b"Content-Length: 1000000000\r\n\r\n")
            upstream, _ = listener.accept()
            # As long as anybody takes something there is no second of silence.
            client.settimeout(1.0)
            sent = 0
            with contextlib.suppress(TimeoutError):
                while sent < 100_000_000:
                    sent += client.send(b"x" * 1_000_000)
            upstream.close()
    assert sent < 100_000_000
