"""The command `simulate-history`."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from exporter.simulator.command import EXAMPLE_CONFIGURATION
from exporter.simulator.history.life import Life
from exporter.simulator.history.making import holds_blocks, make_history, scraped
from exporter.simulator.history.moments import Watch

HOURLY_DAYS: Final = 2
MINUTES: Final = 60
"""How much of the past is looked at closely: enough for panels about hours and minutes to begin with."""


def simulate_history(  # noqa: PLR0913 - all by name
    *,
    data: Path,
    rule_files: Sequence[Path],
    configuration: Path | None,
    state: Path,
    days: int,
    minutes: int,
    seed: str,
    exporter: str,
    traces: str,
) -> None:
    """Fill `data`, unless it has a past already, with what was scraped and recorded until now.

    Raises:
        ProgramError: Prometheus or promtool is missing or failed, or there is a state already.
        StateError: the exporter's state cannot be used.
        ConfigurationError: its configuration cannot.
    """
    if holds_blocks(data):
        _tell(f"history: {data} has one already, it is left as it is")
        return
    make_history(
        data,
        life=Life(seed, configuration or EXAMPLE_CONFIGURATION, state),
        watch=Watch(days, min(days, HOURLY_DAYS), minutes),
        end=int(time.time()),
        scraped=scraped(exporter, traces),
        rule_files=rule_files,
        tell=_tell,
    )


def _tell(progress: str) -> None:
    sys.stdout.write(f"{progress}\n")
    sys.stdout.flush()
