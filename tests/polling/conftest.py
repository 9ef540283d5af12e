"""One simulated organization for all tests of this room; each gets its own exporter."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.simulator.clock import SettableClock
from exporter.simulator.server import running_simulator
from tests.polling.living import BEGAN, RENAMED, Living, Organization

Start = Callable[[str], Living]


@pytest.fixture(scope="package")
def _running() -> Iterator[Organization]:
    clock = SettableClock(BEGAN)
    with running_simulator(clock=clock, renamed_at=RENAMED) as simulator:
        yield Organization(clock, simulator)


@pytest.fixture
def organization(_running: Organization) -> Iterator[Organization]:
    _running.clock.set(BEGAN)
    _running.set_faults()
    yield _running
    _running.set_faults()


@pytest.fixture
def start(organization: Organization, tmp_path: Path) -> Iterator[Start]:
    """Start an exporter that has polled nothing yet."""
    started: list[Living] = []

    def start_one(configuration: str = "") -> Living:
        living = Living(organization, tmp_path, configuration)
        started.append(living)
        return living

    yield start_one
    for living in started:
        living.exporter.close()
