"""AITracer's own ingest, `POST /api/traces`: one trace per body, whose answer may know its figures better. Pure."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from exporter.configuration.sections import NOT_SET
from exporter.trace_gateway.model_calls import (
    Entries,
    MetadataKeys,
    ModelCall,
    Reading,
    Unreadable,
    first_set,
    first_text,
    mapping,
    provider_of,
    seconds,
    sequence,
    tokens,
    usd,
)

# AITracer takes any text as a status, and "completed" for none.
_FAILED: Final = re.compile(
    r"error|fail|timed?.?out|cancel|abort|exception|reject|denied|interrupt|crash", re.IGNORECASE
)

# A figure's spellings, AITracer's first.
_INPUT: Final = ("promptTokens", "prompt_tokens", "inputTokens", "input_tokens")
_OUTPUT: Final = ("completionTokens", "completion_tokens", "outputTokens", "output_tokens")
_CACHED: Final = ("cachedTokens", "cached_tokens", "cachedInputTokens", "cached_input_tokens")
_TOTAL: Final = ("totalTokens", "total_tokens")
_COST: Final = ("estimatedCostUsd", "estimated_cost_usd")
_LATENCY: Final = ("latencyMs", "latency_ms")


def read_native(body: object, answer: object, keys: MetadataKeys) -> Reading:
    """Read a trace, or a list of them, from JSON. `answer` is the upstream's, None where it is not known.

    A figure of the answer's last execution record wins where it is more than nothing. Where only the sum of tokens is
    given, the missing part is the difference; the sum alone counts as input.

    Raises:
        Unreadable: this is no trace, or there are too many.
    """
    traces = sequence(body) if isinstance(body, list) else [body]
    Entries().add(len(traces))
    complaints: set[str] = set()
    calls = []
    for trace in traces:
        if not isinstance(trace, dict) or not {"actionName", "model", "metrics", "requestId"} & trace.keys():
            complaints.add("shape")
            continue
        # An answer to several does not say which of them its last record is about.
        record = _last_record(answer) if len(traces) == 1 else {}
        calls.append(_call(trace, record, keys, complaints))
    if not calls:
        raise Unreadable("shape")
    return Reading(tuple(calls), frozenset(complaints))


def _last_record(answer: object) -> Mapping[str, object]:
    trace = mapping(mapping(answer).get("trace"))
    records = sequence(first_set(trace, ("executionRecords", "execution_records")))
    return mapping(mapping(records[-1]).get("metrics")) if records else {}


def _call(
    trace: Mapping[str, object], record: Mapping[str, object], keys: MetadataKeys, complaints: set[str]
) -> ModelCall:
    if not isinstance(trace.get("metrics"), dict | None):
        complaints.add("figure")
    metrics = mapping(trace.get("metrics"))
    metadata = mapping(trace.get("metadata"))

    def count(names: tuple[str, ...]) -> int | None:
        sent = tokens(first_set(metrics, names), complaints)
        return tokens(first_set(record, names), complaints) or sent

    def cost() -> Decimal | None:
        sent = usd(first_set(metrics, _COST), complaints)
        return usd(first_set(record, _COST), complaints) or sent

    def latency() -> float | None:
        sent = seconds(first_set(metrics, _LATENCY), complaints, per_second=1000.0)
        return seconds(first_set(record, _LATENCY), complaints, per_second=1000.0) or sent

    input_tokens, output_tokens = _both_sides(count(_INPUT), count(_OUTPUT), count(_TOTAL))
    model = first_text(trace.get("model"))
    status = trace.get("status")
    said = trace.get("provider")
    named = mapping(said)
    return ModelCall(
        identity=first_text(trace.get("requestId"), trace.get("request_id")),
        workflow=first_text(trace.get("actionName"), trace.get("action_name")) or NOT_SET,
        action_group=first_text(*(metadata.get(key) for key in keys.action_group)),
        environment=first_text(trace.get("environment")) or "dev",
        provider=provider_of(first_text(said, named.get("name"), named.get("id"), named.get("provider")), model),
        model=model,
        project_id=first_text(*(metadata.get(key) for key in keys.project)),
        failed=isinstance(status, str) and _FAILED.search(status) is not None,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=min(count(_CACHED) or 0, input_tokens),
        cost_usd=cost(),
        latency_seconds=latency(),
    )


def _both_sides(input_tokens: int | None, output_tokens: int | None, total: int | None) -> tuple[int, int]:
    if total is not None and (input_tokens is None or output_tokens is None):
        if input_tokens is None:
            input_tokens = max(0, total - (output_tokens or 0))
        else:
            output_tokens = max(0, total - input_tokens)
    return input_tokens or 0, output_tokens or 0
