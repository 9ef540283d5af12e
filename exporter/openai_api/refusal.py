"""What an error answer says, and what can be asked instead. Pure: text in, facts out."""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_SPEAKS_OF_GROUPING: Final = re.compile(r"group(?:ing)?[_ -]?by", re.IGNORECASE)
_GROUP_BY_INDEX: Final = re.compile(r"group_by\[([0-9]{1,2})\]")
_DATE: Final = re.compile(r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}\b")
_EARLIEST_DATE: Final = re.compile(r"earliest\D{0,200}([0-9]{4}-[0-9]{2}-[0-9]{2})\b", re.IGNORECASE)
_FIRST_START: Final = re.compile(
    r"start_time\D{0,20}(?:on or after|from|since|after)\D{0,5}([0-9]{9,11})\b", re.IGNORECASE
)
_MAXIMUM: Final = re.compile(
    r"(?:less than or equal to|no more than|not exceed|at most|up to|maximum|max|<=)[^0-9]{0,20}([0-9]{1,6})\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The fields of an error answer, each "" where the answer has no such text."""

    message: str = ""
    param: str = ""
    code: str = ""


def parse_refusal(body: bytes) -> Refusal:
    """Read `{"error": {"message", "type", "param", "code"}}`; a body of another shape says nothing."""
    try:
        frame = json.loads(body)
    except (ValueError, RecursionError):
        return Refusal()
    error = frame.get("error") if isinstance(frame, dict) else None
    if isinstance(error, str):
        return Refusal(message=error)
    if not isinstance(error, dict):
        return Refusal()
    return Refusal(**{name: error[name] for name in ("message", "param", "code") if isinstance(error.get(name), str)})


def refused_dimensions(refusal: Refusal, asked: Sequence[str], kept: Collection[str]) -> frozenset[str]:
    """Dimensions to leave out after a 400, empty if it is not about grouping.

    Args:
        refusal: what the API said.
        asked: the grouping of the refused request, in the order it was sent.
        kept: dimensions that are given up only if the API names nothing else.
    """
    text = f"{refusal.param} {refusal.message}"
    if not _SPEAKS_OF_GROUPING.search(text):
        return frozenset()
    index = _GROUP_BY_INDEX.search(refusal.param)
    if index and int(index[1]) < len(asked):
        return frozenset({asked[int(index[1])]})
    places = {dimension: re.search(rf"\b{re.escape(dimension)}\b", text) for dimension in asked}
    # The culprit is named before the values that would be accepted.
    named = sorted((place.start(), dimension) for dimension, place in places.items() if place)
    if not named:
        return frozenset(asked) - frozenset(kept)
    extras = [dimension for _, dimension in named if dimension not in kept]
    return frozenset({extras[0] if extras else named[0][1]})


def first_start_of_grouping(refusal: Refusal) -> int | None:
    """The first `start_time` from which the refused grouping is available, if the refusal names one."""
    found = _FIRST_START.search(refusal.message)
    return int(found[1]) if found else None


def earliest_start(refusal: Refusal) -> int | None:
    """The first UTC midnight the API still has, if the refusal is about history and names it."""
    if refusal.code != "reporting_lookback_exceeded":
        return None
    found = _EARLIEST_DATE.search(refusal.message)
    day = found[1] if found else max(_DATE.findall(refusal.message), default="")
    try:
        return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None


def smaller_limit(refusal: Refusal, limit: int) -> int | None:
    """The page size the API allows, if the refusal is about it and names a smaller one."""
    if "limit" not in f"{refusal.param} {refusal.message}".lower():
        return None
    found = _MAXIMUM.search(refusal.message)
    return int(found[1]) if found and 1 <= int(found[1]) < limit else None
