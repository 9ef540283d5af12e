"""What is counted of a trace: one call of a model, its figures safe to add up, its labels safe to show. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

OTHER: Final = "(other)"
"""What stands in a label for a text that is no label, and for all that is over the limit."""

_LONGEST_LABEL: Final = 200
MOST_ENTRIES: Final = 50_000
"""Traces, spans, and what holds them, that are read of one body: more would keep the other bodies waiting."""
# More than any call, so that no body can spoil a counter for good.
_MOST_TOKENS: Final = 10**9
_MOST_USD: Final = Decimal(10**6)
_LONGEST_SECONDS: Final = 86_400.0
# A larger int may not even become a float; what is not finite is not below it either.
_BEYOND_ALL: Final = 10**18
# Sums of such amounts stay exact in a Decimal for more calls than there will ever be.
_SMALLEST_USD: Final = Decimal("1e-15")


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call of a model, as a trace tells it.

    Attributes:
        identity: what a repetition of the same trace has too; "" if the trace has nothing of the kind.
        action_group: "" where the trace names none.
        provider: "" where nothing says it, which the comparison with the bill takes for OpenAI.
        input_tokens: gross, those from a cache among them.
        cost_usd: None where nobody gave a figure.
        latency_seconds: None where it is not known.
    """

    identity: str
    workflow: str
    action_group: str
    environment: str
    provider: str
    model: str
    project_id: str
    failed: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: Decimal | None = None
    latency_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class MetadataKeys:
    """Which keys of metadata, or attributes of spans, say the action group and the project; the first one set wins."""

    action_group: tuple[str, ...]
    project: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a body says.

    Attributes:
        complaints: reasons, such as "figure", why something in it could not be read.
        marks: what to remember, for what may yet come in another body and tell the same again.
    """

    calls: tuple[ModelCall, ...]
    complaints: frozenset[str] = frozenset()
    marks: frozenset[str] = frozenset()


class Unreadable(Exception):  # noqa: N818 - a fact about a body, which is counted
    """Nothing can be read of a body.

    Attributes:
        reason: one word of those in `REASONS`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


REASONS: Final = ("too_large", "encoding", "json", "protobuf", "no_protobuf", "shape", "figure", "answer")
"""Why a body, or something in it, could not be read."""


class Entries:
    """Counts what is read of one body."""

    def __init__(self) -> None:
        self._left = MOST_ENTRIES

    def add(self, number: int = 1) -> None:
        """Take note of some more.

        Raises:
            Unreadable: these are too many.
        """
        self._left -= number
        if self._left < 0:
            raise Unreadable("too_large")


def mapping(value: object) -> Mapping[str, object]:
    """Return an object of JSON, empty if it is something else."""
    return value if isinstance(value, dict) else {}


def sequence(value: object) -> list[object]:
    """Return a list of JSON, empty if it is something else."""
    return value if isinstance(value, list) else []


def first_text(*values: object) -> str:
    """Return the first text that is not empty, "" if there is none."""
    return next((value for value in values if isinstance(value, str) and value), "")


def first_set(source: Mapping[str, object], names: Iterable[str]) -> object:
    """Return what the first of these names says that says anything, else None."""
    return next((value for name in names if (value := source.get(name)) is not None), None)


def label(text: str) -> str:
    """Return a text as a label may show it."""
    return text if len(text) <= _LONGEST_LABEL and text.isprintable() else OTHER


def provider_of(said: str, model: str) -> str:
    """Return who was called: as the trace says, else as the model's name begins, such as `openai/`; else ""."""
    beginning, slash, _ = model.removeprefix("litellm/").partition("/")
    return said or (beginning if slash else "")


def tokens(value: object, complaints: set[str]) -> int | None:
    """Return a count of tokens; None for none, and for what is no such count, which is a complaint."""
    number = _number(value, complaints)
    if number is None or (number == int(number) and 0 <= number <= _MOST_TOKENS):
        return None if number is None else int(number)
    complaints.add("figure")
    return None


def usd(value: object, complaints: set[str]) -> Decimal | None:
    """Return an amount of US dollars, as `tokens` does."""
    number = _number(value, complaints)
    if number is None:
        return None
    amount = Decimal(repr(number))
    if 0 <= amount <= _MOST_USD:
        return amount.quantize(_SMALLEST_USD)
    complaints.add("figure")
    return None


def seconds(value: object, complaints: set[str], per_second: float = 1.0) -> float | None:
    """Return a duration that is given in parts of a second, as `tokens` does."""
    number = _number(value, complaints)
    if number is None or 0 <= number / per_second <= _LONGEST_SECONDS:
        return None if number is None else number / per_second
    complaints.add("figure")
    return None


def _number(value: object, complaints: set[str]) -> int | float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _BEYOND_ALL:
        complaints.add("figure")
        return None
    return value
