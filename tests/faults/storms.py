"""The storms: what each does to an exporter, how often, and what its log has to say of it."""

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from tests.faults.hostile_scrapers import hostile_scrapers
from tests.faults.lives import Resources
from tests.faults.reckoning import complaints_after, complaints_of_log, complaints_of_resources
from tests.faults.spoiled_answers import endless, huge, other_shape
from tests.faults.stormy_api import Spoil
from tests.faults.trial import ALL_COUNTERS, HOUR, QUARTER, Trial
from tests.faults.zygote import HELD, HOLD, SHRINK

DAY = 24 * HOUR

Rage = Callable[[Trial, int], None]
"""Does it so many times over. What it did to the surroundings is undone when it returns."""


@dataclass(frozen=True, slots=True)
class Storm:
    """One kind of trouble.

    Attributes:
        name: in a few words.
        rage: makes it.
        lines: of the log per round that tell it all.
        words: each is in a line that tells of a failed poll; none where no poll fails.
        remedy: is in every such line.
        needs_small_disk: it can only be made where the state has a disk of its own.
    """

    name: str
    rage: Rage
    lines: int
    words: tuple[str, ...] = ()
    remedy: str = ""
    needs_small_disk: bool = False


@contextmanager
def _spoiled(trial: Trial, spoil: Spoil) -> Iterator[None]:
    trial.api.spoil = spoil
    try:
        yield
    finally:
        trial.api.spoil = None


def _until_told(trial: Trial, words: str, since: int) -> None:
    trial.wait_until(lambda: any(words in line for line in trial.zygote.log[since:]), f"the log says {words}")


class Outcome(NamedTuple):
    """What came of a storm.

    Attributes:
        seconds: it took, with all that was asked after it.
        lines: of the log.
        before: what the process took.
        after: the same, in the calm.
        complaints: what is not as it should be; nothing is good.
    """

    seconds: float
    lines: int
    before: Resources
    after: Resources
    complaints: list[str]


def break_connections(trial: Trial, rounds: int) -> None:
    trial.proxy.breaking = 0.7
    broken = trial.proxy.broken
    try:
        for _ in range(rounds):
            trial.ask_all()
    finally:
        trial.proxy.breaking = 0.0
    assert trial.proxy.broken > broken


def break_every_connection(trial: Trial, rounds: int) -> None:
    since = len(trial.zygote.log)
    trial.proxy.breaking = 1.0
    try:
        for _ in range(rounds):
            trial.ask_all()
        _until_told(trial, "no answer in 5 tries", since)
    finally:
        trial.proxy.breaking = 0.0


def _faults(**settings: object) -> Rage:
    def rage(trial: Trial, rounds: int) -> None:
        trial.set_faults(**settings)
        try:
            for _ in range(rounds):
                trial.ask_all()
            trial.wait_until(lambda: bool(trial.failing()), "a poll fails")
        finally:
            trial.set_faults()

    return rage


def change_shapes(trial: Trial, rounds: int) -> None:
    # Some rows come under names that are others'. A day that is read for the last time meanwhile keeps them so.
    hours_left = (DAY - trial.time.now() % DAY) // HOUR
    if 4 * rounds * QUARTER >= hours_left * HOUR:
        trial.poll_all((hours_left + 1) * HOUR)
    with _spoiled(trial, other_shape("shapes")):
        for _ in range(4 * rounds):
            trial.ask_all()


def send_huge_bodies(trial: Trial, rounds: int) -> None:
    with _spoiled(trial, huge(compressed="/usage/embeddings", plain="/usage/completions")):
        for _ in range(rounds):
            trial.pass_time(HOUR)
            trial.wait_until(
                lambda: trial.failing() == {"usage/embeddings", "usage/completions"}, "both have been refused"
            )


def never_end_pages(trial: Trial, rounds: int) -> None:
    for same_cursor in (True, False):
        with _spoiled(trial, endless(same_cursor=same_cursor)):
            for _ in range(rounds):
                trial.ask_all()
    for fault in ("endless_pages", "repeated_cursor", "null_cursor_with_has_more"):
        trial.set_faults(**{fault: True})
        try:
            for _ in range(rounds):
                trial.ask_all()
        finally:
            trial.set_faults()


_STEPS = (-HOUR, 2 * DAY, -4 * DAY, 400 * DAY, -40 * DAY)


