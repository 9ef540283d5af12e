"""A stand-in for AITracer: takes every request, answers as it was told to, and keeps what it saw."""

import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any, Final

from exporter.trace_gateway.exchange import Exchange

CUT: Final = 0
"""Instead of a status: take the trace, and close the connection without an answer."""


@dataclass
class StandIn:
    """What it saw, and what it will do.

    Attributes:
        statuses: of the next answers; 200 when they have run out.
        metrics: of the execution record in its answers; none if empty.
        seen: status and exchange of every request, in the order in which they came.
    """

    url: str = ""
    statuses: deque[int] = field(default_factory=deque)
    metrics: dict[str, Any] = field(default_factory=dict)
    seen: list[tuple[int, Exchange]] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def accepted(self) -> list[Exchange]:
        """The exchanges of requests that it took, those among them whose answer was cut."""
        return [exchange for status, exchange in self.seen if status in (CUT, HTTPStatus.OK)]

    def bodies(self) -> list[Any]:
        """What it was sent, as JSON."""
        return [json.loads(exchange.request_body or b"") for _, exchange in self.seen]


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """Serve on the loopback interface."""
    state = StandIn()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            record = {"metrics": state.metrics} if state.metrics else {}
            answer = json.dumps({"trace": {"id": "t", "executionRecords": [record]}}).encode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            with state.lock:
                status = state.statuses.popleft() if state.statuses else HTTPStatus.OK
                kept = Exchange(self.path, headers, body, {"content-type": "application/json"}, answer)
                state.seen.append((status, kept))
            if status == CUT:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            if status != HTTPStatus.OK:
                # Who tries again need not wait.
                self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
