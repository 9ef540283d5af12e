"""Lives that end by SIGKILL, at random points all over a life: from the first line of the command to many polls."""

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from tests.faults.lives import Life
from tests.faults.trial import Trial

MINUTE = 60.0
# Between two looks at how far a life has come.
_GLANCE_SECONDS = 0.002
_LONGEST_LIFE_SECONDS = 120.0


@dataclass
class Tally:
    """How far lives had come when they were killed.

    Attributes:
        kills: all of them.
        before_listening: that had not yet opened the state, or not yet said that they listen.
        during_first_polls: that listened, and had not yet asked for everything once.
        after_first_polls: that had.
        ends: exit statuses; -9 is a kill.
    """

    kills: int = 0
    before_listening: int = 0
    during_first_polls: int = 0
    after_first_polls: int = 0
    ends: set[int] = field(default_factory=set)

    def add(self, *, listened: bool, requests: int, all_requests: int, end: int) -> None:
        self.kills += 1
        self.ends.add(end)
        if not listened:
            self.before_listening += 1
        elif requests < all_requests:
            self.during_first_polls += 1
        else:
            self.after_first_polls += 1


def kill_often(trial: Trial, kills: int, seed: str) -> Tally:
    """Kill the life of now, then so many others, half at a moment by the clock, half at one of their requests."""
    chance = random.Random(seed)  # noqa: S311 - the same again for the same seed, no secret
    tally = Tally()
    trial.living.kill()
    life_seconds, all_requests = _whole_life(trial)
    for number in range(kills):
        trial.pass_time(chance.uniform(5, 40) * MINUTE)
        asked, told = trial.api.requests.total(), len(trial.zygote.log)
        life = trial.start()
        if number % 2:
            requests = asked + chance.randint(1, all_requests * 5 // 4)
            _live(trial, life, chance, _has_asked(trial, requests))
        else:
            _live(trial, life, chance, _is_past(time.monotonic() + chance.uniform(0, life_seconds)))
        _look(trial)
        tally.add(
            end=life.kill(),
            listened=any("msg=listening" in line for line in trial.zygote.log[told:]),
            requests=trial.api.requests.total() - asked,
            all_requests=all_requests,
        )
    return tally


def _whole_life(trial: Trial) -> tuple[float, int]:
    """Return how long a life takes until it has read everything here and now, in seconds and in requests."""
    trial.pass_time(15 * MINUTE)
    asked, began = trial.api.requests.total(), time.monotonic()
    trial.start()
    trial.wait_until(trial.is_polled, "a whole life")
    seconds, requests = time.monotonic() - began, trial.api.requests.total() - asked
    trial.living.kill()
    return seconds, requests


def _live(trial: Trial, life: Life, chance: random.Random, is_over: Callable[[], bool]) -> None:
    """Let time pass by minutes while the life lasts, so that it polls again and again, and new series are shown."""
    deadline = time.monotonic() + _LONGEST_LIFE_SECONDS
    while not is_over():
        assert time.monotonic() < deadline, "the life did not come that far"
        if chance.random() < 1 / 30:
            trial.pass_time(4 * MINUTE)
        time.sleep(_GLANCE_SECONDS)
    assert life.ended() is None, f"it refused to live: {trial.zygote.log[-5:]}"


def _has_asked(trial: Trial, requests: int) -> Callable[[], bool]:
    return lambda: trial.api.requests.total() >= requests


def _is_past(moment: float) -> Callable[[], bool]:
    return lambda: time.monotonic() >= moment


def _look(trial: Trial) -> None:
    try:
        trial.page()
    except httpx.TransportError:
        # It does not listen yet.
        return


def kill_whole_processes(trial: Trial, kills: int) -> None:
    """Kill processes that are no children of the zygote, amid their first polls."""
    for number in range(kills):
        trial.pass_time(15 * MINUTE)
        # No more than a life asks for at first.
        requests = trial.api.requests.total() + 4 * number % 13 + 1
        with trial.whole_process() as process:
            trial.wait_until(_has_asked(trial, requests), "it asks")
            process.kill()
            assert process.wait() == -signal.SIGKILL
