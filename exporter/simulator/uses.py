"""What an API key is used for: the API it calls, the model, how much, and at what times of day."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How activity spreads over a week.

    Attributes:
        hours: weight of each UTC hour.
        weekend: activity of a Saturday or Sunday, as a part of a working day's.
    """

    hours: tuple[float, ...]
    weekend: float


RHYTHMS: Final = MappingProxyType(
    {
        "office": Rhythm((1, 1, 1, 1, 1, 2, 5, 12, 20, 24, 25, 24, 20, 23, 25, 24, 20, 13, 7, 5, 4, 3, 2, 1), 0.12),
        "consumer": Rhythm(
            (4, 3, 2, 2, 2, 4, 8, 13, 16, 17, 18, 19, 20, 19, 18, 18, 19, 21, 23, 24, 22, 17, 11, 7), 1.15
        ),
        "nightly": Rhythm((5, 20, 30, 25, 10, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3), 0.8),
        "steady": Rhythm((1,) * 24, 1.0),
    }
)


@dataclass(frozen=True, slots=True)
class PerCall:
    """What one model call takes, on average.

    Attributes:
        input_tokens: all input, cached and written to the cache included.
        output_tokens: all output.
        cached: part of the input that comes from the cache.
        written: part of the input that is written to the cache.
        audio: part of the tokens that are audio, both ways.
        image_in: part of the input that is images.
        image_out: part of the output that is images.
        units: images, characters, seconds or tool calls, where those are what is counted.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached: float = 0.0
    written: float = 0.0
    audio: float = 0.0
    image_in: float = 0.0
    image_out: float = 0.0
    units: int = 1


@dataclass(frozen=True, slots=True)
class Use:
    """One steady use of a key.

    Attributes:
        api: the usage endpoint that counts it.
        calls: calls on an average working day, of one key.
        per_call: what a call takes.
        model: empty for tools that know none.
        rhythm: a name from `RHYTHMS`.
        service_tier: default, flex or priority.
        batch: sent through the Batch API, at half price.
        api_source: agents_api or unlabeled.
        surface: the prefix of its line items, such as `evals`.
        long_context: part of the tokens that is billed at the long-context price.
        detail: image size, context level or vector store, for the endpoints that tell them apart.
        source: where an image came from.
    """

    api: str
    calls: float
    per_call: PerCall
    model: str = ""
    rhythm: str = "office"
    service_tier: str = "default"
    batch: bool = False
    api_source: str = "unlabeled"
    surface: str = ""
    long_context: float = 0.0
    detail: str | None = None
    source: str | None = None


CHAT: Final = "usage/completions"
_CHAT_TURN: Final = PerCall(input_tokens=2600, output_tokens=320, cached=0.45)
_SHORT_TURN: Final = PerCall(input_tokens=700, output_tokens=120, cached=0.2)
_CACHED_TURN: Final = PerCall(input_tokens=9000, output_tokens=450, cached=0.62, written=0.12)
_REASONING: Final = PerCall(input_tokens=1900, output_tokens=2600, cached=0.15)
_VISION: Final = PerCall(input_tokens=3400, output_tokens=500, cached=0.1, image_in=0.55)

SUPPORT: Final = (
    Use(CHAT, 900, _CHAT_TURN, "gpt-5.4-2026-03-05", rhythm="consumer"),
    Use(CHAT, 2200, _SHORT_TURN, "gpt-4o-mini-2024-07-18", rhythm="consumer"),
    Use(CHAT, 160, _CHAT_TURN, "ft:gpt-4o-2024-08-06:acme::b4x7q2", rhythm="consumer"),
    Use("usage/moderations", 3100, PerCall(input_tokens=260), "omni-moderation-latest", rhythm="consumer"),
)
KNOWLEDGE: Final = (
    Use(CHAT, 220, _CACHED_TURN, "gpt-5.6-terra", rhythm="consumer", surface="assistants api"),
    Use("usage/file_search_calls", 240, PerCall(), rhythm="consumer", detail="vs_helpcentre"),
)
VOICE: Final = (
    Use(CHAT, 60, PerCall(5200, 1400, cached=0.5, audio=0.8), "gpt-realtime-2025-08-28", rhythm="consumer"),
    Use(CHAT, 160, PerCall(900, 600, audio=0.7), "gpt-audio-mini-2025-12-15", rhythm="consumer"),
    Use("usage/audio_speeches", 210, PerCall(units=420), "tts-1", rhythm="consumer"),
)
SEARCH: Final = (
    Use("usage/embeddings", 5200, PerCall(input_tokens=420), "text-embedding-3-small", rhythm="steady"),
    Use("usage/embeddings", 380, PerCall(input_tokens=1100), "text-embedding-3-large", rhythm="nightly"),
    Use(CHAT, 800, _SHORT_TURN, "gpt-5", rhythm="consumer"),
)
STUDIO: Final = (
    Use(CHAT, 26, PerCall(900, 4200, cached=0.1, image_in=0.4, image_out=0.97), "gpt-image-1-2025-04-23"),
    Use("usage/images", 26, PerCall(), "gpt-image-1-2025-04-23", detail="1024x1024", source="image.generation"),
    Use(CHAT, 18, PerCall(1600, 5000, cached=0.2, image_in=0.6, image_out=0.98), "gpt-image-2"),
    Use("usage/images", 18, PerCall(units=2), "gpt-image-2", detail="1024x1792", source="image.edit"),
    Use("usage/images", 7, PerCall(), "dall-e-3", detail="1792x1792", source="image.generation"),
    Use(CHAT, 150, _CHAT_TURN, "gpt-5.4-2026-03-05"),
)
SCIENCE: Final = (
    Use(CHAT, 420, _REASONING, "o4-mini-2025-04-16", rhythm="nightly", batch=True),
    Use(CHAT, 70, _REASONING, "o4-mini-2025-04-16", service_tier="flex"),
    Use(CHAT, 25, _REASONING, "gpt-5.6-sol", service_tier="priority", long_context=0.3),
    Use("usage/code_interpreter_sessions", 14, PerCall()),
)
COPILOT: Final = (
    Use(CHAT, 130, _CACHED_TURN, "gpt-5.6-terra"),
    Use(CHAT, 90, _CHAT_TURN, "gpt-4o-2024-08-06"),
    Use("usage/web_search_calls", 35, PerCall(), "gpt-5.6-terra", detail="medium"),
)
MEETINGS: Final = (
    Use("usage/audio_transcriptions", 20, PerCall(units=1750), "whisper-1"),
    Use(CHAT, 40, PerCall(11000, 900, cached=0.05), "gpt-5.4-2026-03-05"),
)
INTAKE: Final = (
    Use(CHAT, 260, _VISION, "gpt-5.4-2026-03-05"),
    Use("usage/embeddings", 900, PerCall(input_tokens=800), "text-embedding-3-large"),
    Use("usage/file_search_calls", 60, PerCall(), detail="vs_contracts", rhythm="office"),
)
AGENTS: Final = (
    Use(CHAT, 60, _CACHED_TURN, "gpt-5.6-sol", api_source="agents_api", rhythm="steady", long_context=0.1),
    Use(
        "usage/web_search_calls",
        75,
        PerCall(units=2),
        "gpt-5.6-sol",
        api_source="agents_api",
        detail="high",
        rhythm="steady",
    ),
    Use("usage/web_search_calls", 30, PerCall(), "gpt-5.6-sol", api_source="agents_api", detail="low", rhythm="steady"),
    Use("usage/code_interpreter_sessions", 9, PerCall(), rhythm="steady"),
)
FRAUD: Final = (
    Use("usage/decisions", 700, _SHORT_TURN, "gpt-5.4-2026-03-05", rhythm="consumer"),
    Use(CHAT, 120, _SHORT_TURN, "gpt-5.6-terra", rhythm="consumer", service_tier="priority"),
    Use("usage/moderations", 800, PerCall(input_tokens=180), "omni-moderation-latest", rhythm="consumer"),
)
EVALS: Final = (
    Use(CHAT, 300, _SHORT_TURN, "gpt-4o-mini-2024-07-18", rhythm="nightly", surface="evals"),
    Use(CHAT, 60, _CHAT_TURN, "gpt-5.4-2026-03-05", rhythm="nightly", surface="evals"),
)
PLAYGROUND: Final = (
    Use(CHAT, 8, _CHAT_TURN, "gpt-5.4-2026-03-05"),
    Use(CHAT, 5, _CHAT_TURN, "gpt-4o-2024-08-06"),
    Use(CHAT, 2, _REASONING, "gpt-5.6-sol"),
)
