"""The models the simulated organization calls, how the bill spells them, and what they cost by the list."""

from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Final

MILLION: Final = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """US dollars per million tokens of one modality."""

    input: Decimal
    cached_input: Decimal
    output: Decimal
    cache_writes: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Model:
    """One model.

    Attributes:
        name: as usage spells it.
        billed_as: as line items spell it; the two need not agree.
        text: prices of text, or of everything where the bill does not tell modalities apart.
        audio: prices of audio, where the bill has lines for it.
        image: prices of images, where the bill has lines for it.
        per_modality: line items name the modality.
        splits_modalities: usage rows carry the fields by modality. Old models' rows do not.
        unit_price: US dollars per image, character or second, for models that are not paid by the token.
    """

    name: str
    billed_as: str
    text: TokenPrice
    audio: TokenPrice | None = None
    image: TokenPrice | None = None
    splits_modalities: bool = True
    unit_price: Decimal = Decimal(0)

    @property
    def per_modality(self) -> bool:
        """Line items name the modality."""
        return self.audio is not None or self.image is not None


def _price(input_: str, cached_input: str, output: str, cache_writes: str = "0") -> TokenPrice:
    return TokenPrice(Decimal(input_), Decimal(cached_input), Decimal(output), Decimal(cache_writes))


_FREE: Final = _price("0", "0", "0")

_ALL: Final = (
    Model("gpt-5.4-2026-03-05", "gpt-5.4-2026-03-05", _price("1.25", "0.125", "10")),
    Model("gpt-5.6-terra", "gpt-5.6-terra", _price("1.75", "0.175", "14", "2.1875")),
    Model("gpt-5.6-sol", "gpt-5.6-sol", _price("5", "0.5", "30", "6.25")),
    Model("gpt-5", "gpt-5", _price("0.5", "0.05", "4")),
    Model("o4-mini-2025-04-16", "o4-mini-2025-04-16", _price("1.1", "0.275", "4.4")),
    Model("gpt-4o-2024-08-06", "gpt-4o-2024-08-06", _price("2.5", "1.25", "10"), splits_modalities=False),
    Model("gpt-4o-mini-2024-07-18", "gpt-4o-mini-2024-07-18", _price("0.15", "0.075", "0.6"), splits_modalities=False),
    Model("ft:gpt-4o-2024-08-06:acme::b4x7q2", "ft-gpt-4o-2024-08-06", _price("3.75", "1.875", "15")),
    Model(
        "gpt-audio-mini-2025-12-15",
        "gpt-audio-mini-2025-12-15",
        _price("0.6", "0.6", "2.4"),
        audio=_price("10", "10", "20"),
    ),
    Model(
        "gpt-realtime-2025-08-28", "gpt-realtime-2025-08-28", _price("4", "0.4", "16"), audio=_price("32", "0.4", "64")
    ),
    Model("gpt-image-1-2025-04-23", "gpt-image-1", _price("5", "1.25", "5"), image=_price("10", "2.5", "40")),
    Model("gpt-image-2", "gpt-image-2-2026-04-21", _price("5", "1.25", "5"), image=_price("8", "2", "30")),
    Model("text-embedding-3-small", "text-embedding-3-small", _price("0.02", "0", "0")),
    Model("text-embedding-3-large", "text-embedding-3-large", _price("0.13", "0", "0")),
    Model("omni-moderation-latest", "omni-moderation-latest", _FREE),
    Model("dall-e-3", "Image models", _FREE, unit_price=Decimal("0.04")),
    Model("tts-1", "tts-1", _FREE, unit_price=Decimal("0.000015")),
    Model("whisper-1", "whisper", _FREE, unit_price=Decimal("0.0001")),
)

MODELS: Final = MappingProxyType({model.name: model for model in _ALL})
"""All models, by the name that usage gives them."""

WEB_SEARCH_CALL: Final = Decimal("0.01")
FILE_SEARCH_CALL: Final = Decimal("0.0025")
CODE_INTERPRETER_SESSION: Final = Decimal("0.03")
GIBIBYTE_HOUR: Final = Decimal("0.0041")

# What the organization negotiated: everything on the bill costs this much of the list price.
DISCOUNT: Final = Decimal("0.95")

TIER_FACTORS: Final = MappingProxyType({"default": Decimal(1), "flex": Decimal("0.5"), "priority": Decimal(2)})
BATCH_FACTOR: Final = Decimal("0.5")
LONG_CONTEXT_FACTOR: Final = Decimal("1.5")
