"""Faults on real sockets, which no mock shows truly."""

import socket
import ssl
import struct
import time

import pytest

from exporter.openai_api.connection import Bounds
from exporter.openai_api.errors import Unreachable
from tests.openai_api.stand_ins import Script, ScriptedServer, Setup, send

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: Sat, 01 Aug 2026 00:00:00 GMT\r\nConnection: close\r\n\r\n{}"
CUT = b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"object": '
CUT_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1,2,\r\n"
CUT_HEADERS = b"HTTP/1.1 200 OK\r\nContent-Len"
QUICK = Bounds(connect=2, read=0.2, write=2, pool=2, request=0.5)


def reset(peer: socket.socket) -> None:
    peer.sendall(CUT)
    # Closing with a linger of zero sends a reset.
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hang(peer: socket.socket) -> None:
    # Until the client hangs up.
    peer.recv(1)


def trickle(peer: socket.socket) -> None:
    try:
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            peer.sendall(b" ")
            time.sleep(0.05)
    except OSError:
        return


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(send(CUT), id="cut body"),
        pytest.param(send(CUT_CHUNKS), id="cut chunks"),
        pytest.param(send(CUT_HEADERS), id="cut headers"),
        pytest.param(send(b""), id="closed unanswered"),
        pytest.param(send(b"what?\r\n\r\n"), id="no HTTP"),
        pytest.param(
            send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain"), id="damaged gzip"
        ),
        pytest.param(reset, id="reset"),
        pytest.param(hang, id="no answer"),
        pytest.param(trickle, id="trickle"),
    ],
)
def test_a_fault_of_the_transport_is_tried_again(fault: Script) -> None:
    with ScriptedServer([fault, send(GOOD)]) as server:
        setup = Setup(base_url=server.base_url, bounds=QUICK, monotonic=time.monotonic)
        with setup.connection:
            assert b"".join(setup.get().body) == b"{}"
    assert setup.observer.codes == ["error", "200"]
    assert setup.observer.retries == ["error"]


def test_the_words_of_a_refusal_may_be_cut_but_not_its_meaning() -> None:
    cut = b"HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: 500\r\n\r\n{"
    with ScriptedServer([send(cut), send(GOOD)]) as server:
        setup = Setup(base_url=server.base_url, bounds=QUICK, monotonic=time.monotonic)
        with setup.connection:
            setup.get()
    assert setup.observer.codes == ["503", "200"]
    assert 3 <= setup.clock.waits[0] <= 3.5


def test_an_unreachable_host_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    setup = Setup(base_url=f"http://127.0.0.1:{port}", bounds=QUICK)
    with setup.connection, pytest.raises(Unreachable, match=r"no connection: .*refused.*check network, proxy"):
        setup.get()
    assert len(setup.clock.waits) == 4


def test_a_server_that_speaks_no_tls_is_unreachable() -> None:
    with ScriptedServer([send(GOOD)]) as server:
        base_url = server.base_url.replace("http:", "https:")
        setup = Setup(base_url=base_url, bounds=Bounds(connect=2, read=0.5, attempts=1))
        with setup.connection, pytest.raises(Unreachable) as refusal:
            setup.get()
    assert "no connection" in str(refusal.value)
    assert not isinstance(refusal.value.__context__, ssl.SSLError)


def test_a_simulated_organization_on_this_machine_is_never_sought_behind_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with ScriptedServer([send(GOOD)]) as server:
        setup = Setup(base_url=server.base_url, bounds=QUICK)
        with setup.connection:
            assert b"".join(setup.get().body) == b"{}"
