import json
from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.openai_api import pages
from exporter.openai_api.pages import NotAPageError, parse_json, parse_page
from tests.openai_api.stand_ins import AUGUST, DAY, bucket, page


def encoded(frame: object) -> bytes:
    return json.dumps(frame).encode()


def test_a_page_gives_its_rows_by_start_and_the_way_on() -> None:
    read = parse_page(encoded(page([bucket(0, {"a": 1}), bucket(1)], "page_AAAAAGdGxdEiJdKOAAAAAGcqsYA=")))
    assert read.rows_by_start == {AUGUST: [{"a": 1}], AUGUST + DAY: []}
    assert read.has_more
    assert read.cursor == "page_AAAAAGdGxdEiJdKOAAAAAGcqsYA="


def test_an_unaligned_bucket_belongs_to_the_day_it_starts_in() -> None:
    clipped = {"object": "bucket", "start_time": 1736616660, "end_time": 1736640000, "results": [1]}
    assert parse_page(encoded(page([clipped]))).rows_by_start == {1736553600: [1]}


def test_buckets_of_one_day_are_joined() -> None:
    afternoon = {**bucket(0, 2), "start_time": AUGUST + 12 * 3600}
    assert parse_page(encoded(page([bucket(0, 1), afternoon]))).rows_by_start == {AUGUST: [1, 2]}


def test_an_identical_repeat_of_a_bucket_is_left_out() -> None:
    row = {"a": 1, "b": Decimal("0.5")}
    same = {"b": Decimal("0.5"), "a": 1}
    body = json.dumps(page([bucket(0, row), bucket(1, row), bucket(0, same), bucket(0, same)]), default=float).encode()
    assert parse_page(body).rows_by_start == {AUGUST: [row], AUGUST + DAY: [row]}


def test_buckets_of_one_day_with_other_rows_or_another_start_are_no_repeats() -> None:
    later = {**bucket(0, {"a": 1}), "start_time": AUGUST + 1}
    buckets = [bucket(0, {"a": 1}), later, bucket(0, {"a": 1}, {"a": 1}), bucket(0, {"a": True}), later]
    assert parse_page(encoded(page(buckets))).rows_by_start == {
        AUGUST: [{"a": 1}, {"a": 1}, {"a": 1}, {"a": 1}, {"a": True}]
    }


def test_many_buckets_of_one_start_take_no_time_to_tell_apart() -> None:
    buckets = [bucket(0, number) for number in range(20_000)]
    assert parse_page(encoded(page(buckets))).rows_by_start == {AUGUST: list(range(20_000))}


def test_an_empty_cursor_is_none() -> None:
    assert parse_page(encoded(page([], "", more=True))).cursor is None


@pytest.mark.parametrize(
    ("frame", "where"),
    [
        ([], "its top"),
        (None, "its top"),
        ({"error": {"message": "secret"}}, "object"),
        ({**page([]), "object": "list"}, "object"),
        ({**page([]), "has_more": "yes"}, "has_more"),
        ({**page([]), "has_more": None}, "has_more"),
        ({**page([]), "next_page": 5}, "next_page"),
        ({**page([]), "data": {}}, "data"),
        (page([{**bucket(0), "object": "basket"}]), "data.0.object"),
        (page([bucket(0), {**bucket(1), "start_time": "secret"}]), "data.1.start_time"),
        (page([{**bucket(0), "start_time": -1}]), "data.0.start_time"),
        (page([{**bucket(0), "start_time": 1.5}]), "data.0.start_time"),
        (page([{**bucket(0), "start_time": True}]), "data.0.start_time"),
        (page([{**bucket(0), "results": None}]), "data.0.results"),
        (page([{"object": "bucket", "start_time": AUGUST}]), "data.0.results"),
    ],
)
def test_a_frame_of_another_shape_is_refused_by_the_place_of_its_flaw(frame: object, where: str) -> None:
    with pytest.raises(NotAPageError) as refusal:
        parse_page(encoded(frame))
    assert str(refusal.value).endswith(f" {where}")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>secret</html>",
        b'{"object": "page", "data": [',
        b'{"secret": NaN}',
        b"[-Infinity]",
        b"[" * 100_000,
        b"[" + b"1" * 5000 + b"]",
        b"[1e99999999999999999999999]",
        b'["\xff"]',
        b'["\xed\xa0\x80"]',
    ],
)
def test_what_is_no_json_is_refused_without_being_repeated(body: bytes) -> None:
    with pytest.raises(NotAPageError) as refusal:
        parse_page(body)
    assert "secret" not in str(refusal.value)
    assert refusal.value.__context__ is None


def test_numbers_keep_every_digit() -> None:
    digits = "0.123456789012345678901234567890123456"
    assert parse_json(f"[{digits}, 1e2, 0E-6176, 1e999999]".encode()) == [
        Decimal(digits),
        100,
        0,
        Decimal("1e999999"),
    ]


def test_a_huge_exponent_is_never_written_out() -> None:
    numbers = parse_json(b"[1e999999999, 1e-999999999]")
    assert isinstance(numbers, list)
    assert [type(number) for number in numbers] == [Decimal, Decimal]


@given(st.text() | st.text(st.characters(categories=["Cs", "Lu", "Po"])))
def test_any_text_is_read_and_half_characters_can_be_written_afterwards(text: str) -> None:
    read = parse_json(json.dumps(text).encode())
    assert isinstance(read, str)
    # Two halves that stand side by side are a whole again, in JSON and in UTF-16.
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert "\ufffd" in read.encode().decode() or read == whole
    assert [c for c in read if c != "\ufffd"] == [c for c in whole if c != "\ufffd"]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_where_a_long_answer_is_cut_does_not_matter(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(text: bytes) -> Iterator[bytes]:
        return (text[at : at + size] for at in range(0, len(text), size))

    monkeypatch.setattr(pages, "_SLICE", size)
    text = '{"é": "日本 😀", "half": "' + "\\ud83d" + '", "whole": "' + "\\ud83d\\ude00" + '"}'
    assert parse_json(*cut(text.encode())) == {
        "é": "日本 😀",
        "half": "\ufffd",
        "whole": "😀",
    }
    for broken in (b'"\xc3', b'"\xff"', b""):
        with pytest.raises(NotAPageError):
            parse_json(*cut(broken))
