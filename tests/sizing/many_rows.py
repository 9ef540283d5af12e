"""An organization with as many projects, models and line items as are asked for, over HTTP, that is always at work."""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from exporter.days import SECONDS_PER_DAY, day_of
from exporter.openai_api.endpoints import COSTS, ENDPOINTS, Endpoint
from exporter.web.http_server import serving_in_thread
from exporter.web.messages import Request, Response
from tests.openai_api.stand_ins import bucket, page

KEY: Final = "sk-admin-sizing"
MODELS: Final = 5
LINE_ITEMS: Final = ("input", "cached input", "output")

_PREFIX: Final = "/v1/organization/"


@dataclass(slots=True)
class ManyRows:
    """Every project uses every model on every day.

    Attributes:
        combinations: of project and model; each is one row of usage and three of costs a day.
        reads: how often completions were asked for; usage of today grows with it.
    """

    combinations: int
    reads: int = 0
    _texts: dict[tuple[str, int], bytes] = field(default_factory=dict)

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        path = request.path.removeprefix(_PREFIX)
        if path in ENDPOINTS:
            return Response(200, self._page(ENDPOINTS[path], dict(parse_qsl(request.query))), "application/json")
        if path == "projects":
            projects = [{"id": _id(n), "name": f"project-{n}", "status": "active"} for n in range(self._projects)]
            listed = {"object": "list", "data": projects, "last_id": projects[-1]["id"], "has_more": False}
            return Response(200, (json.dumps(listed).encode(),), "application/json")
        return Response(404, (b'{"error": {"message": "there is none"}}',), "application/json")

    @property
    def _projects(self) -> int:
        return -(-self.combinations // MODELS)

    def _page(self, endpoint: Endpoint, query: dict[str, str]) -> list[bytes]:
        today = day_of(time.time())
        start, end = int(query["start_time"]), min(int(query["end_time"]), today + SECONDS_PER_DAY)
        self.reads += endpoint.api == "usage/completions"
        first = int(query.get("page", start))
        last = min(end, first + int(query["limit"]) * SECONDS_PER_DAY)
        frame = json.dumps(page([], str(last) if last < end else None)).encode()
        days = range(first, last, SECONDS_PER_DAY)
        buckets = [self._bucket(endpoint, day, grows=day == today) for day in days]
        return [frame.replace(b'"data": []', b'"data": [' + b",".join(buckets) + b"]")]

    def _bucket(self, endpoint: Endpoint, day: int, *, grows: bool) -> bytes:
        if grows:
            return json.dumps(bucket(0, *self._rows(endpoint, self.reads), start=day)).encode()
        # Days that are over are made once: what is measured is the exporter, not this.
        if (endpoint.api, day) not in self._texts:
            self._texts[endpoint.api, day] = json.dumps(bucket(0, *self._rows(endpoint, 1), start=day)).encode()
        return self._texts[endpoint.api, day]

    def _rows(self, endpoint: Endpoint, times: int) -> Iterable[dict[str, object]]:
        if endpoint.api == "usage/completions":
            for number in range(self.combinations):
                yield {
                    "object": endpoint.result_object,
                    "input_tokens": 1_000_000 * times + number,
                    "input_cached_tokens": 250_000 * times,
                    "output_tokens": 50_000 * times,
                    "num_model_requests": 700 * times,
                    "project_id": _id(number // MODELS),
                    "model": _model(number),
                }
        elif endpoint is COSTS:
            for number in range(self.combinations):
                for place, item in enumerate(LINE_ITEMS):
                    yield {
                        "object": endpoint.result_object,
                        "amount": {"value": 1.25 * times + number / 1000 + place, "currency": "usd"},
                        "quantity": 100_000 * times,
                        "quantity_unit": "tokens",
                        "project_id": _id(number // MODELS),
                        "line_item": f"{_model(number)}, {item}",
                    }


@contextmanager
def many_rows(combinations: int) -> Iterator[str]:
    """Run one on a free port of this machine; yield its base URL."""
    with serving_in_thread(ManyRows(combinations).handle, host="127.0.0.1", port=0) as (host, port):
        yield f"http://{host}:{port}/v1"


def _id(number: int) -> str:
    return f"proj_{number:024d}"


def _model(number: int) -> str:
    return f"gpt-{4 + number % MODELS}.1-2026-04-14"
