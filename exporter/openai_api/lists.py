"""Cursor lists of the organization API: all entries of a list, page by page, whole or not at all."""

import logging
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from exporter.openai_api.connection import Query
from exporter.openai_api.errors import BadAnswer
from exporter.openai_api.pages import NotAPageError, field_path, parse_json
from exporter.openai_api.reading import Api

_log = logging.getLogger(__name__)

_ENTRIES_PER_PAGE: Final = 100
_MOST_PAGES: Final = 1000


UnixSeconds = Annotated[int, Field(strict=True, gt=-(2**63), lt=2**63)]
"""A time. Bounded and strict: 1e999999999 is never written out, and every number on the page is one to Prometheus."""


class Parsed(BaseModel):
    """A part of an answer. What it was made from stays out of pydantic's errors: it may be an e-mail address."""

    model_config = ConfigDict(hide_input_in_errors=True)


class Entry(Parsed):
    """What every entry of every list has."""

    id: str = Field(min_length=1)


class _List(Parsed):
    data: list[Any]
    has_more: bool = Field(strict=True)
    last_id: str | None = None


EntryType = TypeVar("EntryType", bound=Entry)
ParsedType = TypeVar("ParsedType", bound=Parsed)


def read_list(connection: Api, path: str, query: Query, api: str, model: type[EntryType]) -> tuple[EntryType, ...]:
    """Return every entry, each id once. Entries that cannot be read are left out, which the log tells.

    Args:
        connection: is asked for each page.
        path: below the base URL.
        query: goes with every page's request.
        api: what the label `api` says.
        model: of an entry.

    Raises:
        OpenAIError: nothing was read.
    """
    found: dict[str, EntryType] = {}
    after: str | None = None
    for _ in range(_MOST_PAGES):
        params = (*query, ("limit", str(_ENTRIES_PER_PAGE)), *((("after", after),) if after else ()))
        page = parse_answer(connection.get(path, params, api).body, api, _List)
        known = len(found)
        for entry in _valid_entries(page.data, api, model):
            found.setdefault(entry.id, entry)
        if not page.has_more or not page.data:
            return tuple(found.values())
        if len(found) == known:
            raise BadAnswer(api, "a page of the list repeats what was read before")
        # Not every server fills in last_id, but the last entry is the same thing.
        after = page.last_id or list(found)[-1]
    raise BadAnswer(api, f"the list has more than {_MOST_PAGES} pages")


def parse_answer(body: Sequence[bytes], api: str, model: type[ParsedType]) -> ParsedType:
    """Read a whole answer that is one JSON object.

    Raises:
        BadAnswer: it is no JSON or has another shape; the message says where, never what stands there.
    """
    try:
        return model.model_validate(parse_json(*body))
    except NotAPageError as flaw:
        what_came = str(flaw)
    except ValidationError as error:
        what_came = unexpected_shape(field_path(error))
    raise BadAnswer(api, what_came)


def unexpected_shape(where: str) -> str:
    """Say that an answer has another shape than it should, at a field or, for "", as a whole."""
    return f"the answer has an unexpected shape at {where or 'its top'}"


def _valid_entries(entries: list[Any], api: str, model: type[EntryType]) -> Iterator[EntryType]:
    skipped = 0
    where = ""
    for index, entry in enumerate(entries):
        try:
            yield model.model_validate(entry)
        except ValidationError as error:
            skipped += 1
            where = where or f"data.{index}.{field_path(error)}"
    if skipped:
        _log.warning(
            "entries of a list could not be read and are left out",
            extra={"api": api, "entries": skipped, "field": where},
        )
