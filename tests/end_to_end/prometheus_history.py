"""Pages that were scraped in the past, moved to another time, and what rules would have recorded over them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from exporter.simulator.history import blocks, recording
from exporter.simulator.history.blocks import Scrape
from exporter.simulator.history.moments import Run
from exporter.simulator.history.recording import RecordingRule
from tests.prometheus_tools import program

_MOMENT = re.compile(r"^(\w+_timestamp_seconds(?:\{.*\})?) (\S+)$")


def load(folder: Path, scrapes: Iterable[Scrape], *, later: int) -> None:
    """Load pages into `folder`/data as if all had happened `later` seconds later, moments on the pages too."""
    program("promtool")
    blocks.load((line for scrape in scrapes for line in _moved(scrape, later)), folder / "data")


def record(folder: Path, rules: Iterable[RecordingRule], moments: Sequence[int]) -> None:
    """Load what rules would have recorded at these moments of the past."""
    runs = [Run(at, at, 1) for at in moments]
    recording.record(folder, rules, lambda _rule: runs, find=program)


def _moved(scrape: Scrape, later: int) -> Iterator[str]:
    page = "\n".join(_later(line, later) for line in scrape.page.splitlines())
    return Scrape(scrape.at + later, page, scrape.target).samples()


def _later(line: str, later: int) -> str:
    moment = _MOMENT.match(line)
    return f"{moment[1]} {float(moment[2]) + later!r}" if moment else line
