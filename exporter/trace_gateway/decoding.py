"""A body, out of its Content-Encoding and into JSON, within bounds. Pure."""

import json
import zlib
from typing import Final

from exporter.trace_gateway.model_calls import Unreadable

LARGEST_BODY: Final = 8 * 1024 * 1024
"""Bytes of a decoded body that are read; a larger one is forwarded, not counted."""

_GZIP: Final = 16 + zlib.MAX_WBITS
# Each member's end copies all that follows it: a body of nothing but ends would take minutes. Senders make one.
_MOST_MEMBERS: Final = 100


def decoded(body: bytes | None, encoding: str) -> bytes:
    """Return a body without its Content-Encoding: gzip, deflate, or none.

    Raises:
        Unreadable: it is too large, or not in that encoding, or the encoding is another one.
    """
    if body is None:
        raise Unreadable("too_large")
    match encoding.strip().lower():
        case "" | "identity":
            plain = body
        case "gzip" | "x-gzip":
            plain = _inflated(body, _GZIP)
        case "deflate":
            # Some send it without the zlib header that the standard wants.
            has_header = len(body) > 1 and body[0] & 0x0F == zlib.DEFLATED and not int.from_bytes(body[:2]) % 31
            plain = _inflated(body, zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        case _:
            raise Unreadable("encoding")
    if len(plain) > LARGEST_BODY:
        raise Unreadable("too_large")
    return plain


def parsed(body: bytes) -> object:
    """Return what JSON says; a number that is none is a float that is not finite.

    Raises:
        Unreadable: this is not JSON, or it is nested too deep.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unreadable("json") from error


def _inflated(body: bytes, window_bits: int) -> bytes:
    plain = bytearray()
    for _ in range(_MOST_MEMBERS):
        if not body:
            return bytes(plain)
        stream = zlib.decompressobj(window_bits)
        try:
            plain += stream.decompress(body, LARGEST_BODY + 1 - len(plain))
        except zlib.error as error:
            raise Unreadable("encoding") from error
        if len(plain) > LARGEST_BODY:
            raise Unreadable("too_large")
        if not stream.eof:
            raise Unreadable("encoding")
        # What comes after the end is the next member of a gzip file.
        body = stream.unused_data if window_bits == _GZIP else b""
    raise Unreadable("encoding")
