import asyncio
import base64
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import bcrypt
import httpx
import pytest

from exporter.web.basic_auth import BasicAuth, Verdict
from exporter.web.http_server import serving_in_thread
from exporter.web.protection import Guard, ProtectionFile
from tests.web.certificates import PASSWORD, hashed
from tests.web.loopback import PATIENCE
from tests.web.pages import Pages

# Slow enough that a check outweighs everything else in a request many times over.
COST = 9


@contextmanager
def serving(file: Path) -> Iterator[httpx.Client]:
    newest = ProtectionFile(file).newest
    guard = Guard(Pages(), newest)
    try:
        with (
            serving_in_thread(guard, protection=newest) as (host, port),
            httpx.Client(base_url=f"http://{host}:{port}", timeout=PATIENCE) as client,
        ):
            yield client
    finally:
        guard.stop()


def configured(folder: Path, users: dict[str, str], rest: str = "") -> Path:
    file = folder / "web.yml"
    lines = "".join(f"  {name}: '{text}'\n" for name, text in users.items())
    file.write_text(f"basic_auth_users:\n{lines}{rest}", encoding="utf-8")
    return file


def header(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/no/such/page"])
def test_every_page_asks_for_a_password_and_opens_with_the_right_one(tmp_path: Path, path: str) -> None:
    with serving(configured(tmp_path, {"alice": hashed(PASSWORD)})) as client:
        refused = client.get(path)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic ")
        assert path not in refused.text
        assert client.post(path).status_code == 401
        assert client.get(path, auth=("alice", PASSWORD)).text == f"GET|{path}|||\n"


@pytest.mark.parametrize(
    "authorization",
    [
        header("alice", "wrong"),
        header("alice", ""),
        header("alice", PASSWORD + "x"),
        header("alice", PASSWORD[:-1]),
        header("Alice", PASSWORD),
        header("bob", PASSWORD),
        header("", PASSWORD),
        header("nobody", ""),
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"alice").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
        f"Bearer {base64.b64encode(f'alice:{PASSWORD}'.encode()).decode()}",
        header("alice", PASSWORD) + ", " + header("alice", PASSWORD),
    ],
)
def test_anything_but_a_user_with_the_right_password_is_refused(tmp_path: Path, authorization: str) -> None:
    users = {"alice": hashed(PASSWORD), "bob": hashed("something else")}
    with serving(configured(tmp_path, users)) as client:
        # Known by now, and no help to others.
        assert client.get("/", auth=("alice", PASSWORD)).status_code == 200
        for _ in range(2):
            assert client.get("/", headers={"Authorization": authorization}).status_code == 401


def test_names_and_passwords_in_any_script_and_of_any_length_work(tmp_path: Path) -> None:
    long = "ü" * 50
    # Bcrypt reads 72 bytes; tools that make hashes cut there, and so must the check.
    users = {"zoë": bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4)).decode(), "nul": hashed("a\0b")}
    with serving(configured(tmp_path, users)) as client:
        assert client.get("/", headers={"Authorization": header("zoë", long)}).status_code == 200
        assert client.get("/", headers={"Authorization": header("nul", "a\0b")}).status_code == 200
        assert client.get("/", headers={"Authorization": header("nul", "a\0c")}).status_code == 401


def test_an_unknown_user_takes_as_long_as_a_wrong_password(tmp_path: Path) -> None:
    with serving(configured(tmp_path, {"alice": hashed(PASSWORD, COST)})) as client:

        def seconds(name: str) -> float:
            before = time.perf_counter()
            assert client.get("/", auth=(name, "wrong")).status_code == 401
            return time.perf_counter() - before

        pairs = [(seconds("alice"), seconds("mallory")) for _ in range(9)]
    ratio = statistics.median(one for one, _ in pairs) / statistics.median(other for _, other in pairs)
    assert 1 / 3 < ratio < 3


def test_a_user_that_is_not_there_costs_what_one_of_the_users_costs_always_the_same() -> None:
    users = {"cheap": hashed("a", 4), "dear": hashed("b", 6)}
    checked: list[bytes] = []

    def check(_: bytes, text: bytes) -> bool:
        checked.append(text[:7])
        return False

    async def guess() -> None:
        passwords = BasicAuth()
        for number in range(20):
            for _ in range(2):
                await passwords.check(header(f"nobody-{number}", "x"), users)
        passwords.stop()

    with mock.patch("bcrypt.checkpw", check):
        asyncio.run(guess())
    assert set(checked) == {b"$2b$04$", b"$2b$06$"}
    assert checked[::2] == checked[1::2]


