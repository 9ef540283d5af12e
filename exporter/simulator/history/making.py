"""The command `simulate-history`: fills a Prometheus data folder with a past of the simulated organization."""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from exporter.simulator.history.blocks import Scrape, load
from exporter.simulator.history.life import Life, Scraped, scrapes
from exporter.simulator.history.moments import Watch
from exporter.simulator.history.recording import record, recording_rules

DEFAULT_WATCH: Final = Watch(days=35, hourly_days=2, minutes=60)
DEFAULT_SCRAPED: Final = Scraped(
    exporter='job="openai",instance="127.0.0.1:10185"', traces='job="aitracer",instance="127.0.0.1:10186"'
)


def make_history(  # noqa: PLR0913 - all by name
    data: Path,
    *,
    life: Life,
    watch: Watch,
    end: int,
    scraped: Scraped,
    rule_files: Sequence[Path],
    tell: Callable[[str], None] = lambda _progress: None,
) -> None:
    """Fill `data`, a Prometheus data folder, with what was scraped and recorded before `end`, Unix seconds.

    It is filled at the end, with whole blocks: what is interrupted leaves nothing there.

    Raises:
        ProgramError: Prometheus or promtool is missing or failed.
        StateError: the exporter's state cannot be used.
        ConfigurationError: its configuration cannot.
    """
    rules = recording_rules(*rule_files)
    data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="simulated-history-") as scratch:
        folder = Path(scratch)
        load(_samples(scrapes(life, watch, end, scraped, tell=tell), tell), folder / "data")
        record(folder, rules, watch.runs(end), tell=tell)
        for block in (folder / "data").iterdir():
            if (block / "meta.json").exists():
                shutil.move(block, data / block.name)
    tell("history: there")


def _samples(of_scrapes: Iterable[Scrape], tell: Callable[[str], None]) -> Iterable[str]:
    for scrape in of_scrapes:
        yield from scrape.samples()
    tell("history: lived, now loading it into blocks")
