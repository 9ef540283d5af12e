"""One exporter in every storm, with a Prometheus that watches: afterwards nothing is missing, and nothing fell."""

from collections.abc import Iterator

import pytest

from tests.faults.storms import STORMS, Storm, weather
from tests.faults.trial import Trial, trial

ROUNDS = 1
"""`make storms` has more."""


@pytest.fixture(scope="module")
def weathered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    with trial(tmp_path_factory.mktemp("storms"), small_disk=True) as made:
        made.begin()
        made.poll_all()
        made.poll_all()
        yield made


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("storm", STORMS, ids=lambda storm: storm.name)
def test_after_a_storm_everything_is_exact_and_nothing_is_left_of_it(weathered: Trial, storm: Storm) -> None:
    if storm.needs_small_disk and not weathered.has_small_disk:
        pytest.skip("the state cannot have a disk of its own here")
    assert weather(weathered, storm, ROUNDS).complaints == []
