"""What instruments inside the applications see: one model call after the other. Pure, but for the clock's pace."""

from collections.abc import Iterator
from decimal import ROUND_DOWN, Decimal
from typing import Final, NamedTuple

from exporter.days import SECONDS_PER_DAY, day_of
from exporter.simulator.line_items import lines
from exporter.simulator.measures import openai_fields
from exporter.simulator.organization import Stream
from exporter.simulator.traffic import Call, Traffic

_TRACED_APIS: Final = frozenset({"usage/completions", "usage/decisions", "usage/embeddings"})
# The applications still price this model by the list of the year before.
_OUTDATED_MODEL: Final = "gpt-5.6-terra"
_OUTDATED_FACTOR: Final = Decimal("1.4")

_SMALLEST_USD: Final = Decimal("1e-12")
_FIRST_TOKEN_MS: Final = 280
_MS_PER_TOKEN: Final = 9


class ModelCall(NamedTuple):
    """One call of a model, as the application that made it tells it.

    Attributes:
        identity: the same whenever it is told, and no other call's.
        at: Unix seconds.
        stream: whose it is, and what for.
        status: completed, failed or interrupted.
        input_tokens: gross, those from a cache among them.
        cost_usd: what the application takes it to cost; None where it cannot say.
        latency_ms: how long it took.
    """

    identity: str
    at: int
    stream: Stream
    status: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: Decimal | None
    latency_ms: int


def is_traceable(stream: Stream) -> bool:
    """Whether the applications trace such calls at all."""
    return stream.api in _TRACED_APIS and stream.workflow.traced


def is_traced(call: Call) -> bool:
    """Whether the applications trace these calls."""
    return call.is_traced and is_traceable(call.stream)


def estimated_usd(call: Call) -> Decimal:
    """What the application takes such calls to cost: what is billed for them, but for one model."""
    factor = _OUTDATED_FACTOR if call.stream.use.model == _OUTDATED_MODEL else Decimal(1)
    billed = sum((line.quantity * line.unit_price for line in lines(call.stream.use, call.measures)), Decimal(0))
    return billed * factor


def not_completed(call: Call) -> int:
    """How many of these calls did not come to their end: those that failed, and one that was cut amid its tokens."""
    return call.failed + _is_interrupted(call)


def model_calls(identity: str, call: Call) -> list[ModelCall]:
    """Take a traced batch of calls apart: tokens and cost are divided without rest. Those that failed used none."""
    fields = openai_fields(call.stream.api, call.measures)
    count = max(1, fields["num_model_requests"]) if any(call.measures) else 0
    cached = fields.get("input_cached_tokens", 0)
    total_usd = estimated_usd(call)
    told = []
    for number in range(count):
        from_cache = _share(cached, number, count)
        output_tokens = _share(fields.get("output_tokens", 0), number, count)
        told.append(
            ModelCall(
                f"{identity}-{number}",
                call.at,
                call.stream,
                "interrupted" if _is_interrupted(call) else "completed",
                _share(fields["input_tokens"] - cached, number, count) + from_cache,
                output_tokens,
                from_cache,
                _usd_until(total_usd, number + 1, count) - _usd_until(total_usd, number, count),
                _FIRST_TOKEN_MS + _MS_PER_TOKEN * output_tokens,
            )
        )
    told += [
        ModelCall(f"{identity}-{number}", call.at, call.stream, "failed", 0, 0, 0, None, _FIRST_TOKEN_MS)
        for number in range(count, count + call.failed)
    ]
    return told


class PassingCalls:
    """Batches of calls as time passes, those after `since`; each once, with an identity."""

    def __init__(self, traffic: Traffic, since: float) -> None:
        self._traffic = traffic
        self._day = day_of(since)
        # What came with the first second of a day belongs to it.
        self._after = since if since > self._day else self._day - 1
        self._position = 0

    def until(self, now: float) -> Iterator[tuple[str, Call]]:
        """Hand out what has happened and was not handed out yet. Whoever stops early goes on there."""
        while self._day <= now:
            calls = self._traffic.day(self._day).calls
            while self._position < len(calls) and calls[self._position].at <= now:
                position, self._position = self._position, self._position + 1
                if calls[position].at > self._after:
                    yield f"{self._day // SECONDS_PER_DAY}-{position}", calls[position]
            if now < self._day + SECONDS_PER_DAY:
                return
            self._day += SECONDS_PER_DAY
            self._position = 0


def _is_interrupted(call: Call) -> bool:
    # Tokens, but no request that was counted.
    fields = openai_fields(call.stream.api, call.measures)
    return fields["num_model_requests"] == 0 and any(call.measures)


def _share(total: int, number: int, count: int) -> int:
    return total * (number + 1) // count - total * number // count


def _usd_until(total: Decimal, number: int, count: int) -> Decimal:
    if number == count:
        return total
    return (total * number / count).quantize(_SMALLEST_USD, ROUND_DOWN)
