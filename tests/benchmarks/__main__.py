"""`python -m tests.benchmarks` measures everything and prints the README's table; `--write` puts it there."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.benchmarks.applying import applying, growth
from tests.benchmarks.resources import memory, requests, start
from tests.benchmarks.scraping import scraping
from tests.benchmarks.table import Figure, machine, table, write


class Sizes(NamedTuple):
    """How large everything is.

    Attributes:
        series: of the page that is scraped, and of the state that is started from.
        rows: of the poll that is applied.
        memory: series of the exporters whose memory is looked at.
        growth: rows of the polls that are compared, the smallest first.
        projects: of the organizations whose requests are counted.
        repetitions: of each measurement; the best or the median counts.
        scrapes: while polls are applied.
    """

    series: int = 100_000
    rows: int = 100_000
    memory: Sequence[int] = (1_000, 10_000, 100_000)
    growth: Sequence[int] = (1_000, 300_000)
    projects: Sequence[int] = (5, 1_000)
    repetitions: int = 3
    scrapes: int = 200


BENCHMARKS: Final[Mapping[str, Callable[[Sizes, Path], Sequence[Figure]]]] = {
    "scraping": lambda sizes, folder: scraping(
        sizes.series, folder, repetitions=5 * sizes.repetitions, scrapes=sizes.scrapes
    ),
    "applying": lambda sizes, folder: applying(sizes.rows, folder, sizes.repetitions),
    "start": lambda sizes, folder: start(sizes.series, folder, sizes.repetitions),
    "memory": lambda sizes, _: memory(sizes.memory),
    "requests": lambda sizes, folder: [
        figure for projects in sizes.projects for figure in requests(projects, folder / str(projects))
    ],
    "growth": lambda sizes, folder: growth(sizes.growth, folder, min(2, sizes.repetitions)),
}


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into the README")
    parser.add_argument("--only", choices=BENCHMARKS, help="measure one thing; nothing is written")
    options = parser.parse_args()
    sizes = Sizes()
    figures: list[Figure] = []
    for name, benchmark in BENCHMARKS.items():
        if options.only in {None, name}:
            sys.stderr.write(f"{name} ...\n")
            with tempfile.TemporaryDirectory() as folder:
                figures += benchmark(sizes, Path(folder))
    sys.stdout.write(f"{machine()}\n\n{table(figures)}\n")
    if options.write and options.only is None:
        write(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
