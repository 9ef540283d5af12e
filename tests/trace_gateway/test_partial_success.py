"""Answers to OTLP exports that accept some of the spans only."""

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from exporter.trace_gateway.exchange import Exchange
from tests.trace_gateway.counted import OTLP, Counted
from tests.trace_gateway.otlp_bodies import CHAT, export, protobuf, span

JSON, PROTOBUF = "application/json; charset=utf-8", "application/x-protobuf"
# Two calls, and a span that is none.
BODY = protobuf(export(span(1, {}), span(2, CHAT, 1), span(3, CHAT, 1)))


def count(counted: Counted, answer: bytes | None, content_type: str, body: bytes = BODY) -> None:
    counted.counting.count(Exchange(OTLP, {"content-type": PROTOBUF}, body, {"content-type": content_type}, answer))


def rejected(counted: Counted) -> float:
    return counted.value("aitracer_gateway_rejected_spans_total")


def of_protobuf(rejected_spans: int) -> bytes:
    partial = ExportTracePartialSuccess(rejected_spans=rejected_spans, error_message="secret")
    return ExportTraceServiceResponse(partial_success=partial).SerializeToString()


@pytest.mark.parametrize(
    ("answer", "content_type"),
    [
        (b'{"partialSuccess": {"rejectedSpans": "1", "errorMessage": "secret"}}', JSON),
        (b'{"partial_success": {"rejected_spans": 1}}', JSON),
        (of_protobuf(1), PROTOBUF),
    ],
)
def test_where_some_spans_were_rejected_all_count_and_the_rejected_are_told(answer: bytes, content_type: str) -> None:
    counted = Counted()
    count(counted, answer, content_type)
    assert (counted.requests(), rejected(counted)) == ((2, 0), 1)
    assert counted.unreadable() == {}
    assert b"secret" not in counted.page()


@pytest.mark.parametrize("number", [3, 4, 2**63 - 1])
def test_where_all_were_rejected_none_counts_and_a_later_try_does(number: int) -> None:
    counted = Counted()
    count(counted, of_protobuf(number), PROTOBUF)
    count(counted, b'{"partialSuccess": {"rejectedSpans": "%d"}}' % number, JSON)
    assert (counted.requests(), rejected(counted)) == ((0, 0), 6)
    count(counted, b"{}", JSON)
    assert (counted.requests(), counted.duplicates()) == ((2, 0), 0)


@pytest.mark.parametrize(
    ("answer", "content_type"),
    [
        (b'{"partialSuccess": {}}', JSON),
        # A warning, by the standard.
        (b'{"partialSuccess": {"rejectedSpans": 0, "errorMessage": "old"}}', JSON),
        (b'{"partialSuccess": {"rejectedSpans": -1}}', JSON),
        (b'{"trace": {}}', JSON),
        (b"[]", JSON),
        (of_protobuf(0), PROTOBUF),
        (of_protobuf(-1), PROTOBUF),
        (b"", PROTOBUF),
        (b"", JSON),
        (None, JSON),
        (b"fine", "text/plain"),
        (b"fine", ""),
    ],
)
def test_an_answer_that_rejects_nothing_accepts_everything(answer: bytes | None, content_type: str) -> None:
    counted = Counted()
    count(counted, answer, content_type)
    assert (counted.requests(), rejected(counted)) == ((2, 0), 0)
    assert counted.unreadable() == {}


@pytest.mark.parametrize(
    ("answer", "content_type"),
    [
        (b"{", JSON),
        (b"\xff\xff\xff", PROTOBUF),
        (b'{"partialSuccess": {"rejectedSpans": true}}', JSON),
        (b'{"partialSuccess": {"rejectedSpans": 1.5}}', JSON),
        (b'{"partialSuccess": {"rejectedSpans": "many"}}', JSON),
        # More digits than Python reads.
        (b'{"partialSuccess": {"rejectedSpans": "%b"}}' % (b"1" * 5_000), JSON),
    ],
)
def test_an_answer_that_cannot_be_read_is_told_and_everything_counts(answer: bytes, content_type: str) -> None:
    counted = Counted()
    count(counted, answer, content_type)
    assert (counted.requests(), rejected(counted)) == ((2, 0), 0)
    assert counted.unreadable() == {("otlp", "answer"): 1}


def test_an_export_of_nothing_rejects_nothing() -> None:
    counted = Counted()
    count(counted, of_protobuf(5), PROTOBUF, body=b"")
    assert (counted.requests(), rejected(counted)) == ((0, 0), 0)
