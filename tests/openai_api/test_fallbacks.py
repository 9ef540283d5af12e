"""What is read when the API refuses a part of the request."""

from collections.abc import Mapping

import pytest

from exporter.openai_api.answer import Answer
from exporter.openai_api.endpoints import COSTS, ENDPOINTS, Endpoint
from exporter.openai_api.errors import BadAnswer, KeyRefused, OpenAIError, RequestRefused
from exporter.openai_api.reading import WindowReader
from exporter.openai_api.refusal import (
    Refusal,
    earliest_start,
    first_start_of_grouping,
    refused_dimensions,
    smaller_limit,
)
from tests.openai_api.stand_ins import AUGUST, DAY, Clock, ScriptedApi, bucket, cost, page, pages

WINDOW = (AUGUST, AUGUST + 3 * DAY)
GROUPING = ("project_id", "user_id", "line_item", "api_key_id")
NO_API_KEYS = "group_by=api_key_id is not available for this time range. Try a start_time on or after 1764979200."
LOOKBACK = "Usage and cost data are available for the past year. Earliest supported start date: 2026-08-02 (UTC)."


def refused(message: str, *, param: str = "", code: str = "invalid_request_error") -> RequestRefused:
    return RequestRefused("costs", 400, message, param, code)


def read(reader: WindowReader, endpoint: Endpoint = COSTS, grouping: tuple[str, ...] = GROUPING) -> Answer:
    return reader.read(endpoint, *WINDOW, grouping)


def test_a_refused_grouping_is_dropped_and_everything_is_read_again_from_the_first_page() -> None:
    frames = (page([bucket(0, cost(7))], "two"), refused(NO_API_KEYS, param="start_time"))
    again = (page([bucket(0, cost(1))], "two"), page([bucket(1, cost(2))]))
    api = pages(*frames, *again)
    reader = WindowReader(api, Clock())
    answer = read(reader)
    assert answer.grouping == ("project_id", "user_id", "line_item")
    assert [sum(values[0] for values in day.values()) for day in answer.buckets.values()] == [1, 2]
    assert reader.refused_groupings("costs", AUGUST) == {"api_key_id"}
    assert reader.refused_groupings("usage/completions", AUGUST) == frozenset()
    assert [dict(query).get("page") for query in api.queries] == [None, "two", None, "two"]


def test_a_refused_grouping_is_remembered_for_a_day_and_then_tried_again() -> None:
    clock = Clock()
    refuse = True

    def answer(_query: Mapping[str, str], grouping: list[str]) -> object:
        return refused(NO_API_KEYS) if refuse and "api_key_id" in grouping else page([])

    api = ScriptedApi(answer, AUGUST)
    reader = WindowReader(api, clock)
    read(reader)
    assert len(api.queries) == 2
    clock.now += DAY - 1
    assert "api_key_id" not in read(reader).grouping
    assert len(api.queries) == 3
    refuse = False
    clock.now += 1
    assert reader.refused_groupings("costs", AUGUST) == frozenset()
    assert read(reader).grouping == GROUPING
    assert len(api.queries) == 4


def test_a_refused_grouping_is_logged_once_and_not_at_every_poll(caplog: pytest.LogCaptureFixture) -> None:
    def answer(_query: Mapping[str, str], grouping: list[str]) -> object:
        return refused(NO_API_KEYS) if "api_key_id" in grouping else page([])

    reader = WindowReader(ScriptedApi(answer, AUGUST), Clock())
    for _ in range(5):
        read(reader)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.__dict__["dimensions"] == "api_key_id"


