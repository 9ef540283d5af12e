"""Any bytes to the socket have a lawful answer or none, nothing fails in the log, and the next client is served."""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.web.application import Application, StatusRow
from exporter.web.cross_site import comes_from_another_site
from exporter.web.http_server import HttpServer
from exporter.web.limits import DEFAULT_LIMITS, Limits
from exporter.web.negotiation import accepts_gzip, prefers_openmetrics
from exporter.web.places import Places
from exporter.web.protection import Guard, Protection
from tests.fuzzing.mutations import any_texts, damaged, texts

# Of "secret", at the lowest cost.
HASH = "$2b$04$i6vUYPe7bG1QUca1UQPyyupnzqv/MVu5IjfvvISt.ZDzUfh7qmUxW"
PATIENCE = 60.0
LIMITS = replace(DEFAULT_LIMITS, body_bytes=1_000)
HEALTHY = b"GET /-/healthy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
STATUSES = frozenset({200, 400, 401, 403, 404, 405, 408, 413, 431, 500, 501, 503, 505})


class Pages:
    def page(self, *, openmetrics: bool, gzip: bool) -> Sequence[bytes]:
        return (b"openai_up 1.0\n", b"# EOF\n" if openmetrics else b"", b"x" if gzip else b"")


def guard(users: Mapping[str, str], row: str = "") -> Guard:
    async def reload() -> None:
        return

    application = Application(
        name="The exporter",
        version="1.2.3",
        metrics=Pages(),
        not_ready_because=lambda: row or None,
        reload=reload,
        configuration=lambda: row,
        status=lambda: [StatusRow(row, healthy=True, last_success=1.0, data_changed=1.0, problem=row)],
        clock=lambda: 2.0,
    )
    return Guard(application, lambda: Protection(users=users))


class Failures(logging.Handler):
    """What the log has of tracebacks and errors."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(self.format(record))


async def _ask(address: tuple[str, int], pieces: Sequence[bytes], *, says_the_end: bool = True) -> bytes:
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(*address)
        try:
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0)
            if says_the_end:
                writer.write_eof()
            return await reader.read()
        except OSError:
            # Cut amid what was sent, which is an answer, too.
            return b""
        finally:
            writer.transport.abort()


@asynccontextmanager
async def _serving(pages: Guard, limits: Limits) -> AsyncIterator[tuple[str, int]]:
    """Serve, and see that nothing goes wrong meanwhile."""
    failures = Failures()
    logging.getLogger().addHandler(failures)
    server = HttpServer(pages, host="127.0.0.1", port=0, limits=limits)
    await server.start()
    try:
        yield server.address
    finally:
        await server.stop()
        pages.stop()
        logging.getLogger().removeHandler(failures)
    assert failures.told == []


async def _one_after_the_other(pages: Guard, connections: Sequence[Sequence[bytes]]) -> list[bytes]:
    async with _serving(pages, LIMITS) as address:
        return [await _ask(address, pieces) for pieces in connections]


async def _all_at_once(pages: Guard, connections: Sequence[Sequence[bytes]]) -> None:
    """Let clients wait for the server to part, then be served oneself."""
    async with _serving(pages, replace(LIMITS, head_timeout=0.2, idle_timeout=0.2)) as address:
        await asyncio.gather(*(_ask(address, pieces, says_the_end=False) for pieces in connections))
        async with asyncio.timeout(PATIENCE):
            # On a busy machine even an honest request may come too late for such limits.
            while not (await _ask(address, [HEALTHY])).startswith(b"HTTP/1.1 200 "):
                continue


def first_response(answer: bytes, method: bytes) -> h11.Response:
    """Read the first response to its end, by h11's own rules for clients."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    client.receive_data(b"")
    response = None
    while True:
        event = client.next_event()
        if isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.EndOfMessage):
            assert response is not None
            return response
        else:
            assert isinstance(event, h11.Data | h11.InformationalResponse), event


