"""What a scrape costs, through the exporter's own web server in a process of its own, also while polls are applied."""

import multiprocessing
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Final, Self

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from exporter.polling.interpreter import let_scrapes_interrupt
from exporter.web.application import Application
from exporter.web.http_server import serving_in_thread
from tests.benchmarks.exporter_at_work import exporter_at_work
from tests.benchmarks.measuring import percentile
from tests.benchmarks.organization import COMPLETIONS, SERIES_PER_COMBINATION, OneAnswer, completions
from tests.benchmarks.table import Figure, ratio

ENCODINGS: Final = ("identity", "gzip")
_PATIENCE_SECONDS: Final = 600
_SCRAPE_INTERVAL_SECONDS: Final = 0.05
_POLL: Final = "poll"
_STOP: Final = "stop"
_LARGEST_ANSWER_BYTES: Final = 1 << 27
_LARGEST_HEAD_BYTES: Final = 1 << 16
# The kernel drops what was taken in instead of copying it.
_UNCOPIED: Final = socket.MSG_TRUNC if sys.platform == "linux" else 0


class _Ready(Collector):
    """Families as the exporter exposes them."""

    def __init__(self, page: bytes) -> None:
        self._families = list(text_string_to_metric_families(page.decode()))

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


def scraping(
    series: int, folder: Path, *, repetitions: int = 15, scrapes: int = 200, longest: float = 90.0
) -> Sequence[Figure]:
    """Return the figures of scrapes of about so many series.

    Args:
        series: on the page.
        folder: for the exporter's state.
        repetitions: of each kind of quiet scrape.
        scrapes: of each kind, while polls are applied one after the other.
        longest: seconds after which the scrapes that were made must do.
    """
    combinations = series // SERIES_PER_COMBINATION
    with _exporter(combinations, folder / "scraped") as (pipe, port):
        reference, quiet = _quiet(port, repetitions)
        with _exporter(combinations, folder / "apart") as (neighbour, _):
            neighbour.send(_POLL)
            apart = _busy(port, scrapes, longest)
            neighbour.send(_STOP)
            _told(neighbour)
        pipe.send(_POLL)
        busy = _busy(port, scrapes, longest)
        pipe.send(_STOP)
        _told(pipe)
    against = "against `prometheus_client.generate_latest`"
    names = {"identity": "plain", "gzip": "gzip"}
    return (
        *(
            ratio(f"a scrape of {series:,} series, {names[each]}, {against}", quiet[each], reference, 1 / 50)
            for each in ENCODINGS
        ),
        *(
            ratio(
                f"the same while changed polls are applied, {names[each]}, 99th percentile of scrapes",
                percentile(busy[each], 99),
                reference,
                1 / 50,
            )
            for each in ENCODINGS
        ),
        # What this machine does to a scrape while both its processors are busy, whoever keeps them so.
        *(
            ratio(
                f"the same while another process applies them, {names[each]}, 99th percentile of scrapes",
                percentile(apart[each], 99),
                reference,
            )
            for each in ENCODINGS
        ),
    )


