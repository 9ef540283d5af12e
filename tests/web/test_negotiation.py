import pytest

from exporter.web.negotiation import accepts_gzip, prefers_openmetrics

PROMETHEUS_2_42 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3_PROTOBUF_FIRST = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7," + PROMETHEUS_3
)
PROMETHEUS_3_TEXT_ONLY = "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.3"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        (PROMETHEUS_2_42, True),
        (PROMETHEUS_3, True),
        (PROMETHEUS_3_PROTOBUF_FIRST, True),
        (PROMETHEUS_3_TEXT_ONLY, False),
        (BROWSER, False),
        ("", False),
        ("*/*", False),
        ("text/*", False),
        ("application/*", False),
        ("application/json", False),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text; Version=1.0.0", True),
        ('application/openmetrics-text; version="1.0.0"; charset=utf-8', True),
        ("application/openmetrics-text;version=0.0.1", False),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=0,*/*", False),
        ("application/openmetrics-text;q=0.3,text/plain;q=0.4", False),
        ("application/openmetrics-text;q=0.4,text/plain;q=0.3", True),
        ("text/plain;q=0.3,application/openmetrics-text;q=0.4", True),
        ("text/plain,application/openmetrics-text", False),
        ("application/openmetrics-text,text/plain", True),
        ("application/openmetrics-text;q=high", False),
        ("application/openmetrics-text;q=nan", False),
        ("application/openmetrics-text;q=2", False),
        (",;,=;q=,", False),
    ],
)
def test_openmetrics_is_chosen_only_where_it_is_named_and_liked_best(accept: str, *, openmetrics: bool) -> None:
    assert prefers_openmetrics(accept) is openmetrics


@pytest.mark.parametrize(
    ("accept_encoding", "gzip"),
    [
        ("gzip", True),
        ("GZip", True),
        ("x-gzip", True),
        ("deflate, gzip, br", True),
        ("gzip;q=0.001", True),
        ("gzip, identity;q=0.5", True),
        ("*", True),
        ("identity;q=0.5, *;q=0.8", True),
        ("", False),
        ("identity", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip;q=0.0, *", False),
        ("*;q=0", False),
        ("gzip;q=0.2, identity", False),
        ("gzip;q=", False),
        ("notgzip", False),
    ],
)
def test_gzip_is_sent_only_where_it_is_accepted_and_liked_as_well_as_plain(accept_encoding: str, *, gzip: bool) -> None:
    assert accepts_gzip(accept_encoding) is gzip
