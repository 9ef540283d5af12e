"""A part of the simulated organization, for lives of many polls: five projects, early in a month."""

from collections.abc import Iterator
from contextlib import contextmanager

from exporter.simulator.clock import SettableClock
from exporter.simulator.server import running_simulator
from tests.polling.living import HOUR, Organization

BEGAN = 1_791_190_800
"""2026-10-05 09:00 UTC, a Monday."""
RENAMED = BEGAN + HOUR
"""When `internal-tools` becomes `employee-copilot`."""
PROJECTS = frozenset({"data-science", "internal-tools", "research-agents", "evals", "summer-campaign"})
"""Two workflows share the first, and the last is archived."""


@contextmanager
def small_organization(projects: frozenset[str] = PROJECTS) -> Iterator[Organization]:
    clock = SettableClock(BEGAN)
    with running_simulator(clock=clock, renamed_at=RENAMED, projects=projects) as simulator:
        yield Organization(clock, simulator)
