"""An organization as bytes that are ready before anything is measured: rows of completions as OpenAI spells them."""

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Final
from urllib.parse import parse_qsl

import httpx

from exporter.days import SECONDS_PER_DAY
from exporter.openai_api.endpoints import ENDPOINTS, Endpoint
from tests.openai_api.stand_ins import bucket, page

COMPLETIONS: Final = ENDPOINTS["usage/completions"]
NOON: Final = 1_793_275_200
"""2026-10-29 12:00 UTC."""
DAYS: Final = 4
"""What a poll reads by default: the open day and the last three closed ones."""
TIERS: Final = ("default", "priority", "flex")
MODELS: Final = 5
SERIES_PER_COMBINATION: Final = 12
"""Three kinds of tokens and the requests: as a counter, for today and for yesterday."""
ROWS_PER_COMBINATION: Final = DAYS * len(TIERS)

_TODAY: Final = NOON - NOON % SECONDS_PER_DAY


def completions(combinations: int, version: int) -> Sequence[bytes]:
    """Return a poll's buckets: each combination of project and model in three service tiers on four days.

    The series of a combination are as many as its rows. Every value of every row is larger in a later version.
    """
    days = (_TODAY - (DAYS - 1 - number) * SECONDS_PER_DAY for number in range(DAYS))
    rows = [_row(number, tier, version) for number in range(combinations) for tier in TIERS]
    return [json.dumps(bucket(0, start=day)).replace("[]", f"[{', '.join(rows)}]").encode() for day in days]


def _row(number: int, tier: str, version: int) -> str:
    cached, output = 30_000 + 2 * version + number % 7, 9_000 + version + number % 11
    whole = 100_000 + 5 * version + number % 1_000
    return json.dumps(
        {
            "object": COMPLETIONS.result_object,
            "input_tokens": whole,
            "output_tokens": output,
            "num_model_requests": 70 + version,
            "project_id": project(number // MODELS),
            "user_id": None,
            "api_key_id": None,
            "model": f"gpt-{4 + number % MODELS}.1-2026-04-14",
            "batch": None,
            "service_tier": tier,
            "input_cached_tokens": cached,
            "input_text_tokens": whole - cached,
            "output_text_tokens": output,
            "input_cached_text_tokens": cached,
            "input_audio_tokens": 0,
            "input_cached_audio_tokens": 0,
            "output_audio_tokens": 0,
            "input_image_tokens": 0,
            "input_cached_image_tokens": 0,
            "output_image_tokens": 0,
        }
    )


def project(number: int) -> str:
    """Return a project's id, as long as OpenAI's."""
    return f"proj_{number:024d}"


_PIECE: Final = 1 << 16


class OneAnswer:
    """Gives the same buckets to whoever asks, until they are exchanged, as many on a page as are asked for."""

    def __init__(self, buckets: Sequence[bytes]) -> None:
        self.buckets = buckets

    def __call__(self, request: httpx.Request) -> httpx.Response:
        query = dict(parse_qsl(request.url.query.decode()))
        first = int(query.get("page", 0))
        last = min(first + int(query["limit"]), len(self.buckets))
        # In pieces, as a network gives it.
        return httpx.Response(200, content=chain.from_iterable(map(_pieces, self._page(first, last))))

    def whole(self) -> bytes:
        """Return all buckets on one page."""
        return b"".join(self._page(0, len(self.buckets)))

    def _page(self, first: int, last: int) -> Iterator[bytes]:
        head, tail = json.dumps(page([], str(last) if last < len(self.buckets) else None)).split("[]")
        yield f"{head}[".encode()
        for number in range(first, last):
            yield b", " if number > first else b""
            yield self.buckets[number]
        yield f"]{tail}".encode()


def _pieces(text: bytes) -> Iterator[bytes]:
    return (text[at : at + _PIECE] for at in range(0, len(text), _PIECE))


def endpoint_of(request: httpx.Request) -> Endpoint | None:
    """Return the usage or costs endpoint that a request is for, None for any other."""
    return ENDPOINTS.get(request.url.path.partition("/organization/")[2])


Answering = Callable[[httpx.Request], httpx.Response]
