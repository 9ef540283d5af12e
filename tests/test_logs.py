import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter import logs
from exporter.logs import JsonFormatter, LogfmtFormatter, configure_logging, redact

PAIR = re.compile(r'(?P<name>[A-Za-z0-9_.-]+)=(?P<value>"(?:[^"\\]|\\.)*"|[^\s"=\\]+)(?: |$)')

KEY = "sk-admin-AbCdEf0123456789_-AbCdEf0123456789"

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()))


def parsed_logfmt(line: str) -> dict[str, object]:
    fields: dict[str, object] = {}
    end = 0
    while end < len(line):
        pair = PAIR.match(line, end)
        assert pair is not None, line[end:]
        value = pair["value"]
        fields[pair["name"]] = json.loads(value) if value.startswith('"') else value
        end = pair.end()
    return fields


def record_of(msg: object, *args: object, **extra: object) -> logging.LogRecord:
    record = logging.LogRecord("exporter.test", logging.INFO, __file__, 1, msg, args, None)
    record.created = 1_785_600_000.25
    record.__dict__.update(extra)
    return record


def logfmt(msg: object, *args: object, **extra: object) -> str:
    return LogfmtFormatter().format(record_of(msg, *args, **extra))


def _fail_with(text: str) -> None:
    raise ValueError(text)


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("cannot be printed")


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger and the talkative ones, put back as they were afterwards."""
    root = logging.getLogger()
    loggers = [root, *map(logging.getLogger, ("asyncio", "httpcore", "httpx"))]
    levels, handlers = [logger.level for logger in loggers], root.handlers[:]
    yield root
    root.handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def test_a_logfmt_line_has_time_level_message_logger_and_whatever_was_passed() -> None:
    assert logfmt("poll applied", api="costs", rows=12) == (
        'ts=2026-08-01T16:00:00.250Z level=info msg="poll applied" logger=exporter.test api=costs rows=12'
    )


def test_a_json_line_has_the_same_fields_with_their_types() -> None:
    line = JsonFormatter().format(record_of("poll %s", "applied", rows=12, took=0.5, full=True, problem=None))
    assert json.loads(line) == {
        "ts": "2026-08-01T16:00:00.250Z",
        "level": "info",
        "msg": "poll applied",
        "logger": "exporter.test",
        "rows": 12,
        "took": 0.5,
        "full": True,
        "problem": None,
    }


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ("usage/completions", "usage/completions"),
        ("Größe", "Größe"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "hi"', r'"say \"hi\""'),
        ("back\\slash", r'"back\\slash"'),
        ("line\nlevel=error", r'"line\nlevel=error"'),
        ("\r\x1b[31m", r'"\r\u001b[31m"'),
        ("del\x7fnel\x85", r'"del\u007fnel\u0085"'),
        ("\u2028\u202e", r'"\u2028\u202e"'),
        ("tag\U000e0001", r'"tag\udb40\udc01"'),
        ("\ud800", r'"\ud800"'),
        (None, "null"),
        (True, "true"),
        (12, "12"),
        (10**30, str(10**30)),
        (0.25, "0.25"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (Decimal("0.10"), "0.10"),
        ([1, "x"], "\"[1, 'x']\""),
        (Unprintable(), '"<unprintable Unprintable>"'),
    ],
)
def test_a_value_is_written_plain_where_it_can_be_and_quoted_where_it_must(value: object, written: str) -> None:
    assert logfmt("m", value=value).endswith(f" value={written}")


@pytest.mark.parametrize(
    ("name", "written"),
    [("a b", "a_b"), ("a=b\nc", "a_b_c"), ("", "_"), ("level", "level_"), ("ts", "ts_"), ("exception", "exception_")],
)
def test_a_field_name_can_neither_break_the_line_nor_take_a_fixed_one(name: str, written: str) -> None:
    assert parsed_logfmt(logfmt("m", **{name: 1}))[written] == "1"
    assert parsed_logfmt(logfmt("m", **{name: 1}))["level"] == "info"


def test_arguments_that_do_not_fit_the_message_lose_neither() -> None:
    assert parsed_logfmt(logfmt("%d rows of %s", "many"))["msg"] == "%d rows of %s ('many',) (not formatted: TypeError)"


@given(ANY_TEXT, ANY_TEXT, st.one_of(ANY_TEXT, st.integers(), st.floats(), st.binary(), st.none()))
def test_one_record_is_one_line_and_parses_back(message: str, text: str, anything: object) -> None:
    record = record_of(message.replace("%", "%%"), text=text, anything=anything)
    expected = {"level": "info", "msg": redact(message.replace("%", "%%")), "text": redact(text)}
    for line in (LogfmtFormatter().format(record), JsonFormatter().format(record)):
        assert line.isprintable()
        assert len(line.splitlines()) == 1
        fields = json.loads(line) if line.startswith("{") else parsed_logfmt(line)
        assert set(fields) == {"ts", "level", "msg", "logger", "text", "anything"}
        # Two lone surrogates side by side read back as the one character they spell in JSON.
        assert {name: _joined(fields[name]) for name in expected} == {n: _joined(v) for n, v in expected.items()}


def _joined(text: object) -> bytes:
    return str(text).encode("utf-16-le", errors="surrogatepass")


@pytest.mark.parametrize("formatter", [LogfmtFormatter(), JsonFormatter()])
def test_an_exception_is_one_field_of_the_same_line(formatter: logging.Formatter) -> None:
    record = record_of("it failed")
    try:
        _fail_with("first\nlevel=error msg=forged")
    except ValueError:
        record.exc_info = sys.exc_info()
    record.stack_info = "Stack\n  here"
    line = formatter.format(record)
    fields = json.loads(line) if line.startswith("{") else parsed_logfmt(line)
    assert len(line.splitlines()) == 1
    exception = str(fields["exception"])
    assert exception.startswith("Traceback (most recent call last):\n")
    assert exception.endswith("ValueError: first\nlevel=error msg=forged")
    assert fields["stack"] == "Stack\n  here"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (KEY, "sk-…[redacted]"),
        (f"key {KEY}, and more", "key sk-…[redacted], and more"),
        (f"key={KEY}&x=1", "key=sk-…[redacted]&x=1"),
        (f"first\n{KEY}", "first\nsk-…[redacted]"),
        (rf"escaped\n{KEY[:10]}", r"escaped\nsk-…[redacted]"),
        (f"x3D{KEY}", "x3Dsk-…[redacted]"),
        ("sk-1", "sk-…[redacted]"),
        (f"Authorization: Bearer {KEY}", "Authorization: Bearer sk-…[redacted]"),
        ("authorization: bearer eyJhbGciOi.J9/+=x", "authorization: bearer …[redacted]"),
        ("Bearer\n eyJhbGciOiJ9", "Bearer …[redacted]"),
        ("the bearer of news", "the bearer of news"),
        ("task-1 of risk-assessment", "task-1 of risk-assessment"),
        ("key_0123 proj_abc", "key_0123 proj_abc"),
    ],
)
def test_what_looks_like_a_key_is_redacted_and_what_does_not_is_left(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


@pytest.mark.parametrize("formatter", [LogfmtFormatter(), JsonFormatter()])
def test_no_part_of_a_record_shows_a_key(formatter: logging.Formatter) -> None:
    class Client:
        def __str__(self) -> str:
            return f"Client(key='{KEY}')"

    record = record_of("sent %s", KEY, key=KEY, client=Client(), listed=["x", KEY], raw=KEY.encode(), **{KEY: 1})
    record.stack_info = f"key = {KEY}"
    try:
        _fail_with(KEY)
    except ValueError:
        record.exc_info = sys.exc_info()
    line = formatter.format(record)
    assert KEY[:14] not in line
    assert "AbCdEf" not in line
    assert line.count("sk-…[redacted]") == 7


def test_what_is_logged_goes_to_the_stream_from_the_level_on(root: logging.Logger) -> None:
    stream = io.StringIO()
    configure_logging("info", "logfmt", stream)
    root.getChild("exporter.test").debug("hidden")
    root.getChild("exporter.test").info("poll applied", extra={"api": "costs", "rows": 12})
    (line,) = stream.getvalue().splitlines()
    assert line.endswith('level=info msg="poll applied" logger=exporter.test api=costs rows=12')


def test_configuring_again_replaces_the_earlier_configuration_only(root: logging.Logger) -> None:
    first, second, foreign = io.StringIO(), io.StringIO(), logging.NullHandler()
    root.addHandler(foreign)
    configure_logging("info", "logfmt", first)
    configure_logging("debug", "json", second)
    root.getChild("exporter.test").debug("now")
    assert first.getvalue() == ""
    assert json.loads(second.getvalue())["msg"] == "now"
    assert foreign in root.handlers


@pytest.mark.parametrize(("level", "shown"), [("debug", ["warning", "error"]), ("error", ["error"])])
@pytest.mark.parametrize("name", ["asyncio", "httpcore.http11", "httpx"])
def test_the_libraries_talk_only_of_trouble(root: logging.Logger, name: str, level: str, shown: list[str]) -> None:
    stream = io.StringIO()
    configure_logging(level, "json", stream)
    logger = root.getChild(name)
    logger.debug("d")
    logger.info("i")
    logger.warning("w")
    logger.error("e")
    assert [json.loads(line)["level"] for line in stream.getvalue().splitlines()] == shown


@pytest.mark.parametrize("level", logs.LEVELS)
@pytest.mark.parametrize("log_format", logs.FORMATS)
def test_every_level_and_format_that_is_offered_is_taken(root: logging.Logger, level: str, log_format: str) -> None:
    configure_logging(level, log_format, io.StringIO())
    assert root.level == logs.LEVELS[level]


@pytest.mark.parametrize(("level", "log_format"), [("loud", "json"), ("info", "xml"), ("INFO", "json"), ("", "")])
def test_an_unknown_level_or_format_is_refused_with_the_known_ones(level: str, log_format: str) -> None:
    with pytest.raises(ValueError, match=r"one of debug, info|one of logfmt, json"):
        configure_logging(level, log_format)
