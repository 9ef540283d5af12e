"""What is asked after a storm: whether anything is other than it would be without the storm."""

import time
from collections.abc import Iterator, Sequence

from tests.faults.lives import Resources
from tests.faults.trial import Trial

_MEGABYTE = 1024 * 1024
# What allocators keep, and what a day more of rows takes; a body that was not let go would be twice as much.
_MEMORY_KEPT = 96 * _MEGABYTE
# Connections to the API are kept for the next poll.
_SOCKETS_KEPT = 6
_PATIENCE_SECONDS = 120.0
_PAUSE_SECONDS = 0.2


def complaints_after(trial: Trial, counters: str) -> list[str]:
    """Poll once without faults, and return everything that is not as it should be, a line each.

    Args:
        trial: is calm again.
        counters: those that must never have fallen, as a regular expression of their names.
    """
    trial.poll_all()
    trial.wait_for_scrape()
    complaints = [*trial.wrong_figures(), *trial.fallen]
    complaints += [f"{family} fell {times:.0f} times" for family, times in trial.resets(counters).items() if times]
    audit = trial.audit()
    if audit.status:
        complaints.append(f"audit: exit status {audit.status}\n{audit.text[-3_000:]}")
    return complaints


def complaints_of_resources(trial: Trial, before: Resources) -> list[str]:
    """Return what the process has not given back, a line each; it may take a while."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (complaints := list(_not_given_back(trial.living.resources(), before))) and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)
    return complaints


def _not_given_back(now: Resources, before: Resources) -> Iterator[str]:
    if now.memory > before.memory + _MEMORY_KEPT:
        yield f"memory: {now.memory // _MEGABYTE} MB, {before.memory // _MEGABYTE} MB before"
    if now.threads > before.threads:
        yield f"threads: {now.threads}, {before.threads} before"
    if now.files > before.files:
        yield f"open files: {now.files}, {before.files} before"
    if now.sockets > before.sockets + _SOCKETS_KEPT:
        yield f"open sockets: {now.sockets}, {before.sockets} before"


def complaints_of_log(lines: Sequence[str], words: Sequence[str], remedy: str, most: int) -> list[str]:
    """Return what is wrong with the story that the log tells, a line each.

    Args:
        lines: all that was said.
        words: each must be in a line of failure.
        remedy: must be in every line that tells of a failed poll.
        most: lines there may be.
    """
    complaints = [f"a traceback: {line}" for line in lines if "exception=" in line or "Traceback" in line]
    warnings = [line for line in lines if "level=info" not in line]
    complaints += [f"about what? {line}" for line in warnings if " api=" not in line and " model=" not in line]
    failed = [line for line in lines if 'msg="poll failed"' in line]
    complaints += [f"without remedy: {line}" for line in failed if remedy not in line]
    complaints += [f"not told: {word}" for word in words if not any(word in line for line in failed)]
    if len(lines) > most:
        complaints.append(f"{len(lines)} lines, {most} would do")
    return complaints
