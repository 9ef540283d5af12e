"""What the simulator counts per row, and how it turns into the fields that OpenAI's rows carry."""

import random
from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

from exporter.simulator.price_list import MODELS
from exporter.simulator.uses import Use

_TOKEN_PARTS: Final = (
    "input_text_tokens",
    "input_audio_tokens",
    "input_image_tokens",
    "input_undivided_tokens",
    "input_cached_text_tokens",
    "input_cached_audio_tokens",
    "input_cached_image_tokens",
    "input_cached_undivided_tokens",
    "input_cache_write_30m_tokens",
    "input_cache_write_12h_tokens",
    "output_text_tokens",
    "output_audio_tokens",
    "output_image_tokens",
    "output_undivided_tokens",
    "num_model_requests",
)
"""Parts that do not overlap. `undivided`: old models do not tell modalities apart; OpenAI has no field for it."""

COUNTED: Final = MappingProxyType(
    {
        "usage/completions": _TOKEN_PARTS,
        "usage/decisions": _TOKEN_PARTS,
        "usage/embeddings": ("input_tokens", "num_model_requests"),
        "usage/moderations": ("input_tokens", "num_model_requests"),
        "usage/images": ("images", "num_model_requests"),
        "usage/audio_speeches": ("characters", "num_model_requests"),
        "usage/audio_transcriptions": ("seconds", "num_model_requests"),
        "usage/vector_stores": ("usage_bytes",),
        "usage/code_interpreter_sessions": ("num_sessions",),
        "usage/file_search_calls": ("num_requests",),
        "usage/web_search_calls": ("num_requests", "num_model_requests"),
    }
)
"""The measures of each usage API, in the order of a row's values."""

_TEXT, _AUDIO, _IMAGE, _UNDIVIDED = range(4)
_CACHED = 4
_WRITE_30M, _WRITE_12H = 8, 9
_OUTPUT = 10
_REQUESTS = 14


def token_totals(parts: Sequence[int]) -> tuple[int, int, int, int]:
    """Uncached input, cached input, cache writes and output of a row of completions."""
    return (
        sum(parts[:_CACHED]),
        sum(parts[_CACHED:_WRITE_30M]),
        sum(parts[_WRITE_30M:_OUTPUT]),
        sum(parts[_OUTPUT:_REQUESTS]),
    )


def openai_fields(api: str, values: Sequence[int]) -> dict[str, int]:
    """All measures of a row under OpenAI's own names."""
    names = COUNTED[api]
    if names is not _TOKEN_PARTS:
        return dict(zip(names, values, strict=True))
    uncached, cached, written, output = token_totals(values)
    fields = {
        "input_tokens": uncached + cached + written,
        "input_uncached_tokens": uncached,
        "input_cached_tokens": cached,
        "input_cache_write_tokens": written,
        "output_tokens": output,
    }
    fields.update((name, value) for name, value in zip(names, values, strict=True) if "undivided" not in name)
    return fields


def is_undivided(api: str, values: Sequence[int]) -> bool:
    """Whether nothing in a row is known by modality, as with old models."""
    if COUNTED[api] is not _TOKEN_PARTS:
        return False
    undivided = values[_UNDIVIDED] + values[_CACHED + _UNDIVIDED] + values[_OUTPUT + _UNDIVIDED]
    return undivided != 0 and undivided == sum(values[:_REQUESTS])


def _token_parts(use: Use, calls: int, chance: random.Random) -> tuple[int, ...]:
    per_call = use.per_call
    parts = [0] * len(_TOKEN_PARTS)
    input_tokens = int(calls * per_call.input_tokens * chance.uniform(0.85, 1.15))
    output_tokens = int(calls * per_call.output_tokens * chance.uniform(0.85, 1.15))
    cached = int(input_tokens * per_call.cached * chance.uniform(0.8, 1.2))
    written = int(input_tokens * per_call.written * chance.uniform(0.8, 1.2))
    parts[_WRITE_12H] = written // 5
    parts[_WRITE_30M] = written - parts[_WRITE_12H]
    for offset, tokens, image_part in (
        (0, input_tokens - cached - written, per_call.image_in),
        (_CACHED, cached, per_call.image_in),
        (_OUTPUT, output_tokens, per_call.image_out),
    ):
        if MODELS[use.model].splits_modalities:
            parts[offset + _AUDIO] = int(tokens * per_call.audio)
            parts[offset + _IMAGE] = int(tokens * image_part)
            parts[offset + _TEXT] = tokens - parts[offset + _AUDIO] - parts[offset + _IMAGE]
        else:
            parts[offset + _UNDIVIDED] = tokens
    parts[_REQUESTS] = calls
    return tuple(parts)


def measure(use: Use, calls: int, chance: random.Random) -> tuple[int, ...]:
    """What so many calls of a use add up to."""
    names = COUNTED[use.api]
    if names is _TOKEN_PARTS:
        return _token_parts(use, calls, chance)
    if names[0] == "input_tokens":
        return int(calls * use.per_call.input_tokens * chance.uniform(0.85, 1.15)), calls
    units = use.per_call.units
    first = calls if units == 1 else int(calls * units * chance.uniform(0.9, 1.1))
    return (first, calls)[: len(names)]
