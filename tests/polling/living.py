"""An exporter of the simulated organization, put together as the service does it, on a clock the tests set."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from exporter.configuration.loading import parse_configuration
from exporter.credentials import admin_key_source
from exporter.ledger.ledger import Ledger
from exporter.ledger.store import Store
from exporter.metrics.self_metrics import SelfMetrics
from exporter.openai_api.admin_key import AdminKey
from exporter.openai_api.connection import Bounds, Connection
from exporter.openai_api.endpoints import ENDPOINTS
from exporter.polling.poller import Poller, Setting
from exporter.simulator.clock import SettableClock
from exporter.simulator.faults import Faults
from exporter.simulator.organization import Project
from exporter.simulator.server import RunningSimulator
from tests.end_to_end.simulated_days import Exporter, SimulatedDays, samples_of

MINUTE, HOUR, DAY = 60, 3_600, 86_400
BEGAN = 1_788_253_200
"""2026-09-01 09:00 UTC, a Tuesday: there is little of the month to read, and days of the last one are still open."""
RENAMED = BEGAN + HOUR
"""When the organization's `internal-tools` becomes `employee-copilot`."""
ARCHIVED = BEGAN + 5 * DAY
"""When its `summer-campaign` ends."""
PROJECTS = frozenset(
    {
        "core",
        "fraud-review",
        "internal-tools",
        "meeting-notes",
        "research-agents",
        "summer-campaign",
        "support-knowledge",
        "support-voice",
    }
)
"""As few as have rows of every API."""

_COUNTER = re.compile(r"^((?:openai_usage|openai_cost)_[a-z_]+_total\{.*\}) (\S+)$", re.MULTILINE)

NANO = Decimal("1e-9")


@dataclass(frozen=True, slots=True)
class Organization:
    """The running simulator and its clock."""

    clock: SettableClock
    simulator: RunningSimulator

    def set_faults(self, **settings: object) -> None:
        """Replace what goes wrong at the API."""
        self.simulator.simulator.set_faults(Faults.model_validate(settings))

    @contextmanager
    def unlisted(self, *names: str) -> Iterator[None]:
        """Leave projects out of the directory, all where none is named: they were made later than it was read."""
        organization = self.simulator.simulator.organization
        listed = organization.projects

        def list_only(projects: tuple[Project, ...]) -> None:
            object.__setattr__(organization, "projects", projects)

        list_only(tuple(each for each in listed if names and each.first_name not in names))
        try:
            yield
        finally:
            list_only(listed)


class Living:
    """One exporter process after another on the same state."""

    def __init__(self, organization: Organization, folder: Path, configuration: str) -> None:
        self.organization = organization
        self.clock = organization.clock
        self.key_file = folder / "key"
        # Others may not read it, or the log would say so.
        self.key_file.touch(mode=0o600)
        self.key_file.write_text(organization.simulator.admin_key, encoding="utf-8")
        self._state = folder / "state"
        self._began = int(self.clock())
        self._shown_before: dict[str, str] = {}
        self.setting = self.setting_of(configuration)
        self.self_metrics, self.exporter = self._start()

    @property
    def poller(self) -> Poller:
        return self.exporter.poller

    @property
    def ledger(self) -> Ledger:
        return self.exporter.ledger

    def setting_of(self, configuration: str) -> Setting:
        parsed = parse_configuration(f"openai: {{admin_key_file: {self.key_file}}}\n{configuration}", "test")
        return Setting(parsed, admin_key_source(parsed, {}))

    def reload(self, configuration: str) -> None:
        self.setting = self.setting_of(configuration)
        self.poller.reconfigure(self.setting)

    def restart(self) -> None:
        self.exporter.close()
        self.self_metrics, self.exporter = self._start()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, then poll what is due."""
        before = self._shown_before or self.shown()
        self.clock.advance(seconds)
        self.poller.poll_due()
        self._shown_before = after = self.shown()
        fallen = [
            name for name, value in before.items() if after.get(name) != value and Decimal(after[name]) < Decimal(value)
        ]
        assert not fallen

    def poll_all(self) -> None:
        """Poll every usage and costs API, due or not."""
        with self.poller.one_page():
            for api in ENDPOINTS:
                self.poller.poll(api)

    def page(self) -> str:
        return b"".join(self.poller.pages.page(openmetrics=False, gzip=False)).decode()

    def shown(self) -> dict[str, str]:
        """Return every usage and cost counter as the page spells it."""
        return dict(_COUNTER.findall(self.page()))

    def samples(self, name: str) -> list[tuple[dict[str, str], float]]:
        return [(labels, value) for _, labels, value in samples_of(self.page(), name)]

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of the one sample with exactly these labels."""
        values = [value for found, value in self.samples(name) if found == labels]
        assert len(values) <= 1
        return values[0] if values else None

    def success(self, api: str) -> float | None:
        return self.value("openai_exporter_poll_success", api=api)

    def requests(self, api: str | None = None) -> float:
        """Return how many requests went out."""
        return sum(
            value
            for labels, value in self.samples("openai_exporter_http_requests_total")
            if api in {None, labels["api"]}
        )

    def counters(self) -> str:
        """Return everything on the page that is not about the exporter itself."""
        return self.page().partition("# HELP openai_exporter_")[0]

    def assert_exact(self) -> None:
        """What was counted, less what is held back, is the truth of this moment."""
        self.poll_all()
        days = SimulatedDays(self.clock, self.organization.simulator, self._state, self.exporter, self._began)
        counted, true = days.counted(), days.truth(self.clock())
        zero = Decimal(0)
        wrong = {
            key: (counted.get(key, zero), true.get(key, zero))
            for key in counted.keys() | true.keys()
            if abs(counted.get(key, zero) - true.get(key, zero)) > NANO
        }
        assert not wrong

    def _start(self) -> tuple[SelfMetrics, Exporter]:
        self_metrics = SelfMetrics()
        sleeper: list[Callable[[float], None]] = []
        connection = Connection(
            self.organization.simulator.base_url,
            self._newest_key,
            self_metrics,
            # Two tries without a wait between them: a test has no time to lose.
            bounds=Bounds(attempts=2),
            sleep=lambda _seconds: sleeper[0](0),
            clock=self.clock,
        )
        store = Store.open(self._state)
        ledger = Ledger(store, self.setting.configuration.limits.series_per_family)
        poller = Poller(self.setting, ledger, connection, self_metrics, clock=self.clock, steady=self.clock)
        sleeper.append(poller.sleep)
        return self_metrics, Exporter(poller, ledger, store, connection)

    def _newest_key(self) -> AdminKey:
        return self.setting.key()
