"""Options and profiles for all tests."""

import os

import pytest
from hypothesis import HealthCheck, settings

# No test is about absolute time: a machine may be as busy as it likes.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# Prometheus' programs live for seconds here: they may let more garbage lie before they collect it.
os.environ.setdefault("GOGC", "400")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    # One more than there are processors: some tests wait for other processes' seconds.
    return (os.cpu_count() or 1) + 1


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write golden files anew, then look at the diff")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))
