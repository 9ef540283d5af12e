"""The exact partition of a row's tokens into token types and modalities. Pure."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
"""A count of anything. Strict: true is no 1, and "5" is no 5."""

OptionalCount = Count | None


@dataclass(slots=True, kw_only=True)
class TokenCounts:
    """The token fields of a completions row, as the API names them. Older rows lack the optional ones."""

    input_tokens: Count
    output_tokens: Count
    input_cached_tokens: OptionalCount = None
    input_cache_write_tokens: OptionalCount = None
    input_cache_write_30m_tokens: OptionalCount = None
    input_cache_write_12h_tokens: OptionalCount = None
    input_text_tokens: OptionalCount = None
    input_audio_tokens: OptionalCount = None
    input_image_tokens: OptionalCount = None
    input_cached_text_tokens: OptionalCount = None
    input_cached_audio_tokens: OptionalCount = None
    input_cached_image_tokens: OptionalCount = None
    output_text_tokens: OptionalCount = None
    output_audio_tokens: OptionalCount = None
    output_image_tokens: OptionalCount = None


def partition(row: TokenCounts) -> tuple[int, ...]:
    """Split a row's tokens, in the order of `TOKEN_MEASURES`; the sum is input_tokens + output_tokens, always.

    `input_tokens` is all input, so the uncached part is what cached and cache-write leave of it. Details that
    do not fit into their whole are cut down to it, one after the other: rows that differ by a few tokens give parts
    that differ by a few tokens.
    """
    total = row.input_tokens
    text = row.input_cached_text_tokens or 0
    audio = row.input_cached_audio_tokens or 0
    image = row.input_cached_image_tokens or 0
    cached = row.input_cached_tokens
    if cached is None:
        cached = text + audio + image
    cached = min(cached, total)
    written = row.input_cache_write_tokens
    if written is None:
        written = (row.input_cache_write_30m_tokens or 0) + (row.input_cache_write_12h_tokens or 0)
    written = min(written, total - cached)
    return (
        *_by_modality(
            total - cached - written,
            row.input_text_tokens or 0,
            row.input_audio_tokens or 0,
            row.input_image_tokens or 0,
        ),
        *_by_modality(cached, text, audio, image),
        written,
        *_by_modality(
            row.output_tokens,
            row.output_text_tokens or 0,
            row.output_audio_tokens or 0,
            row.output_image_tokens or 0,
        ),
    )


def _by_modality(part: int, text: int, audio: int, image: int) -> tuple[int, int, int, int]:
    # A split that was dropped whole for one token too many would move all its tokens between series, and counters
    # never take back.
    if text + audio + image <= part:
        return text, audio, image, part - text - audio - image
    text = min(text, part)
    audio = min(audio, part - text)
    image = min(image, part - text - audio)
    return text, audio, image, part - text - audio - image
