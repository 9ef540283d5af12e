"""Model calls among OpenTelemetry's spans, by the GenAI conventions old and new, each counted once. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from exporter.configuration.sections import NOT_SET
from exporter.trace_gateway.model_calls import (
    MetadataKeys,
    ModelCall,
    Reading,
    first_set,
    first_text,
    provider_of,
    seconds,
    tokens,
    usd,
)
from exporter.trace_gateway.spans import Attributes, Span

_OPERATION: Final = ("gen_ai.operation.name", "llm.request.type")
_MODEL_OPERATIONS: Final = frozenset(
    {"chat", "text_completion", "generate_content", "embeddings", "completion", "embedding", "response", "responses"}
)
# What runs around model calls; their usage is that of the calls inside.
_OTHER_OPERATIONS: Final = frozenset(
    {
        "invoke_agent",
        "create_agent",
        "execute_tool",
        "invoke_workflow",
        "workflow",
        "agent",
        "tool",
        "task",
        "retrieval",
    }
)
_KIND: Final = "traceloop.span.kind"

_PROVIDER: Final = ("gen_ai.provider.name", "gen_ai.system")
# The one that answered is the one on the bill.
_MODEL: Final = ("gen_ai.response.model", "gen_ai.request.model")
_INPUT: Final = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
_OUTPUT: Final = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
_CACHED: Final = (
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.input_tokens.cached",
)
_COST: Final = ("gen_ai.usage.cost", "gen_ai.usage.total_cost")
# In the order of the recording rules for OpenTelemetry's metrics, so that both ways give one name.
_WORKFLOW: Final = ("traceloop.workflow.name", "gen_ai.agent.name", "service.name")
_ENVIRONMENT: Final = ("deployment.environment.name", "deployment.environment")

# Deeper than any instruments, and a bound for a body that is a single chain.
_DEEPEST: Final = 64
_NANOSECONDS: Final = 1e9


@dataclass(frozen=True, slots=True)
class _Candidate:
    span: Span
    call: ModelCall
    is_named: bool
    """Whether an operation's name says that it is a model call."""
    has_usage: bool


def read_spans(spans: Iterable[Span], keys: MetadataKeys) -> Reading:
    """Read the model calls among the spans of one body.

    A span is one if its operation says so; where no operation is named, if it has a model and usage and no model call
    below it. Of two that tell the same usage, one below the other, the inner one counts.
    """
    complaints: set[str] = set()
    everything = list(spans)
    candidates = [candidate for span in everything if (candidate := _candidate(span, keys, complaints)) is not None]
    return Reading(tuple(_counted_once(everything, candidates)), frozenset(complaints))


def _candidate(span: Span, keys: MetadataKeys, complaints: set[str]) -> _Candidate | None:
    attributes = span.attributes
    operation = first_text(first_set(attributes, _OPERATION)).lower()
    if operation in _OTHER_OPERATIONS or attributes.get(_KIND) in _OTHER_OPERATIONS:
        return None
    is_named = operation in _MODEL_OPERATIONS
    has_usage = first_set(attributes, _INPUT) is not None or first_set(attributes, _OUTPUT) is not None
    if not is_named and not (has_usage and first_text(*_values(attributes, _MODEL))):
        return None
    return _Candidate(span, _call(span, keys, complaints), is_named, has_usage)


def _call(span: Span, keys: MetadataKeys, complaints: set[str]) -> ModelCall:
    attributes, resource = span.attributes, span.resource
    model = first_text(*_values(attributes, _MODEL))
    input_tokens = tokens(first_set(attributes, _INPUT), complaints) or 0
    latency = None
    if span.started > 0 and span.ended > 0:
        latency = seconds(span.ended - span.started, complaints, _NANOSECONDS)
    return ModelCall(
        identity=span.span_id and f"{span.trace_id}/{span.span_id}",
        workflow=first_text(*_values(attributes, _WORKFLOW), *_values(resource, _WORKFLOW)) or NOT_SET,
        action_group=first_text(*_values(attributes, keys.action_group), *_values(resource, keys.action_group)),
        environment=first_text(*_values(attributes, _ENVIRONMENT), *_values(resource, _ENVIRONMENT)),
        provider=provider_of(first_text(*_values(attributes, _PROVIDER)), model),
        model=model,
        project_id=first_text(*_values(attributes, keys.project), *_values(resource, keys.project)),
        failed=span.failed or bool(attributes.get("error.type")),
        input_tokens=input_tokens,
        output_tokens=tokens(first_set(attributes, _OUTPUT), complaints) or 0,
        cached_tokens=min(tokens(first_set(attributes, _CACHED), complaints) or 0, input_tokens),
        cost_usd=usd(first_set(attributes, _COST), complaints),
        latency_seconds=latency,
    )


def _values(attributes: Attributes, names: Iterable[str]) -> list[object]:
    return [attributes.get(name) for name in names]


def _counted_once(spans: Sequence[Span], candidates: Sequence[_Candidate]) -> list[ModelCall]:
    parents = {(span.trace_id, span.span_id): span.parent_id for span in spans if span.span_id}
    by_id = {(one.span.trace_id, one.span.span_id): one for one in candidates if one.span.span_id}
    repeated: set[tuple[str, str]] = set()
    for inner in candidates:
        trace_id, place = inner.span.trace_id, inner.span.parent_id
        for _ in range(_DEEPEST):
            outer = by_id.get((trace_id, place))
            if outer is not None and outer is not inner and _repeats(outer, inner):
                repeated.add((trace_id, place))
            place = parents.get((trace_id, place), "")
            if not place:
                break
    return [one.call for one in candidates if (one.span.trace_id, one.span.span_id) not in repeated]


def _repeats(outer: _Candidate, inner: _Candidate) -> bool:
    """Whether a span tells again what one below it tells."""
    if not outer.is_named and inner.has_usage:
        return True
    return (outer.call.input_tokens, outer.call.output_tokens) == (inner.call.input_tokens, inner.call.output_tokens)
