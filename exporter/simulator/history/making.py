"""Fills a Prometheus data folder with a past of the simulated organization."""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from exporter.ledger.store import STATE_FILE
from exporter.simulator.history.blocks import Scrape, load
from exporter.simulator.history.life import Life, Scraped, scrapes
from exporter.simulator.history.moments import Watch
from exporter.simulator.history.programs import ProgramError, program
from exporter.simulator.history.recording import record, recording_rules

# What an adapter makes of the traces' page is there whenever that page is.
_ADAPTED: Final = frozenset({"aitracer:tokens:total", "aitracer:cost_usd:total", "aitracer:requests:total"})


def scraped(exporter: str, traces: str) -> Scraped:
    """Return the targets' labels from the two addresses, `HOST:PORT`, that Prometheus will scrape."""
    return Scraped(f'job="openai",instance="{exporter}"', f'job="aitracer",instance="{traces}"')


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

    It and the life's state are filled at the end: what is interrupted leaves nothing there.

    Raises:
        ProgramError: Prometheus or promtool is missing or failed, or there is a state already.
        StateError: the exporter's state cannot be used.
        ConfigurationError: its configuration cannot.
    """
    if (life.state / STATE_FILE).exists():
        raise ProgramError(
            f"{life.state} holds a state: the history makes one of its own; remove it or name another folder"
        )
    rules = recording_rules(*rule_files)
    for name in ("prometheus", "promtool"):
        program(name)
    data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="simulated-history-") as scratch:
        folder = Path(scratch)
        scratch_life = replace(life, state=folder / "state")
        load(_samples(scrapes(scratch_life, watch, end, scraped, tell=tell), tell), folder / "data")
        often = [*watch.runs(end), *watch.trace_runs(end)]
        record(folder, rules, lambda rule: often if rule.name in _ADAPTED else watch.runs(end), tell=tell)
        life.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in (folder / "state").iterdir():
            shutil.move(file, life.state / file.name)
        for meta in (folder / "data").glob("*/meta.json"):
            shutil.move(meta.parent, data / meta.parent.name)
    tell("history: there")


def holds_blocks(data: Path) -> bool:
    """Tell whether a Prometheus data folder has a past already."""
    return any(data.glob("*/meta.json"))


def _samples(of_scrapes: Iterable[Scrape], tell: Callable[[str], None]) -> Iterable[str]:
    for scrape in of_scrapes:
        yield from scrape.samples()
    tell("history: lived, now loading it into blocks")
