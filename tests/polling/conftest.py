"""One simulated organization, and a small one, for all tests of this room; each gets its own exporter."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.simulator.clock import SettableClock
from exporter.simulator.server import running_simulator
from tests.polling.living import ARCHIVED, BEGAN, PROJECTS, RENAMED, Living, Organization
from tests.polling.scripted_organization import Exporter
from tests.polling.small_organization import BEGAN as SMALL_BEGAN
from tests.polling.small_organization import small_organization

Start = Callable[[str], Living]
StartScripted = Callable[[str], Exporter]


@pytest.fixture(scope="package")
def _running() -> Iterator[Organization]:
    clock = SettableClock(BEGAN)
    with running_simulator(clock=clock, renamed_at=RENAMED, archived_at=ARCHIVED, projects=PROJECTS) as simulator:
        yield Organization(clock, simulator)


@pytest.fixture
def organization(_running: Organization) -> Iterator[Organization]:
    _running.clock.set(BEGAN)
    _running.set_faults()
    yield _running
    _running.set_faults()


@pytest.fixture(scope="package")
def _running_small() -> Iterator[Organization]:
    with small_organization() as organization:
        yield organization


@pytest.fixture
def small(_running_small: Organization) -> Iterator[Organization]:
    """The organization whose life begins at `small_organization.BEGAN`."""
    _running_small.clock.set(SMALL_BEGAN)
    _running_small.set_faults()
    yield _running_small
    _running_small.set_faults()


@pytest.fixture
def start_small(small: Organization, tmp_path: Path) -> Iterator[Start]:
    """Start an exporter of the small organization that has polled nothing yet."""
    yield from _starting(small, tmp_path)


@pytest.fixture
def start(organization: Organization, tmp_path: Path) -> Iterator[Start]:
    """Start an exporter that has polled nothing yet."""
    yield from _starting(organization, tmp_path)


def _starting(organization: Organization, tmp_path: Path) -> Iterator[Start]:
    started: list[Living] = []

    def start_one(configuration: str = "") -> Living:
        living = Living(organization, tmp_path, configuration)
        started.append(living)
        return living

    yield start_one
    for living in started:
        living.exporter.close()


@pytest.fixture
def start_scripted(tmp_path: Path) -> Iterator[StartScripted]:
    """Start an exporter of an organization of a few rows that the test writes down."""
    started: list[Exporter] = []

    def start_one(configuration: str) -> Exporter:
        started.append(Exporter(tmp_path / "state", configuration))
        return started[-1]

    yield start_one
    for exporter in started:
        exporter.close()