@pytest.mark.parametrize(
    ("message", "param", "dropped"),
    [
        (NO_API_KEYS, "start_time", {"api_key_id"}),
        ("group_by user_id cannot be combined with project_id", "", {"user_id"}),
        ("group_by project_id cannot be combined with user_id", "", {"user_id"}),
        ("Grouping by line_item is not allowed", "", {"line_item"}),
        ("Invalid group_by", "", {"user_id", "api_key_id"}),
        ("Not allowed", "group_by", {"user_id", "api_key_id"}),
        ("Not allowed", "group_by[1]", {"user_id"}),
        ("Not allowed", "group_by[77]", {"user_id", "api_key_id"}),
        (
            "Invalid value: 'api_key_id'. Supported values are: 'project_id', 'user_id' and 'line_item'.",
            "group_by",
            {"api_key_id"},
        ),
        ("Unknown parameter: 'api_key_ids'", "api_key_ids", set()),
        ("Something about user_id", "", set()),
    ],
)
def test_the_refused_dimension_is_found_in_the_words_of_the_api(message: str, param: str, dropped: set[str]) -> None:
    refusal = Refusal(message, param, "invalid_request_error")
    assert refused_dimensions(refusal, GROUPING, COSTS.always_grouped) == dropped


def test_a_grouping_that_is_refused_dimension_by_dimension_ends_with_what_is_accepted() -> None:
    def answer(_query: Mapping[str, str], grouping: list[str]) -> object:
        wrong = [name for name in grouping if name not in COSTS.always_grouped]
        return refused(f"group_by={wrong[-1]} is refused") if wrong else page([bucket(0, cost(1))])

    assert read(WindowReader(ScriptedApi(answer, AUGUST), Clock())).grouping == ("project_id", "line_item")


def test_a_grouping_refused_without_names_when_nothing_can_be_dropped_is_a_refusal() -> None:
    reader = WindowReader(pages(refused("group_by is not supported")), Clock())
    with pytest.raises(RequestRefused, match="group_by is not supported"):
        read(reader, grouping=("project_id", "line_item"))


def test_an_optional_endpoint_that_refuses_a_grouping_is_not_absent() -> None:
    def answer(_query: Mapping[str, str], grouping: list[str]) -> object:
        return refused("group_by=api_source is not supported") if "api_source" in grouping else page([])

    answer_read = WindowReader(ScriptedApi(answer, AUGUST), Clock()).read(
        ENDPOINTS["usage/decisions"], *WINDOW, ("model", "api_source")
    )
    assert answer_read.grouping == ("model",)


@pytest.mark.parametrize(
    "refusal",
    [
        RequestRefused("usage/decisions", 400, "Invalid page cursor."),
        KeyRefused("usage/decisions", 403, "Not now."),
    ],
    ids=["a cursor", "a key"],
)
def test_an_optional_endpoint_that_refuses_a_later_page_is_not_absent(refusal: OpenAIError) -> None:
    decisions = ENDPOINTS["usage/decisions"]
    assert decisions.may_be_absent
    api = pages(page([bucket(0)], "two"), refusal)
    with pytest.raises(BadAnswer, match=r"page 2: OpenAI refused it \(HTTP 40[03]\)"):
        read(WindowReader(api, Clock()), decisions, ())


