"""Every benchmark by its name, and how large it is measured."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.benchmarks.applying import applying, growth
from tests.benchmarks.forwarding import forwarding
from tests.benchmarks.resources import memory, requests, start
from tests.benchmarks.scraping import scraping
from tests.benchmarks.table import Figure


class Sizes(NamedTuple):
    """How large everything is.

    Attributes:
        series: of the page that is scraped, and of the state that is started from.
        rows: of the poll that is applied.
        memory: series of the exporters whose memory is looked at.
        growth: rows of the polls that are compared, the smallest first.
        projects: of the organizations whose requests are counted.
        span: seconds for which requests are counted.
        repetitions: of each measurement; the best or the median counts.
        scrapes: while polls are applied.
        requests: of each round through the trace gateway, and directly.
    """

    series: int = 100_000
    rows: int = 100_000
    memory: Sequence[int] = (1_000, 10_000, 100_000)
    growth: Sequence[int] = (1_000, 300_000)
    projects: Sequence[int] = (5, 1_000)
    span: int = 3_600
    repetitions: int = 3
    scrapes: int = 400
    requests: int = 1_000


SIZES: Final = Sizes()

BENCHMARKS: Final[Mapping[str, Callable[[Sizes, Path], Sequence[Figure]]]] = {
    "scraping": lambda sizes, folder: scraping(
        sizes.series, folder, repetitions=5 * sizes.repetitions, scrapes=sizes.scrapes
    ),
    "applying": lambda sizes, folder: applying(sizes.rows, folder, sizes.repetitions),
    "start": lambda sizes, folder: start(sizes.series, folder, sizes.repetitions),
    "memory": lambda sizes, _: memory(sizes.memory),
    "requests": lambda sizes, folder: [
        figure for projects in sizes.projects for figure in requests(projects, folder / str(projects), span=sizes.span)
    ],
    "forwarding": lambda sizes, folder: forwarding(sizes.requests, folder, repetitions=sizes.repetitions),
    "growth": lambda sizes, folder: growth(sizes.growth, folder, min(2, sizes.repetitions)),
}


def measured(name: str, sizes: Sizes = SIZES) -> Sequence[Figure]:
    """Return the figures of one benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        return BENCHMARKS[name](sizes, Path(folder))
