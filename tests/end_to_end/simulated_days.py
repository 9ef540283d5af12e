"""An exporter that lives through days in a minute: real client, ledger, state and pages, on a clock the test sets."""

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from exporter.configuration.loading import parse_configuration
from exporter.configuration.sections import Configuration
from exporter.ledger.ledger import Ledger
from exporter.ledger.store import Store
from exporter.metrics.self_metrics import SelfMetrics
from exporter.openai_api.admin_key import AdminKey
from exporter.openai_api.connection import Bounds, Connection
from exporter.polling.poller import Poller, Setting
from exporter.simulator.clock import SettableClock
from exporter.simulator.faults import Faults
from exporter.simulator.server import RunningSimulator, running_simulator

MINUTE, HOUR, DAY = 60, 3_600, 86_400
STEP = HOUR
REVISION_DAYS = 3

CONFIGURATION = parse_configuration(
    "polling: {usage_interval: 1h, costs_interval: 2h, directory_interval: 6h}\nscrape_interval: 1h\n", "test"
)

_SAMPLE = re.compile(r"^((?:openai_usage|openai_cost)_[a-z_]+_total)(\{.*\}) (\S+)$", re.MULTILINE)

Series = tuple[str, str]
"""A counter family, and its labels as they stand on the page."""


@dataclass(slots=True)
class Exporter:
    """One process's worth of exporter."""

    poller: Poller
    ledger: Ledger
    store: Store
    connection: Connection

    def close(self) -> None:
        self.poller.stop()
        self.store.close()
        self.connection.close()


def start_exporter(
    base_url: str, key: str, state: Path, clock: SettableClock, configuration: Configuration
) -> Exporter:
    """Put an exporter together as the service does, on the test's clock; two tries per request: polls do fail."""
    admin_key = AdminKey(key)
    self_metrics = SelfMetrics()
    connection = Connection(
        base_url,
        lambda: admin_key,
        self_metrics,
        bounds=Bounds(attempts=2),
        sleep=lambda _seconds: None,
        clock=clock,
    )
    store = Store.open(state)
    ledger = Ledger(store, configuration.limits.series_per_family)
    setting = Setting(configuration, lambda: admin_key)
    return Exporter(
        Poller(setting, ledger, connection, self_metrics, clock=clock, steady=clock), ledger, store, connection
    )


@dataclass(slots=True)
class SimulatedDays:
    """A simulated organization, an exporter of it, and every page that was scraped.

    Attributes:
        scrapes: by series, the values with their scrape times, as the page spelled them.
    """

    clock: SettableClock
    simulator: RunningSimulator
    state: Path
    exporter: Exporter
    began: int
    scrapes: dict[Series, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))

    def step(self, count: int = 1) -> None:
        """Let time pass: poll all that is due, then scrape."""
        for _ in range(count):
            self.clock.advance(STEP)
            self.exporter.poller.poll_due()
            self.scrape()

    def run_until(self, moment: int) -> None:
        """Step up to and including `moment`."""
        while self.clock() < moment:
            self.step()

    def scrape(self) -> None:
        """Read the page as Prometheus would."""
        now = int(self.clock())
        for family, labels, value in _SAMPLE.findall(self.page()):
            series = self.scrapes[family, labels]
            if series:
                assert Decimal(value) >= Decimal(series[-1][1]), (
                    f"{family}{labels} fell from {series[-1][1]} to {value}"
                )
            series.append((now, value))

    def page(self) -> str:
        """Return the page in the text format."""
        return b"".join(self.exporter.poller.pages.page(openmetrics=False, gzip=False)).decode()

    def set_faults(self, **settings: object) -> None:
        """Replace what goes wrong at the API."""
        self.simulator.simulator.set_faults(Faults.model_validate(settings))

    def restart(self) -> None:
        """Stop cleanly and start again on the same state."""
        self.exporter.close()
        self.exporter = self._start()
        self.exporter.poller.poll_due()

    def kill_in_the_middle_of_a_commit(self) -> None:
        """Let another process poll, SIGKILL it with a transaction half written, then start again on what it left."""
        self.exporter.close()
        self.clock.advance(STEP)
        killed = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.end_to_end.killed_exporter",
                self.simulator.base_url,
                self.simulator.admin_key,
                str(self.state),
                str(self.clock()),
            ],
            capture_output=True,
            check=False,
            timeout=120,
        )
        assert killed.returncode == -9, killed.stderr.decode()
        assert b"half written" in killed.stdout
        self.exporter = self._start()
        self.exporter.poller.poll_due()

    def counted(self) -> dict[tuple[str, str], Decimal]:
        """Return what the page says was counted less what is held back, by API and measure; held-at-zero series too."""
        sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for name, counter in self.exporter.ledger.book.counters.items():
            labels = dict(name.labels)
            if not counter.shown:
                sums[measure_of(name.family, labels)] += Decimal(counter.value)
        page = self.page()
        for _, labels, value in samples_of(page, "openai_exporter_held_back"):
            measure = labels["measure"]
            token_type = measure.removesuffix("_tokens").rpartition("_")[0]
            measure = token_type if measure.endswith("_tokens") else measure
            sums[labels["api"], measure] -= _decimal(value)
        for family, labels, value in samples_of(page, "openai_(?:usage|cost)_[a-z_]+_total"):
            sums[measure_of(family, labels)] += _decimal(value)
        return {measure: amount for measure, amount in sums.items() if amount}

    def truth(self, as_of: float) -> dict[tuple[str, str], Decimal]:
        """Return what the organization truly reported since the exporter's zero line, by API and measure."""
        first_day = self.began // DAY * DAY - REVISION_DAYS * DAY
        last_day = int(as_of) // DAY * DAY + DAY
        sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for sign, moment in ((1, as_of), (-1, self.began)):
            for api, rows in self.simulator.simulator.truth(first_day, last_day, as_of=moment).items():
                for row in rows:
                    for measure, amount in true_measures(api, row).items():
                        sums[api, measure] += sign * amount
        return {measure: amount for measure, amount in sums.items() if amount}

    def _start(self) -> Exporter:
        return start_exporter(self.simulator.base_url, self.simulator.admin_key, self.state, self.clock, CONFIGURATION)


