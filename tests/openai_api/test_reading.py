import json
from collections.abc import Mapping
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.openai_api.answer import Answer
from exporter.openai_api.endpoints import COSTS, ENDPOINTS
from exporter.openai_api.errors import BadAnswer, EndpointAbsent, KeyRefused, RequestRefused, Unreachable
from exporter.openai_api.reading import WindowReader
from tests.openai_api.stand_ins import AUGUST, DAY, Clock, ScriptedApi, bucket, cost, page, pages

EMBEDDINGS = ENDPOINTS["usage/embeddings"]
DECISIONS = ENDPOINTS["usage/decisions"]
WINDOW = (AUGUST, AUGUST + 3 * DAY)


def read(api: ScriptedApi, window: tuple[int, int] = WINDOW) -> Answer:
    return WindowReader(api, Clock()).read(COSTS, *window, ["project_id", "line_item"])


def days(answer: Answer) -> dict[int, int]:
    """Total of each day, by the day's number from the start of August."""
    return {
        (day - AUGUST) // DAY: int(sum(values[0] for values in rows.values())) for day, rows in answer.buckets.items()
    }


def used(model: str, tokens: int, requests: int) -> dict[str, object]:
    return {
        "object": EMBEDDINGS.result_object,
        "model": model,
        "input_tokens": tokens,
        "num_model_requests": requests,
    }


def test_the_query_asks_for_whole_days_in_the_order_of_the_table() -> None:
    api = pages(page([]))
    WindowReader(api, Clock()).read(COSTS, *WINDOW, {"line_item", "project_id"})
    assert api.paths == ["/organization/costs"]
    assert api.queries == [
        (
            ("start_time", str(AUGUST)),
            ("end_time", str(AUGUST + 3 * DAY)),
            ("bucket_width", "1d"),
            ("limit", "31"),
            ("group_by[]", "project_id"),
            ("group_by[]", "line_item"),
        )
    ]


def test_all_pages_are_read_by_the_identical_query_and_the_cursor() -> None:
    api = pages(page([bucket(0, cost(1))], "two"), page([bucket(1, cost(2))], "three"), page([bucket(2, cost(3))]))
    answer = read(api)
    assert days(answer) == {0: 1, 1: 2, 2: 3}
    first, second, third = api.queries
    assert second == (*first, ("page", "two"))
    assert third == (*first, ("page", "three"))


def test_an_answer_says_what_was_read_and_when() -> None:
    answer = read(pages(page([bucket(0), bucket(1, cost(1, project_id="proj_a", line_item="gpt-5, input"))])))
    assert answer == Answer(
        api="costs",
        start=AUGUST,
        end=AUGUST + 3 * DAY,
        grouping=("project_id", "line_item"),
        buckets={AUGUST: {}, AUGUST + DAY: {("proj_a", None, "gpt-5, input", None, None, "usd"): (1,)}},
        answered_at=AUGUST + 2 * DAY,
        rejected={},
    )


def test_buckets_outside_the_window_are_left_out() -> None:
    answer = read(pages(page([bucket(-1, cost(9)), bucket(0, cost(1)), bucket(3, cost(9)), bucket(400, cost(9))])))
    assert days(answer) == {0: 1}


def test_two_buckets_of_one_day_within_a_page_add_up() -> None:
    assert days(read(pages(page([bucket(0, cost(1)), bucket(0, cost(2))])))) == {0: 3}


def test_a_day_of_an_earlier_page_is_never_added_again() -> None:
    api = pages(page([bucket(0, cost(1)), bucket(1, cost(2))], "two"), page([bucket(1, cost(2)), bucket(2, cost(3))]))
    assert days(read(api)) == {0: 1, 1: 2, 2: 3}


# A walk that a guard stops is complete if it reached the present day (day 2), else nothing is believed.
COMPLETE = (bucket(0, cost(1)), bucket(1, cost(2)), bucket(2, cost(3)))
CUT_SHORT = COMPLETE[:2]


@pytest.mark.parametrize(
    ("frames", "guard"),
    [
        pytest.param([({"more": True}, None)], "there is no cursor", id="more, but a null cursor"),
        pytest.param([({"cursor": "", "more": True}, None)], "there is no cursor", id="more, but an empty cursor"),
        pytest.param([({"cursor": "same"}, None)], "repeats buckets", id="the page parameter is ignored"),
        pytest.param([({"cursor": "a"}, None), ({"cursor": "b"}, [])], "an empty page", id="empty pages for ever"),
        pytest.param(
            [({"cursor": "a"}, None), ({"cursor": "b"}, [bucket(3, cost(9))])], "behind the end", id="phantom page"
        ),
        pytest.param(
            [({"cursor": "a"}, None), ({"cursor": "a"}, [bucket(-5)])], "a cursor came twice", id="duplicate cursor"
        ),
    ],
)
@pytest.mark.parametrize("buckets", [COMPLETE, CUT_SHORT], ids=["complete", "cut short"])
def test_a_guard_ends_the_walk_and_only_a_walk_that_reached_today_is_believed(
    buckets: tuple[dict[str, object], ...],
    frames: list[tuple[dict[str, Any], list[dict[str, object]] | None]],
    guard: str,
) -> None:
    api = pages(*(page(buckets if own is None else own, **more) for more, own in frames))
    if buckets is COMPLETE:
        assert days(read(api)) == {0: 1, 1: 2, 2: 3}
    else:
        with pytest.raises(BadAnswer, match=f"^costs: pages are missing: .*{guard}.*, after 2026-08-02; "):
            read(api)
    assert len(api.queries) <= 3


