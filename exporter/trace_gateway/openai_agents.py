"""Exports of the OpenAI Agents SDK, `POST /api/integrations/openai-agents`: traces and spans, read leniently. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
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
    tokens,
    usd,
)

# Agents, turns and tasks repeat the usage of these.
_MODEL_CALLS: Final = ("generation", "response")

# Where a body, or a trace in it, may hold its spans.
_CONTAINERS: Final = ("data", "spans", "items", "traces", "trace")
_SPAN_DATA: Final = ("span_data", "spanData")
_WORKFLOW: Final = ("workflow_name", "workflowName", "actionName")
_TRACE_ID: Final = ("trace_id", "traceId")
_INPUT: Final = ("input_tokens", "prompt_tokens", "inputTokens", "promptTokens")
_OUTPUT: Final = ("output_tokens", "completion_tokens", "outputTokens", "completionTokens")
_INPUT_DETAILS: Final = ("input_tokens_details", "prompt_tokens_details", "inputTokensDetails", "promptTokensDetails")
_CACHED: Final = ("cached_tokens", "cachedTokens")
_COST: Final = ("cost_usd", "estimatedCostUsd", "estimated_cost_usd", "cost")

_Object = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class _Found:
    """A span, with everything around it from the inside out."""

    span: _Object
    around: tuple[_Object, ...]


def read_openai_agents(body: object, keys: MetadataKeys) -> Reading:
    """Read the model calls among the spans of an export.

    Raises:
        Unreadable: there is neither a trace nor a span in it, nor a place for one; or there are too many.
    """
    spans: list[_Found] = []
    traces: dict[str, _Object] = {}
    for entry in _entries(body):
        if first_set(entry.span, _SPAN_DATA) is not None:
            spans.append(entry)
        elif entry.span.get("object") == "trace" or first_set(entry.span, _WORKFLOW) is not None:
            traces[first_text(entry.span.get("id"), first_set(entry.span, _TRACE_ID))] = entry.span
    if not spans and not traces and not set(_CONTAINERS) & mapping(body).keys():
        raise Unreadable("shape")
    complaints: set[str] = set()
    calls = tuple(
        _call(found, traces, keys, complaints)
        for found in spans
        if mapping(first_set(found.span, _SPAN_DATA)).get("type") in _MODEL_CALLS
    )
    return Reading(calls, frozenset(complaints))


def _entries(body: object) -> Iterator[_Found]:
    """Find the objects of an export, wherever one of the containers holds them."""
    found = Entries()
    waiting: list[tuple[object, tuple[_Object, ...]]] = [(body, ())]
    while waiting:
        value, around = waiting.pop()
        if isinstance(value, list):
            found.add(len(value))
            waiting += [(element, around) for element in reversed(value)]
        elif isinstance(value, dict):
            yield _Found(value, around)
            if first_set(value, _SPAN_DATA) is None and len(around) < len(_CONTAINERS):
                waiting += [(value[name], (value, *around)) for name in _CONTAINERS if name in value]


def _call(found: _Found, traces: Mapping[str, _Object], keys: MetadataKeys, complaints: set[str]) -> ModelCall:
    span = found.span
    said = mapping(first_set(span, _SPAN_DATA))
    response = mapping(said.get("response"))
    usage = mapping(said.get("usage")) or mapping(response.get("usage")) or mapping(span.get("usage"))
    trace_id = first_text(first_set(span, _TRACE_ID))
    around = (span, *((traces[trace_id],) if trace_id in traces else ()), *found.around)
    metadata = [mapping(place.get("metadata")) for place in around]
    model = first_text(said.get("model"), response.get("model"), span.get("model"))
    input_tokens = tokens(first_set(usage, _INPUT), complaints) or 0
    details = mapping(first_set(usage, _INPUT_DETAILS))
    cached = tokens(first_set(details, _CACHED), complaints) or tokens(first_set(usage, _CACHED), complaints) or 0
    # A call without an id of the span has the response's, which is as unique.
    span_id = first_text(span.get("id"), first_set(span, ("span_id", "spanId")), said.get("response_id"))
    return ModelCall(
        identity=span_id and f"{trace_id}/{span_id}",
        workflow=first_text(*(first_set(place, _WORKFLOW) for place in around)) or NOT_SET,
        action_group=first_text(*(place.get(key) for place in metadata for key in keys.action_group)),
        environment=first_text(
            *(place.get("environment") for place in around), *(place.get("environment") for place in metadata)
        ),
        provider=provider_of(first_text(said.get("provider"), span.get("provider")), model),
        model=model,
        project_id=first_text(*(place.get(key) for place in metadata for key in keys.project)),
        failed=bool(span.get("error")),
        input_tokens=input_tokens,
        output_tokens=tokens(first_set(usage, _OUTPUT), complaints) or 0,
        cached_tokens=min(cached, input_tokens),
        cost_usd=usd(first_set(usage, _COST), complaints),
        latency_seconds=_latency(span, complaints),
    )


def _latency(span: _Object, complaints: set[str]) -> float | None:
    started = first_set(span, ("started_at", "startedAt"))
    ended = first_set(span, ("ended_at", "endedAt"))
    if not isinstance(started, str) or not isinstance(ended, str):
        return None
    try:
        return seconds((datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds(), complaints)
    except (ValueError, TypeError, OverflowError):
        # Not times, or one with a time zone and one without.
        complaints.add("figure")
        return None
