"""What a Prometheus stores of an exporter, series by series, against what its state would show."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import httpx

from exporter.attribution import Attribution
from exporter.audit.asking import AuditError
from exporter.configuration.sections import Configuration
from exporter.days import day_of
from exporter.explanation.facts import attribution_of
from exporter.ledger.account import Account
from exporter.ledger.counters import CounterBook, SeriesName
from exporter.ledger.store import StoredState
from exporter.metrics.catalogue import COST, COST_DAY, COST_MONTH, EVENT_GAUGES, OPT_IN_LABELS, USAGE_COUNTERS
from exporter.metrics.event_gauges import event_gauges
from exporter.openai_api.endpoints import ENDPOINTS

_SECONDS: Final = 60.0

# Labels that are the exporter's; all others are the target's.
_OWN_LABELS: Final = frozenset(
    {
        *(label for family in (*USAGE_COUNTERS, COST, *EVENT_GAUGES) for label in family.labels),
        *(label for _, labels in OPT_IN_LABELS.values() for label in labels),
    }
)

Values = dict[SeriesName, float]
"""By series. Labels that are empty are left out, as Prometheus leaves them out."""


class Stored(NamedTuple):
    """One series: what the state would show, and what Prometheus has; None where a side has none."""

    state: float | None
    prometheus: float | None


@dataclass(frozen=True, slots=True)
class FamilySum:
    """A family, of gauges about a period one period: its series on both sides, and their sums."""

    name: str
    series: tuple[int, int]
    sums: tuple[float, float]


@dataclass(frozen=True, slots=True)
class InPrometheus:
    """What the comparison found.

    Attributes:
        url: where Prometheus is, without a password.
        sums: by family and period.
        differing: the series whose value never was the state's at any look.
        late: how many were not equal at the first look, and turned out to be earlier values of the state.
    """

    url: str
    sums: Sequence[FamilySum]
    differing: Mapping[SeriesName, Stored]
    late: int


def expected_values(state: StoredState, configuration: Configuration, now: float) -> Values:
    """Return what an exporter with this state and configuration shows at `now`: counters and event-time gauges."""
    values: Values = {}
    for name, counter in state.counters.items():
        values[_without_empty(name)] = float(counter.value) if counter.shown else 0.0
    attribution: Attribution = attribution_of(configuration, state.directory)
    book = CounterBook(state.counters, configuration.limits.series_per_family)
    for api, endpoint in ENDPOINTS.items():
        account = state.accounts.get(api, Account(api))
        for samples in event_gauges(endpoint, account, attribution, book, day_of(now)).values():
            values |= {_without_empty(name): float(value) for name, value in samples.items()}
    return values


class StoredSeries:
    """Compares one look after the other: Prometheus follows the state, so its values are earlier values of the state.

    Attributes:
        url: where Prometheus is, without a password.
    """

    def __init__(self, url: str, selector: str, client: httpx.Client) -> None:
        parsed = httpx.URL(url)
        self.url = str(parsed.copy_with(userinfo=b""))
        self._api = f"{str(parsed).rstrip('/')}/api/v1/query"
        self._selector = selector
        self._client = client
        # Of every series that is not settled: what the state showed at each look.
        self._shown: dict[SeriesName, list[float | None]] | None = None
        self._late = 0
        self._expected: Values = {}
        self._stored: Values = {}

    @property
    def is_settled(self) -> bool:
        """Whether no difference is left."""
        return self._shown is not None and not self._shown

    @property
    def open_series(self) -> int:
        """How many series are not settled; all of them as long as Prometheus has none."""
        return len(self._expected if self._shown is None else self._shown)

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be compared."""
        if self._shown is not None:
            return ()
        selector = f" with {self._selector}" if self._selector else ""
        problem = (
            f"The Prometheus at {self.url} has no series of this exporter now{selector}: is it scraped, and does the "
            "exporter run?"
        )
        return (problem,)

    def look(self, expected: Values) -> None:
        """Compare what Prometheus has now with what the state showed now and at looks before.

        Raises:
            AuditError: Prometheus cannot be asked.
        """
        families = {name.family for name in expected} | {
            family.name for family in (*USAGE_COUNTERS, COST, COST_DAY, COST_MONTH)
        }
        self._expected, self._stored = expected, self._read(sorted(families))
        if not self._stored and self._shown is None:
            return
        if self._shown is None:
            self._shown = {
                name: [expected.get(name)]
                for name in expected.keys() | self._stored.keys()
                if expected.get(name) != self._stored.get(name)
            }
            return
        for name, shown in list(self._shown.items()):
            shown.append(expected.get(name))
            if self._stored.get(name) in shown:
                del self._shown[name]
                self._late += 1

    def result(self) -> InPrometheus:
        """Return what is known after the last look."""
        differing = {
            name: Stored(self._expected.get(name), self._stored.get(name)) for name in sorted(self._shown or {})
        }
        return InPrometheus(self.url, tuple(_sums(self._expected, self._stored)), differing, self._late)

    def _read(self, families: Sequence[str]) -> Values:
        values: Values = {}
        targets: set[tuple[tuple[str, str], ...]] = set()
        for family in families:
            for metric, value in self._query(f"{family}{{{self._selector}}}"):
                labels = {name: text for name, text in metric.items() if name != "__name__"}
                targets.add(tuple(sorted((name, labels[name]) for name in labels.keys() - _OWN_LABELS)))
                own = tuple(sorted((name, labels[name]) for name in labels.keys() & _OWN_LABELS))
                values[SeriesName(family, own)] = value
        if len(targets) > 1:
            named = "; ".join(", ".join(f'{name}="{value}"' for name, value in target) for target in sorted(targets))
            raise AuditError(
                f"the Prometheus at {self.url} scrapes several exporters ({named}). Name one with "
                "--prometheus.selector, such as 'instance=\"host:10185\"'."
            )
        return values

    def _query(self, expression: str) -> Iterator[tuple[dict[str, str], float]]:
        try:
            answer = self._client.get(self._api, params={"query": expression}, timeout=_SECONDS)
            body: Any = answer.json()
            if body["status"] != "success":
                raise AuditError(f"the Prometheus at {self.url} refused {expression}: {body['error']}")
            for series in body["data"]["result"]:
                yield series["metric"], float(series["value"][1])
        except httpx.HTTPError as error:
            raise AuditError(
                f"the Prometheus at {self.url} gave no answer: {error}. Check --prometheus.url."
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise AuditError(
                f"what answers at {self.url} is no Prometheus. Check --prometheus.url, which ends before /api/v1."
            ) from error


def checked_url(text: str) -> str:
    """Return a URL as it was given.

    Raises:
        ValueError: it is none.
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(str(error)) from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("a URL such as http://127.0.0.1:9090 is needed")
    return text


def _without_empty(name: SeriesName) -> SeriesName:
    return SeriesName(name.family, tuple(sorted((label, value) for label, value in name.labels if value)))


def _sums(expected: Values, stored: Values) -> Iterator[FamilySum]:
    by_family: tuple[dict[str, list[float]], dict[str, list[float]]] = (defaultdict(list), defaultdict(list))
    for values, sorted_out in zip((expected, stored), by_family, strict=True):
        for name, value in values.items():
            sorted_out[_family_and_period(name)].append(value)
    for family in sorted(by_family[0].keys() | by_family[1].keys()):
        ours, theirs = by_family[0][family], by_family[1][family]
        yield FamilySum(family, (len(ours), len(theirs)), (math.fsum(ours), math.fsum(theirs)))


def _family_and_period(name: SeriesName) -> str:
    period = [f'{label}="{value}"' for label, value in name.labels if label in {"day", "month"}]
    return f"{name.family}{{{period[0]}}}" if period else name.family
