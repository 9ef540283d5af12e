"""Backfills of the simulated organization, on a clock the tests set."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from exporter.backfill.backfilling import Made, Outside, Wanted, backfill
from exporter.backfill.samples import Target
from exporter.configuration.sections import Configuration
from exporter.credentials import BASE_URL_VARIABLE, KEY_VARIABLE
from exporter.simulator.clock import SettableClock
from exporter.simulator.faults import Faults
from exporter.simulator.server import RunningSimulator, running_simulator
from tests.end_to_end.simulated_days import CONFIGURATION

MINUTE, HOUR, DAY = 60, 3_600, 86_400
TODAY = 1_793_836_800
"""2026-11-05, a UTC midnight."""
NOW = TODAY + 10 * MINUTE
TARGET: Target = (("job", "openai"), ("instance", "localhost:10185"))
ENOUGH = frozenset(
    {
        "core",
        "fraud-review",
        "internal-tools",
        "marketing-studio",
        "meeting-notes",
        "research-agents",
        "support-knowledge",
        "support-voice",
    }
)
"""Projects that have rows of every API: a month of them is not too much."""


@dataclass
class Organization:
    """A simulated organization, and what its backfills said and slept."""

    clock: SettableClock
    simulator: RunningSimulator
    told: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def set_faults(self, **settings: object) -> None:
        """Replace what goes wrong at the API."""
        self.simulator.simulator.set_faults(Faults.model_validate(settings))

    def backfill(
        self,
        folder: Path,
        days: int,
        *,
        configuration: Configuration = CONFIGURATION,
        told: Callable[[str], None] = lambda _progress: None,
        **wanted: object,
    ) -> Made:
        """Backfill the days before today into `folder`/history.om and `folder`/state."""

        def tell(progress: str) -> None:
            self.told.append(progress)
            told(progress)

        environment = {BASE_URL_VARIABLE: self.simulator.base_url, KEY_VARIABLE: self.simulator.admin_key}
        what: dict[str, object] = {"since": TODAY - days * DAY, "until": TODAY, "target": TARGET} | wanted
        return backfill(
            configuration,
            Wanted(folder / "state", folder / "history.om", **what),  # type: ignore[arg-type]
            Outside(environment, tell, self.clock, self.slept.append),
        )


@contextmanager
def organization(now: float = NOW, projects: frozenset[str] | None = None) -> Iterator[Organization]:
    """The organization at one moment, with all projects unless some are named."""
    clock = SettableClock(now)
    with running_simulator(clock=clock, projects=projects) as simulator:
        yield Organization(clock, simulator)
