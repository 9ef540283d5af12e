"""Samples of the past, as OpenMetrics with timestamps, and into Prometheus' own blocks."""

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from exporter.simulator.history.programs import ProgramError, program

# promtool reads the whole file once for each block: with blocks of two hours a quarter would take an hour.
_FEW_BLOCKS: Final = "--max-block-duration=2400h"


@dataclass(frozen=True, slots=True)
class Scrape:
    """A page in the text format as it was read at one moment.

    Attributes:
        at: Unix seconds.
        page: its text; lines with timestamps are not expected.
        target: the labels that Prometheus adds to whatever it scrapes there, such as `job="openai"`; may be empty.
    """

    at: int
    page: str
    target: str = ""

    def samples(self) -> Iterator[str]:
        """Yield OpenMetrics lines, `up` among them where there is a target."""
        if self.target:
            yield f"up{{{self.target}}} 1 {self.at}\n"
        for line in self.page.splitlines():
            if not line.startswith("#"):
                yield f"{self._with_target(line)} {self.at}\n"

    def _with_target(self, line: str) -> str:
        if not self.target:
            return line
        series, _, value = line.rpartition(" ")
        name, brace, labels = series.partition("{")
        return f"{name}{{{self.target},{labels} {value}" if brace else f"{name}{{{self.target}}} {value}"


def load(samples: Iterable[str], data: Path) -> None:
    """Load OpenMetrics lines into a Prometheus data folder; they may be in any order of series.

    Raises:
        ProgramError: promtool is missing, or cannot read them.
    """
    data.mkdir(parents=True, exist_ok=True)
    promtool = program("promtool")
    # Beside the blocks: it is as large as they are, several times over.
    file = data / "samples.om.tmp"
    made = data / "blocks.tmp"
    try:
        with file.open("w", encoding="utf-8") as output:
            output.writelines(samples)
            output.write("# EOF\n")
        done = subprocess.run(  # noqa: S603 - promtool, on files of our own
            [promtool, "tsdb", "create-blocks-from", _FEW_BLOCKS, "openmetrics", str(file), str(made)],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise ProgramError(f"promtool cannot load the samples: {done.stderr.decode(errors='replace')[-2000:]}")
        # A block is taken over whole: a running Prometheus must not meet half of one.
        for block in made.iterdir() if made.exists() else ():
            block.rename(data / block.name)
    finally:
        file.unlink(missing_ok=True)
        shutil.rmtree(made, ignore_errors=True)
