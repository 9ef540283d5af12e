import base64
import gzip
import hashlib
import re
from collections.abc import Iterator, Sequence

import httpx
import pytest
from prometheus_client import exposition
from prometheus_client.openmetrics import exposition as openmetrics_exposition

from exporter.web.application import Application, ReloadFailed, StatusRow
from exporter.web.http_server import serving_in_thread
from tests.web.loopback import PATIENCE, ask, status_of

TEXT = b"# TYPE openai_up gauge\nopenai_up 1.0\n"
OPENMETRICS = TEXT + b"# EOF\n"

PAGES = ("/", "/metrics", "/config", "/-/healthy", "/-/ready")


class Exporter:
    """Everything the pages show, to be changed by a test."""

    def __init__(self) -> None:
        self.not_ready: str | None = None
        self.reload_failure: str | None = None
        self.reloads = 0
        self.yaml = "polling:\n  usage_interval: 1m\n"
        self.rows: list[StatusRow] = []

    def page(self, *, openmetrics: bool, gzip: bool) -> Sequence[bytes]:
        page = OPENMETRICS if openmetrics else TEXT
        half = len(page) // 2
        chunks = (page[:half], page[half:])
        return (_compressed(page),) if gzip else chunks

    async def reload(self) -> None:
        if self.reload_failure is not None:
            raise ReloadFailed(self.reload_failure)
        self.reloads += 1


def _compressed(page: bytes) -> bytes:
    return gzip.compress(page)


@pytest.fixture
def exporter() -> Exporter:
    return Exporter()


@pytest.fixture
def client(exporter: Exporter) -> Iterator[httpx.Client]:
    application = Application(
        name="The exporter",
        version="1.2.3",
        metrics=exporter,
        not_ready_because=lambda: exporter.not_ready,
        reload=exporter.reload,
        configuration=lambda: exporter.yaml,
        status=lambda: exporter.rows,
        clock=lambda: 1_785_600_000.0,
    )
    with (
        serving_in_thread(application) as (host, port),
        httpx.Client(base_url=f"http://{host}:{port}", timeout=PATIENCE) as client,
    ):
        yield client


def test_metrics_come_as_plain_text_by_default(client: httpx.Client) -> None:
    answer = client.get("/metrics", headers={"Accept-Encoding": "identity"})
    assert answer.content == TEXT
    assert answer.headers["content-type"] == exposition.CONTENT_TYPE_PLAIN_0_0_4
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert "content-encoding" not in answer.headers


def test_metrics_come_as_openmetrics_to_who_prefers_it(client: httpx.Client) -> None:
    answer = client.get("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0,*/*;q=0.1"})
    assert answer.content == OPENMETRICS
    assert answer.headers["content-type"] == openmetrics_exposition.CONTENT_TYPE_LATEST
    assert answer.headers["vary"] == "Accept, Accept-Encoding"


@pytest.mark.parametrize(("accept", "page"), [("*/*", TEXT), ("application/openmetrics-text", OPENMETRICS)])
def test_compressed_metrics_unpack_to_the_plain_ones(client: httpx.Client, accept: str, page: bytes) -> None:
    with client.stream("GET", "/metrics", headers={"Accept": accept, "Accept-Encoding": "gzip"}) as answer:
        packed = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-length"] == str(len(packed))
    assert gzip.decompress(packed) == page


def test_metrics_stay_uncompressed_for_who_refuses_gzip(client: httpx.Client) -> None:
    answer = client.get("/metrics", headers={"Accept-Encoding": "gzip;q=0, *"})
    assert "content-encoding" not in answer.headers
    assert answer.content == TEXT


def test_a_query_on_metrics_changes_nothing(client: httpx.Client) -> None:
    assert client.get("/metrics?name[]=x").content == TEXT


def test_health_does_not_depend_on_readiness(client: httpx.Client, exporter: Exporter) -> None:
    exporter.not_ready = "no poll has succeeded yet"
    answer = client.get("/-/healthy")
    assert (answer.status_code, answer.text) == (200, "The exporter is Healthy.\n")