def test_cursors_and_days_without_end_are_bounded() -> None:
    numbers = iter(range(1, 1000))

    def answer(_query: Mapping[str, str], _grouping: list[str]) -> object:
        number = next(numbers)
        return page([bucket(-number)], f"cursor {number}")

    api = ScriptedApi(answer, AUGUST)
    with pytest.raises(BadAnswer, match="there is no end to the pages, after 2026-07-31"):
        read(api)
    assert len(api.queries) == 5


def test_a_stopped_walk_is_complete_at_the_end_of_the_window_even_if_that_is_long_ago() -> None:
    assert days(read(pages(page(COMPLETE, more=True), answered_at=AUGUST + 100 * DAY))) == {0: 1, 1: 2, 2: 3}


def test_a_stopped_walk_with_no_day_at_all_is_not_believed() -> None:
    with pytest.raises(BadAnswer, match="after no day at all"):
        read(pages(page([], more=True)))


def test_a_read_over_midnight_is_dated_by_its_first_page() -> None:
    api = ScriptedApi(lambda _query, _grouping: None, AUGUST + 2 * DAY - 2)

    def answer_of(query: Mapping[str, str], _grouping: list[str]) -> object:
        api.answered_at += 1
        return page([bucket(1, cost(1))], more=True) if "page" in query else page([bucket(0)], "two")

    api.answer = answer_of
    answer = read(api)
    assert answer.answered_at == AUGUST + 2 * DAY - 1
    assert days(answer) == {0: 0, 1: 1}


def test_nothing_is_kept_of_a_read_that_fails_on_its_last_page() -> None:
    frames = (page([bucket(0, cost(1))], "two"), Unreachable("costs", "HTTP 503"))
    with pytest.raises(Unreachable):
        read(pages(*frames))
    with pytest.raises(BadAnswer, match="page 2: the answer is no JSON"):
        read(pages(frames[0], b'{"object": "page", "data": ['))
    with pytest.raises(BadAnswer, match=r"page 2: the answer has an unexpected shape at data\.0\.results"):
        read(pages(frames[0], page([{"object": "bucket", "start_time": AUGUST + DAY}])))


@pytest.mark.parametrize(
    ("start", "end"), [(AUGUST + 1, AUGUST + DAY), (AUGUST, AUGUST + 1), (AUGUST, AUGUST), (AUGUST, AUGUST - DAY)]
)
def test_a_window_that_is_not_of_whole_days_is_a_mistake_of_the_caller(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="midnight"):
        read(pages(page([])), (start, end))


def test_a_grouping_the_endpoint_does_not_have_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="dimension"):
        WindowReader(pages(page([])), Clock()).read(COSTS, *WINDOW, ["model"])


