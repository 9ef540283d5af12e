"""A stand-in for AITracer: takes traces at its three ingests, and answers as it does. It keeps nothing but counts."""

import json
import threading
import uuid
from collections import Counter
from typing import Any, Final

from exporter.simulator.api import JSON, cut_in_the_middle
from exporter.simulator.faults import FaultDice
from exporter.simulator.trace_bodies import INGESTS, NATIVE
from exporter.web.messages import Request, Response

PREFIX: Final = "/api/"
WORKSPACE_KEY: Final = "akt_simulated"
"""What the applications send; any other workspace key is as good."""

_METRICS: Final = ("promptTokens", "completionTokens", "totalTokens", "latencyMs", "estimatedCostUsd")


class AITracer:
    """AITracer's ingests. Safe to use from several threads."""

    def __init__(self, dice: FaultDice) -> None:
        self._dice = dice
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def taken(self) -> dict[str, int]:
        """How many bodies were taken, by the ingest's path; those that were sent twice count twice."""
        with self._lock:
            return {path: self._taken[path] for path in INGESTS}

    def answer(self, request: Request) -> Response:
        """The answer to a request below `/api/`, its faults included."""
        verdict = self._dice.throw(request.path)
        if verdict.status is not None:
            retry_after = {} if verdict.retry_after is None else {"Retry-After": str(verdict.retry_after)}
            return _error(verdict.status, "AITracer cannot take this now.", **retry_after)
        refusal = _refusal(request)
        if refusal is not None:
            return refusal
        taken = self._take(request)
        if taken is None:
            return _error(400, "A JSON object is needed.")
        body = json.dumps(taken).encode()
        return Response(200, cut_in_the_middle(body) if verdict.cut else (body,), JSON)

    def _take(self, request: Request) -> dict[str, Any] | None:
        sent = {}
        if not request.headers.get("content-type", "").startswith("application/x-protobuf"):
            try:
                sent = json.loads(request.body)
            except ValueError:
                return None
            if not isinstance(sent, dict):
                return None
        with self._lock:
            self._taken[request.path] += 1
        if request.path == NATIVE:
            return {"trace": {"id": uuid.uuid4().hex, "executionRecords": [_record(sent)]}}
        return {"accepted": True}


def _refusal(request: Request) -> Response | None:
    if request.path not in INGESTS:
        return _error(404, f"There is no {request.path}.")
    if request.method != "POST":
        return _error(405, f"Not allowed to {request.method} on {request.path}.", Allow="POST")
    if not request.headers.get("authorization", "").startswith("Bearer akt_"):
        return _error(401, "A workspace key is needed.")
    return None


def _record(sent: dict[str, Any]) -> dict[str, Any]:
    metrics = sent.get("metrics")
    said = metrics if isinstance(metrics, dict) else {}
    return {"status": sent.get("status"), "metrics": {name: said[name] for name in _METRICS if name in said}}


def _error(status: int, message: str, **headers: str) -> Response:
    return Response(status, (json.dumps({"error": message}).encode(),), JSON, headers)
