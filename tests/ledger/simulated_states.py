"""A naive API and a naive ledger, in fractions and plain sums: what the real one is held against."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from random import Random

from exporter.days import SECONDS_PER_DAY, day_of, previous_month_of
from exporter.exact import add_each
from exporter.ledger.account import Account
from exporter.ledger.counters import Counter, SeriesName
from exporter.openai_api.answer import Answer, RowKey, RowValues
from exporter.openai_api.endpoints import COSTS, Endpoint

Row = tuple[RowKey, RowValues]
Sums = dict[str, Fraction]


class NaiveApi:
    """One API's rows by day, at the finest grain; rows with equal keys add up."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.rows: dict[int, list[Row]] = {}

    def sums(self, day: int) -> Sums:
        """Return a day's true totals by measure, by currency for costs."""
        sums: Sums = defaultdict(Fraction)
        for key, values in self.rows.get(day, ()):
            for name, value in zip(measure_names(self.endpoint, key), values, strict=True):
                sums[name] += Fraction(value)
        return sums

    def answer(  # noqa: PLR0913 - everything an answer depends on
        self, start: int, end: int, grouping: tuple[str, ...], *, today: int, answered_at: int, order: Random
    ) -> Answer:
        """Answer as the API would: days up to the open one, rows in any order, some empty buckets left out."""
        buckets: dict[int, dict[RowKey, RowValues]] = {}
        for day in range(start, min(end, today + SECONDS_PER_DAY), SECONDS_PER_DAY):
            rows = list(self.rows.get(day, ()))
            order.shuffle(rows)
            bucket: dict[RowKey, RowValues] = {}
            for key, values in rows:
                reduced = self._reduced(key, grouping)
                bucket[reduced] = add_each(bucket[reduced], values) if reduced in bucket else values
            bucket = {key: values for key, values in bucket.items() if any(values)}
            if bucket or order.random() < 0.7:
                buckets[day] = bucket
        return Answer(self.endpoint.api, start, end, grouping, buckets, answered_at, rejected={})

    def _reduced(self, key: RowKey, grouping: Iterable[str]) -> RowKey:
        dimensions = self.endpoint.dimensions
        kept = tuple(value if name in grouping else None for name, value in zip(dimensions, key, strict=False))
        return kept + key[len(dimensions) :]


class NaiveLedger:
    """What was counted since the zero line: the sum, over all days ever answered for, of newest less zero-line values.

    A day is on the zero line when it is answered for while not remembered: at the very first answer, or older than all
    that is remembered.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._zero_line: dict[int, Sums] = {}
        self._newest: dict[int, Sums] = {}
        self._remembered_from: int | None = None
        self._applied_through: int | None = None

    def apply(self, answer: Answer, api: NaiveApi, *, now: int, revision_days: int) -> None:
        for day in range(answer.start, answer.end, SECONDS_PER_DAY):
            news = api.sums(day) if day in answer.buckets else Sums()
            old = self._newest.get(day, {})
            if self._remembered_from is None or day < self._remembered_from or self._endpoint.is_level:
                line = self._zero_line.get(day, {})
                self._zero_line[day] = _combined((1, line), (1, news), (-1, old))
            self._newest[day] = news
        self._remembered_from = min(answer.start, self._remembered_from or answer.start)
        if answer.buckets:
            # The API's clock is believed where it can be right: a bucket proves that its day has begun.
            believed = now if answer.answered_at < answer.start else min(now, answer.answered_at)
            newest = min(max(answer.buckets), day_of(believed))
            self._applied_through = max(newest, self._applied_through or newest)
        if self._applied_through is not None:
            horizon = self._applied_through - revision_days * SECONDS_PER_DAY
            if self._endpoint is COSTS:
                horizon = min(horizon, previous_month_of(self._applied_through))
            self._remembered_from = max(horizon, self._remembered_from)

    def counted(self) -> Sums:
        """Return what counters less what is held back must come to."""
        return _combined(*((1, sums) for sums in self._newest.values()), *((-1, z) for z in self._zero_line.values()))


def _combined(*terms: tuple[int, Mapping[str, Fraction]]) -> Sums:
    sums: Sums = defaultdict(Fraction)
    for sign, term in terms:
        for name, value in term.items():
            sums[name] += sign * value
    return sums


def measure_names(endpoint: Endpoint, key: RowKey) -> Sequence[str]:
    return (str(key[-1]),) if endpoint is COSTS else endpoint.measures


def counter_sums(counters: Mapping[SeriesName, Counter]) -> dict[str, Sums]:
    """Add all counters up by api and measure, going by nothing but the names users see."""
    sums: dict[str, Sums] = defaultdict(lambda: defaultdict(Fraction))
    for series, counter in counters.items():
        api, measure = _measure_of(series)
        sums[api][measure] += Fraction(counter.value)
    return sums


def _measure_of(series: SeriesName) -> tuple[str, str]:
    labels = dict(series.labels)
    if series.family.startswith("openai_cost_"):
        return "costs", series.family.removeprefix("openai_cost_").removesuffix("_total")
    if series.family == "openai_usage_tokens_total":
        return f"usage/{labels['operation']}", f"{labels['token_type']}_{labels['modality']}_tokens"
    if series.family == "openai_usage_requests_total":
        return f"usage/{labels['operation']}", "num_model_requests"
    raise AssertionError(f"no test makes {series.family}")


def held_sums(endpoint: Endpoint, account: Account) -> Sums:
    sums: Sums = defaultdict(Fraction)
    for key, values in account.held.items():
        for name, value in zip(measure_names(endpoint, key), values, strict=True):
            sums[name] += Fraction(value)
    return sums


def non_zero(sums: Mapping[str, Fraction]) -> Sums:
    return {name: value for name, value in sums.items() if value}
