"""What an exporter takes: memory, time to start, and requests."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

import httpx

from exporter.days import SECONDS_PER_DAY
from exporter.ledger.store import STATE_FILE
from exporter.openai_api.endpoints import COSTS
from tests.benchmarks.exporter_at_work import exporter_at_work
from tests.benchmarks.measuring import seconds
from tests.benchmarks.organization import (
    COMPLETIONS,
    NOON,
    SERIES_PER_COMBINATION,
    OneAnswer,
    completions,
    endpoint_of,
    project,
)
from tests.benchmarks.table import Figure, ratio
from tests.openai_api.stand_ins import bucket, page
from tests.sizing.measure import measure

_MEBIBYTE: Final = 1024 * 1024
_HOUR: Final = 3600
_ENTRIES_PER_PAGE: Final = 100


def memory(sizes: Sequence[int], *, polls: int = 3, poll_seconds: int = 5) -> Sequence[Figure]:
    """Return the memory of real exporters with about so many series, each a process of its own."""
    figures = []
    for series in sizes:
        size = measure(series, polls=polls, poll_seconds=poll_seconds)
        figures.append(
            Figure(
                f"memory with {series:,} series, of usage and two months of costs",
                f"{size.memory / _MEBIBYTE:.0f} MiB, at most {size.most_memory / _MEBIBYTE:.0f} MiB, "
                f"{size.memory / size.plain:.0f} times its page",
            )
        )
    return figures


def start(series: int, folder: Path, repetitions: int = 3) -> Sequence[Figure]:
    """Return how long an exporter takes from a state of about so many series to its first page."""
    answer = OneAnswer(completions(max(1, series // SERIES_PER_COMBINATION), 0))
    state = folder / "state"
    with exporter_at_work(state, answer) as at_work:
        at_work.poll(COMPLETIONS.api)
        at_work.show_everything()

    def begin() -> None:
        with exporter_at_work(state, answer) as begun:
            begun.page()

    def read() -> None:
        with closing(sqlite3.connect(f"file:{state / STATE_FILE}?mode=ro", uri=True)) as connection:
            for name in ("row", "counter"):
                connection.execute(f"SELECT * FROM {name}").fetchall()  # noqa: S608 - two names of ours

    begun = min(seconds(begin) for _ in range(repetitions))
    plain = min(seconds(read) for _ in range(repetitions))
    return (ratio(f"from a state of {series:,} series to its page, against SQLite alone reading it", begun, plain),)


class _Busy:
    """Answers for an hour: completions change each minute, costs each half hour, the rest is empty.

    Attributes:
        requests: that came.
        news: those among them whose answer was not the same the last time: the fewest that carry as much.
    """

    def __init__(self, projects: int, clock: Callable[[], float]) -> None:
        self.requests = 0
        self.news = 0
        self._projects = projects
        self._clock = clock
        self._last: dict[str, bytes] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        if endpoint_of(request) is None and not request.url.path.endswith("/projects"):
            return httpx.Response(404, json={"error": {"message": "there is none"}})
        body = self._body(request)
        self.news += self._last.get(str(request.url)) != body
        self._last[str(request.url)] = body
        return httpx.Response(200, content=body)

    def _body(self, request: httpx.Request) -> bytes:
        query = dict(parse_qsl(request.url.query.decode()))
        endpoint = endpoint_of(request)
        if endpoint is None:
            return self._listed(query)
        days = range(int(query["start_time"]), int(query["end_time"]), SECONDS_PER_DAY)
        first = int(query.get("page", days[0]))
        shown = [day for day in days if day >= first][: int(query["limit"])]
        rows = []
        if endpoint is COMPLETIONS:
            tokens = int(self._clock()) // 60
            rows = [
                {"input_tokens": tokens, "output_tokens": 1, "num_model_requests": 1, "model": "gpt-4.1"}
                | {"project_id": project(number)}
                for number in range(self._projects)
            ]
        elif endpoint is COSTS:
            amount = {"value": int(self._clock()) // 1800, "currency": "usd"}
            rows = [
                {"amount": amount, "project_id": project(number), "line_item": "gpt-4.1, input"}
                for number in range(self._projects)
            ]
        typed = [{"object": endpoint.result_object, **row} for row in rows]
        cursor = str(shown[-1] + SECONDS_PER_DAY) if shown[-1] != days[-1] else None
        return json.dumps(page([bucket(0, *typed, start=day) for day in shown], cursor)).encode()

    def _listed(self, query: dict[str, str]) -> bytes:
        after = query.get("after")
        first = 0 if after is None else int(after.removeprefix("proj_")) + 1
        last = min(self._projects, first + int(query.get("limit", _ENTRIES_PER_PAGE)))
        entries = [{"id": project(n), "name": f"project {n}", "status": "active"} for n in range(first, last)]
        more = last < self._projects
        return json.dumps({"object": "list", "data": entries, "has_more": more, "last_id": project(last - 1)}).encode()


def requests(projects: int, folder: Path, *, span: int = _HOUR, step: int = 15) -> Sequence[Figure]:
    """Return the requests per hour of an organization with so many projects, after the hour of its start."""
    moment = [float(NOON)]
    answering = _Busy(projects, lambda: moment[0])
    with exporter_at_work(folder, answering) as at_work:
        for _ in range(0, span, step):
            _live(at_work.poller.poll_due, at_work.clock.advance, moment, step)
        answering.requests = answering.news = 0
        for _ in range(0, span, step):
            _live(at_work.poller.poll_due, at_work.clock.advance, moment, step)
    if not all(health.success or health.absent for health in at_work.poller.health.apis.values()):
        raise RuntimeError("a poll failed; there is nothing to measure")
    asked, needed = answering.requests * _HOUR / span, answering.news * _HOUR / span
    return (
        Figure(
            f"requests an hour, {projects:,} projects, against those whose answer was news",
            f"{asked:.0f} against {needed:.0f}, {asked / needed:.1f} times",
        ),
    )


def _live(poll_due: Callable[[], None], advance: Callable[[float], None], moment: list[float], step: int) -> None:
    advance(step)
    moment[0] += step
    poll_due()
