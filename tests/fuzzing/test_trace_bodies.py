"""Any bytes to the trace gateway are counts that can be added up, or a reason why there are none."""

import gzip
import math
import zlib
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.configuration.sections import TraceGateway
from exporter.trace_gateway.decoding import LARGEST_BODY, decoded
from exporter.trace_gateway.model_calls import REASONS, Unreadable
from tests.fuzzing.mutations import any_texts, bodies, damaged
from tests.trace_gateway import otlp_bodies
from tests.trace_gateway.counted import AGENTS, NATIVE, OTLP, Counted
from tests.trace_gateway.test_native import trace
from tests.trace_gateway.test_openai_agents import GENERATION, TRACE, span

SETS = 3
TRACES = (
    trace(),
    trace(
        metrics={"promptTokens": 1, "cachedTokens": 1, "latencyMs": 1.5, "estimatedCostUsd": 0.01},
        metadata={"actionGroup": "a", "projectId": "proj_1"},
        provider={"name": "openai"},
    ),
    [trace(), trace(requestId="r2", actionName="other")],
)
ANSWERS: tuple[Any, ...] = (
    {"trace": {"executionRecords": [{"metrics": {"promptTokens": 5, "estimatedCostUsd": 0.5, "latencyMs": 9}}]}},
    {"trace": {"executionRecords": []}},
    {},
)
EXPORTS = (
    {"data": [TRACE, span(1, GENERATION), span(2, {"type": "response", "response": {"model": "m", "usage": {}}})]},
    {"traces": [{"trace": TRACE, "spans": [span(1, GENERATION)]}]},
)
OTLP_EXPORTS = (
    otlp_bodies.export(otlp_bodies.span(1, {}), otlp_bodies.span(2, otlp_bodies.CHAT, parent=1)),
    otlp_bodies.export(
        otlp_bodies.span(1, otlp_bodies.CHAT | {"gen_ai.usage.cost": 0.1}, failed=True),
        otlp_bodies.span(2, otlp_bodies.CHAT, parent=1),
    ),
)


def packed(body: bytes, encoding: str) -> bytes:
    match encoding:
        case "gzip":
            return gzip.compress(body, mtime=0)
        case "deflate":
            return zlib.compress(body)
    return body


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[str, bytes, Mapping[str, str], bytes | None]:
    """Path, body, headers and the answer's body."""
    kind = draw(st.sampled_from(("native", "agents", "otlp", "protobuf")))
    protobuf = [otlp_bodies.protobuf(each) for each in OTLP_EXPORTS]
    body = draw(
        {
            "native": bodies(TRACES, most_changes=6),
            "agents": bodies(EXPORTS, most_changes=6),
            "otlp": bodies(OTLP_EXPORTS, most_changes=6),
            "protobuf": damaged(st.sampled_from(protobuf)),
        }[kind]
    )
    encoding = draw(st.sampled_from(("", "", "identity", "gzip", "deflate", "GZIP ")))
    headers = {
        "content-type": "application/x-protobuf"
        if kind == "protobuf"
        else draw(st.just("application/json") | any_texts),
        "content-encoding": draw(st.sampled_from((*[encoding] * 9, "br"))),
        "authorization": draw(any_texts),
    }
    path = {"native": NATIVE, "agents": AGENTS, "otlp": OTLP, "protobuf": OTLP}[kind]
    sent = draw(damaged(st.just(packed(body, encoding.strip().lower()))))
    return path, sent, headers, draw(st.none() | bodies(ANSWERS))


@settings(max_examples=60)
@given(st.lists(exchanges(), min_size=1, max_size=4))
def test_any_body_is_finite_counts_under_bounded_labels_or_a_reason(
    sent: list[tuple[str, bytes, Mapping[str, str], bytes | None]],
) -> None:
    counted = Counted(TraceGateway(label_sets=SETS))
    for path, body, headers, answer in sent:
        counted.body(path, body, answer, **headers)
    samples = counted.samples()
    for name, found in samples.items():
        for labels, value in found:
            assert math.isfinite(value), name
            assert value >= 0, name
            assert all(len(text) <= 200 and text.isprintable() for text in labels.values())
    assert {labels["reason"] for labels, _ in samples["aitracer_gateway_unreadable_bodies_total"]} == set(REASONS)
    assert len(samples.get("aitracer_trace_cost_usd_total", [])) <= SETS + 2
    tokens = {frozenset(labels.items()): value for labels, value in samples.get("aitracer_trace_tokens_total", [])}
    for pairs, cached in tokens.items():
        if ("token_type", "input_cached") in pairs:
            assert cached <= tokens[pairs - {("token_type", "input_cached")} | {("token_type", "input")}]


@settings(max_examples=60)
@given(
    damaged(
        st.binary(max_size=60).flatmap(
            lambda body: st.sampled_from([packed(body, each) for each in ("gzip", "deflate", "")])
        )
    ),
    st.sampled_from(("", "identity", "gzip", "x-gzip", "deflate", "br")) | any_texts,
)
def test_any_bytes_come_out_of_their_encoding_within_bounds_or_have_a_reason(body: bytes, encoding: str) -> None:
    try:
        plain = decoded(body, encoding)
    except Unreadable as unreadable:
        check_reason(unreadable)
        return
    assert len(plain) <= LARGEST_BODY


def check_reason(unreadable: Unreadable) -> None:
    assert unreadable.reason in {"encoding", "too_large"}


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_is_too_large(encoding: str) -> None:
    with pytest.raises(Unreadable, match="too_large"):
        decoded(packed(bytes(LARGEST_BODY + 1), encoding), encoding)
