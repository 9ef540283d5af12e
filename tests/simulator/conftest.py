"""One organization on a Wednesday afternoon."""

import pytest

from exporter.simulator.clock import SettableClock
from exporter.simulator.faults import Faults
from exporter.simulator.server import Simulator
from tests.simulator.asking import NOW

# Working out what happened on a day takes a while, and is the same for every test.
_CLOCK = SettableClock(NOW)
_SIMULATOR = Simulator(clock=_CLOCK)


@pytest.fixture
def clock() -> SettableClock:
    _CLOCK.set(NOW)
    return _CLOCK


@pytest.fixture
def simulator(clock: SettableClock) -> Simulator:  # noqa: ARG001 - puts the clock back first
    _SIMULATOR.set_faults(Faults())
    return _SIMULATOR
