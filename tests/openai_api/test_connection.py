import gzip
from collections.abc import Iterator

import httpx
import pytest

from exporter.openai_api.admin_key import AdminKey
from exporter.openai_api.connection import Bounds, Connection, checked_base_url
from exporter.openai_api.errors import BadAnswer, KeyRefused, OpenAIError, RequestRefused, Unreachable
from tests.openai_api.stand_ins import AUGUST, KEY, Clock, Observer, Setup, answers, error_body

OK = httpx.Response(200, content=b"{}")
BUSY = httpx.Response(429, json=error_body("slow down"))


class StoppingError(Exception):
    """The exporter is shutting down."""


def test_a_request_is_what_the_api_expects() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=b"{}")

    setup = Setup(answer, base_url="https://api.test/v1/")
    setup.get((("start_time", "1"), ("group_by[]", "model"), ("group_by[]", "project_id")))
    (request,) = seen
    assert request.method == "GET"
    assert str(request.url) == (
        "https://api.test/v1/organization/costs?start_time=1&group_by%5B%5D=model&group_by%5B%5D=project_id"
    )
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["User-Agent"].startswith("openai-usage-exporter/")
    assert request.headers["Accept-Encoding"] == "gzip"
    assert request.extensions["timeout"] == {"connect": 10.0, "read": 60.0, "write": 10.0, "pool": 10.0}


def test_an_answer_carries_its_body_and_the_time_of_the_api() -> None:
    date = {"Date": "Sat, 01 Aug 2026 00:00:00 GMT"}
    reply = Setup(answers(httpx.Response(200, content=b"body", headers=date))).get()
    assert (b"".join(reply.body), reply.answered_at) == (b"body", AUGUST)


@pytest.mark.parametrize("headers", [{}, {"Date": "sometime"}])
def test_without_a_readable_date_our_own_clock_counts(headers: dict[str, str]) -> None:
    assert Setup(answers(httpx.Response(200, headers=headers))).get().answered_at == AUGUST + 3600


def test_a_compressed_answer_is_unpacked() -> None:
    body = gzip.compress(b"body" * 1000)
    reply = Setup(lambda _: httpx.Response(200, content=body, headers={"Content-Encoding": "gzip"})).get()
    assert b"".join(reply.body) == b"body" * 1000


def test_a_changed_key_is_used_at_the_next_request() -> None:
    used: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        used.append(request.headers["Authorization"])
        setup.key = "sk-admin-second"
        return httpx.Response(503 if len(used) == 1 else 200)

    setup = Setup(answer)
    setup.get()
    assert used == [f"Bearer {KEY}", "Bearer sk-admin-second"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529])
def test_what_passes_is_tried_again(status: int) -> None:
    setup = Setup(answers(httpx.Response(status), httpx.Response(status), OK))
    assert b"".join(setup.get().body) == b"{}"
    assert setup.observer.codes == [str(status), str(status), "200"]
    assert setup.observer.retries == [str(status), str(status)]
    assert 0.5 <= setup.clock.waits[0] <= 1
    assert 1 <= setup.clock.waits[1] <= 1.5


@pytest.mark.parametrize(
    "fault",
    [
        httpx.ConnectError("[Errno 111] Connection refused"),
        httpx.ConnectTimeout("timed out"),
        httpx.ReadTimeout("timed out"),
        httpx.ReadError("[Errno 104] Connection reset by peer"),
        httpx.RemoteProtocolError("peer closed connection"),
        httpx.ProxyError("407 Proxy Authentication Required"),
        httpx.DecodingError("incorrect header check"),
    ],
)
def test_network_faults_are_tried_again_and_then_told(fault: httpx.RequestError) -> None:
    setup = Setup(answers(fault))
    with pytest.raises(Unreachable, match=f"^costs: no answer in 5 tries, the last time: .*{fault.args[0][-10:]}"):
        setup.get()
    assert setup.observer.codes == ["error"] * 5
    assert setup.observer.retries == ["error"] * 4
    assert len(setup.clock.waits) == 4