def test_a_password_found_right_is_not_computed_again_until_its_hash_changes(tmp_path: Path) -> None:
    file = configured(tmp_path, {"alice": hashed(PASSWORD)})
    with mock.patch("bcrypt.checkpw", wraps=bcrypt.checkpw) as check, serving(file) as client:
        for _ in range(5):
            assert client.get("/", auth=("alice", PASSWORD)).status_code == 200
        assert check.call_count == 1
        for _ in range(2):
            assert client.get("/", auth=("alice", "wrong")).status_code == 401
        assert check.call_count == 3
        configured(tmp_path, {"alice": hashed("another")})
        assert client.get("/", auth=("alice", PASSWORD)).status_code == 401
        assert client.get("/", auth=("alice", "another")).status_code == 200
        configured(tmp_path, {"bob": hashed("another")})
        assert client.get("/", auth=("alice", "another")).status_code == 401


def test_no_more_right_passwords_are_remembered_than_there_is_room_for() -> None:
    users = {f"user-{number}": FIXED for number in range(300)}

    async def log_in() -> int:
        passwords = BasicAuth()
        for name in users:
            assert await passwords.check(header(name, "x"), users) is Verdict.GRANTED
        passwords.stop()
        return len(passwords._remembered)

    with mock.patch("bcrypt.checkpw", return_value=True):
        assert asyncio.run(log_in()) == 256


FIXED = hashed("x")


def test_while_guesses_pile_up_others_are_answered_and_the_pile_is_bounded() -> None:
    users = {"alice": hashed(PASSWORD)}
    release = threading.Event()
    at_once: list[int] = []
    running = threading.Semaphore(0)

    def slow(password: bytes, text: bytes) -> bool:
        running.release()
        at_once.append(threading.active_count())
        release.wait(PATIENCE)
        return real(password, text)

    real = bcrypt.checkpw

    async def scenario() -> list[Verdict]:
        passwords = BasicAuth()
        assert await passwords.check(header("alice", PASSWORD), users) is Verdict.GRANTED
        with mock.patch("bcrypt.checkpw", slow):
            guesses = [
                asyncio.create_task(passwords.check(header("alice", f"guess {number}"), users)) for number in range(40)
            ]
            await asyncio.to_thread(running.acquire)
            # The loop is free, and who is known needs no check.
            assert await passwords.check(header("alice", PASSWORD), users) is Verdict.GRANTED
            abandoned = guesses[0]
            abandoned.cancel()
            await asyncio.sleep(0)
            assert await passwords.check(header("alice", "one more"), users) is Verdict.BUSY
            release.set()
            verdicts = await asyncio.gather(*guesses[1:])
        assert await passwords.check(header("alice", "later"), users) is Verdict.DENIED
        passwords.stop()
        return verdicts

    verdicts = asyncio.run(asyncio.wait_for(scenario(), PATIENCE))
    assert verdicts.count(Verdict.DENIED) == 15
    assert verdicts.count(Verdict.BUSY) == 24
    assert len(set(at_once)) == 1


def test_who_is_not_looked_at_is_asked_to_come_back(tmp_path: Path) -> None:
    with (
        mock.patch.object(BasicAuth, "check", mock.AsyncMock(return_value=Verdict.BUSY)),
        serving(configured(tmp_path, {"alice": hashed(PASSWORD)})) as client,
    ):
        answer = client.get("/", auth=("alice", PASSWORD))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_configured_headers_are_on_every_answer_and_replace_the_pages_own(tmp_path: Path) -> None:
    headers = (
        "http_server_config:\n  headers:\n    Content-Security-Policy: default-src 'self'\n"
        "    X-Frame-Options: deny\n    X-Content-Type-Options: nosniff\n    X-XSS-Protection: '0'\n"
        "    Strict-Transport-Security: max-age=60\n"
    )
    with serving(configured(tmp_path, {"alice": hashed(PASSWORD)}, headers)) as client:
        for answer in (client.get("/"), client.get("/", auth=("alice", PASSWORD))):
            assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
            assert answer.headers["content-security-policy"] == "default-src 'self'"
            assert answer.headers["x-frame-options"] == "deny"
            assert answer.headers["x-xss-protection"] == "0"
            assert answer.headers["strict-transport-security"] == "max-age=60"
