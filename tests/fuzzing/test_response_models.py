"""Any bytes from the API are rows or a refusal with a name; no row is half read, and none is lost without a count."""

import json
import logging
import math
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.exact import Amount, add_each
from exporter.metrics.limit_gauges import reading_gauges
from exporter.metrics.rendering import render_samples
from exporter.openai_api import rows
from exporter.openai_api.amounts import BadAmountError, parse_amount
from exporter.openai_api.answer import RowKey, RowValues
from exporter.openai_api.directory import Directory
from exporter.openai_api.endpoints import COSTS, ENDPOINTS, TOKEN_MEASURES, Endpoint
from exporter.openai_api.errors import OpenAIError, RequestRefused
from exporter.openai_api.headers import http_date, retry_after
from exporter.openai_api.pages import NotAPageError, parse_json, parse_page
from exporter.openai_api.projects import Project
from exporter.openai_api.reading import WindowReader
from exporter.openai_api.readings import Readings
from exporter.openai_api.refusal import (
    earliest_start,
    first_start_of_grouping,
    parse_refusal,
    refused_dimensions,
    smaller_limit,
)
from tests.fuzzing.mutations import any_texts, bodies, damaged, documents, junk, spelled
from tests.fuzzing.valid_answers import lists, pages_of, refusals
from tests.openai_api.stand_ins import Clock, ScriptedApi
from tests.simulator.asking import NOW, TODAY

DAY = 86_400
REASONS = {
    rows.NOT_AN_OBJECT,
    rows.UNKNOWN_OBJECT,
    rows.INVALID_VALUE,
    rows.MISSING_AMOUNT,
    rows.INVALID_QUANTITY,
}
ROW_IS_LOST = REASONS - {rows.INVALID_QUANTITY}
ACTIVE = Project("proj_a", "A", "active")

endpoints = st.sampled_from(sorted(ENDPOINTS)).map(ENDPOINTS.__getitem__)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    # Thousands of warnings, each of which is right.
    caplog.set_level(logging.CRITICAL)


@st.composite
def pages(draw: st.DrawFn) -> tuple[Endpoint, bytes]:
    endpoint = draw(endpoints)
    return endpoint, draw(bodies(pages_of(endpoint)))


@settings(max_examples=80)
@given(pages(), st.booleans())
def test_a_page_is_rows_each_of_which_counts_whole_or_is_rejected_once(
    page: tuple[Endpoint, bytes],
    grouped: bool,  # noqa: FBT001 - drawn
) -> None:
    endpoint, body = page
    try:
        read = parse_page(body)
    except NotAPageError as refusal:
        _check_flaw(refusal)
        return
    grouping = endpoint.dimensions if grouped else endpoint.always_grouped
    for start, of_day in read.rows_by_start.items():
        assert start >= 0
        together = rows.read_rows(endpoint, grouping, of_day)
        sums: dict[RowKey, RowValues] = {}
        rejected: Counter[str] = Counter()
        for row in of_day:
            alone = rows.read_rows(endpoint, grouping, [row])
            rejected += alone.rejected
            lost = sum(alone.rejected[reason] for reason in ROW_IS_LOST)
            assert (lost, len(alone.values)) in {(0, 0), (0, 1), (1, 0)}
            if not lost:
                _check_row(endpoint, row, alone.values)
            for key, values in alone.values.items():
                sums[key] = add_each(sums[key], values) if key in sums else values
        assert together.rejected == rejected
        assert rejected.keys() <= REASONS
        assert together.values == {key: values for key, values in sums.items() if endpoint.is_level or any(values)}


def _check_row(endpoint: Endpoint, row: object, read: dict[RowKey, RowValues]) -> None:
    assert isinstance(row, dict)
    values: RowValues = next(iter(read.values()), (0,) * len(endpoint.measures))
    for amount in values:
        _check_amount(endpoint, amount)
    if set(TOKEN_MEASURES) <= set(endpoint.measures):
        assert sum(values[: len(TOKEN_MEASURES)]) == row["input_tokens"] + row["output_tokens"]
    for key in read:
        assert len(key) == len(endpoint.dimensions) + (endpoint is COSTS)
        for text in key:
            assert text is None or text.encode()


def _check_amount(endpoint: Endpoint, amount: Amount) -> None:
    if endpoint is COSTS:
        assert -(10**18) < amount < 10**18
    else:
        assert isinstance(amount, int)
        assert not isinstance(amount, bool)
        assert 0 <= amount < 2**63


def _all_pages(draw: st.DrawFn) -> tuple[Endpoint, list[bytes]]:
    endpoint = draw(endpoints)
    return endpoint, draw(st.lists(bodies(pages_of(endpoint)), min_size=1, max_size=3))


@settings(max_examples=30)
@given(st.composite(_all_pages)())
def test_a_window_is_read_or_fails_by_a_name(walk: tuple[Endpoint, list[bytes]]) -> None:
    endpoint, left = walk
    api = ScriptedApi(lambda _query, _grouping: left.pop(0) if len(left) > 1 else left[0], answered_at=NOW)
    reader = WindowReader(api, Clock(NOW))
    try:
        answer = reader.read(endpoint, TODAY - DAY, TODAY + DAY, endpoint.dimensions)
    except OpenAIError as error:
        _check_message(error)
        return
    assert answer.buckets.keys() <= {TODAY - DAY, TODAY}
    assert answer.rejected.keys() <= REASONS


