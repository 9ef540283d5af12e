"""The simulated organization as one handler, and as a running HTTP server."""

import asyncio
import json
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

from pydantic import ValidationError

from exporter.days import SECONDS_PER_DAY, day_of
from exporter.openai_api.endpoints import ENDPOINTS
from exporter.simulator.aitracer import PREFIX as INGEST_PREFIX
from exporter.simulator.aitracer import AITracer
from exporter.simulator.answers import Pages
from exporter.simulator.api import JSON, Api
from exporter.simulator.billing import Billing
from exporter.simulator.clock import SettableClock
from exporter.simulator.errors import ApiError, not_found
from exporter.simulator.faults import FaultDice, Faults
from exporter.simulator.known import KnownDays
from exporter.simulator.limits import MonthToDate
from exporter.simulator.model_calls import PassingCalls
from exporter.simulator.organization import ARCHIVED_AT, RENAMED_AT, build_organization, part_of
from exporter.simulator.traces import TraceCounters
from exporter.simulator.traffic import Traffic
from exporter.simulator.truth import Rows, Truth
from exporter.web.http_server import Limits, serving_in_thread
from exporter.web.messages import Request, Response

DEFAULT_ADMIN_KEY: Final = "sk-admin-simulated"
DEFAULT_SEED: Final = "acme"

_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_COUNTED_ELSEWHERE: Final = b"# The applications send their traces: they are counted where they go through.\n"
# Exports hold many spans.
_LIMITS: Final = Limits(body_bytes=4 * 1024 * 1024)
_FRONT_PAGE: Final = b"""A simulated organization. What is here:
  /v1/organization/...   the API, with the admin key
  /metrics               the same traffic as AITracer's counters, unless the applications send their traces
  /api/traces            AITracer's ingest, and /api/integrations/openai-agents and .../otlp/v1/traces
  /_simulator/traces     how many bodies those have taken
  /_simulator/truth      the true totals: start, end, as_of in Unix seconds
  /_simulator/faults     GET shows, POST replaces what goes wrong
  /_simulator/clock      GET shows, POST {"now": seconds} sets
"""


class Life(NamedTuple):
    """What happens, day by day: the same for whoever asks, and at whatever time."""

    traffic: Traffic
    billing: Billing


def _life(seed: str, archived_at: int, size: float, projects: frozenset[str] | None) -> Life:
    # An organization of its own: it says what happens, not what a directory shows.
    organization = build_organization(archived_at=archived_at, size=size)
    traffic = Traffic(organization if projects is None else part_of(organization, projects), seed)
    return Life(traffic, Billing(traffic, seed))


# A day takes a while to work out, and many simulators of one process are about the same days.
_remembered_life: Final = lru_cache(maxsize=4)(_life)


