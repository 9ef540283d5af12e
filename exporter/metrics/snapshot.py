"""One moment of the ledger as ready-made pages: built by the poller, read by the web server, never changed."""

import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from exporter.attribution import Attribution
from exporter.configuration.sections import Configuration
from exporter.days import day_of
from exporter.exact import Amount
from exporter.ledger.account import Account, held_by_measure
from exporter.ledger.counters import CounterBook, SeriesName
from exporter.ledger.ledger import Ledger
from exporter.metrics.catalogue import (
    COST,
    EVENT_GAUGES,
    HELD_BACK,
    INFO_GAUGES,
    LINE_ITEM_INFO,
    MONEY_GAUGES,
    PROJECT_INFO,
    SERIES,
    SERIES_LIMIT,
    UNPRICED_TOKENS,
    USAGE_COUNTERS,
    WORKFLOW_INFO,
    Family,
    cost_counter,
    currency_of,
)
from exporter.metrics.event_gauges import DaySums, event_gauges
from exporter.metrics.info_gauges import line_item_info, project_info, workflow_info
from exporter.metrics.limit_gauges import reading_gauges
from exporter.metrics.money_gauges import MoneyGauges
from exporter.metrics.rendering import render_header, render_samples
from exporter.metrics.sample_order import SampleOrder
from exporter.openai_api.endpoints import COSTS, ENDPOINTS
from exporter.openai_api.readings import Readings
from exporter.pricing.list_prices import ListPrice

# Level 1: the pages are long and repetitive, higher levels cost far more time than they save bytes.
_GZIP_LEVEL: Final = 1
_GZIP_WINDOW: Final = zlib.MAX_WBITS | 16
# Characters that are worked on in one go: no scrape gets its turn meanwhile, and a page may have tens of millions.
_SLICE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Body:
    """A page without its per-scrape end, plain and compressed, both in pieces.

    The compressor has taken in `plain` and been flushed: a copy of it compresses what is appended.
    """

    plain: tuple[bytes, ...]
    compressed: tuple[bytes, ...]
    compressor: Any

    @classmethod
    def of(cls, plain: tuple[bytes, ...]) -> "Body":
        """Compress a page."""
        compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
        compressed = [*map(compressor.compress, plain), compressor.flush(zlib.Z_SYNC_FLUSH)]
        return cls(plain, tuple(filter(None, compressed)), compressor)

    def ending_with(self, end: bytes, *, gzip: bool) -> Sequence[bytes]:
        """Return the whole page: this body, then `end`. With `gzip` it is one gzip member."""
        if not gzip:
            return *self.plain, end
        compressor = self.compressor.copy()
        return *self.compressed, compressor.compress(end) + compressor.flush()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Both formats of everything the ledger has to say.

    Attributes:
        today: the UTC midnight that `day="today"` meant when this was built.
        text: for the Prometheus text format 0.0.4.
        openmetrics: for OpenMetrics 1.0.0, without its end marker.
        unpriced_models: those with tokens of today or yesterday that no price is known for.
    """

    today: int
    text: Body
    openmetrics: Body
    unpriced_models: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a snapshot says beside the ledger.

    Attributes:
        configuration: its budgets and prices.
        readings: what was read of the organization's limits, keys and users.
        list_price: prices of models never billed; None where there is no list.
    """

    configuration: Configuration = field(default_factory=Configuration)
    readings: Readings = field(default_factory=Readings)
    list_price: ListPrice | None = None


