import pytest

from exporter.web.cross_site import comes_from_another_site

HOST = "exporter.test:9185"


def test_who_names_no_site_is_no_browser() -> None:
    assert not comes_from_another_site({"host": HOST})
    assert not comes_from_another_site({})


@pytest.mark.parametrize(
    ("site", "foreign"),
    [
        ("same-origin", False),
        ("none", False),
        ("Same-Origin", False),
        ("same-site", True),
        ("cross-site", True),
        ("", True),
        ("same-origin, cross-site", True),
    ],
)
def test_the_browser_says_whose_request_it_is(site: str, foreign: bool) -> None:  # noqa: FBT001 - one case of a table
    assert comes_from_another_site({"host": HOST, "sec-fetch-site": site}) is foreign


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://exporter.test:9185", HOST),
        ("http://Exporter.TEST:9185", HOST),
        ("https://exporter.test", "exporter.test"),
        ("https://exporter.test", "exporter.test:443"),
        ("http://exporter.test:80", "exporter.test"),
        ("http://[::1]:9185", "[::1]:9185"),
    ],
)
def test_the_page_of_the_same_host_and_port_is_no_other_site(origin: str, host: str) -> None:
    assert not comes_from_another_site({"host": host, "origin": origin})


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.test", HOST),
        ("http://exporter.test:9186", HOST),
        ("http://exporter.test", HOST),
        ("https://exporter.test", "exporter.test:80"),
        ("http://exporter.test:9185.evil.test", HOST),
        ("http://exporter.test:9185@evil.test", HOST),
        ("http://exporter.test:9185, https://evil.test", HOST),
        ("http://[::1", HOST),
        ("http://exporter.test:port", HOST),
        ("null", HOST),
        ("null", ""),
        ("", ""),
        ("http://", ""),
        (HOST, HOST),
    ],
)
def test_every_other_origin_is_another_site_even_if_the_browser_calls_it_its_own(origin: str, host: str) -> None:
    assert comes_from_another_site({"host": host, "origin": origin, "sec-fetch-site": "same-origin"})
