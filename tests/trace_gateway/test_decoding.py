"""Bodies come out of their Content-Encoding, within bounds, or are told to be unreadable."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.trace_gateway.decoding import LARGEST_BODY, decoded, parsed
from exporter.trace_gateway.model_calls import Unreadable

BODY = b'{"actionName": "support-bot"}' * 50


def reason(body: bytes | None, encoding: str) -> str:
    with pytest.raises(Unreadable) as caught:
        decoded(body, encoding)
    return caught.value.reason


def raw_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(body) + stream.flush()


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (BODY, ""),
        (BODY, "identity"),
        (gzip.compress(BODY, mtime=0), "gzip"),
        (gzip.compress(BODY, mtime=0), " X-GZip "),
        (gzip.compress(BODY[:100], mtime=0) + gzip.compress(BODY[100:], mtime=0), "gzip"),
        (zlib.compress(BODY), "deflate"),
        (raw_deflate(BODY), "deflate"),
    ],
    # Names of tests must be the same whenever, and wherever, they are collected.
    ids=["plain", "identity", "gzip", "gzip spelled otherwise", "two gzip members", "zlib", "deflate without a header"],
)
def test_the_encodings_that_clients_use_are_taken_off(body: bytes, encoding: str) -> None:
    assert decoded(body, encoding) == BODY


@given(st.binary(max_size=2_000))
def test_whatever_is_compressed_comes_out_again(body: bytes) -> None:
    assert decoded(gzip.compress(body), "gzip") == body
    assert decoded(zlib.compress(body), "deflate") == body


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate"]))
def test_garbage_is_told_or_read_and_never_raises_anything_else(body: bytes, encoding: str) -> None:
    try:
        assert len(decoded(body, encoding)) <= LARGEST_BODY
    except Unreadable as unreadable:
        assert unreadable.reason == "encoding"  # noqa: PT017 - it may be readable, too


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "no"])
def test_an_encoding_that_is_not_known_is_told(encoding: str) -> None:
    assert reason(BODY, encoding) == "encoding"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_is_cut_or_not_in_that_encoding_is_told(encoding: str) -> None:
    whole = gzip.compress(BODY) if encoding == "gzip" else zlib.compress(BODY)
    assert reason(whole[:-3], encoding) == "encoding"
    assert reason(BODY, encoding) == "encoding"


def test_a_body_that_was_not_kept_or_is_too_large_is_told() -> None:
    assert reason(None, "") == "too_large"
    assert reason(b" " * (LARGEST_BODY + 1), "") == "too_large"
    assert len(decoded(b" " * LARGEST_BODY, "")) == LARGEST_BODY


def test_a_small_body_that_grows_is_stopped_at_the_bound() -> None:
    assert reason(gzip.compress(bytes(LARGEST_BODY + 1), 1), "gzip") == "too_large"
    part = gzip.compress(bytes(LARGEST_BODY // 2 + 1), 1)
    assert reason(part + part, "gzip") == "too_large"


def test_a_bomb_takes_no_more_memory_than_a_body_may() -> None:
    stream = zlib.compressobj(1, wbits=16 + zlib.MAX_WBITS)
    bomb = b"".join(stream.compress(bytes(LARGEST_BODY)) for _ in range(8)) + stream.flush()
    tracemalloc.start()
    try:
        assert reason(bomb, "gzip") == "too_large"
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # While it grows, and while it is put together, a body is there twice.
    assert most < 4 * LARGEST_BODY


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"9" * 5_000])
def test_what_is_no_json_is_told(body: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        parsed(body)
    assert caught.value.reason == "json"
