"""The simulated organization's past, as an exporter and AITracer's counters showed it while it was the present."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from exporter.credentials import BASE_URL_VARIABLE, KEY_VARIABLE
from exporter.days import SECONDS_PER_DAY, day_of
from exporter.service import Options, Service
from exporter.simulator.clock import SettableClock
from exporter.simulator.history.blocks import Scrape
from exporter.simulator.history.moments import Watch
from exporter.simulator.server import running_simulator

_PROGRESS_EVERY: Final = 50


@dataclass(frozen=True, slots=True)
class Scraped:
    """Where Prometheus will find the two pages once the past has caught up with the present.

    Attributes:
        exporter: its target labels for the exporter, such as `job="openai",instance="127.0.0.1:10185"`.
        traces: the same for the traces' page.
    """

    exporter: str
    traces: str


@dataclass(frozen=True, slots=True)
class Life:
    """What lives: which organization, with which exporter.

    Attributes:
        seed: of the organization.
        configuration: the exporter's file.
        state: the exporter's state, which the live exporter goes on with.
        port: where the organization's API will be found on loopback; 0 for any.
    """

    seed: str
    configuration: Path
    state: Path
    port: int = 0


def scrapes(
    life: Life, watch: Watch, end: int, scraped: Scraped, *, tell: Callable[[str], None] = lambda _progress: None
) -> Iterator[Scrape]:
    """Let the days before `end` pass, and yield what each scrape showed, in order of time.

    Raises:
        StateError: the state cannot be used.
        ConfigurationError: the configuration cannot.
    """
    first = day_of(end) - watch.days * SECONDS_PER_DAY
    both = {at for run in watch.runs(end) for at in run.moments()}
    traces_only = {at for run in watch.trace_runs(end) for at in run.moments()}
    clock = SettableClock(first)
    with running_simulator(seed=life.seed, clock=clock, port=life.port) as simulated:
        environment = {KEY_VARIABLE: simulated.admin_key, BASE_URL_VARIABLE: simulated.base_url}
        options = Options(life.configuration, life.state, "127.0.0.1", 0, environment=environment)
        service = Service(options, clock=clock, steady=clock)
        try:
            service.poller.poll_due()
            for number, at in enumerate(sorted(both | traces_only)):
                clock.set(at)
                if number % _PROGRESS_EVERY == 0:
                    tell(f"history: day {(at - first) // SECONDS_PER_DAY + 1} of {watch.days + 1}")
                yield Scrape(at, simulated.simulator.trace_page().decode(), scraped.traces)
                if at in both:
                    service.poller.poll_due()
                    page = b"".join(service.poller.pages.page(openmetrics=False, gzip=False))
                    yield Scrape(at, page.decode(), scraped.exporter)
        finally:
            service.close()