def step_the_clock(trial: Trial, rounds: int) -> None:
    """Set the exporter's clock wrong, poll by it, and set it right again."""
    for _ in range(rounds):
        for step in _STEPS:
            trial.time.set(trial.time.now() + step)
            trial.ask_all()
            trial.time.set(trial.time.now() - step)
            trial.ask_all()


def fill_the_disk(trial: Trial, rounds: int) -> None:
    """Leave no byte on the disk that the state is on, also not for what stands there already and grows."""
    ballast = trial.state_from_here / "ballast"
    for _ in range(rounds):
        # The log of the database would go round in its file for long before it has to grow.
        assert trial.zygote.start(SHRINK, str(trial.state)).end() == 0
        try:
            with ballast.open("wb", buffering=0) as file:
                for size in (65_536, 1):
                    try:
                        while True:
                            file.write(bytes(size))
                    except OSError:
                        continue
            while not trial.failing():
                trial.ask_all()
        finally:
            ballast.unlink()
        trial.poll_all()


def limit_files(trial: Trial, rounds: int) -> None:
    """Let no file of the process grow, as a quota does."""
    _, hard = resource.prlimit(trial.living.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(trial.living.pid, resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        for _ in range(rounds):
            trial.ask_all()
        trial.wait_until(lambda: bool(trial.failing()), "a poll fails")
    finally:
        resource.prlimit(trial.living.pid, resource.RLIMIT_FSIZE, (hard, hard))


def hold_the_state(trial: Trial, rounds: int) -> None:
    """Let another process hold the database's lock for longer than the exporter waits."""
    for _ in range(rounds):
        since = len(trial.zygote.log)
        holder = trial.zygote.start(HOLD, str(trial.state))
        _until_told(trial, HELD, since)
        trial.pass_time(HOUR)
        _until_told(trial, "locked", since)
        holder.kill()


def besiege(trial: Trial, rounds: int) -> None:
    """Let a crowd of hostile clients come while polls go on; who asks well is answered well."""
    for number in range(rounds):
        with hostile_scrapers(trial.port, 300, f"crowd {number}") as through:
            assert through > 100
            trial.poll_all()
            trial.wait_for_scrape()


_EACH_API_TWICE = 2 * 15
"""It fails, and it succeeds again."""
_UNREACHABLE = "check network"
_UNUSABLE = "nothing of it was used"
_FULL = "Free or enlarge the disk"

STORMS: Sequence[Storm] = (
    Storm("connections break", break_connections, _EACH_API_TWICE),
    Storm("no connection holds", break_every_connection, _EACH_API_TWICE, ("no answer in 5 tries",), _UNREACHABLE),
    Storm("errors and rate limits", _faults(error_rate=0.95), _EACH_API_TWICE, ("HTTP 5",), _UNREACHABLE),
    Storm("answers are cut", _faults(cut_probability=1.0), _EACH_API_TWICE, ("the connection broke",), _UNREACHABLE),
    Storm("half a body, and no JSON", _faults(invalid_json=True), _EACH_API_TWICE, ("no JSON",), _UNUSABLE),
    # Four answers of each API, each wrong in another way.
    Storm("valid JSON of another shape", change_shapes, 4 * _EACH_API_TWICE, ("unexpected shape",), _UNUSABLE),
    Storm("bodies are huge", send_huge_bodies, 4, ("is larger than",), _UNUSABLE),
    Storm("pages never end", never_end_pages, 2 * _EACH_API_TWICE, ("repeats",), _UNUSABLE),
    Storm("the clock steps", step_the_clock, 4),
    Storm("the disk is full", fill_the_disk, _EACH_API_TWICE, ("disk is full",), _FULL, needs_small_disk=True),
    Storm("files may not grow", limit_files, _EACH_API_TWICE, ("cannot write the state",), _FULL),
    Storm("another process holds the state", hold_the_state, _EACH_API_TWICE, ("locked",), "End what else"),
    Storm("scrapers are hostile", besiege, 1),
)


def weather(trial: Trial, storm: Storm, rounds: int) -> Outcome:
    """Let a storm rage, and return what came of it once it is calm."""
    began, told, before = time.monotonic(), len(trial.zygote.log), trial.living.resources()
    storm.rage(trial, rounds)
    complaints = complaints_after(trial, ALL_COUNTERS)
    complaints += complaints_of_resources(trial, before)
    lines = [line for line in trial.zygote.log[told:] if line.startswith("ts=")]
    complaints += complaints_of_log(lines, storm.words, storm.remedy, storm.lines * rounds)
    return Outcome(time.monotonic() - began, len(lines), before, trial.living.resources(), complaints)
