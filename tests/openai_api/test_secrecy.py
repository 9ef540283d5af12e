"""The admin key is looked for in everything that a person or a log collector could come to see."""

import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from exporter.openai_api.admin_key import AdminKey
from exporter.openai_api.connection import Bounds
from exporter.openai_api.directory import Directory
from exporter.openai_api.endpoints import COSTS
from exporter.openai_api.errors import KeyRefused, OpenAIError, RequestRefused
from exporter.openai_api.reading import WindowReader
from tests.openai_api.stand_ins import (
    AUGUST,
    DAY,
    KEY,
    ScriptedServer,
    Setup,
    answers,
    bucket,
    cost,
    error_body,
    page,
    send,
)


def everything_to_see(error: BaseException | None, *others: object) -> str:
    """Show an error the way the most talkative tools do: with the locals of every frame, and all it hangs on.

    Only the tests' own frames are left out: they hold the key on purpose.
    """
    shown = [repr(other) for other in others]
    for link in chain(error):
        shown += [str(link), repr(link), repr(link.args), repr(vars(link))]
        stack = traceback.StackSummary.extract(traceback.walk_tb(link.__traceback__), capture_locals=True)
        shown += [repr(frame.locals) for frame in stack if not frame.filename.startswith(OWN_FRAMES)]
    return "\n".join(shown)


def chain(error: BaseException | None) -> list[BaseException]:
    """List an error and all that it came from."""
    return [] if error is None else [error, *chain(error.__cause__ or error.__context__)]


def logged(caplog: pytest.LogCaptureFixture) -> str:
    shown = []
    for record in caplog.records:
        shown += [record.getMessage(), repr(record.__dict__)]
        if record.exc_info:
            shown.append(everything_to_see(record.exc_info[1]))
    return "\n".join(shown)


def http(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body)


OWN_FRAMES = str(Path(__file__).parent)
ECHO = json.dumps(error_body(f"Incorrect API key provided: {KEY}. Bearer {KEY}", param=KEY, code=KEY)).encode()
ESCAPED_ECHO = ECHO.replace(KEY.encode(), "".join(f"\\u{ord(c):04x}" for c in KEY).encode())
COMPLETE = json.dumps(page([bucket(0, cost(1), cost("NaN"), None)])).encode()


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(http(b"200 OK", COMPLETE), id="read"),
        pytest.param(http(b"401 Unauthorized", ECHO), id="401 that echoes the key"),
        pytest.param(http(b"403 Forbidden", ESCAPED_ECHO), id="403 that echoes the key in escapes"),
        pytest.param(http(b"400 Bad Request", ECHO), id="400"),
        pytest.param(http(b"429 Too Many Requests", ECHO), id="429"),
        pytest.param(http(b"500 Oops", KEY.encode()), id="500"),
        pytest.param(http(b"302 Found", b""), id="redirect"),
        pytest.param(http(b"200 OK", b"{"), id="no JSON"),
        pytest.param(http(b"200 OK", b'{"object":"page"}'), id="no page"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", id="cut"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: \x00\x01\r\n\r\n", id="damaged header"),
        pytest.param(b"", id="closed"),
    ],
)
def test_the_key_is_nowhere_to_be_seen_in_a_run_over_real_sockets(
    reply: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.NOTSET)
    error: BaseException | None = None
    answer: object = None
    with ScriptedServer([send(reply)]) as server:
        setup = Setup(base_url=server.base_url, bounds=Bounds(read=0.5, attempts=2))
        reader = WindowReader(setup.connection, setup.clock)
        with setup.connection:
            try:
                answer = reader.read(COSTS, AUGUST, AUGUST + DAY, ["line_item"])
            except OpenAIError as caught:
                error = caught
    # Else the test would look for nothing.
    assert f"Bearer {KEY}".encode() in server.requests[0]
    assert (error is None) == (answer is not None)
    # The frames of the HTTP library hold the bare header at times: none of its errors may hang on ours.
    assert all(type(link).__module__.startswith("exporter.") for link in chain(error))
    assert KEY not in everything_to_see(error, answer, setup.connection, reader, Directory(setup.connection))
    assert KEY not in logged(caplog)
    assert "openai_api" in logged(caplog) or error is not None


def test_the_way_of_looking_would_find_a_key_in_the_frames_of_the_http_library() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        header = request.headers["Authorization"]
        raise httpx.ReadError(f"cut while sending {len(header)} characters")

    with pytest.raises(httpx.ReadError) as caught, httpx.Client(transport=httpx.MockTransport(broken)) as client:
        client.get("https://api.test", headers={"Authorization": f"Bearer {KEY}"})
    assert KEY in everything_to_see(caught.value)
    setup = Setup(broken)
    with pytest.raises(OpenAIError) as converted:
        setup.get()
    assert KEY not in everything_to_see(converted.value)


@pytest.mark.parametrize("text", [f"{KEY}\n", f"{KEY}é", f"{KEY} {KEY}"])
def test_a_key_with_one_character_too_many_is_not_shown_either(text: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.NOTSET)
    setup = Setup(answers(httpx.Response(200)))
    setup.key = text
    with pytest.raises(KeyRefused) as caught:
        setup.get()
    assert KEY not in everything_to_see(caught.value) + logged(caplog)


@pytest.mark.parametrize(
    "show",
    [repr, str, format, ascii, lambda key: f"{key!r}{key}", lambda key: "%s %r" % (key, key)],  # noqa: UP031 - one of the ways
)
def test_a_key_shows_itself_in_no_formatting(show: Callable[[AdminKey], str]) -> None:
    assert KEY not in show(AdminKey(KEY))
    assert "hidden" in show(AdminKey(KEY))


@pytest.mark.parametrize("spread", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_key_cannot_be_copied_into_bytes(spread: Callable[[AdminKey], object]) -> None:
    with pytest.raises(TypeError, match="never serialised"):
        spread(AdminKey(KEY))


def test_keys_can_be_compared_to_notice_a_change() -> None:
    assert AdminKey(KEY) == AdminKey(KEY)
    assert hash(AdminKey(KEY)) == hash(AdminKey(KEY))
    assert AdminKey(KEY) != AdminKey(KEY + "x")
    assert AdminKey(KEY) != KEY
    assert AdminKey(KEY).reveal() == KEY


def test_what_openai_says_is_repeated_without_e_mail_addresses() -> None:
    refusal = RequestRefused(
        "costs", 400, "User 'ada.abel+x@acme.example.com' (ada@acme.test) may not, not even @noon."
    )
    assert "acme" not in str(refusal)
    assert "ada" not in str(refusal)
    assert "User '(e-mail address)' ((e-mail address)) may not, not even @noon." in str(refusal)
