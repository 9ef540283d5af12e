from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from exporter.web.landing_page import StatusRow, landing_page

NOW = 1_785_600_000.0  # 2026-08-01 16:00:00 UTC

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'&amp;"

ELEMENTS_WITHOUT_END = {"meta", "wbr"}


class Reader(HTMLParser):
    """Gathers a page's elements, attributes and text, and checks that every element ends."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes += attrs
        if tag not in ELEMENTS_WITHOUT_END:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def page_of(*rows: StatusRow, name: str = "The exporter", version: str = "1.2.3") -> Reader:
    return Reader(landing_page(name=name, version=version, rows=rows, now=NOW))


def test_it_tells_the_name_the_version_and_where_the_pages_are() -> None:
    page = page_of()
    assert "The exporter" in page.text
    assert "1.2.3" in page.text
    assert {value for name, value in page.attributes if name == "href"} == {
        "/metrics",
        "/config",
        "/-/healthy",
        "/-/ready",
    }


def test_it_tells_how_each_api_is_doing() -> None:
    page = page_of(
        StatusRow("usage/completions", healthy=True, last_success=NOW - 42, data_changed=NOW - 7300, problem=None),
        StatusRow("costs", healthy=False, last_success=None, data_changed=None, problem="403: missing scope"),
    )
    assert "usage/completionsOK42 seconds ago2026-08-01 15:59:18 UTC2 hours ago2026-08-01 13:58:20 UTC" in page.text
    assert "costsFailingnevernever403: missing scope" in page.text
    assert "1 of 2 APIs failing" in page.text


def test_it_says_so_when_nothing_was_polled_yet() -> None:
    assert "No API has been polled yet." in page_of().text


def test_a_moment_in_the_future_is_just_now() -> None:
    row = StatusRow("costs", healthy=True, last_success=NOW + 5, data_changed=None, problem=None)
    assert "just now" in page_of(row).text


def test_it_loads_nothing_and_runs_nothing() -> None:
    page = page_of(StatusRow("costs", healthy=False, last_success=NOW, data_changed=NOW, problem="x"))
    assert not page.elements & {"script", "img", "link", "iframe", "object", "form"}
    assert not [name for name, _ in page.attributes if name in {"src", "style"} or name.startswith("on")]


def test_hostile_names_stay_text() -> None:
    row = StatusRow(HOSTILE, healthy=False, last_success=None, data_changed=None, problem=HOSTILE)
    page = page_of(row, name=HOSTILE, version=HOSTILE)
    assert page.text.count(HOSTILE) == 5  # title, heading, version, API, problem
    assert not page.elements & {"script", "img"}


@given(st.text(), st.text())
def test_no_text_adds_an_element_or_an_attribute(name: str, problem: str) -> None:
    plain = page_of(StatusRow("x", healthy=False, last_success=None, data_changed=None, problem="x"), name="x")
    page = page_of(
        StatusRow(name, healthy=False, last_success=None, data_changed=None, problem=problem or "x"), name=name
    )
    assert page.elements - {"wbr"} == plain.elements
    assert page.attributes == plain.attributes
