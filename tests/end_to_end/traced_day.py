"""A day of a small simulated organization whose applications send their traces through the real trace gateway.

Gateway, AITracer's stand-in, API and exporter talk over loopback as they do in earnest, but on a clock that is set.
What a Prometheus would have scraped of the gateway, and of the exporter late on the day after, is loaded into one, and
its query engine evaluates the shipped rules as they would have been then.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
from aitracer import AITracerClient, trace
from prometheus_client import CollectorRegistry

from exporter.configuration.loading import load_configuration
from exporter.openai_api.endpoints import ENDPOINTS
from exporter.simulator.applications import Applications, Sent
from exporter.simulator.clock import SettableClock
from exporter.simulator.command import EXAMPLE_CONFIGURATION
from exporter.simulator.history.blocks import Scrape
from exporter.simulator.history.recording import needed_for, recording_rules
from exporter.simulator.server import Simulator, running_simulator
from exporter.trace_gateway.counting import TraceCounter
from exporter.trace_gateway.gateway import Gateway, GatewayOptions
from exporter.trace_gateway.upstream import upstream_address
from tests.deploy.rule_files import PROMETHEUS
from tests.end_to_end.prometheus_history import load, record
from tests.end_to_end.prometheus_server import prometheus
from tests.polling.living import Living, Organization

MINUTE, HOUR, DAY = 60, 3_600, 86_400

DAY_BEFORE: Final = 1_788_912_000
"""2026-09-09, a Wednesday: a source is compared once it was there on the day before."""
TRACED_DAY: Final = DAY_BEFORE + DAY
READ_AT: Final = TRACED_DAY + 2 * DAY - 10 * MINUTE
"""When the comparison is read: late on the day after, as the rules read a settled day."""

SIZE: Final = 0.01
"""Of the organization: a thousand model calls a day."""

# Scraped at midnight to the second, so that increases over the day are not extrapolated: what differs is a fault. Of a
# counter that is new in the last minutes of a day the first value would be seen only on the next.
_SCRAPED: Final = (
    *range(DAY_BEFORE + 18 * HOUR, TRACED_DAY, HOUR),
    *(TRACED_DAY + second for second in (-2 * MINUTE, -MINUTE)),
    *(TRACED_DAY + second for second in (0, 1, *range(HOUR, DAY, HOUR), DAY - 2 * MINUTE, DAY - MINUTE, DAY, DAY + 1)),
)
_EXTRAS_AT: Final = TRACED_DAY + 10 * HOUR

# AITracer refuses some traces for a moment, and of some it takes the answer is lost: applications send them again.
_UNRELIABLE: Final = {"prefix": "/api/", "error_rate": 0.03, "cut_probability": 0.03}
_RETRIES: Final = 9

_RULES: Final = (
    "adapters/aitracer.yml",
    "thresholds.yml",
    "days.yml",
    "reconciliation_days.yml",
    "reconciliation_model.yml",
    "reconciliation_workflow.yml",
    "reconciliation_total.yml",
)
_WANTED: Final = tuple(
    f"aitracer:{level}{name}"
    for level in ("", "model:", "workflow:")
    for name in ("coverage:ratio", "billed_usd:sum", "traced_usd:sum", "untraced_usd:sum", "price_drift:ratio")
)
# Rules look back at these alone: they are recorded whenever the gateway was scraped.
_LOOKED_BACK_AT: Final = frozenset(
    {"aitracer:tokens:total", "aitracer:cost_usd:total", "aitracer:requests:total", "aitracer:source:present"}
)

Series = dict[tuple[tuple[str, str], ...], float]


class Extras(NamedTuple):
    """Calls that the simulated organization did not make, told by AITracer's own SDK.

    Attributes:
        workflow: whose they are.
        project_id: the same.
        model: of the calls of OpenAI whose cost nobody knows.
        uncosted: how many those are.
        input_tokens: of each call.
        output_tokens: the same.
        elsewhere: how many calls are another provider's, at a dollar each.
    """

    workflow: str
    project_id: str
    model: str
    uncosted: int = 5
    input_tokens: int = 20_000
    output_tokens: int = 1_000
    elsewhere: int = 7


@dataclass(frozen=True, slots=True)
class TracedDay:
    """What became of the day.

    Attributes:
        simulator: the organization.
        sent: what its applications sent.
        extras: what was sent beside it.
        taken: how many bodies AITracer took, by path.
        page: the gateway's last.
        recorded: what the rules say of the day, late on the next one.
    """

    simulator: Simulator
    sent: Sent
    extras: Extras
    taken: Mapping[str, int]
    page: str
    recorded: Series


def live(folder: Path) -> TracedDay:
    """Let the day pass, and compare it with its bill."""
    clock = SettableClock(_SCRAPED[0])
    with running_simulator(clock=clock, size=SIZE, counts_traces=False) as simulator:
        story = _Story(Organization(clock, simulator), folder / "exporter")
        _through_gateway(simulator.root_url, clock, story.live)
    server = folder / "prometheus"
    server.mkdir()
    load(server, [*story.pages, story.bill], later=0)
    rules = needed_for(_WANTED, recording_rules(*(PROMETHEUS / "rules" / name for name in _RULES)))
    # The other windows are this one's past.
    now = [rule for rule in rules if rule.labels.get("window", "closed_day") == "closed_day"]
    record(server, [rule for rule in now if rule.name in _LOOKED_BACK_AT], [page.at for page in story.pages])
    record(server, [rule for rule in now if rule.name not in _LOOKED_BACK_AT], [READ_AT])
    with prometheus(server) as running:
        recorded = running.query('{__name__=~"aitracer:.*", window="closed_day"}', READ_AT)
    return TracedDay(
        simulator.simulator, story.applications.sent, story.extras, story.taken, story.pages[-1].page, recorded
    )


def _through_gateway(upstream: str, clock: Callable[[], float], story: Callable[[str], None]) -> None:
    """Run a trace gateway until a story, which is given its URL, has ended; and stop it as a process is stopped."""
    configuration = load_configuration(EXAMPLE_CONFIGURATION)
    registry = CollectorRegistry()
    counter = TraceCounter(
        configuration.trace_gateway,
        configuration.workflows,
        registry,
        clock,
        zero_for=configuration.scrape_interval.total_seconds(),
    )
    told: list[Future[None]] = []
    with ThreadPoolExecutor(1) as worker:

        def begin(host: str, port: int) -> None:
            told.append(worker.submit(story, f"http://{host}:{port}"))
            told[0].add_done_callback(lambda _: os.kill(os.getpid(), signal.SIGTERM))

        async def run() -> None:
            options = GatewayOptions(upstream_address(upstream), ("127.0.0.1", 0))
            await Gateway(options, counter, registry).run(on_listening=begin)

        asyncio.run(run())
    told[0].result()


class _Story:
    """What happens, in order of time."""

    def __init__(self, organization: Organization, folder: Path) -> None:
        folder.mkdir()
        self._clock = organization.clock
        self._organization = organization
        simulator = organization.simulator.simulator
        self._folder = folder
        project = next(each for each in simulator.organization.projects if each.first_name == "support-knowledge")
        self.extras = Extras("support-answers", project.id, "gpt-5.6-terra")
        self.pages: list[Scrape] = []
        self.taken: dict[str, int] = {}

    def live(self, gateway: str) -> None:
        simulator = self._organization.simulator.simulator
        exporter = Living(self._organization, self._folder, EXAMPLE_CONFIGURATION.read_text(encoding="utf-8"))
        self.applications = Applications(gateway, simulator.calls_since(self._clock()), patience=(0.0,) * _RETRIES)
        try:
            with httpx.Client(base_url=gateway, timeout=60) as scraper:
                for at in _SCRAPED:
                    self._clock.set(at)
                    self._organization.set_faults(**_UNRELIABLE)
                    self.applications.send_until(at)
                    if at == _EXTRAS_AT:
                        self._send_extras(gateway)
                    self.pages.append(Scrape(at, scraper.get("/metrics").raise_for_status().text))
            self.taken = httpx.get(f"{self._organization.simulator.root_url}/_simulator/traces").json()["taken"]
            self._organization.set_faults()
            self.bill = self._read_bill(exporter)
        finally:
            self.applications.close()
            exporter.exporter.close()

    def _send_extras(self, gateway: str) -> None:
        extras = self.extras
        tokens = {"promptTokens": extras.input_tokens, "completionTokens": extras.output_tokens}
        uncosted: dict[str, Any] = {"model": extras.model, "metrics": tokens}
        elsewhere: dict[str, Any] = {
            "model": "mistral-large-3",
            "provider": "mistral",
            "metrics": {**tokens, "estimatedCostUsd": 1.0},
        }
        calls: list[dict[str, Any]] = [uncosted] * extras.uncosted + [elsewhere] * extras.elsewhere
        with AITracerClient("akt_simulated", gateway, backoff_factor=0.0) as client:
            for call in calls:
                # Each is refused at first, and comes again.
                self._organization.set_faults(prefix="/api/", burst_429={"count": 2})
                trace.record(
                    workflow=extras.workflow,
                    environment="production",
                    metadata={"projectId": extras.project_id},
                    client=client,
                    **call,
                )

    def _read_bill(self, exporter: Living) -> Scrape:
        self._clock.set(READ_AT)
        exporter.poller.advance()
        for api in ("projects", "api_keys", *ENDPOINTS):
            exporter.poller.poll(api)
        return Scrape(READ_AT, exporter.page())