@settings(max_examples=30)
@given(
    endpoints,
    st.lists(damaged(documents(refusals()).map(lambda each: spelled(each).encode(errors="surrogatepass"))), min_size=1),
    st.sampled_from((400, 403, 404, 422)),
)
def test_any_refusal_ends_in_a_smaller_request_or_a_named_failure(
    endpoint: Endpoint, said: list[bytes], status: int
) -> None:
    def answer(_query: object, _grouping: object) -> OpenAIError:
        refusal = parse_refusal(said.pop(0) if len(said) > 1 else said[0])
        return RequestRefused(endpoint.api, status, refusal.message, refusal.param, refusal.code)

    with pytest.raises(OpenAIError) as failure:
        WindowReader(ScriptedApi(answer, NOW), Clock(NOW)).read(endpoint, TODAY - DAY, TODAY + DAY, endpoint.dimensions)
    _check_message(failure.value)


def _check_flaw(flaw: NotAPageError) -> None:
    assert str(flaw).isprintable()


def _check_message(error: OpenAIError) -> None:
    message = str(error)
    assert message.isprintable()
    assert len(message) < 2_000


@settings(max_examples=70)
@given(bodies(refusals()), st.sampled_from((1, 31, 180)))
def test_a_refusal_is_facts_that_make_a_request_smaller_whatever_it_says(body: bytes, limit: int) -> None:
    refusal = parse_refusal(body)
    assert all(isinstance(each, str) for each in (refusal.message, refusal.param, refusal.code))
    asked = COSTS.dimensions
    assert refused_dimensions(refusal, asked, COSTS.always_grouped) <= set(asked)
    start = earliest_start(refusal)
    assert start is None or start % DAY == 0
    first = first_start_of_grouping(refusal)
    assert first is None or 0 <= first < 10**11
    smaller = smaller_limit(refusal, limit)
    assert smaller is None or 1 <= smaller < limit


def _nothing_of(projects: tuple[Project, ...]) -> Readings:
    assert all(project.id and project.name for project in projects)
    return Readings()


READ: dict[str, Callable[[Directory], Readings]] = {
    "projects": lambda directory: _nothing_of(directory.projects()),
    "api_keys": lambda directory: Readings(api_keys=directory.api_keys("proj_a")),
    "users": lambda directory: Readings(users=directory.users(with_emails=True)),
    "spend_limits": lambda directory: Readings(spend_limits=directory.spend_limits([ACTIVE])),
    "rate_limits": lambda directory: Readings(rate_limits=directory.rate_limits([ACTIVE])),
}


def _list_answers(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    name = draw(st.sampled_from(sorted(READ)))
    return name, draw(st.lists(bodies(lists()[name], most_changes=6), min_size=1, max_size=2))


@settings(max_examples=70)
@given(st.composite(_list_answers)())
def test_the_directory_is_read_or_fails_by_a_name_and_every_number_of_it_is_one_to_prometheus(
    answers: tuple[str, list[bytes]],
) -> None:
    name, left = answers
    api = ScriptedApi(lambda _query, _grouping: left.pop(0) if len(left) > 1 else left[0], answered_at=NOW)
    try:
        readings = READ[name](Directory(api))
    except OpenAIError as error:
        _check_message(error)
        return
    for family, samples in reading_gauges(readings, {}).items():
        for amount in samples.values():
            assert abs(Decimal(amount)) < 2**63, family.name
        render_samples(samples).encode()


@settings(max_examples=120)
@given(
    st.lists(
        st.sampled_from(
            (
                *(
                    "Wed",
                    ", ",
                    " ",
                    "21",
                    "Oct",
                    "2026",
                    "07:28:00",
                    "GMT",
                    "-0000",
                    "+9999",
                    "-",
                    ":",
                    "99999999999999",
                    "0.5",
                ),
            )
        )
        | any_texts
    ).map("".join),
    st.floats(0, 2**40),
)
def test_a_header_about_time_is_seconds_or_nothing(text: str, now: float) -> None:
    moment = http_date(text)
    assert moment is None or math.isfinite(moment)
    wait = retry_after(text, now)
    assert wait is None or 0 <= wait < math.inf


@settings(max_examples=120)
@given(junk)
def test_an_amount_is_exact_and_bounded_or_none(value: object) -> None:
    try:
        said = parse_json(spelled(value).encode("utf-8", "surrogatepass"))
        amount = parse_amount(said)
    except (NotAPageError, BadAmountError):
        return
    assert not isinstance(said, bool)
    assert isinstance(said, int | str | Decimal)
    assert Fraction(amount) == Fraction(said)
    assert abs(amount) < 10**18
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int)
    assert exponent >= -60


@settings(max_examples=70)
@given(damaged(any_texts.map(lambda text: json.dumps(text).encode())))
def test_json_is_read_into_texts_that_can_be_written_or_is_refused(body: bytes) -> None:
    try:
        read = parse_json(body)
    except NotAPageError as refusal:
        _check_flaw(refusal)
        return
    json.dumps(read, ensure_ascii=False, default=str).encode()
