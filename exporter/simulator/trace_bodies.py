"""How the applications tell AITracer of their model calls: most natively, one by OpenTelemetry, one by OpenAI's Agents.

All as the three ingests take it, prompts and answers apart, which nobody makes up here. Pure.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from exporter.simulator.model_calls import ModelCall

NATIVE: Final = "/api/traces"
OPENAI_AGENTS: Final = "/api/integrations/openai-agents"
OPENTELEMETRY: Final = "/api/integrations/otlp/v1/traces"
INGESTS: Final = (NATIVE, OPENAI_AGENTS, OPENTELEMETRY)
"""Where AITracer takes traces."""

_BY_OPENTELEMETRY: Final = "search"
_BY_OPENAI_AGENTS: Final = "research-agent"

_MODEL_CALL, _CLIENT, _ERROR = "chat", 3, 2
_OPERATIONS: Final = {"usage/embeddings": "embeddings"}

_Json = dict[str, Any]


class Post(NamedTuple):
    """A body, where it goes, and how many model calls it tells of."""

    path: str
    body: _Json
    told: int


def posts(calls: Sequence[ModelCall]) -> list[Post]:
    """Tell of calls that one application made at one time."""
    if not calls:
        return []
    match calls[0].stream.workflow.workflow:
        case name if name == _BY_OPENTELEMETRY:
            return [Post(OPENTELEMETRY, _opentelemetry(calls), len(calls))]
        case name if name == _BY_OPENAI_AGENTS:
            return [Post(OPENAI_AGENTS, _openai_agents(calls), len(calls))]
        case _:
            return [Post(NATIVE, _native(call), 1) for call in calls]


def _native(call: ModelCall) -> _Json:
    work = call.stream.workflow
    metrics: _Json = {
        "promptTokens": call.input_tokens,
        "completionTokens": call.output_tokens,
        "totalTokens": call.input_tokens + call.output_tokens,
        "cachedTokens": call.cached_tokens,
        "latencyMs": call.latency_ms,
    }
    if call.cost_usd is not None:
        metrics["estimatedCostUsd"] = float(call.cost_usd)
    return {
        "actionName": work.workflow,
        "environment": work.environment,
        "status": call.status,
        "requestId": call.identity,
        "model": call.stream.use.model,
        "provider": {"name": "openai"},
        "metadata": _owner(call),
        "metrics": metrics,
    }


def _owner(call: ModelCall) -> _Json:
    return {"actionGroup": call.stream.workflow.action_group, "projectId": call.stream.project_id or ""}


def _opentelemetry(calls: Sequence[ModelCall]) -> _Json:
    """One workflow's span with the calls below it, as OpenLIT tells them, costs included."""
    first = calls[0]
    resource = {
        "service.name": first.stream.workflow.workflow,
        "deployment.environment.name": first.stream.workflow.environment,
        **_owner(first),
    }
    trace_id, root_id = _hexadecimal(first.identity, 16), _hexadecimal(f"{first.identity}/workflow", 8)
    ended = max(_nanoseconds(call.at, call.latency_ms) for call in calls)
    root: _Json = {"traceId": trace_id, "spanId": root_id, "name": "search", "kind": 1, "status": {}}
    root |= {"startTimeUnixNano": str(_nanoseconds(first.at)), "endTimeUnixNano": str(ended)}
    root["attributes"] = _attributes({"gen_ai.operation.name": "invoke_workflow"})
    spans = [root]
    for call in calls:
        operation = _OPERATIONS.get(call.stream.api, _MODEL_CALL)
        spans.append(
            {
                "traceId": trace_id,
                "spanId": _hexadecimal(call.identity, 8),
                "parentSpanId": root_id,
                "name": f"{operation} {call.stream.use.model}",
                "kind": _CLIENT,
                "startTimeUnixNano": str(_nanoseconds(call.at)),
                "endTimeUnixNano": str(_nanoseconds(call.at, call.latency_ms)),
                "status": {} if call.status == "completed" else {"code": _ERROR},
                "attributes": _attributes(_model_call(call, operation)),
            }
        )
    return {"resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": [{"spans": spans}]}]}


def _model_call(call: ModelCall, operation: str) -> _Json:
    said: _Json = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": call.stream.use.model,
        "gen_ai.response.model": call.stream.use.model,
        "gen_ai.usage.input_tokens": call.input_tokens,
        "gen_ai.usage.output_tokens": call.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": call.cached_tokens,
    }
    if call.cost_usd is not None:
        said["gen_ai.usage.cost"] = float(call.cost_usd)
    return said


def _attributes(said: _Json) -> list[_Json]:
    return [{"key": key, "value": _value(value)} for key, value in said.items()]


def _value(value: str | float) -> _Json:
    match value:
        case int():
            # JSON has no 64-bit integers.
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case _:
            return {"stringValue": value}


def _openai_agents(calls: Sequence[ModelCall]) -> _Json:
    """One agent's run, with its calls below it; what they cost comes from the application's own processor of spans."""
    first = calls[0]
    work = first.stream.workflow
    trace_id = f"trace_{_hexadecimal(first.identity, 16)}"
    agent_id = f"span_{_hexadecimal(f'{first.identity}/agent', 12)}"
    run = {
        "object": "trace",
        "id": trace_id,
        "workflow_name": work.workflow,
        "metadata": {**_owner(first), "environment": work.environment},
    }
    agent: _Json = {"object": "trace.span", "id": agent_id, "trace_id": trace_id, "parent_id": None, "error": None}
    agent["span_data"] = {"type": "agent", "name": work.workflow, "tools": ["web_search"]}
    return {"data": [run, agent, *(_generation(call, trace_id, agent_id) for call in calls)]}


def _generation(call: ModelCall, trace_id: str, agent_id: str) -> _Json:
    usage: _Json = {
        "input_tokens": call.input_tokens,
        "input_tokens_details": {"cached_tokens": call.cached_tokens},
        "output_tokens": call.output_tokens,
    }
    if call.cost_usd is not None:
        usage["cost_usd"] = float(call.cost_usd)
    return {
        "object": "trace.span",
        "id": f"span_{_hexadecimal(call.identity, 12)}",
        "trace_id": trace_id,
        "parent_id": agent_id,
        "started_at": _moment(call.at),
        "ended_at": _moment(call.at, call.latency_ms),
        "error": None if call.status == "completed" else {"message": call.status, "data": None},
        "span_data": {"type": "generation", "model": call.stream.use.model, "provider": "openai", "usage": usage},
    }


def _hexadecimal(identity: str, size: int) -> str:
    return blake2b(identity.encode(), digest_size=size).hexdigest()


def _nanoseconds(at: int, milliseconds: int = 0) -> int:
    return at * 10**9 + milliseconds * 10**6


def _moment(at: int, milliseconds: int = 0) -> str:
    return datetime.fromtimestamp(at + milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
