"""One simulated organization, whose clock stands still."""

from collections.abc import Iterator

import pytest

from exporter.simulator.clock import SettableClock
from exporter.simulator.faults import Faults
from exporter.simulator.server import RunningSimulator, running_simulator
from tests.explanation.living import NOW


@pytest.fixture(scope="package")
def _running() -> Iterator[RunningSimulator]:
    with running_simulator(clock=SettableClock(NOW)) as running:
        yield running


@pytest.fixture
def simulator(_running: RunningSimulator) -> Iterator[RunningSimulator]:
    _running.simulator.set_faults(Faults())
    yield _running
    _running.simulator.set_faults(Faults())