class SnapshotBuilder:
    """Builds snapshots, keeping the texts of what did not change since the last one."""

    def __init__(self) -> None:
        self._order: defaultdict[tuple[str, str], SampleOrder] = defaultdict(SampleOrder)
        # Rendered: most polls change one API's gauges, and rendering all of them is what a poll costs.
        self._gauges: dict[str, tuple[Account, tuple[object, ...], dict[Family, str]]] = {}
        self._day_sums = DaySums()
        self._line_items: tuple[Account, dict[SeriesName, Amount]] | None = None
        self._money = MoneyGauges()

    def build(
        self, ledger: Ledger, attribution: Attribution, now: float, surroundings: Surroundings | None = None
    ) -> Snapshot:
        """Render the ledger as it stands at `now`, Unix seconds."""
        today = day_of(now)
        surroundings = surroundings or Surroundings()
        blocks: list[tuple[Family, str]] = []
        series: dict[SeriesName, Amount] = {}

        def add_block(family: Family, samples: str) -> None:
            if samples:
                blocks.append((family, samples))
                series[SeriesName(SERIES.name, (("family", family.name),))] = _lines_in(samples)

        for family, samples in self._counters(ledger.book):
            add_block(family, samples)
        for family, samples in self._event_gauges(ledger, attribution, today):
            add_block(family, samples)
        gauges = self._money.newest(
            ledger.accounts, attribution, today, surroundings.configuration, surroundings.list_price
        )
        gauges |= {
            PROJECT_INFO: project_info(attribution.projects),
            WORKFLOW_INFO: workflow_info(attribution.rules),
            LINE_ITEM_INFO: self._line_item_info(ledger.accounts[COSTS.api]),
        }
        gauges |= reading_gauges(surroundings.readings, attribution.projects)
        for family in (*MONEY_GAUGES, *INFO_GAUGES):
            add_block(family, self._order["", family.name].render(gauges.get(family, {})))
        blocks.append((HELD_BACK, render_samples(_held_back(ledger.accounts))))
        blocks.append((SERIES, render_samples(series)))
        limits = {
            SeriesName(SERIES_LIMIT.name, (("family", family.name),)): ledger.book.limit
            for family in (*USAGE_COUNTERS, COST)
        }
        blocks.append((SERIES_LIMIT, render_samples(limits)))
        # Both formats share the samples' bytes.
        encoded = [(family, _encoded(samples)) for family, samples in blocks]
        return Snapshot(
            today,
            _body(encoded, openmetrics=False),
            _body(encoded, openmetrics=True),
            frozenset(dict(name.labels)["model"] for name in gauges.get(UNPRICED_TOKENS, {})),
        )

    def _line_item_info(self, costs: Account) -> dict[SeriesName, Amount]:
        if self._line_items is None or self._line_items[0] is not costs:
            self._line_items = costs, line_item_info(costs)
        return self._line_items[1]

    def _counters(self, book: CounterBook) -> list[tuple[Family, str]]:
        families = {family.name: family for family in (*USAGE_COUNTERS, COST)}
        for name in book.series_per_family():
            if name not in families:
                families[name] = cost_counter(currency_of(name))
        samples: dict[str, dict[SeriesName, Amount]] = {name: {} for name in families}
        for series, counter in book.counters.items():
            samples[series.family][series] = counter.value if counter.shown else 0
        return [(family, self._order["", name].render(samples[name])) for name, family in families.items()]

    def _event_gauges(self, ledger: Ledger, attribution: Attribution, today: int) -> list[tuple[Family, str]]:
        texts: dict[Family, list[str]] = {family: [] for family in EVENT_GAUGES}
        for api, account in ledger.accounts.items():
            # A full family folds what it does not know: that depends on how many series there are, and may be.
            basis = (attribution, today, len(ledger.book.counters), ledger.book.limit)
            known = self._gauges.get(api)
            if known is None or known[0] is not account or known[1] != basis:
                gauges = event_gauges(ENDPOINTS[api], account, attribution, ledger.book, today, day_sums=self._day_sums)
                known = (
                    account,
                    basis,
                    {family: self._order[api, family.name].render(samples) for family, samples in gauges.items()},
                )
                self._gauges[api] = known
            for family, text in known[2].items():
                texts.setdefault(family, []).append(text)
        return [(family, "".join(parts)) for family, parts in texts.items()]


def _held_back(accounts: Mapping[str, Account]) -> dict[SeriesName, Amount]:
    return {
        SeriesName(HELD_BACK.name, (("api", api), ("measure", measure))): held
        for api, account in accounts.items()
        if account.covered_from is not None and not ENDPOINTS[api].is_level
        for measure, held in held_by_measure(ENDPOINTS[api], account).items()
    }


def _body(blocks: Sequence[tuple[Family, tuple[bytes, ...]]], *, openmetrics: bool) -> Body:
    return Body.of(
        tuple(
            piece
            for family, samples in blocks
            if samples
            for piece in (render_header(family, openmetrics=openmetrics).encode(), *samples)
        )
    )


def _encoded(samples: str) -> tuple[bytes, ...]:
    return tuple(samples[start : start + _SLICE].encode() for start in range(0, len(samples), _SLICE))


def _lines_in(text: str) -> int:
    return sum(text.count("\n", start, start + _SLICE) for start in range(0, len(text), _SLICE))


class Pages:
    """The newest snapshot, with self-metrics appended at every scrape.

    Attributes:
        snapshot: swapped whole by the poller.
    """

    def __init__(self, snapshot: Snapshot, self_metrics: Callable[[bool], bytes]) -> None:
        self.snapshot = snapshot
        self._self_metrics = self_metrics

    def page(self, *, openmetrics: bool, gzip: bool) -> Sequence[bytes]:
        """Return the page in chunks. Never waits for a poll, the disk or OpenAI."""
        snapshot = self.snapshot
        body = snapshot.openmetrics if openmetrics else snapshot.text
        return body.ending_with(self._self_metrics(openmetrics), gzip=gzip)
