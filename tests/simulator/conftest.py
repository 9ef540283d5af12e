"""One organization on a Wednesday afternoon."""

import pytest

from exporter.simulator.clock import SettableClock
from exporter.simulator.server import Simulator
from tests.simulator.asking import NOW


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(NOW)


@pytest.fixture
def simulator(clock: SettableClock) -> Simulator:
    return Simulator(clock=clock)
