"""`python -m tests.faults` sends an exporter through longer storms than the tests do, and prints what came of them."""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.kills import kill_often, kill_whole_processes
from tests.faults.reckoning import complaints_after
from tests.faults.storms import STORMS, Outcome, Storm, weather
from tests.faults.trial import LASTING_COUNTERS, trial

_ROUNDS = 5
_KILLS = 1_000
_WHOLE_PROCESSES = 20
_MEGABYTE = 1024 * 1024
_HEADER = ("storm", "times", "seconds", "log lines", "MB before", "MB after", "verdict")
_ROW = "{:34} {:>6} {:>8} {:>10} {:>10} {:>9}  {}"


def main() -> int:
    """Return 1 if anything was not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help=f"of each storm (default: {_ROUNDS})")
    parser.add_argument("--kills", type=int, default=_KILLS, help=f"lives that end by SIGKILL (default: {_KILLS})")
    parser.add_argument("--seed", default="kills", help="any text; another seed kills at other points")
    parser.add_argument("--only", choices=[storm.name for storm in STORMS], help="one storm, and no kills")
    options = parser.parse_args()
    _say(_ROW.format(*_HEADER))
    complaints: list[str] = []
    try:
        for storm, outcome in _storms(options.rounds, options.only):
            _say(_row(storm.name, options.rounds, outcome))
            complaints += [f"{storm.name}: {complaint}" for complaint in outcome.complaints]
        if options.only is None:
            complaints += _kills(options.kills, options.seed)
    except pytest.skip.Exception as missing:
        _say(str(missing))
        return 1
    _say("\n".join(complaints) or "Everything is exact, and nothing fell.")
    return bool(complaints)


def _storms(rounds: int, only: str | None) -> Iterator[tuple[Storm, Outcome]]:
    with tempfile.TemporaryDirectory() as folder, trial(Path(folder), small_disk=True) as weathered:
        weathered.begin()
        weathered.poll_all()
        weathered.poll_all()
        for storm in STORMS:
            if only not in {None, storm.name}:
                continue
            if storm.needs_small_disk and not weathered.has_small_disk:
                _say(_ROW.format(storm.name, 0, "", "", "", "", "cannot be made here"))
                continue
            yield storm, weather(weathered, storm, rounds)


def _kills(kills: int, seed: str) -> list[str]:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, trial(Path(folder)) as killed:
        killed.begin()
        killed.poll_all()
        tally = kill_often(killed, kills, seed)
        kill_whole_processes(killed, _WHOLE_PROCESSES)
        before = killed.start().resources()
        complaints = complaints_after(killed, LASTING_COUNTERS)
        complaints += [f"a life ended by itself: {end}" for end in tally.ends - {-9}]
        after = killed.living.resources()
        outcome = Outcome(time.monotonic() - began, len(killed.zygote.log), before, after, complaints)
    _say(_row("kills", tally.kills + _WHOLE_PROCESSES, outcome))
    _say(
        f"  of them {tally.before_listening} before they listened, {tally.during_first_polls} amid their first polls, "
        f"{tally.after_first_polls} later, {_WHOLE_PROCESSES} whole processes"
    )
    return [f"kills: {complaint}" for complaint in complaints]


def _row(name: str, times: int, outcome: Outcome) -> str:
    return _ROW.format(
        name,
        times,
        f"{outcome.seconds:.0f}",
        outcome.lines,
        outcome.before.memory // _MEGABYTE,
        outcome.after.memory // _MEGABYTE,
        f"{len(outcome.complaints)} complaints" if outcome.complaints else "holds",
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
