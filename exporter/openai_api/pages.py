"""One page of a usage or costs read: bytes to buckets of raw rows. Pure."""

import codecs
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, NoReturn

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from exporter.openai_api.bucket_widths import DAILY, BucketWidth

# Longer whole numbers stay Decimals: 1e999999 must not be written out.
_LONGEST_WHOLE_NUMBER: Final = 40


# Characters that are looked through in one go: no scrape gets its turn meanwhile.
_SLICE: Final = 1 << 18
# The same of rows that are forgotten.
_ROWS_AT_ONCE: Final = 100


class _Bucket(BaseModel):
    object: Literal["bucket"]
    start_time: Annotated[int, Field(strict=True, ge=0, lt=2**40)]
    results: list[Any]


class _Page(BaseModel):
    object: Literal["page"]
    data: list[_Bucket]
    has_more: Annotated[bool, Field(strict=True)]
    next_page: str | None = None


# A pair of escapes that is one character, half of such a pair, or any other escape.
_ESCAPE: Final = re.compile(
    r"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")

_PAGE: Final = TypeAdapter(_Page)


class NotAPageError(ValueError):
    """The bytes are no page; the message says where, never what stands there."""


@dataclass(frozen=True, slots=True)
class Page:
    """Buckets and the way on.

    Attributes:
        rows_by_start: raw rows by where their bucket begins, Unix seconds; clipped buckets of one day, or hour, are
            joined, identical repeats of a bucket left out.
        has_more: whether the API says that a page follows.
        cursor: for the next page, None if there is none.
    """

    rows_by_start: Mapping[int, list[object]]
    has_more: bool
    cursor: str | None

    def forget_rows(self, start: int) -> None:
        """Drop the rows of one bucket, bit by bit; left to the end of the page, scrapes would wait until all are."""
        rows = self.rows_by_start[start]
        while rows:
            del rows[-_ROWS_AT_ONCE:]


def parse_page(*body: bytes, width: BucketWidth = DAILY) -> Page:
    """Read a page of buckets of one width, whole or in pieces.

    Raises:
        NotAPageError: it is no JSON or has another shape.
    """
    page = _validated(parse_json(*body))
    rows_by_start: dict[int, list[object]] = {}
    for bucket in _without_repeats(page.data):
        rows_by_start.setdefault(width.start_of(bucket.start_time), []).extend(bucket.results)
    return Page(rows_by_start, page.has_more, page.next_page or None)


def _without_repeats(buckets: Sequence[_Bucket]) -> Iterator[_Bucket]:
    """Leave out what an earlier bucket says word for word; others of the same start are parts of one bucket."""
    firsts: dict[int, _Bucket] = {}
    spellings: dict[int, set[str]] = {}
    for bucket in buckets:
        first = firsts.setdefault(bucket.start_time, bucket)
        if first is not bucket:
            # Spelled out only here: hardly any page has two buckets of one start.
            known = spellings.setdefault(bucket.start_time, {_spelled(first)})
            spelling = _spelled(bucket)
            if spelling in known:
                continue
            known.add(spelling)
        yield bucket


def _spelled(bucket: _Bucket) -> str:
    return json.dumps(bucket.results, sort_keys=True, default=str)


def parse_json(*body: bytes) -> object:
    """Read JSON, whole or in pieces, with exact numbers: whole ones as int, however spelled, others as Decimal.

    Half characters become U+FFFD: JSON can spell them, but nothing behind this point could write them.

    Raises:
        NotAPageError: it is no JSON.
    """
    try:
        text = _decoded(body)
        # The plain search first: it is many times faster, and hardly any answer has an escape.
        if _has_escape(text) and _SURROGATE.search(text):
            text = _ESCAPE.sub(lambda escape: "\ufffd" if escape[2] else escape[0], text)
        parsed: object = json.loads(
            text, parse_float=_exact_number, parse_constant=_refuse_constant, object_hook=_as_it_is
        )
    except json.JSONDecodeError as error:
        flaw = f"the answer is no JSON (line {error.lineno}, column {error.colno}, {sum(map(len, body))} bytes in all)"
    except (ValueError, ArithmeticError, RecursionError):
        # Among them: text that is not UTF-8, figures without end, brackets without end.
        flaw = "the answer is no JSON that can be read"
    else:
        return parsed
    # Raised here, not above: the decoder's own error carries the whole document.
    raise NotAPageError(flaw)


def _decoded(body: Sequence[bytes]) -> str:
    decoder = codecs.getincrementaldecoder("utf-8")()
    return "".join([*map(decoder.decode, body), decoder.decode(b"", final=True)])


def _has_escape(text: str) -> bool:
    # One more character: what is looked for has two.
    return any(text.find("\\u", at, at + _SLICE + 1) >= 0 for at in range(0, len(text), _SLICE))


def _validated(frame: object) -> _Page:
    try:
        return _PAGE.validate_python(frame)
    except ValidationError as error:
        where = field_path(error)
    raise NotAPageError(f"the answer has an unexpected shape at {where or 'its top'}")


def field_path(error: ValidationError) -> str:
    """Where the first flaw is, such as `data.0.start_time`."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return ".".join(str(step) for step in first["loc"])


def _exact_number(text: str) -> int | Decimal:
    number = Decimal(text)
    if number.adjusted() < _LONGEST_WHOLE_NUMBER and number == number.to_integral_value():
        return int(number)
    return number


def _as_it_is(parsed: dict[str, object]) -> dict[str, object]:
    """Change nothing: the decoder alone would hold up all other threads, scrapes too, until the answer's end."""
    return parsed


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
