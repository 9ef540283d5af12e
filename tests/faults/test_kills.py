"""Two hundred lives of the exporter on one state, each of them killed, and a few that are whole processes."""

from pathlib import Path

import pytest

from tests.faults.kills import kill_often, kill_whole_processes
from tests.faults.reckoning import complaints_after
from tests.faults.trial import LASTING_COUNTERS, trial

KILLS = 200
WHOLE_PROCESSES = 3
FEW_PROJECTS = frozenset({"research-agents"})
"""Cheap lives: many matter more than large ones."""


@pytest.mark.timeout(3600)
def test_two_hundred_kills_lose_nothing_count_nothing_twice_and_let_no_counter_fall(tmp_path: Path) -> None:
    with trial(tmp_path, projects=FEW_PROJECTS) as killed:
        killed.begin()
        killed.poll_all()

        tally = kill_often(killed, KILLS, "kills")
        kill_whole_processes(killed, WHOLE_PROCESSES)

        assert tally.kills == KILLS
        # None refused to live, and none ended by itself.
        assert tally.ends == {-9}
        # They were killed all over their lives.
        assert min(tally.before_listening, tally.during_first_polls, tally.after_first_polls) > 0
        killed.start()
        assert complaints_after(killed, LASTING_COUNTERS) == []
        assert not [line for line in killed.zygote.log if "level=info" not in line]