class Simulator:
    """A whole organization, its API, and its AITracer. Equal seeds and equal clocks give equal answers.

    `size` makes it busier or quieter, `projects` leaves all others out, by their first names; with `counts_traces` it
    shows AITracer's counters itself. A `life` of the same seed, `archived_at`, `size` and `projects` saves working it
    out anew.
    """

    def __init__(  # noqa: PLR0913 - all by name
        self,
        *,
        seed: str = DEFAULT_SEED,
        clock: Callable[[], float] = time.time,
        admin_key: str = DEFAULT_ADMIN_KEY,
        renamed_at: int = RENAMED_AT,
        archived_at: int = ARCHIVED_AT,
        size: float = 1.0,
        projects: frozenset[str] | None = None,
        traces_since: float | None = None,
        counts_traces: bool = True,
        life: Life | None = None,
    ) -> None:
        organization = build_organization(renamed_at=renamed_at, archived_at=archived_at, size=size)
        self.organization = organization if projects is None else part_of(organization, projects)
        self._clock = clock
        self._traffic, self._billing = life or _life(seed, archived_at, size, projects)
        self._truth = Truth(self._traffic, self._billing)
        self._dice = FaultDice(seed)
        known = KnownDays(self._traffic, self._billing)
        self._api = Api(self.organization, Pages(self.organization, known), MonthToDate(known), self._dice, admin_key)
        self._aitracer = AITracer(self._dice)
        # Traces begin with the day unless told otherwise, so that the first closed day is a whole one.
        since = day_of(clock()) if traces_since is None else traces_since
        self._traces = TraceCounters(self.organization, self.calls_since(since)) if counts_traces else None

    def set_faults(self, faults: Faults) -> None:
        """Replace what goes wrong."""
        self._dice.set(faults)

    def truth(
        self, start: int, end: int, *, as_of: float | None = None, apis: Collection[str] = tuple(ENDPOINTS)
    ) -> dict[str, Rows]:
        """The true totals of the days in [start, end) as known at `as_of`, by default now."""
        now = self._clock() if as_of is None else as_of
        return self._truth.totals(start=start, end=end, as_of=now, apis=apis)

    def calls_since(self, since: float) -> PassingCalls:
        """What the applications do from then on, for one who follows it."""
        return PassingCalls(self._traffic, since)

    def trace_page(self) -> bytes:
        """The page of AITracer's counters; without any where traces are counted elsewhere."""
        return _COUNTED_ELSEWHERE if self._traces is None else self._traces.page(self._clock())

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        if request.path.startswith(("/v1/", INGEST_PREFIX)):
            if self._dice.faults.slow_seconds and request.path.startswith(self._dice.faults.prefix):
                await asyncio.sleep(self._dice.faults.slow_seconds)
            if request.path.startswith(INGEST_PREFIX):
                return self._aitracer.answer(request)
            return self._api.answer(request, self._clock())
        try:
            return self._own_page(request)
        except ApiError as error:
            return Response(error.status, (error.body,), JSON)

    def _own_page(self, request: Request) -> Response:
        match (request.method, request.path):
            case ("GET", "/"):
                return Response(200, (_FRONT_PAGE,))
            case ("GET", "/metrics"):
                return Response(200, (self.trace_page(),), _METRICS_TYPE)
            case ("GET", "/_simulator/traces"):
                return _json({"taken": self._aitracer.taken()})
            case ("GET", "/_simulator/truth"):
                return _json(self._truth_page(request.query))
            case ("GET" | "POST", "/_simulator/faults"):
                return self._faults_page(request)
            case ("GET" | "POST", "/_simulator/clock"):
                return self._clock_page(request)
            case _:
                raise not_found(request.method, request.path)

    def _truth_page(self, query: str) -> dict[str, Any]:
        now = self._clock()
        today = day_of(now)
        parameters = {name: values[-1] for name, values in parse_qs(query).items()}
        try:
            start = int(parameters.pop("start", today - 3 * SECONDS_PER_DAY))
            end = int(parameters.pop("end", today + SECONDS_PER_DAY))
            as_of = float(parameters.pop("as_of", now))
        except ValueError as error:
            raise ApiError(400, f"start, end and as_of are Unix seconds: {error}") from error
        if parameters:
            raise ApiError(400, f"Unknown parameters: {', '.join(parameters)}.")
        return {"now": now, "as_of": as_of, "apis": self.truth(start, end, as_of=as_of)}

    def _faults_page(self, request: Request) -> Response:
        if request.method == "POST":
            try:
                self.set_faults(Faults.model_validate_json(request.body))
            except ValidationError as error:
                wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
                raise ApiError(400, f"Faults not set: {wrong}") from error
        return _json(self._dice.faults.model_dump())

    def _clock_page(self, request: Request) -> Response:
        if request.method == "POST":
            if not isinstance(self._clock, SettableClock):
                raise ApiError(409, "This simulator runs on real time; its clock cannot be set.")
            try:
                self._clock.set(float(json.loads(request.body)["now"]))
            except (ValueError, KeyError, TypeError) as error:
                raise ApiError(400, 'Expected {"now": Unix seconds}.') from error
        return _json({"now": self._clock(), "settable": isinstance(self._clock, SettableClock)})


def _json(content: dict[str, Any]) -> Response:
    # Amounts are Decimals, told as text so that no reader rounds them.
    return Response(200, (json.dumps(content, default=str).encode(),), JSON)


@dataclass(frozen=True, slots=True)
class RunningSimulator:
    """A simulator that listens.

    Attributes:
        root_url: where `/metrics` and `/_simulator/` are.
        base_url: what an OpenAI client takes as its base URL.
        admin_key: the key it accepts.
        simulator: the organization itself.
    """

    root_url: str
    base_url: str
    admin_key: str
    simulator: Simulator


@contextmanager
def running_simulator(  # noqa: PLR0913 - all by name; what a simulator takes, and where it listens
    *,
    seed: str = DEFAULT_SEED,
    clock: Callable[[], float] = time.time,
    admin_key: str = DEFAULT_ADMIN_KEY,
    renamed_at: int = RENAMED_AT,
    archived_at: int = ARCHIVED_AT,
    size: float = 1.0,
    projects: frozenset[str] | None = None,
    traces_since: float | None = None,
    counts_traces: bool = True,
    host: str = "127.0.0.1",
    port: int = 0,
) -> Iterator[RunningSimulator]:
    """A simulator in a thread of its own, by default on any free port of this machine alone."""
    simulator = Simulator(
        seed=seed,
        clock=clock,
        admin_key=admin_key,
        renamed_at=renamed_at,
        archived_at=archived_at,
        size=size,
        projects=projects,
        traces_since=traces_since,
        counts_traces=counts_traces,
        life=_remembered_life(seed, archived_at, size, projects),
    )
    with serving_in_thread(simulator.handle, host=host, port=port, limits=_LIMITS) as (bound_host, bound_port):
        root = f"http://{bound_host}:{bound_port}"
        yield RunningSimulator(root, f"{root}/v1", admin_key, simulator)
