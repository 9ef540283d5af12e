"""How many days a read asks for at once, by how large its days are."""

import json
import logging
from collections.abc import Iterator
from urllib.parse import parse_qsl

import httpx
import pytest

from exporter.openai_api import page_sizes
from exporter.openai_api.answer import Answer
from exporter.openai_api.connection import Bounds
from exporter.openai_api.endpoints import COSTS
from exporter.openai_api.errors import BadAnswer
from exporter.openai_api.reading import WindowReader
from tests.openai_api.stand_ins import AUGUST, DAY, Clock, Setup, bucket, cost, page

DAYS = 4


class ApiWithLargeDays:
    """Gives days whose rows take so many bytes each, as many on a page as are asked for."""

    def __init__(self, *bytes_of_days: int, most_bytes: int = 1_000_000) -> None:
        self.bytes_of_days = bytes_of_days
        self.limits: list[int] = []
        self._setup = Setup(self._answer, bounds=Bounds(body=most_bytes))
        self._reader = WindowReader(self._setup.connection, Clock())

    def read(self) -> Answer:
        """Read all days; forget what was asked before."""
        self.limits.clear()
        return self._reader.read(COSTS, AUGUST, AUGUST + DAYS * DAY, ("project_id",))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        query = dict(parse_qsl(request.url.query.decode()))
        first, limit = int(query.get("page", 0)), int(query["limit"])
        self.limits.append(limit)
        last = min(first + limit, DAYS)
        buckets = [bucket(day, cost(day + 1, padding="x" * self.bytes_of_days[day])) for day in range(first, last)]
        # In the smallest pieces a network could give: what is kept of them must not depend on it.
        text = json.dumps(page(buckets, str(last) if last < DAYS else None)).encode()
        return httpx.Response(200, content=_byte_by_byte(text) if len(text) < 10_000 else text)


def _byte_by_byte(text: bytes) -> Iterator[bytes]:
    return (text[at : at + 1] for at in range(len(text)))


def amounts(answer: Answer) -> list[object]:
    return [values[0] for day in sorted(answer.buckets) for values in answer.buckets[day].values()]


@pytest.fixture(autouse=True)
def _answers_of_ten_kilobytes_are_wished_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_sizes, "_WISHED_BYTES", 10_000)


@pytest.mark.parametrize(
    ("bytes_of_days", "limit"),
    [((9, 9, 9, 9), 31), ((2_400, 2_400, 2_400, 2_400), 3), ((4_500, 4_500, 4_500, 4_500), 2), ((60_000, 9, 9, 9), 1)],
)
def test_as_many_days_are_asked_for_as_make_an_answer_of_the_wished_size(
    bytes_of_days: tuple[int, ...], limit: int
) -> None:
    api = ApiWithLargeDays(*bytes_of_days)
    assert amounts(api.read()) == [1, 2, 3, 4]
    assert api.limits == [31]
    assert amounts(api.read()) == [1, 2, 3, 4]
    assert api.limits == [limit] * -(-DAYS // limit)


def test_days_that_have_shrunk_are_asked_for_together_again() -> None:
    api = ApiWithLargeDays(9_999, 9_999, 9_999, 9_999)
    api.read()
    api.bytes_of_days = (9, 9, 9, 9)
    api.read()
    assert api.limits == [1, 1, 1, 1]
    api.read()
    assert api.limits == [31]


def test_the_page_with_the_largest_days_decides() -> None:
    api = ApiWithLargeDays(4_000, 4_000, 9, 9_999)
    api.read()
    api.read()
    assert api.limits == [2, 2]
    api.read()
    # Of the two pages before it was the second whose days were larger.
    assert api.limits == [1, 1, 1, 1]


def test_an_answer_that_is_too_large_is_asked_for_in_smaller_parts(caplog: pytest.LogCaptureFixture) -> None:
    api = ApiWithLargeDays(30_000, 30_000, 30_000, 30_000, most_bytes=100_000)
    with caplog.at_level(logging.DEBUG, "exporter"):
        assert amounts(api.read()) == [1, 2, 3, 4]
        assert api.limits == [31, 1, 1, 1, 1]
        assert amounts(api.read()) == [1, 2, 3, 4]
        assert api.limits == [1, 1, 1, 1]
    assert [record.getMessage() for record in caplog.records if record.name.startswith("exporter")] == [
        "asking for one bucket at a time"
    ]


def test_a_day_that_is_too_large_by_itself_is_told_and_read_no_second_time_by_the_next_poll() -> None:
    api = ApiWithLargeDays(9, 200_000, 9, 9, most_bytes=100_000)
    for limits in ([31, 1, 1], [1, 1]):
        with pytest.raises(BadAnswer, match="the answer is larger than 100000 bytes"):
            api.read()
        assert api.limits == limits