@contextmanager
def _exporter(combinations: int, folder: Path) -> "Iterator[tuple[Pipe[object, object], int]]":
    """Yield an exporter in a process of its own: what tells it to begin polling and to stop, and its port."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(combinations, folder, there))
    process.start()
    there.close()
    try:
        yield here, _told(here)
    finally:
        here.close()
        process.join(_PATIENCE_SECONDS)


def _told(pipe: "Pipe[object, object]") -> int:
    if not pipe.poll(_PATIENCE_SECONDS):
        raise RuntimeError("the exporter does not answer")
    return int(str(pipe.recv()))


def _quiet(port: int, repetitions: int) -> tuple[float, Mapping[str, float]]:
    registry = CollectorRegistry()
    with _Scraper(port) as scraper:
        registry.register(_Ready(bytes(scraper.scrape("identity", keep=True))))
        reference: list[float] = []
        found: dict[str, list[float]] = {encoding: [] for encoding in ENCODINGS}
        for number in range(repetitions):
            if number % 5 == 0:
                reference.append(_seconds(lambda: generate_latest(registry)))
            for encoding, times in found.items():
                times.append(_seconds(lambda encoding=encoding: scraper.scrape(encoding)))  # type: ignore[misc]  # bound at once
    return statistics.median(reference), {encoding: statistics.median(times) for encoding, times in found.items()}


def _busy(port: int, scrapes: int, longest: float) -> Mapping[str, Sequence[float]]:
    found: dict[str, list[float]] = {encoding: [] for encoding in ENCODINGS}
    give_up_at = time.monotonic() + longest
    with _Scraper(port) as scraper:
        while len(found["gzip"]) < scrapes and (time.monotonic() < give_up_at or not found["gzip"]):
            for encoding in ENCODINGS:
                taken = _seconds(lambda encoding=encoding: scraper.scrape(encoding))  # type: ignore[misc]  # bound at once
                found[encoding] += waits(taken)
                time.sleep(max(0.0, _SCRAPE_INTERVAL_SECONDS - taken))
    return found


def waits(taken: float) -> Sequence[float]:
    """Return how long scrapes wait that come at equal intervals while one takes so long.

    Prometheus comes at any moment. To count a long scrape once, and many quick ones after it, would make it look rare.
    """
    return [taken - late * _SCRAPE_INTERVAL_SECONDS for late in range(int(taken / _SCRAPE_INTERVAL_SECONDS) + 1)]


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


class _Scraper:
    """A client that costs next to nothing, as if it were another machine's: one connection, and no page is copied out.

    Prometheus does not share the exporter's processors as this client does.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_SECONDS)
        self._buffer = memoryview(bytearray(_LARGEST_ANSWER_BYTES))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def scrape(self, encoding: str, *, keep: bool = False) -> memoryview:
        """Take the page in; return it, where it is to be kept, until the next scrape.

        Raises:
            RuntimeError: no page came.
        """
        request = f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: {encoding}\r\n\r\n"
        self._socket.sendall(request.encode())
        received, begin, end = 0, 0, 0
        while not begin or received < end:
            room = self._buffer[received : None if begin else _LARGEST_HEAD_BYTES]
            count = self._socket.recv_into(room, 0, 0 if keep or not begin else _UNCOPIED)
            if not count:
                raise RuntimeError("the server hung up, or its answer is too large")
            received += count
            if not begin:
                head, found, _ = bytes(self._buffer[: min(received, _LARGEST_HEAD_BYTES)]).partition(b"\r\n\r\n")
                if found:
                    begin = len(head) + len(found)
                    end = begin + _length(head)
        return self._buffer[begin:end]


def _length(head: bytes) -> int:
    status, *fields = head.decode("latin-1").split("\r\n")
    if " 200 " not in f"{status} ":
        raise RuntimeError(f"no page: {status}")
    values = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
    return int(values["content-length"])


def _serve(combinations: int, folder: Path, pipe: "Pipe[object, object]") -> None:
    """Be the exporter: its web server, and polls that change every row from when they are asked for until the end."""
    answer = OneAnswer(completions(combinations, 0))
    newer = [completions(combinations, version) for version in (1, 2)]
    with exporter_at_work(folder, answer) as at_work:

        async def nothing() -> None:
            """A reload is never asked for."""

        application = Application(
            name="benchmark",
            version="",
            metrics=at_work.poller.pages,
            not_ready_because=lambda: None,
            reload=nothing,
            configuration=str,
            status=tuple,
        )
        at_work.poll(COMPLETIONS.api)
        at_work.show_everything()
        stop = threading.Event()

        def poll() -> None:
            number = 0
            while not stop.is_set():
                answer.buckets = newer[number % 2]
                number += 1
                at_work.poll(COMPLETIONS.api)

        let_scrapes_interrupt()
        polling = threading.Thread(target=poll, name="polling")
        with serving_in_thread(application) as (_, port):
            pipe.send(port)
            if pipe.recv() != _STOP:
                polling.start()
                pipe.recv()
                stop.set()
                polling.join()
        pipe.send(0)
