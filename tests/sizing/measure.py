"""Measures real exporters with many series: `python -m tests.sizing.measure` prints the table of deploy/README.md."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import httpx

from tests.sizing.many_rows import KEY, many_rows

SIZES: Final = (1_000, 10_000, 50_000)
# Each combination of project and model: three kinds of tokens and the requests, as a counter and for two days; three
# line items, as a counter, for two days and for two months.
SERIES_PER_COMBINATION: Final = 4 * 3 + 3 * 5
HEADER: Final = "| series | page | page, gzip | a scrape | memory | memory at most | state | processor |"

_MEBIBYTE: Final = 1024 * 1024
_PATIENCE_SECONDS: Final = 600
# Six times as often as by default, so that measuring takes no hours.
_POLL_SECONDS: Final = 10
_DEFAULT_POLL_SECONDS: Final = 60
_SCRAPES: Final = 5


class Size(NamedTuple):
    """What one exporter needed.

    Attributes:
        series: on the page, but for those about the exporter itself.
        plain: bytes of the page.
        compressed: bytes of it with gzip.
        scrape_seconds: until the last byte of a page with gzip, the fastest of five.
        memory: bytes in RAM after some polls.
        most_memory: the most bytes in RAM until then, the first read of two months of costs included.
        state: bytes on disk, log included.
        processor: share of one core at the default intervals, when usage grows everywhere each minute.
    """

    series: int
    plain: int
    compressed: int
    scrape_seconds: float
    memory: int
    most_memory: int
    state: int
    processor: float


def measure(series: int, *, polls: int = 6, poll_seconds: int = _POLL_SECONDS) -> Size:
    """Run an exporter with about so many series, let it poll so often, and look at it."""
    with many_rows(max(1, series // SERIES_PER_COMBINATION)) as base_url, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        configuration = folder / "exporter.yml"
        seconds = f"{poll_seconds}s"
        configuration.write_text(f"{{polling: {{usage_interval: {seconds}}}, scrape_interval: {seconds}}}", "utf-8")
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "exporter",
                    f"--config.file={configuration}",
                    f"--storage.path={folder / 'state'}",
                    "--web.listen-address=127.0.0.1:0",
                ],
                env={**os.environ, "OPENAI_BASE_URL": base_url, "OPENAI_ADMIN_KEY": KEY},
                stderr=output,
            )
        try:
            return _look_at(process, log, folder / "state", polls, poll_seconds)
        finally:
            process.terminate()
            process.wait(timeout=_PATIENCE_SECONDS)


def _look_at(process: "subprocess.Popen[bytes]", log: Path, state: Path, polls: int, poll_seconds: int) -> Size:
    _wait_for(process, log, rb"address=(http\S+)", log.read_bytes)
    url = re.findall(r"address=(http\S+)", log.read_text(encoding="utf-8"))[0]
    with httpx.Client(base_url=url, timeout=_PATIENCE_SECONDS) as client:

        def scrape(encoding: str = "identity") -> bytes:
            with client.stream("GET", "/metrics", headers={"Accept-Encoding": encoding}) as answer:
                return b"".join(answer.iter_raw())

        _wait_for(process, log, rb"^openai_up 1\.0$", scrape)
        # Counters that have grown are shown after two scrapes' time: from then on every poll is like the next.
        _wait_for(process, log, rb"^openai_usage_tokens_total\{.*\} [1-9]", scrape)
        used_before, began = processor_seconds(process.pid), time.monotonic()
        time.sleep(polls * poll_seconds)
        used = (processor_seconds(process.pid) - used_before) / (time.monotonic() - began)
        plain, compressed = scrape(), b""
        scrapes: list[float] = []
        for _ in range(_SCRAPES):
            began = time.monotonic()
            compressed = scrape("gzip")
            scrapes.append(time.monotonic() - began)
    return Size(
        series=len(re.findall(rb"^openai_(?!exporter_)", plain, re.MULTILINE)),
        plain=len(plain),
        compressed=len(compressed),
        scrape_seconds=min(scrapes),
        memory=_memory(process.pid, "VmRSS"),
        most_memory=_memory(process.pid, "VmHWM"),
        state=sum(file.stat().st_size for file in state.iterdir()),
        processor=used * poll_seconds / _DEFAULT_POLL_SECONDS,
    )


def _wait_for(process: "subprocess.Popen[bytes]", log: Path, pattern: bytes, read: Callable[[], bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not re.search(pattern, read(), re.MULTILINE):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the exporter did not get there: {log.read_text(encoding='utf-8')[-2000:]}")
        time.sleep(0.5)


def _memory(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(re.findall(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)[0]) * 1024


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has taken so far, of all its threads."""
    # Behind the name in brackets: user and system time are the 12th and 13th field.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def row(size: Size) -> str:
    """Return a row of the table."""
    cells = (
        f"{size.series:,}",
        _bytes(size.plain),
        _bytes(size.compressed),
        f"{1000 * size.scrape_seconds:.0f} ms",
        _bytes(size.memory),
        _bytes(size.most_memory),
        _bytes(size.state),
        f"{100 * size.processor:.1f} %",
    )
    return f"| {' | '.join(cells)} |"


def _bytes(count: int) -> str:
    return f"{count / _MEBIBYTE:.0f} MiB" if count >= _MEBIBYTE else f"{count / 1024:.0f} KiB"


def main(sizes: Sequence[int] = SIZES) -> int:
    """Print the table."""
    sys.stdout.write(f"{HEADER}\n|{'---|' * (HEADER.count('|') - 1)}\n")
    for series in sizes:
        sys.stdout.write(f"{row(measure(series))}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main([int(argument) for argument in sys.argv[1:]] or SIZES))