@pytest.mark.parametrize("endpoint", [COSTS, ENDPOINTS["usage/completions"], ENDPOINTS["usage/decisions"]])
def test_history_out_of_reach_is_left_out_and_said(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    def answer(query: Mapping[str, str], _grouping: list[str]) -> object:
        if int(query["start_time"]) < AUGUST + DAY:
            return refused(LOOKBACK, code="reporting_lookback_exceeded")
        return page([bucket(1), bucket(2)])

    answer_read = WindowReader(ScriptedApi(answer, AUGUST + 2 * DAY), Clock()).read(endpoint, *WINDOW, ["project_id"])
    assert (answer_read.start, answer_read.end) == (AUGUST + DAY, AUGUST + 3 * DAY)
    assert sorted(answer_read.buckets) == [AUGUST + DAY, AUGUST + 2 * DAY]
    (record,) = caplog.records
    assert (record.levelname, record.__dict__["starts_at"]) == ("WARNING", "2026-08-02")


def test_history_out_of_reach_is_said_at_most_once_a_day_for_each_api(caplog: pytest.LogCaptureFixture) -> None:
    def answer(query: Mapping[str, str], _grouping: list[str]) -> object:
        if int(query["start_time"]) < AUGUST + DAY:
            return refused(LOOKBACK, code="reporting_lookback_exceeded")
        return page([bucket(1), bucket(2)])

    clock = Clock()
    reader = WindowReader(ScriptedApi(answer, AUGUST + 2 * DAY), clock)
    told = []
    for _ in range(25):
        read(reader)
        reader.read(ENDPOINTS["usage/completions"], *WINDOW, [])
        told.append([record.__dict__["api"] for record in caplog.records])
        caplog.clear()
        clock.now += 3600
    both = ["costs", "usage/completions"]
    assert told == [both, *[[]] * 23, both]


@pytest.mark.parametrize(
    "message",
    [
        "Too old.",
        "Earliest supported start date: 2027-01-01 (UTC).",
        "Earliest supported start date: 2026-08-01 (UTC).",
        "Earliest supported start date: 2026-13-99 (UTC).",
    ],
)
def test_refused_history_without_a_day_to_start_at_is_a_refusal(message: str) -> None:
    with pytest.raises(RequestRefused):
        read(WindowReader(pages(refused(message, code="reporting_lookback_exceeded")), Clock()))


def test_the_earliest_day_is_told_from_the_day_that_was_asked_for() -> None:
    message = "start_time 2024-01-01 is too old. Earliest supported start date: 2025-11-21 (UTC), not 2026-01-01."
    assert earliest_start(Refusal(message, code="reporting_lookback_exceeded")) == 1763683200
    assert earliest_start(Refusal("2024-01-01 is before 2025-11-21", code="reporting_lookback_exceeded")) == 1763683200
    assert earliest_start(Refusal(message, code="other")) is None


def test_a_smaller_page_is_used_where_the_api_wants_one_and_remembered() -> None:
    def answer(query: Mapping[str, str], _grouping: list[str]) -> object:
        if int(query["limit"]) > 7:
            return refused("Invalid limit provided: 31. Limit must be less than or equal to 7.")
        return page([bucket(0, cost(1))])

    api = ScriptedApi(answer, AUGUST)
    reader = WindowReader(api, Clock())
    read(reader)
    read(reader)
    assert [dict(query)["limit"] for query in api.queries] == ["31", "7", "7"]


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        ("Invalid limit provided: 366. Limit must be less than or equal to 180.", 180),
        ("limit: the maximum is 7", 7),
        ("limit must not exceed 20", 20),
        ("limit must be at most 400", None),
        ("limit must be less than or equal to 0", None),
        ("Invalid limit", None),
        ("Invalid start_time, at most 20", None),
    ],
)
def test_the_allowed_page_size_is_found_in_the_words_of_the_api(message: str, limit: int | None) -> None:
    assert smaller_limit(Refusal(message), 366) == limit


def test_an_api_that_always_finds_something_new_to_refuse_is_given_up() -> None:
    def answer(query: Mapping[str, str], _grouping: list[str]) -> object:
        return refused(f"limit must be at most {int(query['limit']) - 1}")

    api = ScriptedApi(answer, AUGUST)
    with pytest.raises(BadAnswer, match="refused 12 ways to ask"):
        read(WindowReader(api, Clock()))
    assert len(api.queries) == 12


class RefusingKeys:
    """An API that tells keys apart only in windows from a day on, and says so in some words or other."""

    def __init__(self, first_day: int, words: str) -> None:
        self.first_day = AUGUST + first_day * DAY
        self.words = words
        self.clock = Clock(AUGUST + 5 * DAY)
        self.api = ScriptedApi(self._answer, AUGUST + 5 * DAY)
        self.reader = WindowReader(self.api, self.clock)

    def read(self, first_day: int, *, needed_from: int | None = None) -> tuple[int, bool]:
        """Read days until the fifth; return the first day that was read, and whether keys were told apart."""
        needed = None if needed_from is None else AUGUST + needed_from * DAY
        start = AUGUST + first_day * DAY
        answer = self.reader.read(COSTS, start, AUGUST + 6 * DAY, GROUPING, needed_from=needed)
        assert sorted(answer.buckets) == list(range(answer.start, answer.end, DAY))
        assert set(GROUPING) - set(answer.grouping) <= {"api_key_id"}
        return (answer.start - AUGUST) // DAY, "api_key_id" in answer.grouping

    def asked(self) -> int:
        """Return how many requests there were since this was last asked."""
        count = len(self.api.queries)
        self.api.queries.clear()
        return count

    def _answer(self, query: Mapping[str, str], grouping: list[str]) -> object:
        start, end = int(query["start_time"]), int(query["end_time"])
        if "api_key_id" in grouping and start < self.first_day:
            return refused(f"group_by=api_key_id is not available for this time range.{self.words}")
        return page([bucket(0, start=day) for day in range(start, end, DAY)])


