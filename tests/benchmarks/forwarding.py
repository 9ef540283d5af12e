"""What the trace gateway adds to a trace on its way: the same requests through it and straight to the same upstream."""

import json
import multiprocessing
import re
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Final, NamedTuple

import httpx

from exporter.web.http_server import serving_in_thread
from exporter.web.messages import Request, Response
from tests.benchmarks.measuring import percentile
from tests.benchmarks.table import Figure, ratio
from tests.sizing.measure import processor_seconds

_CONCURRENCIES: Final = (1, 16)
_PATH: Final = "/api/traces"
_PATIENCE_SECONDS: Final = 120
_SECONDS_BETWEEN_LOOKS: Final = 0.2
_READ_BYTES: Final = 64 * 1024
_COUNTED: Final = re.compile(r"^aitracer_trace_requests_total\{.*\} (\S+)$", re.MULTILINE)
_ID: Final = b"request-000000000000"
# Prompt and response of an ordinary model call: some paragraphs each.
_PROMPT: Final = "Where is the parcel that I ordered last Tuesday, and can it still be sent to my office? " * 12
_RESPONSE: Final = "It left the depot this morning, so the address cannot be changed any more. " * 12
_TRACE: Final = {
    "requestId": _ID.decode(),
    "actionName": "support-bot",
    "environment": "production",
    "status": "completed",
    "provider": "openai",
    "model": "gpt-5.6-terra",
    "metadata": {"actionGroup": "support", "projectId": "proj_000000000000000000000001", "release": "2026.10.29"},
    "inputData": {"messages": [{"role": "user", "content": _PROMPT}]},
    "outputData": {"text": _RESPONSE},
    "metrics": {"promptTokens": 420, "completionTokens": 180, "estimatedCostUsd": 0.0123, "latencyMs": 1834},
}
_ANSWER: Final = json.dumps(
    {"trace": {"id": "trace-1", "status": "completed", "executionRecords": [{"id": "record-1", "metrics": {}}]}}
).encode()


class Round(NamedTuple):
    """Requests sent one after the other on each of some connections.

    Attributes:
        seconds: for all.
        latencies: of each, seconds.
    """

    seconds: float
    latencies: Sequence[float]


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    left: int
    began: float = 0.0
    received: bytes = b""


class _Traces:
    """Requests whose ids are all different, so that each counts."""

    def __init__(self) -> None:
        self.made = 0
        body = json.dumps(_TRACE).encode()
        self.bytes = len(body)
        self._text = (
            f"POST {_PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer akt_benchmark\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def next(self) -> bytes:
        self.made += 1
        return self._text.replace(_ID, b"request-%012d" % self.made)


def forwarding(requests: int, folder: Path, repetitions: int = 5) -> Sequence[Figure]:
    """Return the figures of native traces through the gateway, against the same sent directly.

    Args:
        requests: of each round.
        folder: for the gateway's configuration.
        repetitions: of each round; both ways take turns, and the median counts.

    Raises:
        RuntimeError: the gateway counted other than what was sent through it.
    """
    traces = _Traces()
    found: dict[tuple[int, bool], list[Round]] = {}
    sent = 0
    with _upstream() as upstream, _gateway(upstream, folder) as (process, port):
        # What either loads at the first request is none of a trace's business.
        for warm in (upstream, port):
            send(warm, traces, max(_CONCURRENCIES), max(_CONCURRENCIES))
        sent += max(_CONCURRENCIES)
        processor = processor_seconds(process.pid)
        measured = 0
        for _ in range(repetitions):
            for at_once in _CONCURRENCIES:
                found.setdefault((at_once, False), []).append(send(upstream, traces, requests, at_once))
                found.setdefault((at_once, True), []).append(send(port, traces, requests, at_once))
                measured += requests
        processor = processor_seconds(process.pid) - processor
        _wait_until_counted(port, sent + measured)
    size = f"traces of {traces.bytes / 1024:.1f} KiB"
    return (
        *(
            ratio(
                f"{size} through the trace gateway, {at_once} at a time, {name} of latency, against directly",
                statistics.median(percentile(each.latencies, percent) for each in found[at_once, True]),
                statistics.median(percentile(each.latencies, percent) for each in found[at_once, False]),
            )
            for at_once in _CONCURRENCIES
            for percent, name in ((50, "median"), (99, "99th percentile"))
        ),
        *(
            ratio(
                f"{size} through the trace gateway, {at_once} at a time, throughput, against directly",
                statistics.median(1 / each.seconds for each in found[at_once, True]),
                statistics.median(1 / each.seconds for each in found[at_once, False]),
            )
            for at_once in _CONCURRENCIES
        ),
        Figure(
            f"{size}, each counted, that one core's worth of gateway forwards a second",
            f"{measured / processor:.0f}" if processor else "too few to tell: 0 s",
        ),
    )


def send(port: int, traces: _Traces, requests: int, at_once: int) -> Round:
    """Send so many requests, each when the one before it on its connection was answered.

    Raises:
        RuntimeError: one was not taken.
    """
    latencies: list[float] = []
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for number in range(at_once):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_SECONDS))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            share = requests // at_once + (number < requests % at_once)
            selector.register(connection, selectors.EVENT_READ, _Connection(connection, share))
        began = time.perf_counter()
        for key in list(selector.get_map().values()):
            _ask(key.data, traces)
        while selector.get_map():
            ready = selector.select(_PATIENCE_SECONDS)
            if not ready:
                raise RuntimeError("a trace is not answered")
            for key, _ in ready:
                latency = _hear(key.data)
                if latency is not None:
                    latencies.append(latency)
                    if not _ask(key.data, traces):
                        selector.unregister(key.fileobj)
        return Round(time.perf_counter() - began, latencies)


