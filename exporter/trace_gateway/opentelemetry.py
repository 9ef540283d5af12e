"""Model calls among OpenTelemetry's spans, by the GenAI conventions old and new, each counted once. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
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
        "chain",
        "retrieval",
        "retriever",
        "guardrail",
        "evaluator",
    }
)
_KINDS: Final = ("traceloop.span.kind", "openinference.span.kind")
_AGENT_OR_TOOL: Final = ("gen_ai.agent.name", "gen_ai.agent.id", "gen_ai.tool.name")
_RESPONSE: Final = ("gen_ai.response.id", "gen_ai.response.model")

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

# Deeper than one instrument's spans are below another's, and a bound for a body that is a single chain.
_DEEPEST: Final = 16
_NANOSECONDS: Final = 1e9


@dataclass(frozen=True, slots=True)
class _Candidate:
    span: Span
    call: ModelCall
    is_named: bool
    """Whether an operation's name says that it is a model call."""
    has_usage: bool


def read_spans(spans: Iterable[Span], keys: MetadataKeys, was_told: Callable[[str], bool] = lambda _: False) -> Reading:
    """Read the model calls among the spans of one body.

    A span is one if its operation says so. Where the operation is not named, or not known, it is one if it has a model
    and usage, but for these: it names an agent or a tool and shows no response of its own; or a model call with usage
    stands below it, in this body or in one before. A span ends, and mostly is sent, after those below it.
    Of two that tell the same usage, one below the other, the inner one counts.

    Args:
        spans: all of the body.
        keys: where attributes say action group and project.
        was_told: whether this was among the marks of a body before, from the same sender.
    """
    complaints: set[str] = set()
    everything = list(spans)
    candidates = [candidate for span in everything if (candidate := _candidate(span, keys, complaints)) is not None]
    parents = {
        _identity(span.trace_id, span.span_id): _identity(span.trace_id, span.parent_id)
        for span in everything
        if span.span_id
    }
    above = _above_calls(parents, candidates, was_told)
    repeated = _repetitions(parents, candidates)
    calls = []
    for one in candidates:
        again = _repetition(one.call.identity, one.call)
        is_total = not one.is_named and one.call.identity in above
        if not is_total and again not in repeated and not was_told(again):
            calls.append(one.call)
    yet_to_come = above - parents.keys() | {mark for mark, place in repeated.items() if place not in parents}
    return Reading(tuple(calls), frozenset(complaints), frozenset(yet_to_come))


def _candidate(span: Span, keys: MetadataKeys, complaints: set[str]) -> _Candidate | None:
    attributes = span.attributes
    operation = first_text(first_set(attributes, _OPERATION)).lower()
    kinds = {value.lower() for value in _values(attributes, _KINDS) if isinstance(value, str)}
    if operation in _OTHER_OPERATIONS or kinds & _OTHER_OPERATIONS:
        return None
    is_named = operation in _MODEL_OPERATIONS
    has_usage = first_set(attributes, _INPUT) is not None or first_set(attributes, _OUTPUT) is not None
    if not is_named and not (has_usage and first_text(*_values(attributes, _MODEL)) and _may_be_a_call(attributes)):
        return None
    return _Candidate(span, _call(span, keys, complaints), is_named, has_usage)


def _may_be_a_call(attributes: Attributes) -> bool:
    """Whether a span that names no operation is no agent's or tool's, as far as it shows by itself."""
    return first_set(attributes, _AGENT_OR_TOOL) is None or first_set(attributes, _RESPONSE) is not None


def _call(span: Span, keys: MetadataKeys, complaints: set[str]) -> ModelCall:
    attributes, resource = span.attributes, span.resource
    model = first_text(*_values(attributes, _MODEL))
    input_tokens = tokens(first_set(attributes, _INPUT), complaints) or 0
    latency = None
    if span.started > 0 and span.ended > 0:
        latency = seconds(span.ended - span.started, complaints, _NANOSECONDS)
    return ModelCall(
        identity=_identity(span.trace_id, span.span_id),
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


def _identity(trace_id: str, span_id: str) -> str:
    return span_id and f"{trace_id}/{span_id}"


def _above_calls(
    parents: Mapping[str, str], candidates: Sequence[_Candidate], was_told: Callable[[str], bool]
) -> set[str]:
    """Return the identities of all spans that stand above model calls with usage, also of those yet to come."""
    above = {identity for identity in parents if was_told(identity)}
    places = [parents[identity] for identity in above]
    places += [_parent(one) for one in candidates if one.has_usage]
    while places:
        place = places.pop()
        if place and place not in above:
            above.add(place)
            places.append(parents.get(place, ""))
    return above


def _repetitions(parents: Mapping[str, str], candidates: Sequence[_Candidate]) -> dict[str, str]:
    """Return what would tell usage again: a mark for each span above a call, with the span's identity."""
    marks: dict[str, str] = {}
    calls = {one.call.identity for one in candidates}
    for inner in candidates:
        place = _parent(inner)
        for _ in range(_DEEPEST):
            if not place or place == inner.call.identity:
                break
            if place in calls or place not in parents:
                marks[_repetition(place, inner.call)] = place
            place = parents.get(place, "")
    return marks


def _parent(candidate: _Candidate) -> str:
    """Return the identity of the span above; "" for none, and for one that says it stands above itself."""
    span = candidate.span
    return _identity(span.trace_id, span.parent_id) if span.parent_id != span.span_id else ""


def _repetition(identity: str, call: ModelCall) -> str:
    return f"{identity} {call.input_tokens} {call.output_tokens}"
