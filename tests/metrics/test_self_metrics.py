"""What the page says of the exporter itself."""

import re
import tempfile
from contextlib import ExitStack
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client import openmetrics

from exporter.metrics.self_metrics import SelfMetrics

_OPEN_FILES = re.compile(r"^process_open_fds (\S+)$", re.MULTILINE)


def open_files(page: str) -> float:
    [count] = _OPEN_FILES.findall(page)
    return float(count)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the library looks there")
def test_a_scrape_tells_of_the_process_as_it_was_when_it_was_looked_at() -> None:
    metrics = SelfMetrics()
    pages = [metrics.render(openmetrics_format=False)]
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(tempfile.TemporaryFile())
        pages.append(metrics.render(openmetrics_format=False))
        metrics.look_at_process()
        pages.append(metrics.render(openmetrics_format=False))
    before, not_yet, looked = (open_files(page.decode()) for page in pages)
    assert (not_yet - before, looked - before) == (0, 40)


def test_what_is_spelled_once_is_spelled_anew_when_it_changes() -> None:
    metrics = SelfMetrics()
    pages = set()
    for number in range(3):
        metrics.answered("costs", "200", number)
        metrics.poll_duration.labels("costs").set(number)
        for _ in range(2):
            text, whole = metrics.render(openmetrics_format=False), metrics.render(openmetrics_format=True)
            assert text == prometheus_client.generate_latest(metrics._registry)
            assert whole == openmetrics.exposition.generate_latest(metrics._registry)  # type: ignore[no-untyped-call]  # the library's gap
            pages |= {text, whole}
    assert len(pages) == 6