def _ask(connection: _Connection, traces: _Traces) -> bool:
    if not connection.left:
        return False
    connection.left -= 1
    connection.received = b""
    request = traces.next()
    connection.began = time.perf_counter()
    connection.socket.sendall(request)
    return True


def _hear(connection: _Connection) -> float | None:
    """Read what is there; return the seconds since the request if that is its whole answer."""
    data = connection.socket.recv(_READ_BYTES)
    heard = time.perf_counter()
    connection.received += data
    head, found, body = connection.received.partition(b"\r\n\r\n")
    if not data or not head.startswith(b"HTTP/1.1 200 "[: len(head)]):
        raise RuntimeError(f"a trace was not taken: {head[:100]!r}")
    return heard - connection.began if found and len(body) >= len(_ANSWER) else None


def _wait_until_counted(port: int, expected: int) -> None:
    """Read the gateway's page until its new series are shown.

    Raises:
        RuntimeError: it counted other than what was sent through it.
    """
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
    counted = -1.0
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=_PATIENCE_SECONDS) as client:
        while counted != expected:
            if time.monotonic() > give_up_at:
                raise RuntimeError(f"of {expected} traces {counted:.0f} were counted")
            found = re.findall(
                r"^aitracer_trace_requests_total\{.*\} (\S+)$", client.get("/metrics").text, re.MULTILINE
            )
            counted = sum(map(float, found))
            time.sleep(_SECONDS_BETWEEN_LOOKS)


@contextmanager
def _upstream() -> Iterator[int]:
    """Take every trace, in a process of its own; yield the port."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_take, args=(there,))
    process.start()
    there.close()
    try:
        if not here.poll(_PATIENCE_SECONDS):
            raise RuntimeError("the upstream does not start")
        yield int(str(here.recv()))
    finally:
        # It ends when nobody is there any more.
        here.close()
        process.join(_PATIENCE_SECONDS)


def _take(pipe: "Pipe[object, object]") -> None:
    async def answer(_: Request) -> Response:
        return Response(200, (_ANSWER,), "application/json")

    with serving_in_thread(answer) as (_, port):
        pipe.send(port)
        pipe.poll(None)


@contextmanager
def _gateway(upstream: int, folder: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """Run the command; yield its process and port."""
    # Set to 0, so that what is counted is seen at once.
    configuration = folder / "gateway.yml"
    configuration.write_text("scrape_interval: 1s\n", encoding="utf-8")
    command = [sys.executable, "-m", "exporter", "trace-gateway", f"--upstream=http://127.0.0.1:{upstream}"]
    with subprocess.Popen(
        [*command, f"--config.file={configuration}", "--web.listen-address=127.0.0.1:0"],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            listening = re.search(r"address=http://127\.0\.0\.1:(\d+)", process.stderr.readline())
            if listening is None:
                raise RuntimeError("the gateway does not start")
            yield process, int(listening[1])
        finally:
            process.terminate()
            process.communicate(timeout=_PATIENCE_SECONDS)
