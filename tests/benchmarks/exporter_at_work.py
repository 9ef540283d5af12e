"""An exporter put together as the service does it, but for the network: answers are bytes at hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from exporter.configuration.loading import parse_configuration
from exporter.ledger.ledger import Ledger
from exporter.ledger.store import Store
from exporter.metrics.self_metrics import SelfMetrics
from exporter.openai_api.admin_key import AdminKey
from exporter.openai_api.connection import Connection
from exporter.polling.poller import Poller, Setting
from exporter.simulator.clock import SettableClock
from tests.benchmarks.organization import NOON, Answering

# Every row gets its own series, however many there are.
_CONFIGURATION: Final = "limits: {series_per_family: 1000000}"


@dataclass(frozen=True, slots=True)
class AtWork:
    """A poller with its ledger and clock."""

    poller: Poller
    ledger: Ledger
    store: Store
    self_metrics: SelfMetrics
    clock: SettableClock

    def poll(self, api: str) -> None:
        """Poll once.

        Raises:
            RuntimeError: it failed; there is nothing to measure.
        """
        self.poller.poll(api)
        health = self.poller.health.apis[api]
        if not health.success:
            raise RuntimeError(f"{api}: {health.problem}")

    def show_everything(self) -> None:
        """Let new series stand at 0 for as long as they have to."""
        self.clock.advance(300)
        self.poller.advance()

    def page(self) -> bytes:
        """Return the page in the text format."""
        return b"".join(self.poller.pages.page(openmetrics=False, gzip=False))


@contextmanager
def exporter_at_work(folder: Path, answering: Answering) -> Iterator[AtWork]:
    """Yield an exporter with its state in `folder`."""
    configuration = parse_configuration(_CONFIGURATION, "benchmark")
    clock = SettableClock(NOON)
    key = AdminKey("sk-admin-benchmark")
    self_metrics = SelfMetrics()
    with (
        Store.open(folder) as store,
        Connection(
            "http://127.0.0.1/v1", lambda: key, self_metrics, clock=clock, transport=httpx.MockTransport(answering)
        ) as connection,
    ):
        ledger = Ledger(store, configuration.limits.series_per_family)
        setting = Setting(configuration, lambda: key)
        poller = Poller(setting, ledger, connection, self_metrics, clock=clock, steady=clock)
        try:
            yield AtWork(poller, ledger, store, self_metrics, clock)
        finally:
            poller.stop()