raw_texts = any_texts.map(lambda text: text.encode("utf-8", "surrogatepass"))
methods = st.sampled_from(
    (*[b"GET"] * 6, b"HEAD", b"HEAD", b"head", b"POST", b"PUT", b"OPTIONS", b"CONNECT", b"get", b"G E T", b"PRI", b"")
)
targets = st.sampled_from(
    (
        *(
            b"/",
            b"/metrics",
            b"/config",
            b"/-/healthy",
            b"/-/ready",
            b"/-/reload",
            b"/metrics?a=b",
            b"http://a/metrics",
        ),
        *(b"*", b"//", b"/%00", b"/%ff", b"http://[/", b"://", b"a:1", b"/..%2f", b"/" + b"a" * 20_000, b""),
    )
)
credentials = st.sampled_from(
    (b"prometheus:secret", b"prometheus:", b":", b"", b"\xff:\x00", b"a" * 100 + b":x", b"prometheus:secret\x00")
)
FIELDS = {
    b"Host": (b"a", b"", b"[::1]:1", b"a:99999"),
    b"Accept": (b"*/*;q=nan", b"application/openmetrics-text;version=1.0.0;q=0.5, text/plain", b",;=;q="),
    b"Accept-Encoding": (b"gzip", b"gzip;q=1e999", b"*;q=0, identity", b"br"),
    b"Content-Length": (b"0", b"5", b"-1", b"5, 6", b"5, 5", b"99999", b"99999999999999999999999", b"+5", b"0x5"),
    b"Transfer-Encoding": (b"chunked", b"gzip, chunked", b"identity", b"CHUNKED"),
    b"Expect": (b"100-continue", b"200-ok"),
    b"Connection": (b"close", b"keep-alive", b"upgrade"),
    b"Upgrade": (b"websocket", b"h2c"),
    b"Origin": (b"null", b"http://[", b"http://a:99999", b"http://a"),
    b"Sec-Fetch-Site": (b"cross-site", b"none"),
    b"X-A": (b"x" * 17_000, b"", b"\xff", b" a "),
}
fields = st.sampled_from([(name, value) for name, values in FIELDS.items() for value in values])
authorizations = (
    st.sampled_from((b"Basic", b"Bearer x", b"Basic !!!!", b"Basic \xff", b"basic  YTpi"))
    | credentials.map(lambda each: b"Basic " + base64.b64encode(each))
).map(lambda value: (b"Authorization", value))
# Names and values that HTTP forbids, or that belong elsewhere.
odd_fields = st.tuples(
    st.sampled_from((*FIELDS, b"", b"a b", b"\xff", b" A")),
    raw_texts,
)
body_pieces = st.sampled_from(
    (b"", b"", b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffff\r\n", b"0\r\n\r\n", b"x" * 2_000, HEALTHY)
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    is_odd = draw(st.integers(0, 7)) == 0
    version = draw(st.sampled_from((b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0")))
    end = b"\r\n"
    target = draw(targets)
    sent = draw(st.lists(fields, max_size=2)) + draw(st.lists(authorizations, max_size=1))
    if is_odd:
        version = draw(st.sampled_from((b"HTTP/2", b"", b"HTTP/1.1 ")))
        end = draw(st.sampled_from((b"\r\n", b"\n", b"\r")))
        target = draw(raw_texts)
        sent += draw(st.lists(odd_fields, max_size=2))
    host = draw(st.sampled_from(([b"Host: a"], [b"Host: a"], [b"Host: a"], [])))
    lines = [b" ".join((draw(methods), target, version)), *host, *(name + b": " + value for name, value in sent)]
    return end.join([*lines, b"", b""]) + draw(body_pieces)


connections = st.lists(damaged(requests()), min_size=1, max_size=3)


@settings(max_examples=60)
@given(connections, st.booleans(), texts)
def test_whatever_is_sent_the_answer_is_lawful_and_the_next_client_is_served(
    pieces: list[bytes],
    protected: bool,  # noqa: FBT001 - drawn
    shown: str,
) -> None:
    pages = guard({"prometheus": HASH} if protected else {}, shown)
    answer, healthy = asyncio.run(_one_after_the_other(pages, [pieces, [HEALTHY]]))
    if answer:
        sent = b"".join(pieces).lstrip(b"\r\n")
        response = first_response(answer, b"HEAD" if sent.startswith(b"HEAD ") else b"GET")
        assert response.status_code in STATUSES
        # A page that fails is logged, which was looked for; so this is none of ours.
        assert response.status_code != 500
    assert healthy.startswith(b"HTTP/1.1 401 " if protected else b"HTTP/1.1 200 ")


@settings(max_examples=3)
@given(st.lists(connections, min_size=10, max_size=20))
def test_clients_that_never_say_the_end_are_parted_from(clients: list[list[bytes]]) -> None:
    asyncio.run(_all_at_once(guard({}), clients))


@pytest.mark.parametrize(
    ("request_bytes", "status", "has_body"),
    [
        (b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n", 413, False),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", 400, False),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, False),
        (b"head /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n", 200, True),
    ],
)
def test_a_refusal_of_a_head_has_no_body_and_another_method_than_head_has_one(
    request_bytes: bytes,
    status: int,
    has_body: bool,  # noqa: FBT001 - expected
) -> None:
    """Fuzzing found each of them cut, with a traceback in the log."""
    (answer,) = asyncio.run(_one_after_the_other(guard({}), [[request_bytes]]))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert bool(body) == has_body


@settings(max_examples=100)
@given(
    any_texts | st.lists(st.sampled_from((",", ";", "q=", "=", "1", "nan", "*/*", "gzip", "text/plain"))).map("".join)
)
def test_any_header_is_negotiated(header: str) -> None:
    assert prefers_openmetrics(header) in {True, False}
    assert accepts_gzip(header) in {True, False}


origins = any_texts | st.sampled_from(
    ("http://a", "https://a:443", "null", "http://[::1", "http://a:x", "//a", "a:99999")
)


@settings(max_examples=100)
@given(origins, origins.map(lambda text: text.removeprefix("http://")), any_texts | st.none())
def test_any_origin_is_this_site_or_another(origin: str, host: str, site: str | None) -> None:
    sent = {"origin": origin, "host": host} | ({} if site is None else {"sec-fetch-site": site})
    assert comes_from_another_site(sent) in {True, False}


class Client:
    def __init__(self) -> None:
        self.cuts = 0

    def cut(self) -> None:
        self.cuts += 1


@settings(max_examples=60)
@given(
    st.integers(2, 5),
    st.lists(
        st.tuples(st.sampled_from(("enter", "wait", "answer", "stall", "flow", "leave")), st.integers(0, 9)),
        max_size=60,
    ),
)
def test_places_never_hold_more_than_there_are_and_cut_a_client_once(most: int, steps: list[tuple[str, int]]) -> None:
    places = Places(Limits(max_connections=most, requests_in_flight=most - 1))
    inside: list[Client] = []
    everybody: list[Client] = []
    for step, number in steps:
        if step == "enter":
            everybody.append(Client())
            inside.append(everybody[-1])
            places.enter(everybody[-1])
        elif inside:
            client = inside[number % len(inside)]
            match step:
                case "wait":
                    places.wait(client)
                case "answer":
                    places.begin_answer(client)
                case "stall":
                    places.stall(client)
                case "flow":
                    places.flow(client)
                case _:
                    places.leave(client)
                    inside.remove(client)
        inside = [client for client in inside if not client.cuts]
        held = [*places._waiting, *places._answered]
        assert sorted(map(id, held)) == sorted(map(id, inside))
        assert len(held) <= most
        assert len(places._answered) < most
        assert places._stalled.keys() <= places._answered
        assert all(client.cuts <= 1 for client in everybody)
    places.cut_all_waiting()
    assert not places._waiting
