"""What stands around the client in its tests: a clock, an observer, a scripted API and a scripted server."""

import json
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Self

import httpx

from exporter.openai_api.admin_key import AdminKey
from exporter.openai_api.connection import Bounds, Connection, Query, Reply
from exporter.openai_api.errors import OpenAIError

KEY = "sk-admin-Zq8xTheKeyThatMustNeverShow"
DAY = 86_400
# 2026-08-01 00:00 UTC
AUGUST = 1_785_542_400


class Clock:
    def __init__(self, now: float = AUGUST + 3600.0) -> None:
        self.now = now
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


class Observer:
    def __init__(self) -> None:
        self.codes: list[str] = []
        self.retries: list[str] = []

    def answered(self, api: str, code: str, seconds: float) -> None:
        assert api
        assert seconds >= 0
        self.codes.append(code)

    def retried(self, api: str, code: str) -> None:
        assert api
        self.retries.append(code)


class Setup:
    """A connection whose clock, sleep and observer can be looked at."""

    def __init__(
        self,
        answer: Callable[[httpx.Request], httpx.Response] | None = None,
        *,
        base_url: str = "https://api.test/v1",
        bounds: Bounds | None = None,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        self.clock = Clock()
        self.observer = Observer()
        self.key = KEY
        self.connection = Connection(
            base_url,
            lambda: AdminKey(self.key),
            self.observer,
            bounds=bounds,
            sleep=self.clock.sleep,
            clock=self.clock,
            monotonic=monotonic or self.clock,
            transport=httpx.MockTransport(answer) if answer else None,
        )

    def get(self, params: Query = ()) -> Reply:
        return self.connection.get("/organization/costs", params, "costs")


def answers(*responses: httpx.Response | Exception) -> Callable[[httpx.Request], httpx.Response]:
    """Give these in turn, the last one for ever."""
    left = list(responses)

    def answer(_: httpx.Request) -> httpx.Response:
        response = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(response, Exception):
            raise response
        # A fresh one each time: a response can be read only once.
        return httpx.Response(response.status_code, headers=response.headers, content=response.content)

    return answer


def error_body(message: str, *, param: str | None = None, code: str | None = None) -> dict[str, object]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


class ScriptedApi:
    """Answers with what a function makes of the query; keeps the queries."""

    def __init__(self, answer: Callable[[dict[str, str], list[str]], Any], answered_at: int) -> None:
        self.answer = answer
        self.answered_at = answered_at
        self.paths: list[str] = []
        self.queries: list[Query] = []

    def get(self, path: str, params: Query, api: str) -> Reply:
        assert api
        self.paths.append(path)
        self.queries.append(params)
        grouping = [value for name, value in params if name == "group_by[]"]
        answer = self.answer(dict(params), grouping)
        if isinstance(answer, OpenAIError):
            raise answer
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return Reply([body], self.answered_at)


def pages(*frames: object, answered_at: int = AUGUST + 2 * DAY) -> ScriptedApi:
    """Give these frames or errors in turn, the last one for ever."""
    left = list(frames)
    return ScriptedApi(lambda _query, _grouping: left.pop(0) if len(left) > 1 else left[0], answered_at)


def page(
    buckets: Iterable[dict[str, object]], cursor: str | None = None, *, more: bool | None = None
) -> dict[str, Any]:
    return {
        "object": "page",
        "data": list(buckets),
        "has_more": cursor is not None if more is None else more,
        "next_page": cursor,
    }


def bucket(day: int, *rows: object, start: int = AUGUST) -> dict[str, object]:
    """Bucket of the day that is so many days after `start`."""
    return {
        "object": "bucket",
        "start_time": start + day * DAY,
        "end_time": start + day * DAY + DAY,
        "results": list(rows),
    }


def cost(value: object = 1, **more: object) -> dict[str, object]:
    return {"object": "organization.costs.result", "amount": {"value": value, "currency": "usd"}, **more}


Script = Callable[[socket.socket], None]


def send(data: bytes) -> Script:
    def script(peer: socket.socket) -> None:
        # A client that gives up closes first.
        with suppress(OSError):
            peer.sendall(data)

    return script


class ScriptedServer:
    """Speaks raw bytes on a loopback port: one connection for each script, the last one for ever."""

    def __init__(self, scripts: Sequence[Script]) -> None:
        self._scripts = list(scripts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.stopping = threading.Event()
        self.requests: list[bytes] = []

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        # Wakes the accept.
        with suppress(OSError):
            socket.create_connection(self._listener.getsockname(), timeout=1).close()
        self._thread.join(5)
        self._listener.close()
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            peer, _ = self._listener.accept()
            with peer:
                if self.stopping.is_set():
                    return
                head = b""
                while b"\r\n\r\n" not in head:
                    some = peer.recv(65_536)
                    head += some
                    # The client has hung up, or it greets by TLS.
                    if not some or head.startswith(b"\x16"):
                        break
                self.requests.append(head)
                script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
                script(peer)
