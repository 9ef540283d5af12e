"""Which lines of the bill a stream's day turns into: the line item's text, the quantity and the price."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Final, NamedTuple

from exporter.simulator import price_list
from exporter.simulator.measures import token_totals
from exporter.simulator.price_list import MILLION, MODELS, Model, TokenPrice
from exporter.simulator.uses import Use

STORAGE: Final = "Vector storage"
CREDIT: Final = "Promotional credit"

_WEB_SEARCH: Final = "web search tool calls"
_FILE_SEARCH: Final = "assistants api | file search"
_CODE_INTERPRETER: Final = "assistants api | code interpreter"

_UNITS: Final = MappingProxyType(
    {
        STORAGE: "gibibyte_hours",
        CREDIT: None,
        _WEB_SEARCH: None,
        _FILE_SEARCH: None,
        _CODE_INTERPRETER: None,
        "whisper": "duration_seconds",
        "tts-1": "characters",
        "Image models": "images",
    }
)

# Where each direction of each modality stands among the counted parts of a row of completions.
_MODALITIES: Final = (("text", 0), ("audio", 1), ("image", 2))
_CACHED, _OUTPUT = 4, 10


class Line(NamedTuple):
    """One line: what it is called, how much of it, and US dollars for one by this organization's contract."""

    line_item: str
    quantity: int
    unit_price: Decimal


def unit_of(line_item: str) -> str | None:
    """The quantity's unit, as the costs API names it; None where no supported unit applies."""
    return _UNITS.get(line_item, "tokens")


def lines(use: Use, measures: Sequence[int]) -> Iterator[Line]:
    """The lines that a day of one use is billed as."""
    if use.api in ("usage/completions", "usage/decisions"):
        yield from _token_lines(use, measures)
    elif use.api in ("usage/embeddings", "usage/moderations"):
        model = MODELS[use.model]
        yield Line(f"{model.billed_as}, input", measures[0], _per_token(model.text.input))
    elif use.api == "usage/web_search_calls":
        yield Line(_WEB_SEARCH, measures[0], _discounted(price_list.WEB_SEARCH_CALL))
    elif use.api == "usage/file_search_calls":
        yield Line(_FILE_SEARCH, measures[0], _discounted(price_list.FILE_SEARCH_CALL))
    elif use.api == "usage/code_interpreter_sessions":
        yield Line(_CODE_INTERPRETER, measures[0], _discounted(price_list.CODE_INTERPRETER_SESSION))
    elif MODELS[use.model].unit_price:
        # The images of token-priced models cost nothing beside their tokens.
        model = MODELS[use.model]
        yield Line(model.billed_as, measures[0], _discounted(model.unit_price))


def _discounted(price: Decimal) -> Decimal:
    return price * price_list.DISCOUNT


def _per_token(per_million: Decimal) -> Decimal:
    return _discounted(per_million) / MILLION


def _token_lines(use: Use, measures: Sequence[int]) -> Iterator[Line]:
    prefix = use.surface if use.service_tier == "default" else use.service_tier
    factor = price_list.TIER_FACTORS[use.service_tier] * (price_list.BATCH_FACTOR if use.batch else 1)
    for name, tokens, per_million in _directions(MODELS[use.model], measures):
        text = f"{prefix} | {name}" if prefix else name
        price = _per_token(per_million) * factor
        long = int(tokens * use.long_context)
        yield Line(text, tokens - long, price)
        yield Line(f"{text}, long context", long, price * price_list.LONG_CONTEXT_FACTOR)


def _directions(model: Model, measures: Sequence[int]) -> Iterator[tuple[str, int, Decimal]]:
    """Line item text without prefix, tokens, and dollars per million."""
    if not model.per_modality:
        uncached, cached, written, output = token_totals(measures)
        yield f"{model.billed_as}, input", uncached, model.text.input
        yield f"{model.billed_as}, cached input", cached, model.text.cached_input
        yield f"{model.billed_as}, cache writes", written, model.text.cache_writes
        yield f"{model.billed_as}, output", output, model.text.output
        return
    prices: tuple[TokenPrice | None, ...] = (model.text, model.audio, model.image)
    for (modality, offset), price in zip(_MODALITIES, prices, strict=True):
        if price is not None:
            name = f"{model.billed_as} {modality}"
            yield f"{name}, input", measures[offset], price.input
            yield f"{name}, cached input", measures[_CACHED + offset], price.cached_input
            yield f"{name}, output", measures[_OUTPUT + offset], price.output