def test_rejected_rows_are_counted_over_all_pages_and_the_first_of_each_kind_is_logged_without_content(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = cost("secret")
    api = pages(page([bucket(0, cost(1), bad, bad), bucket(-1, bad)], "two"), page([bucket(1, "secret", bad)]))
    answer = read(api)
    assert answer.rejected == {"invalid_value": 3, "not_an_object": 1}
    assert [
        (record.levelname, record.__dict__["reason"], record.__dict__["rows"], record.__dict__["field"])
        for record in caplog.records
    ] == [
        ("WARNING", "invalid_value", 3, "2026-08-01.results.1.amount.value"),
        ("WARNING", "not_an_object", 1, "2026-08-02.results.0"),
    ]
    assert "secret" not in str([record.__dict__ for record in caplog.records])


def told_of_rejections(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """API and reason of every warning since the last call."""
    told = [(record.__dict__["api"], record.__dict__["reason"]) for record in caplog.records]
    caplog.clear()
    return told


def test_a_row_that_stays_unreadable_is_told_when_it_is_new_and_then_once_an_hour(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    reader = WindowReader(pages(page([bucket(0, cost("secret"))])), clock)
    for _ in range(60):
        assert reader.read(COSTS, *WINDOW, []).rejected == {"invalid_value": 1}
        clock.now += 60
    assert told_of_rejections(caplog) == [("costs", "invalid_value")]
    reader.read(COSTS, *WINDOW, [])
    assert told_of_rejections(caplog) == [("costs", "invalid_value")]
    clock.now += 3599
    reader.read(COSTS, *WINDOW, [])
    assert told_of_rejections(caplog) == []


def test_another_reason_and_another_api_are_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    first, second = page([bucket(0, cost("secret"))]), page([bucket(0, cost("secret"), "no row")])
    reader = WindowReader(pages(first, second), Clock())
    reader.read(COSTS, *WINDOW, [])
    assert told_of_rejections(caplog) == [("costs", "invalid_value")]
    reader.read(COSTS, *WINDOW, [])
    assert told_of_rejections(caplog) == [("costs", "not_an_object")]
    reader.read(EMBEDDINGS, *WINDOW, [])
    assert set(told_of_rejections(caplog)) == {
        ("usage/embeddings", "unknown_object"),
        ("usage/embeddings", "not_an_object"),
    }


def test_an_unreadable_row_that_was_gone_is_new_again_but_a_failed_read_says_nothing_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad, good = page([bucket(0, cost("secret"))]), page([bucket(0, cost(1))])
    reader = WindowReader(pages(bad, Unreachable("costs", "HTTP 503"), bad, good, bad), Clock())
    reader.read(COSTS, *WINDOW, [])
    with pytest.raises(Unreachable):
        reader.read(COSTS, *WINDOW, [])
    reader.read(COSTS, *WINDOW, [])
    assert told_of_rejections(caplog) == [("costs", "invalid_value")]
    reader.read(COSTS, *WINDOW, [])
    reader.read(COSTS, *WINDOW, [])
    assert told_of_rejections(caplog) == [("costs", "invalid_value")]


def test_a_clock_that_is_set_back_silences_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    reader = WindowReader(pages(page([bucket(0, cost("secret"))])), clock)
    reader.read(COSTS, *WINDOW, [])
    clock.now -= DAY
    reader.read(COSTS, *WINDOW, [])
    assert told_of_rejections(caplog) == [("costs", "invalid_value")] * 2


@pytest.mark.parametrize("status", [400, 404, 405])
def test_an_endpoint_that_not_every_organization_has_is_absent_where_it_is_refused(status: int) -> None:
    reader = WindowReader(pages(RequestRefused("usage/decisions", status, "Unknown endpoint")), Clock())
    with pytest.raises(EndpointAbsent) as absent:
        reader.read(DECISIONS, *WINDOW, ["project_id", "model"])
    assert absent.value.status == status


def test_a_403_of_such_an_endpoint_says_nothing_about_the_key_but_a_401_does() -> None:
    reader = WindowReader(
        pages(KeyRefused("usage/decisions", 403, "no"), KeyRefused("usage/decisions", 401, "no")), Clock()
    )
    with pytest.raises(EndpointAbsent):
        reader.read(DECISIONS, *WINDOW, [])
    with pytest.raises(KeyRefused):
        reader.read(DECISIONS, *WINDOW, [])


@pytest.mark.parametrize(
    "error", [RequestRefused("costs", 404), KeyRefused("costs", 403, "no"), RequestRefused("costs", 400)]
)
def test_every_other_endpoint_is_never_absent(error: Exception) -> None:
    with pytest.raises(type(error)):
        read(pages(error))


ROWS = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from(["a", "b", "c", ""]), st.integers(0, 10**12), st.integers(0, 9)),
    max_size=40,
)


@given(
    ROWS,
    st.permutations(range(10)),
    st.lists(st.integers(1, 9), unique=True).map(sorted),
    st.randoms(use_true_random=False),
)
def test_the_split_into_pages_and_the_order_of_rows_make_no_difference(
    rows: list[tuple[int, str, int, int]], order: list[int], cuts: list[int], shuffler: Random
) -> None:
    def answer_of(day_order: list[int], page_ends: list[int], sent: list[tuple[int, str, int, int]]) -> Answer:
        buckets = [
            bucket(day, *(used(model, tokens, requests) for at, model, tokens, requests in sent if at == day))
            for day in day_order
        ]
        bounds = [0, *page_ends, len(buckets)]
        frames = [
            page(buckets[begin:end], f"after {end}" if end < len(buckets) else None) for begin, end in pairwise(bounds)
        ]
        reader = WindowReader(pages(*frames), Clock())
        return reader.read(EMBEDDINGS, AUGUST, AUGUST + 10 * DAY, ["model"])

    mixed = list(rows)
    shuffler.shuffle(mixed)
    answer = answer_of(list(range(10)), [], rows)
    assert answer_of(order, cuts, mixed) == answer
    total = sum(values[0] for day in answer.buckets.values() for values in day.values())
    assert total == sum(tokens for _, _, tokens, _ in rows)
    assert json.dumps(sorted(answer.buckets)) == json.dumps([AUGUST + day * DAY for day in range(10)])
