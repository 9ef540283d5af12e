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
def small_organization() -> Iterator[Organization]:
    clock = SettableClock(BEGAN)
    with running_simulator(clock=clock, renamed_at=RENAMED) as simulator:
        organization = simulator.simulator.organization
        projects = tuple(each for each in organization.projects if each.first_name in PROJECTS)
        # What has no project stays too.
        ids = {None, *(each.id for each in projects)}
        object.__setattr__(organization, "projects", projects)
        object.__setattr__(organization, "streams", tuple(s for s in organization.streams if s.project_id in ids))
        yield Organization(clock, simulator)