def test_waits_grow_and_differ() -> None:
    waits = []
    for _ in range(10):
        setup = Setup(answers(BUSY))
        with pytest.raises(Unreachable, match=r"HTTP 429: \"slow down\""):
            setup.get()
        assert setup.clock.waits == sorted(setup.clock.waits)
        waits.append(tuple(setup.clock.waits))
    assert len(set(waits)) == 10


def test_the_total_time_of_a_call_is_bounded() -> None:
    setup = Setup(answers(BUSY), bounds=Bounds(attempts=1000, total=100))
    began = setup.clock.now
    with pytest.raises(Unreachable):
        setup.get()
    assert setup.clock.now - began <= 100
    assert 5 < len(setup.clock.waits) < 12


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("header", ["7", "Sat, 01 Aug 2026 00:00:07 GMT"])
def test_retry_after_is_honoured_by_the_clock_of_the_api(status: int, header: str) -> None:
    headers = {"Retry-After": header, "Date": "Sat, 01 Aug 2026 00:00:00 GMT"}
    setup = Setup(answers(httpx.Response(status, headers=headers), OK))
    setup.get()
    (wait,) = setup.clock.waits
    assert 7 <= wait <= 7.5


def test_a_retry_after_of_just_the_bound_is_waited_for() -> None:
    setup = Setup(answers(httpx.Response(429, headers={"Retry-After": "60"}), OK))
    setup.get()
    assert setup.clock.waits == [60]


def test_a_longer_retry_after_gives_up_at_once_and_is_passed_on() -> None:
    setup = Setup(answers(httpx.Response(429, headers={"Retry-After": "61"}), OK))
    with pytest.raises(Unreachable, match="HTTP 429, and the API asks to wait 61 s") as refusal:
        setup.get()
    assert refusal.value.retry_after == 61
    assert setup.clock.waits == []
    assert setup.observer.retries == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_final_and_tells_the_missing_scope(status: int) -> None:
    message = (
        "You have insufficient permissions for this operation. Missing scopes: api.usage.read. Check that you have the "
        "correct role in your organization, and if you're using a restricted API key, that it has the necessary scopes."
    )
    setup = Setup(answers(httpx.Response(status, json=error_body(message)), OK))
    with pytest.raises(KeyRefused, match=rf"HTTP {status}.*Missing scopes: api\.usage\.read.*sk-admin-") as refusal:
        setup.get()
    assert refusal.value.status == status
    assert refusal.value.message == message
    assert setup.observer.codes == [str(status)]
    assert setup.clock.waits == []


def test_any_other_refusal_is_final_with_the_words_of_the_api() -> None:
    body = error_body("Invalid limit provided: 366.", param="limit", code="invalid_request_error")
    setup = Setup(answers(httpx.Response(400, json=body)))
    with pytest.raises(RequestRefused, match=r"HTTP 400\): \"Invalid limit provided: 366\.\"") as refusal:
        setup.get()
    assert (refusal.value.status, refusal.value.param) == (400, "limit")
    assert refusal.value.code == "invalid_request_error"
    assert setup.clock.waits == []


@pytest.mark.parametrize("body", [b"", b"<html>no</html>", b"[]", b'{"error": 5}', b'{"error": {"message": 5}}', b"["])
def test_a_refusal_without_words_is_still_a_refusal(body: bytes) -> None:
    with pytest.raises(RequestRefused, match=r"refused the request \(HTTP 404\); "):
        Setup(answers(httpx.Response(404, content=body))).get()


def test_a_long_refusal_becomes_one_short_line() -> None:
    message = "first line\nsecond\x1b[31m line " + "x" * 5000
    with pytest.raises(RequestRefused) as refusal:
        Setup(answers(httpx.Response(400, json=error_body(message)))).get()
    assert str(refusal.value).isprintable()
    assert "first line second [31m line" in str(refusal.value)
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize("status", [301, 302, 307, 304])
def test_redirects_are_not_followed(status: int) -> None:
    setup = Setup(answers(httpx.Response(status, headers={"Location": "https://elsewhere.test/"})))
    with pytest.raises(Unreachable, match="set the base URL to the final address"):
        setup.get()
    assert setup.observer.codes == [str(status)]


