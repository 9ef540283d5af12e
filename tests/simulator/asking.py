"""Asks a simulator directly, without a socket."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from exporter.openai_api.endpoints import ENDPOINTS
from exporter.simulator.server import DEFAULT_ADMIN_KEY, Simulator
from exporter.web.messages import Request

DAY = 86_400
# Wednesday, 2026-10-14 15:20 UTC.
NOW = 1_791_991_200
TODAY = NOW - NOW % DAY

Parameters = Mapping[str, Any] | Sequence[tuple[str, Any]]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes
    was_cut: bool

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON is anything
        return json.loads(self.body, parse_float=Decimal)

    @property
    def error(self) -> dict[str, Any]:
        error = self.json["error"]
        assert isinstance(error, dict)
        return error


def ask(  # noqa: PLR0913 - what a request is made of
    simulator: Simulator,
    path: str,
    parameters: Parameters = (),
    *,
    key: str | None = DEFAULT_ADMIN_KEY,
    method: str = "GET",
    body: bytes = b"",
) -> Reply:
    async def reply() -> Reply:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        response = await simulator.handle(Request(method, path, urlencode(parameters, doseq=True), headers, body))
        if isinstance(response.body, Sequence):
            return Reply(response.status, response.headers, b"".join(response.body), was_cut=False)
        received = b""
        try:
            async for chunk in response.body:
                received += chunk
        except ConnectionAbortedError:
            return Reply(response.status, response.headers, received, was_cut=True)
        return Reply(response.status, response.headers, received, was_cut=False)

    return asyncio.run(reply())


def ask_api(simulator: Simulator, api: str, **parameters: Any) -> Reply:  # noqa: ANN401 - whatever a test asks for
    named = {name if name != "group_by" else "group_by[]": value for name, value in parameters.items()}
    return ask(simulator, f"/v1{ENDPOINTS[api].path}", named)


def set_faults(simulator: Simulator, **faults: Any) -> None:  # noqa: ANN401 - whatever a test breaks
    reply = ask(simulator, "/_simulator/faults", method="POST", body=json.dumps(faults).encode())
    assert reply.status == 200, reply.body


def read_all(simulator: Simulator, api: str, **parameters: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - the same
    """All buckets of all pages."""
    buckets = []
    page: dict[str, str] = {}
    while True:
        reply = ask_api(simulator, api, **parameters, **page)
        assert reply.status == 200, reply.body
        buckets += reply.json["data"]
        if not reply.json["has_more"]:
            assert reply.json["next_page"] is None
            return buckets
        page = {"page": reply.json["next_page"]}
