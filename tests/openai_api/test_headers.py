import pytest

from exporter.openai_api.headers import http_date, retry_after

NOW = 1785542400.0


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("Sat, 01 Aug 2026 00:00:00 GMT", NOW),
        ("Saturday, 01-Aug-26 00:00:00 GMT", NOW),
        ("Sat Aug  1 00:00:00 2026", NOW),
        ("Sat, 01 Aug 2026 02:00:00 +0200", NOW),
        (None, None),
        ("", None),
        ("yesterday", None),
        ("Sat, 99 Aug 2026 00:00:00 GMT", None),
        ("Sat, 01 Aug 99999 00:00:00 GMT", None),
    ],
)
def test_an_http_date_is_read_as_unix_seconds(text: str | None, second: float | None) -> None:
    assert http_date(text) == second


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("999999999999", 999999999999.0),
        ("9" * 400, None),
        ("-1", None),
        ("nan", None),
        ("1e3", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("Sat, 01 Aug 2026 00:00:30 GMT", 30.0),
        ("Fri, 31 Jul 2026 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_read_in_both_spellings(text: str | None, seconds: float | None) -> None:
    assert retry_after(text, NOW) == seconds
