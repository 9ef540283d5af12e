"""An API that answers like OpenAI's, or repeats the admin key that it was sent wherever an answer has room for it."""

import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from exporter.simulator.server import DEFAULT_ADMIN_KEY, Simulator
from exporter.web.http_server import serving_in_thread
from exporter.web.messages import Request, Response

JSON: Final = "application/json"

_PREFIX: Final = "/v1/organization/"
# What the answers are about does not matter here.
_PROJECTS: Final = frozenset({"research-agents", "evals"})


@dataclass(slots=True)
class HostileApi:
    """The simulated organization behind a key of the test's, which is echoed or refused.

    Attributes:
        accepted: the one key that is good.
        echoes: whether answers are made to give the key away.
        echoed: by path below the organization, how often the key was sent back.
    """

    accepted: str
    echoes: bool = False
    echoed: dict[str, int] = field(default_factory=dict)
    _simulator: Simulator = field(default_factory=lambda: Simulator(clock=time.time, projects=_PROJECTS))

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        path = request.path.removeprefix(_PREFIX)
        if self.echoes or key != self.accepted:
            self.echoed[path] = self.echoed.get(path, 0) + 1
        if self.echoes:
            return _echo(path, key)
        if key != self.accepted:
            return _refusal(401, key)
        headers = {**request.headers, "authorization": f"Bearer {DEFAULT_ADMIN_KEY}"}
        return await self._simulator.handle(replace(request, headers=headers))


@contextmanager
def hostile_api(accepted: str) -> Iterator[tuple[HostileApi, str]]:
    """Run one in a thread of its own; yield it with its base URL."""
    api = HostileApi(accepted)
    with serving_in_thread(api.handle, host="127.0.0.1", port=0) as (host, port):
        yield api, f"http://{host}:{port}/v1"


def _refusal(status: int, key: str, **headers: str) -> Response:
    """Refuse in OpenAI's form, with the key whole and in pieces, in every field and in the headers."""
    secret = key.rpartition("-")[2]
    message = (
        f"Incorrect API key provided: {key}. Authorization: Bearer {key}; masked as {key[:24]}***{key[-16:]}, "
        f"without its prefix {secret}, twice {key}{key}, quoted '{key}', in a URL https://{key}@api.test/?k={key}"
    )
    body = {"error": {"message": message, "type": key, "param": f"{secret} {key}", "code": key}}
    echoes = {"WWW-Authenticate": f"Bearer {key}", "X-Request-Id": key, **headers}
    return Response(status, (json.dumps(body).encode(),), JSON, echoes)


def _echo(path: str, key: str) -> Response:
    """Answer each path in another wrong way."""
    wrong_ways: Mapping[str, Response] = {
        "costs": _refusal(401, key),
        "usage/completions": _refusal(403, key),
        # Asked again at once, four times.
        "usage/embeddings": _refusal(429, key, **{"Retry-After": "0"}),
        "usage/moderations": _refusal(500, key, **{"Retry-After": "0"}),
        # Given up at once.
        "usage/images": _refusal(503, key, **{"Retry-After": "3600"}),
        "usage/audio_speeches": _refusal(400, key),
        "usage/audio_transcriptions": Response(
            302, (key.encode(),), JSON, {"Location": f"https://{key}@api.test/{key}"}
        ),
        "usage/code_interpreter_sessions": Response(200, (f"not JSON: {key}".encode(),), JSON),
        "usage/file_search_calls": Response(
            200, (json.dumps({"object": key, "data": key, "has_more": key, "next_page": key}).encode(),), JSON
        ),
        "usage/web_search_calls": Response(200, _cut(key), JSON, {"X-Key": key}),
        "usage/vector_stores": Response(
            200,
            (json.dumps({"object": "page", "data": [{"start_time": key, "end_time": key, "results": key}]}).encode(),),
        ),
        "usage/decisions": Response(200, (key.encode(),), JSON, {"Content-Encoding": "gzip"}),
        "projects": Response(
            200,
            (json.dumps({"object": "list", "data": [{"id": [key], "name": {key: key}}], "has_more": key}).encode(),),
        ),
    }
    return wrong_ways.get(path) or _refusal(418, key)


async def _cut(key: str) -> AsyncIterator[bytes]:
    yield json.dumps({"object": "page", "data": [key]}).encode()[:-1]
    raise ConnectionAbortedError("as told")