def try_on_or_after(day: int) -> str:
    return f" Try a start_time on or after {AUGUST + day * DAY}."


def test_a_grouping_refused_to_windows_before_a_day_is_asked_for_by_later_ones_at_once() -> None:
    refusing = RefusingKeys(2, try_on_or_after(2))

    assert refusing.read(0) == (0, False)
    assert refusing.asked() == 2
    assert refusing.reader.refused_groupings("costs", AUGUST + 2 * DAY - 1) == {"api_key_id"}
    assert refusing.reader.refused_groupings("costs", AUGUST + 2 * DAY) == frozenset()
    for first_day, told_apart in ((2, True), (1, False), (0, False), (3, True)):
        assert refusing.read(first_day) == (first_day, told_apart)
        assert refusing.asked() == 1


def test_a_hint_is_forgotten_after_a_day_as_any_refusal() -> None:
    refusing = RefusingKeys(2, try_on_or_after(2))
    refusing.read(0)
    refusing.first_day = AUGUST
    refusing.clock.now += DAY - 1
    assert refusing.read(0) == (0, False)
    refusing.clock.now += 1
    assert refusing.read(0) == (0, True)


@pytest.mark.parametrize("words", ["", try_on_or_after(-3), try_on_or_after(0), " Try a start_time after August."])
def test_a_hint_that_explains_nothing_is_no_hint(words: str) -> None:
    refusing = RefusingKeys(2, words)

    assert refusing.read(0) == (0, False)
    assert refusing.read(3) == (3, False)
    refusing.clock.now += DAY
    assert refusing.read(3) == (3, True)


def test_a_later_refusal_without_a_hint_holds_for_all_windows() -> None:
    refusing = RefusingKeys(2, try_on_or_after(2))
    refusing.read(0)
    refusing.first_day, refusing.words = AUGUST + 9 * DAY, ""

    assert refusing.read(3) == (3, False)
    assert refusing.reader.refused_groupings("costs", AUGUST + 4 * DAY) == {"api_key_id"}


@pytest.mark.parametrize(
    ("words", "read_from"),
    [
        (try_on_or_after(2), 2),
        (f" Try a start_time on or after {AUGUST + 2 * DAY - 1}.", 2),
        ("", 4),
        (try_on_or_after(-3), 4),
    ],
)
def test_days_that_are_only_worth_reading_at_a_grouping_are_left_out_where_it_is_refused(
    words: str, read_from: int
) -> None:
    refusing = RefusingKeys(2, words)

    assert refusing.read(0, needed_from=4) == (read_from, True)
    assert refusing.asked() == 2
    # Days that are needed do not suffer from what was refused to others.
    assert refusing.read(4) == (4, True)
    assert refusing.reader.refused_groupings("costs", AUGUST) == {"api_key_id"}


@pytest.mark.parametrize("words", ["", try_on_or_after(9)])
def test_a_grouping_refused_to_needed_days_too_is_given_up_for_them_and_no_other_day_is_read(words: str) -> None:
    refusing = RefusingKeys(9, words)

    assert refusing.read(0, needed_from=4) == (4, False)
    assert refusing.asked() == 3
    assert refusing.read(4) == (4, False)
    assert refusing.asked() == 1


@pytest.mark.parametrize(
    ("message", "first_start"),
    [
        (NO_API_KEYS, 1764979200),
        ("start_time must be on or after 1764979200", 1764979200),
        ("Use a start_time after: 1764979200", 1764979200),
        ("Available since 1764979200", None),
        ("Try a start_time on or after 2025-12-06.", None),
        ("start_time 1764979200 is too early", None),
        ("start_time on or after 17649792001234", None),
    ],
)
def test_the_first_start_of_a_grouping_is_found_in_the_words_of_the_api(message: str, first_start: int | None) -> None:
    assert first_start_of_grouping(Refusal(message)) == first_start
