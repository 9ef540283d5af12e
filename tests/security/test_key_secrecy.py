"""A full life of the real exporter, and then a search for its secrets in all that it showed, wrote and was seen as."""

import base64
import gzip
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.test_serving import NO_AUTHORITIES, PATIENCE_SECONDS, Served, command, free_port
from tests.security.hostile_api import HostileApi, hostile_api
from tests.security.secret_search import Evidence
from tests.web.certificates import hashed


def made_up(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


FIRST, SECOND, WRONG = (made_up(name) for name in ("first", "second", "wrong"))
"""The secret parts of the keys."""
PASSWORD, WRONG_PASSWORD = (f"pass-{made_up(name)[:32]}" for name in ("password", "wrong password"))
SECRETS = (FIRST, SECOND, WRONG, PASSWORD, WRONG_PASSWORD)
QUICK = "polling: {usage_interval: 1s, costs_interval: 1s, directory_interval: 1s}\nscrape_interval: 1s\n"


def key_of(secret: str) -> str:
    return f"sk-admin-{secret}"


def environment(base_url: str, folder: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return kept | {"OPENAI_BASE_URL": base_url, "TMPDIR": str(folder / "temporary"), **more}


class Life(Served):
    """A running exporter, all of whose pages are kept as evidence."""

    def __init__(self, port: int, process: "subprocess.Popen[bytes]", log: Path, evidence: Evidence) -> None:
        super().__init__(f"http://127.0.0.1:{port}", process, log)
        self.evidence = evidence
        self._client = httpx.Client(
            base_url=self.url, auth=("prometheus", PASSWORD), timeout=PATIENCE_SECONDS, verify=NO_AUTHORITIES
        )

    def page(self) -> str:
        return self.get("/metrics")

    def get(self, path: str, method: str = "GET", **headers: str) -> str:
        answer = self._client.request(method, path, headers=headers)
        self._keep(answer)
        return answer.text

    def look_around(self) -> None:
        """Ask for every page, in every format, by every kind of client."""
        for path in ("/", "/config", "/-/healthy", "/-/ready", "/nowhere"):
            self.get(path)
        for accept in ("text/plain", "application/openmetrics-text"):
            for encoding in ("identity", "gzip"):
                self.get("/metrics", Accept=accept, **{"Accept-Encoding": encoding})
        self.get("/metrics", method="DELETE")
        with httpx.Client(base_url=self.url, timeout=PATIENCE_SECONDS, verify=NO_AUTHORITIES) as stranger:
            for authorization in (
                "",
                f"Bearer {PASSWORD}",
                f"Basic {PASSWORD}",
                "Basic " + base64.b64encode(f"prometheus:{WRONG_PASSWORD}".encode()).decode(),
                "Basic " + base64.b64encode(f"{PASSWORD}:prometheus".encode()).decode(),
            ):
                self._keep(stranger.get("/metrics", headers={"Authorization": authorization}))
        self._send_raw(b"GET /%s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n broken", PASSWORD)
        self._send_raw(b"%s nonsense\r\nAuthorization: Basic %s\r\n\r\n", PASSWORD)
        for file in Path(f"/proc/{self.process.pid}").glob("task/*/comm"):
            self.evidence.add(f"thread {file}", file.read_bytes())
        self.evidence.add("process list", Path(f"/proc/{self.process.pid}/cmdline").read_bytes())

    def wait(self, what: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not what():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            # Another process has no clock that a test could set.
            time.sleep(0.05)

    def wait_for_log(self, text: str) -> None:
        self.wait(lambda: text in self.log())

    def close(self) -> None:
        self._client.close()

    def _keep(self, answer: httpx.Response) -> None:
        head = f"{answer.status_code} {answer.headers!r}\n".encode()
        self.evidence.add(f"{answer.request.method} {answer.request.url.path}", head + answer.content + b"\n")

    def _send_raw(self, request: bytes, secret: str) -> None:
        port = int(self.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client:
            client.sendall(request % (secret.encode(), secret.encode()))
            client.shutdown(socket.SHUT_WR)
            while received := client.recv(65536):
                self.evidence.add("answers to bad requests", received)


@contextmanager
def living(folder: Path, evidence: Evidence, env: dict[str, str], *arguments: str, code: str = "") -> Iterator[Life]:
    """Run an exporter with its state and its temporary files in `folder`; `code` runs inside before it begins."""
    port = free_port()
    (folder / "temporary").mkdir(exist_ok=True)
    log = folder / "exporter.log"
    start = [sys.executable, "-c", f"{code}\nimport runpy\nrunpy.run_module('exporter', run_name='__main__')"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [
                *(start if code else command()),
                "--log.level=debug",
                f"--config.file={folder / 'exporter.yml'}",
                f"--storage.path={folder / 'state'}",
                f"--web.listen-address=127.0.0.1:{port}",
                f"--web.config.file={folder / 'web.yml'}",
                *arguments,
            ],
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    life = Life(port, process, log, evidence)
    try:
        yield life
    finally:
        process.kill()
        process.wait(timeout=PATIENCE_SECONDS)
        life.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # What the exporter reads, in order; what holds a secret on purpose is not searched.
    key_file = tmp_path / "key"
    key_file.touch(mode=0o600)
    key_file.write_text(key_of(FIRST), encoding="utf-8")
    (tmp_path / "exporter.yml").write_text(f"openai: {{admin_key_file: {key_file}}}\n{QUICK}", encoding="utf-8")
    web = tmp_path / "web.yml"
    web.touch(mode=0o600)
    web.write_text(f"basic_auth_users: {{prometheus: '{hashed(PASSWORD)}'}}\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def api() -> Iterator[tuple[HostileApi, str]]:
    with hostile_api(key_of(FIRST)) as running:
        yield running


def failed(life: Life) -> set[str]:
    return set(re.findall(r'^openai_exporter_poll_success\{api="(.+)"\} 0\.0$', life.page(), re.MULTILINE))


def test_neither_keys_nor_passwords_are_in_anything_that_a_full_life_with_a_key_file_shows_or_leaves(
    folder: Path, api: tuple[HostileApi, str]
) -> None:
    hostile, base_url = api
    evidence = Evidence()
    key_file, configuration, web = folder / "key", folder / "exporter.yml", folder / "web.yml"
    good, protected = configuration.read_text(encoding="utf-8"), web.read_text(encoding="utf-8")
    with living(folder, evidence, environment(base_url, folder)) as life:
        life.wait_for(r"^openai_up 1\.0$")
        life.look_around()

        # The key is revoked, then rotated in its file.
        hostile.accepted = key_of(SECOND)
        life.wait_for(r"^openai_exporter_auth_failed 1\.0$")
        life.look_around()
        for broken in (f"{key_of(WRONG)}\n{key_of(WRONG)}\n", f"sk-proj-{WRONG}", f"{key_of(WRONG)} \x00", "é" + WRONG):
            key_file.write_text(broken, encoding="utf-8")
            life.get("/-/reload", method="POST")
            life.look_around()
        key_file.write_text(key_of(SECOND), encoding="utf-8")
        life.wait_for(r"^openai_up 1\.0$")

        # Mistakes in the files; secrets in the wrong places among them.
        for broken in (
            f"openai: {{admin_key: {key_of(WRONG)}}}",
            f"openai: {{base_url: 'https://{key_of(WRONG)}@api.test/v1'}}",
            f"openai: {{admin_key_file: {key_of(WRONG)}}}",
            f"{key_of(WRONG)}: {key_of(WRONG)}",
            f"labels: {{api_key: {key_of(WRONG)}}}",
            f"polling: {{usage_interval: {key_of(WRONG)}}}",
            f"openai: [{key_of(WRONG)}",
            f"openai: !{key_of(WRONG)} x",
        ):
            configuration.write_text(broken, encoding="utf-8")
            assert "mistake" in life.get("/-/reload", method="POST")
        life.process.send_signal(signal.SIGHUP)
        for broken in (
            f"basic_auth_users: {{prometheus: {PASSWORD}}}",
            f"basic_auth_users: {{prometheus: {{x: {PASSWORD}}}}}",
            f"tls_server_config: {{cert: a, key: {PASSWORD}}}",
            f"basic_auth_users: [{PASSWORD}",
        ):
            web.write_text(broken, encoding="utf-8")
            life.look_around()
        life.wait_for_log("web configuration not taken over")
        web.write_text(protected, encoding="utf-8")
        configuration.write_text(good + "labels: {batch: true}\n", encoding="utf-8")
        assert "mistake" not in life.get("/-/reload", method="POST")
        life.wait_for(r"^openai_exporter_config_reload_success 1\.0$")

        # From here on every answer tells the key.
        hostile.echoed.clear()
        hostile.echoes = True
        life.wait(lambda: len(failed(life)) >= 13)
        life.look_around()
        assert life.stop() == 0
        log = life.log()
    assert {"costs", "projects", "usage/completions", "usage/vector_stores"} <= hostile.echoed.keys()
    assert hostile.echoed["usage/embeddings"] >= 5
    for told in ("refused the admin key", "a redirect came", "reload failed", "request is retried", "stopped"):
        assert told in log
    evidence.add_folder(folder, but=(key_file, configuration, web))
    assert {
        "GET /",
        "GET /metrics",
        "POST /-/reload",
        "process list",
        str(folder / "exporter.log"),
    } <= evidence.seen.keys()
    assert str(folder / "state" / "ledger.sqlite3") in evidence.seen
    assert evidence.places_with(*SECRETS) == []


def test_a_key_of_the_environment_is_in_no_json_log_traceback_or_page_of_an_exporter_that_goes_wrong(
    folder: Path, api: tuple[HostileApi, str]
) -> None:
    hostile, base_url = api
    evidence = Evidence()
    (folder / "exporter.yml").write_text(QUICK, encoding="utf-8")
    # A fault inside the HTTP library that has the bare header in its message, and one that kills the process.
    code = (
        "import faulthandler, httpx, signal\n"
        "def broken(self, chunk_size=None):\n"
        "    authorization = self.request.headers['authorization']\n"
        "    raise RuntimeError(f'lost {self.request.headers.raw} and {authorization}')\n"
        "httpx.Response.iter_bytes = broken\n"
        "faulthandler.enable()"
    )
    env = environment(base_url, folder, OPENAI_ADMIN_KEY=key_of(FIRST))
    with living(folder, evidence, env, "--log.format=json", code=code) as life:
        life.wait_for_log("poll failed unexpectedly")
        life.wait(lambda: len(failed(life)) >= 13)
        life.look_around()
        life.process.send_signal(signal.SIGABRT)
        assert life.process.wait(timeout=PATIENCE_SECONDS) == -signal.SIGABRT
        log = life.log()
    assert "RuntimeError: lost" in log
    assert "Fatal Python error: Aborted" in log
    evidence.add_folder(folder, but=(folder / "key", folder / "web.yml"))
    assert evidence.places_with(*SECRETS) == []
    assert not hostile.echoed


def test_commands_that_end_by_themselves_show_no_key_whatever_is_wrong(
    folder: Path, api: tuple[HostileApi, str]
) -> None:
    hostile, base_url = api
    evidence = Evidence()
    (folder / "temporary").mkdir()

    def run(*arguments: str, key: str = "") -> str:
        ended = subprocess.run(
            command(*arguments, "--log.level=debug"),
            env=environment(base_url, folder, **({"OPENAI_ADMIN_KEY": key} if key else {})),
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        shown = ended.stdout + ended.stderr
        evidence.add(f"{arguments} {ended.returncode}", shown)
        assert shown
        return shown

    check = ("check-config", "--config.file=exporter.yml")
    assert "this configuration is good" in run(*check)
    assert "this configuration is good" in run("check-config", key=key_of(WRONG))
    assert "asked" in run(*check, "--explain", "--explain.source=api")
    run(*check, "--explain", "--log.format=json")
    hostile.echoes = True
    assert "refused" in run(*check, "--explain", "--explain.source=api")
    run("check-config", "--explain", "--explain.source=api", "--log.format=json", key=key_of(WRONG))
    for unusable in (f"sk-proj-{WRONG}", f"{key_of(WRONG)} {WRONG}", f"{key_of(WRONG)}é", WRONG * 100):
        assert "OPENAI_ADMIN_KEY" in run("--web.listen-address=127.0.0.1:0", key=unusable)
    # Whoever tries has shown the key to the process list already; the log need not keep it.
    assert "unrecognized arguments" in run(f"--openai.admin-key={key_of(WRONG)}")
    assert "invalid choice" in run(key_of(WRONG))
    assert "no address" in run(f"--web.listen-address={key_of(WRONG)}")
    run(f"--config.file={key_of(WRONG)}")
    run("check-config", f"--web.config.file={key_of(WRONG)}")
    run("check-config", f"--log.level={key_of(WRONG)}")
    places = {place: content for place, content in evidence.seen.items() if content}
    assert Evidence({str(number): places[place] for number, place in enumerate(places)}).places_with(*SECRETS) == []
    evidence = Evidence()
    evidence.add_folder(folder, but=(folder / "key", folder / "web.yml"))
    assert evidence.places_with(*SECRETS) == []


@pytest.mark.parametrize(
    "shown",
    [
        f"a line with {key_of(FIRST)}",
        f"masked {FIRST[:14]}***",
        f"...{FIRST[-12:]}",
        FIRST.encode().hex(),
        "Authorization: Basic " + base64.b64encode(f"prometheus:{FIRST}".encode()).decode(),
        "Authorization: Basic " + base64.b64encode(f"x:{FIRST}".encode()).decode(),
        gzip.compress(key_of(FIRST).encode(), mtime=0),  # tests have the same names whenever they are collected
    ],
)
def test_the_search_finds_what_it_is_to_find(tmp_path: Path, shown: str | bytes) -> None:
    evidence = Evidence()
    evidence.add("page", shown)
    assert evidence.places_with(*SECRETS)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_bytes(shown if isinstance(shown, bytes) else shown.encode())
    found = Evidence()
    found.add_folder(tmp_path)
    assert found.places_with(FIRST)
    assert not found.places_with(SECOND, PASSWORD)
    found = Evidence()
    found.add_folder(tmp_path, but=(tmp_path / "below" / "file",))
    assert not found.places_with(FIRST)