def test_readiness_comes_with_the_reason_for_its_lack(client: httpx.Client, exporter: Exporter) -> None:
    exporter.not_ready = "no poll has succeeded yet"
    answer = client.get("/-/ready")
    assert (answer.status_code, answer.text) == (503, "The exporter is not Ready: no poll has succeeded yet\n")
    exporter.not_ready = None
    answer = client.get("/-/ready")
    assert (answer.status_code, answer.text) == (200, "The exporter is Ready.\n")


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_reload_is_done_once_and_told(client: httpx.Client, exporter: Exporter, method: str) -> None:
    assert client.request(method, "/-/reload").status_code == 200
    assert exporter.reloads == 1


def test_a_failed_reload_is_told_with_its_reason(client: httpx.Client, exporter: Exporter) -> None:
    exporter.reload_failure = "polling.usage_interval: must be at least 10s"
    answer = client.post("/-/reload")
    assert answer.status_code == 500
    assert "polling.usage_interval: must be at least 10s" in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("header", [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.test")])
def test_a_page_of_another_site_cannot_reload(
    client: httpx.Client, exporter: Exporter, method: str, header: tuple[str, str]
) -> None:
    answer = client.request(method, "/-/reload", headers=[header])
    assert (answer.status_code, exporter.reloads) == (403, 0)
    assert answer.text == ("The configuration was not reloaded: a browser asked for it on behalf of another site.\n")


def test_a_browser_on_the_exporters_own_pages_can_reload(client: httpx.Client, exporter: Exporter) -> None:
    origin = str(client.base_url).rstrip("/")
    answer = client.post("/-/reload", headers={"Origin": origin, "Sec-Fetch-Site": "same-origin"})
    assert (answer.status_code, exporter.reloads) == (200, 1)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_reading_the_reload_page_reloads_nothing(client: httpx.Client, exporter: Exporter, method: str) -> None:
    answer = client.request(method, "/-/reload")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST, PUT")
    assert exporter.reloads == 0


def test_the_configuration_is_shown_as_it_is_given(client: httpx.Client, exporter: Exporter) -> None:
    answer = client.get("/config")
    assert answer.text == exporter.yaml
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_the_landing_page_may_use_its_own_style_and_nothing_else(client: httpx.Client, exporter: Exporter) -> None:
    exporter.rows = [StatusRow("costs", healthy=True, last_success=1.0, data_changed=None, problem=None)]
    answer = client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    (style,) = re.findall("<style>(.*?)</style>", answer.text, re.DOTALL)
    style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{style_hash}';")
    assert "unsafe" not in policy


def test_lone_surrogates_in_a_name_break_no_page(client: httpx.Client, exporter: Exporter) -> None:
    exporter.rows = [StatusRow("\ud800", healthy=False, last_success=None, data_changed=None, problem="\udfff")]
    exporter.not_ready = exporter.yaml = "\ud800"
    assert [client.get(path).status_code for path in ("/", "/config", "/-/ready")] == [200, 200, 503]


@pytest.mark.parametrize("path", PAGES)
def test_head_works_wherever_get_does(client: httpx.Client, path: str) -> None:
    got, headed = client.get(path), client.head(path)
    assert (headed.status_code, headed.content) == (got.status_code, b"")
    assert headed.headers["content-length"] == got.headers["content-length"]
    assert headed.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_told_what_is_allowed(client: httpx.Client, path: str, method: str) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/nothing", "/metrics/", "/Metrics", "//metrics", "/metrics/../config", "/%00", "*"])
def test_unknown_paths_are_told_the_known_ones_and_not_repeated(client: httpx.Client, path: str) -> None:
    # A raw request, because HTTP libraries tidy up paths.
    address = (client.base_url.host, client.base_url.port or 0)
    answer = ask(address, f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert status_of(answer) == 404
    assert answer.endswith(
        b"\r\n\r\nNot found. The pages here are /, /metrics, /config, /-/healthy, /-/ready, /-/reload.\n"
    )


@pytest.mark.parametrize("path", [*PAGES, "/-/reload", "/nothing"])
def test_every_answer_is_fresh_and_may_not_be_taken_for_another_type(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("default-src 'none'")
