"""Answers that are no answers: of other shapes, without end, and larger than anybody can take."""

import itertools
import json
import random
import zlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

from exporter.web.messages import Request, Response
from tests.faults.stormy_api import Spoil

JSON = "application/json"
HUGE_BYTES = 257 * 1024 * 1024
"""More than the exporter reads of an answer."""
_PIECE = b" " * (1024 * 1024)

_SHAPES: tuple[object, ...] = (
    None,
    True,
    7,
    "page",
    [],
    {},
    [[[[]]]],
    {"object": "page"},
    {"object": "page", "data": None, "has_more": False},
    {"object": "page", "data": {}, "has_more": False},
    {"object": "page", "data": [None], "has_more": False},
    {"object": "page", "data": [[]], "has_more": False},
    # No bucket: nothing is said of the days, and that is no zero.
    {"object": "page", "data": [], "has_more": False, "next_page": None},
    {"object": "page", "data": [], "has_more": "no"},
    {"object": "list", "data": [], "has_more": None},
    {"object": "list", "data": "none", "has_more": False},
    {"object": "page", "data": [{"object": "bucket", "start_time": -1, "results": []}], "has_more": False},
    {"object": "page", "data": [{"object": "bucket", "start_time": 1e300, "results": []}], "has_more": False},
    {"object": "page", "data": [{"object": "bucket", "start_time": "today", "results": []}], "has_more": False},
    {"object": "page", "data": [{"object": "bucket", "start_time": 0, "results": {}}], "has_more": False},
    {"error": {"message": "not now", "type": "server_error"}},
)
_NO_AMOUNTS: tuple[object, ...] = (-1, 1.5, True, "many", [], {}, "NaN", "-1e400", 1e300)


def other_shape(seed: str) -> Spoil:
    """Answer with valid JSON of another shape each time, sometimes the right one with rows that are none."""
    chance = random.Random(seed)  # noqa: S311 - the same again for the same seed, no secret

    def spoil(request: Request, answer: Response) -> Response:
        if answer.status != 200:
            return answer
        content = json.loads(_body(answer))
        if content.get("object") == "page" and chance.random() < 1 / 3:
            return _json({**content, "data": [_with_bad_rows(bucket, chance) for bucket in content["data"]]})
        if "/projects" in request.path and chance.random() < 1 / 3:
            return _json({**content, "data": [{"id": 7}, None, "proj"]})
        return _json(chance.choice(_SHAPES))

    return spoil


def endless(*, same_cursor: bool) -> Spoil:
    """Let every list go on for ever, with one cursor or with ever new ones, always with what came first."""
    numbers = itertools.count()
    firsts: dict[str, dict[str, Any]] = {}

    def spoil(request: Request, answer: Response) -> Response:
        content = json.loads(_body(answer))
        if answer.status == 200 and "has_more" in content:
            firsts[request.path] = content
        elif request.path not in firsts:
            return answer
        # A cursor that was made up here is refused behind here, and goes on nevertheless.
        cursor = f"more_{0 if same_cursor else next(numbers)}"
        return _json({**firsts[request.path], "has_more": True, "next_page": cursor, "last_id": cursor})

    return spoil


def huge(*, compressed: str, plain: str) -> Spoil:
    """Answer these two paths with bodies without an end in sight: one on the wire, one once it is decompressed."""
    bomb = _bomb()

    def spoil(request: Request, answer: Response) -> Response:
        if answer.status == 200 and request.path.endswith(compressed):
            return Response(200, (bomb,), JSON, {"Content-Encoding": "gzip"})
        if answer.status == 200 and request.path.endswith(plain):
            return Response(200, _blanks(), JSON)
        return answer

    return spoil


def _bomb() -> bytes:
    """Return the beginning of a gzip stream: the same piece over and over, each compressed as if it were the first."""
    stream = zlib.compressobj(level=1, wbits=zlib.MAX_WBITS | 16)
    begun = stream.compress(b"") + stream.flush(zlib.Z_FULL_FLUSH)
    piece = stream.compress(_PIECE) + stream.flush(zlib.Z_FULL_FLUSH)
    return begun + piece * (HUGE_BYTES // len(_PIECE))


async def _blanks() -> AsyncIterator[bytes]:
    for _ in range(HUGE_BYTES // len(_PIECE)):
        yield _PIECE


def _with_bad_rows(bucket: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    rows: list[object] = []
    for row in bucket["results"]:
        if chance.random() < 1 / 2:
            rows.append(row)
        elif chance.random() < 1 / 4:
            rows.append(chance.choice((None, 7, "row", [row])))
        else:
            name = chance.choice(sorted(row))
            rows.append({**row, name: chance.choice(_NO_AMOUNTS)})
    return {**bucket, "results": rows}


def _body(answer: Response) -> bytes:
    assert not isinstance(answer.body, AsyncIterator)
    parts: Iterable[bytes] = answer.body
    return b"".join(parts)


def _json(content: object) -> Response:
    return Response(200, (json.dumps(content).encode(),), JSON)
