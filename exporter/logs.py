"""Structured logs: one record is one line, in logfmt or JSON, and shows no key whatever it was given."""

import json
import logging
import math
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, TextIO

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
"""What `--log.level` may say."""

FORMATS: Final = ("logfmt", "json")
"""What `--log.format` may say."""

Scalar = str | int | float | bool | None

# They tell of every request; the exporter tells itself what matters of those.
_TALKATIVE: Final = ("asyncio", "httpcore", "httpx")

_OWN_ATTRIBUTES: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}
_OWN_FIELDS: Final = frozenset({"ts", "level", "msg", "logger", "exception", "stack"})

# Behind a letter only a long one is a key: "task-1" is none. But the letter may be the end of an escaped line break.
_KEY: Final = re.compile(r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))sk-[A-Za-z0-9_-]+|sk-[A-Za-z0-9_-]{16,}")
_BEARER: Final = re.compile(r"\b(bearer)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)

_NOT_IN_FIELD_NAMES: Final = re.compile(r"[^A-Za-z0-9_.-]")
_NEEDS_QUOTES: Final = re.compile(r'[\s"=\\]')
_LARGEST_NUMBER_BITS: Final = 64


def redact(text: str) -> str:
    """Replace whatever looks like an OpenAI key or a bearer token."""
    return _BEARER.sub(r"\1 …[redacted]", _KEY.sub("sk-…[redacted]", text))


def configure_logging(level: str, log_format: str, stream: TextIO | None = None) -> None:
    """Log to the stream (standard error if None) from now on; a second call replaces the first.

    Raises:
        ValueError: the level or the format is none of `LEVELS` and `FORMATS`.
    """
    if level not in LEVELS:
        raise ValueError(f"unknown log level {level!r}: one of {', '.join(LEVELS)}")
    if log_format not in FORMATS:
        raise ValueError(f"unknown log format {log_format!r}: one of {', '.join(FORMATS)}")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else LogfmtFormatter())
    root = logging.getLogger()
    for earlier in root.handlers[:]:
        if isinstance(earlier.formatter, OneLineFormatter):
            root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(LEVELS[level])
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, LEVELS[level]))


class OneLineFormatter(logging.Formatter):
    """What both formats share: which fields a record has, redacted."""

    def fields(self, record: logging.LogRecord) -> Iterator[tuple[str, Scalar]]:
        """The record's fields in the order they are written."""
        moment = datetime.fromtimestamp(record.created, UTC)
        yield "ts", moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        yield "level", record.levelname.lower()
        yield "msg", redact(_message(record))
        yield "logger", record.name
        for name, value in record.__dict__.items():
            if name not in _OWN_ATTRIBUTES:
                yield _field_name(name), _scalar(value)
        if record.exc_info and record.exc_info[0] is not None:
            yield "exception", redact(self.formatException(record.exc_info))
        if record.stack_info:
            yield "stack", redact(record.stack_info)


class LogfmtFormatter(OneLineFormatter):
    """`key=value` pairs, values quoted like JSON strings where they need it."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one line."""
        return " ".join(f"{name}={_logfmt_value(value)}" for name, value in self.fields(record))


class JsonFormatter(OneLineFormatter):
    """One JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one line."""
        return _printable(json.dumps(dict(self.fields(record)), ensure_ascii=False, allow_nan=False))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - arguments that do not fit must not lose the record
        return f"{_text(record.msg)} {_text(record.args)} (not formatted: {type(error).__name__})"


def _field_name(name: object) -> str:
    clean = _NOT_IN_FIELD_NAMES.sub("_", redact(_text(name))) or "_"
    return f"{clean}_" if clean in _OWN_FIELDS else clean


def _scalar(value: object) -> Scalar:
    match value:
        case None | bool():
            return value
        case int() if value.bit_length() <= _LARGEST_NUMBER_BITS:
            return int(value)
        case float() if math.isfinite(value):
            return float(value)
    return redact(_text(value))


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - what cannot be printed must not lose the record
        return f"<unprintable {type(value).__name__}>"


def _logfmt_value(value: Scalar) -> str:
    if isinstance(value, str):
        is_plain = value and value.isprintable() and not _NEEDS_QUOTES.search(value)
        return value if is_plain else _printable(json.dumps(value, ensure_ascii=False))
    return json.dumps(value)


def _printable(json_text: str) -> str:
    """Escape what JSON leaves as it is though it can break or disguise a line: DEL, NEL, U+2028, bidi marks, …."""
    if json_text.isprintable():
        return json_text
    return "".join(character if character.isprintable() else _escaped(character) for character in json_text)


def _escaped(character: str) -> str:
    utf16 = character.encode("utf-16-be", errors="surrogatepass").hex()
    return "".join(f"\\u{utf16[i : i + 4]}" for i in range(0, len(utf16), 4))