@contextmanager
def simulated_days(state: Path, began: int, *, renamed_at: int) -> Iterator[SimulatedDays]:
    """An organization and an exporter whose first polls, at `began`, all succeeded."""
    clock = SettableClock(began)
    with running_simulator(clock=clock, renamed_at=renamed_at) as simulator:
        exporter = start_exporter(simulator.base_url, simulator.admin_key, state, clock, CONFIGURATION)
        days = SimulatedDays(clock, simulator, state, exporter, began)
        try:
            exporter.poller.poll_due()
            days.scrape()
            yield days
        finally:
            days.exporter.close()


def samples_of(page: str, name: str) -> list[tuple[str, dict[str, str], float]]:
    """Return the names, labels and values of the samples whose names match: to parse a whole page takes long."""
    lines = re.findall(rf"^{name}[ {{].*$", page, re.MULTILINE)
    return [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families("".join(f"{line}\n" for line in lines))
        for sample in family.samples
    ]


def true_measures(api: str, row: dict[str, object]) -> dict[str, Decimal]:
    """Return a true row's amounts by what the counters call them; tokens by token type."""

    def count(name: str) -> Decimal:
        value = row.get(name)
        return Decimal(str(value)) if value is not None else Decimal(0)

    if api == "costs":
        return {"usd": count("amount")}
    if api in {"usage/completions", "usage/decisions"}:
        cached, written = count("input_cached_tokens"), count("input_cache_write_tokens")
        return {
            "input": count("input_tokens") - cached - written,
            "input_cached": cached,
            "input_cache_write": written,
            "output": count("output_tokens"),
            "num_model_requests": count("num_model_requests"),
        }
    if api == "usage/web_search_calls":
        return {"num_requests": count("num_requests")}
    if api == "usage/vector_stores":
        return {}
    names = ("images", "characters", "seconds", "num_sessions", "num_requests", "num_model_requests")
    measures = {name: count(name) for name in names if name in row}
    return measures | ({"input": count("input_tokens")} if "input_tokens" in row else {})


_API_AND_MEASURE = {
    "openai_usage_images_total": ("usage/images", "images"),
    "openai_usage_speech_characters_total": ("usage/audio_speeches", "characters"),
    "openai_usage_transcription_seconds_total": ("usage/audio_transcriptions", "seconds"),
    "openai_usage_code_interpreter_sessions_total": ("usage/code_interpreter_sessions", "num_sessions"),
    "openai_usage_file_search_calls_total": ("usage/file_search_calls", "num_requests"),
    "openai_usage_web_search_calls_total": ("usage/web_search_calls", "num_requests"),
    "openai_cost_usd_total": ("costs", "usd"),
}


def measure_of(family: str, labels: dict[str, str]) -> tuple[str, str]:
    if family == "openai_usage_tokens_total":
        return f"usage/{labels['operation']}", labels["token_type"]
    if family == "openai_usage_requests_total":
        return f"usage/{labels['operation']}", "num_model_requests"
    return _API_AND_MEASURE[family]


def _decimal(value: float) -> Decimal:
    # The shortest spelling of the float that Prometheus stores: what a reader of the page sees.
    return Decimal(repr(value))