@pytest.mark.parametrize("status", [201, 204, 206])
def test_a_status_without_meaning_is_a_bad_answer(status: int) -> None:
    with pytest.raises(BadAnswer, match=str(status)):
        Setup(answers(httpx.Response(status))).get()


@pytest.mark.parametrize("compressed", [False, True])
def test_an_answer_beyond_the_size_bound_is_given_up(compressed: bool) -> None:  # noqa: FBT001 - a parameter of the test
    body = b" " * 2_000_000
    headers = {"Content-Encoding": "gzip"} if compressed else {}
    sent = gzip.compress(body) if compressed else body
    setup = Setup(lambda _: httpx.Response(200, content=sent, headers=headers), bounds=Bounds(body=1_000_000))
    with pytest.raises(BadAnswer, match="larger than 1000000 bytes"):
        setup.get()
    assert setup.observer.codes == ["200"]


def test_an_answer_that_trickles_is_given_up_at_the_deadline() -> None:
    clock = Clock()

    class Trickle(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                clock.now += 20
                yield b" "

    setup = Setup(
        lambda _: httpx.Response(200, stream=Trickle()), monotonic=clock, bounds=Bounds(attempts=2, total=1000)
    )
    began = clock.now
    with pytest.raises(Unreachable, match="in 2 tries, the last time: the answer was not complete in time"):
        setup.get()
    assert setup.observer.codes == ["error", "error"]
    assert clock.now - began == 2 * 140


def test_a_sleep_that_raises_aborts_the_call() -> None:
    def sleep(_: float) -> None:
        raise StoppingError

    observer = Observer()
    connection = Connection(
        "https://api.test/v1",
        lambda: AdminKey(KEY),
        observer,
        sleep=sleep,
        transport=httpx.MockTransport(answers(BUSY)),
    )
    with pytest.raises(StoppingError):
        connection.get("/organization/costs", (), "costs")
    assert observer.codes == ["429"]
    assert observer.retries == []


@pytest.mark.parametrize(
    "text", ["", "sk-admin-x\n", "sk-admin-\r\nX-Evil: 1", "sk-admin-ключ", "sk admin", "sk-\x00", "x" * 5000]
)
def test_a_text_that_can_be_no_key_is_refused_unsent_and_unseen(text: str) -> None:
    setup = Setup(answers(OK))
    setup.key = text
    with pytest.raises(
        KeyRefused, match=r"^admin key: the configured text .*, so it was not sent; configure"
    ) as refusal:
        setup.get()
    assert refusal.value.status is None
    assert not text or text not in str(refusal.value)
    assert setup.observer.codes == []


@pytest.mark.parametrize("url", ["https://api.openai.com/v1", "http://127.0.0.1:8080", "https://x.test/a/b"])
def test_a_base_url_is_taken_with_or_without_its_last_slash(url: str) -> None:
    assert checked_base_url(url) == checked_base_url(url + "/") == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.openai.com/v1",
        "ftp://api.openai.com",
        "https://",
        "https://user:secret@api.openai.com/v1",
        "https://api.openai.com/v1?secret=1",
        "https://api.openai.com/v1#secret",
        "https://api.openai.com:99999999/v1",
        "https://exa\x00mple/secret",
    ],
)
def test_what_is_no_base_url_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(ValueError, match=r"^the base URL must ") as refusal:
        checked_base_url(url)
    assert "secret" not in str(refusal.value)


def test_every_failure_is_one_line_that_names_the_api_and_a_remedy() -> None:
    failures: list[OpenAIError] = [
        KeyRefused("costs", 403, "no"),
        Unreachable("costs", "HTTP 503"),
        BadAnswer("costs", "no JSON"),
        RequestRefused("costs", 404),
    ]
    for failure in failures:
        assert str(failure).startswith("costs: ")
        assert "; " in str(failure)
        assert str(failure).isprintable()
        assert failure.api == "costs"
