"""`check-health` against the exporter itself, however well it is protected, and against what is not alive."""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.command_line import main
from exporter.health_check import UnhealthyError, check_health
from exporter.simulator.server import RunningSimulator, running_simulator
from tests.end_to_end.test_protected_serving import wait_for_log
from tests.end_to_end.test_serving import free_port, serving
from tests.web.certificates import PASSWORD, Certificates, hashed

REQUIRED = ("client_auth_type: RequireAndVerifyClientCert", "client_ca_file: clients.pem")
USERS = f"basic_auth_users:\n  prometheus: '{hashed(PASSWORD)}'\n"
# For those that never answer.
SHORT = 0.3


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator() as running:
        yield running


def check(address: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "exporter", "check-health", f"--web.listen-address={address}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def protection(folder: Path, lines: tuple[str, ...] | None, users: str) -> Path:
    if lines is not None:
        return Certificates(folder).configure(*lines, rest=users)
    file = folder / "web.yml"
    file.write_text(users, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("lines", "users", "finding"),
    [
        (None, "", "healthy: {}"),
        (None, USERS, "healthy: {} asks for a password"),
        ((), "", "healthy: {}"),
        (("min_version: TLS13",), USERS, "healthy: {} asks for a password"),
        (("max_version: TLS12",), "", "healthy: {}"),
        (
            REQUIRED,
            USERS,
            "healthy: {} turns away whoever has no client certificate (tlsv13 alert certificate required)",
        ),
        (
            (*REQUIRED, "max_version: TLS12"),
            "",
            "healthy: {} turns away whoever has no client certificate (sslv3 alert handshake failure)",
        ),
        (
            (*REQUIRED, "client_allowed_sans: [prometheus.test]"),
            "",
            "healthy: {} turns away whoever has no client cert",
        ),
    ],
    ids=["plain", "password", "tls", "tls-1.3-password", "tls-1.2", "mutual", "mutual-tls-1.2", "mutual-names"],
)
def test_a_live_exporter_is_healthy_however_well_it_is_protected(
    tmp_path: Path, simulator: RunningSimulator, lines: tuple[str, ...] | None, users: str, finding: str
) -> None:
    file = protection(tmp_path, lines, users)
    with serving(tmp_path, simulator.base_url, simulator.admin_key, f"--web.config.file={file}") as served:
        address = served.url.removeprefix("http://")
        wait_for_log(served, "msg=listening")
        checked = check(address)
        assert (checked.returncode, checked.stderr) == (0, "")
        assert checked.stdout.startswith(finding.format(address))
        # An orchestrator asks every few seconds: nothing of it is worth a line.
        assert "logger=exporter.web" not in served.log()


@pytest.mark.parametrize("listened", ["0.0.0.0", "", "[::]"])  # noqa: S104 - all addresses are the point of the test
def test_an_exporter_on_all_addresses_is_asked_on_loopback(
    tmp_path: Path, simulator: RunningSimulator, listened: str
) -> None:
    if listened == "[::]" and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    address = f"{listened}:{free_port()}"
    arguments = (f"--web.listen-address={address}",)
    with serving(tmp_path, simulator.base_url, simulator.admin_key, *arguments) as served:
        wait_for_log(served, "msg=listening")
        checked = check(address)
        assert (checked.returncode, checked.stderr) == (0, "")


def test_a_stopped_process_is_unhealthy_until_it_goes_on(tmp_path: Path, simulator: RunningSimulator) -> None:
    with serving(tmp_path, simulator.base_url, simulator.admin_key) as served:
        wait_for_log(served, "msg=listening")
        host, _, port = served.url.removeprefix("http://").partition(":")
        served.process.send_signal(signal.SIGSTOP)
        with pytest.raises(UnhealthyError, match=rf"^127\.0\.0\.1:{port} gave no answer within 0\.3 s$"):
            check_health(host, int(port), SHORT)
        served.process.send_signal(signal.SIGCONT)
        assert check_health(host, int(port)) == f"healthy: {host}:{port}"


def test_nothing_that_listens_is_unhealthy_and_says_so_in_one_line() -> None:
    port = free_port()
    checked = check(f"127.0.0.1:{port}")
    assert (checked.returncode, checked.stdout) == (1, "")
    assert checked.stderr == f"openai-usage-exporter: unhealthy: 127.0.0.1:{port}: connection refused\n"


def test_a_name_that_nobody_knows_is_unhealthy() -> None:
    with pytest.raises(UnhealthyError, match=r"^nowhere\.invalid:1: .+"):
        check_health("nowhere.invalid", 1)


def test_a_name_that_no_host_can_have_is_unhealthy_in_one_line() -> None:
    checked = check("a..b:1")
    assert (checked.returncode, checked.stdout) == (1, "")
    assert checked.stderr == "openai-usage-exporter: unhealthy: a..b:1: no host can have this name\n"


@contextmanager
def answering(*answers: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """Give the connections that come one answer after the other."""
    over = threading.Event()

    def answer_all() -> None:
        for answer in answers:
            client, _ = listener.accept()
            with client:
                answer(client, over)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_all)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            over.set()
            thread.join()


def saying(text: bytes) -> Callable[[socket.socket, threading.Event], None]:
    def say(client: socket.socket, _: threading.Event) -> None:
        client.recv(4096)
        client.sendall(text)

    return say


def never(_: socket.socket, over: threading.Event) -> None:
    over.wait()


def drop_by_drop(client: socket.socket, over: threading.Event) -> None:
    try:
        while not over.wait(SHORT / 10):
            client.sendall(b"H")
    except OSError:
        # The one who asked has gone.
        over.wait()


TLS_PORT = b"HTTP/1.0 400 Bad Request\r\n\r\n"


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([never], "gave no answer within"),
        ([drop_by_drop], "gave no answer within"),
        ([saying(TLS_PORT), never], "gave no answer within"),
        ([saying(TLS_PORT), saying(TLS_PORT)], "wrong version number|record layer failure"),
        ([saying(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")], "answered 503$"),
        ([saying(b"HTTP/1.1 404 Not Found\r\n\r\n")], "answered 404$"),
        ([saying(b"")], "gave no answer in HTTP$"),
        ([saying(b"220 mail.example ESMTP\r\n")], "gave no answer in HTTP$"),
        ([saying(b"HTTP/1.1 200" + b" " * 5000)], "gave no answer in HTTP$"),
    ],
    ids=["silent", "slow", "silent-tls", "no-tls", "busy", "another-server", "closing", "mail", "endless"],
)
def test_what_does_not_answer_as_the_exporter_does_is_unhealthy(
    answers: list[Callable[[socket.socket, threading.Event], None]], reason: str
) -> None:
    seconds = SHORT if "within" in reason else 60
    with answering(*answers) as port, pytest.raises(UnhealthyError, match=rf"^127\.0\.0\.1:{port}:? ({reason})"):
        check_health("127.0.0.1", port, seconds)


def test_an_address_that_is_none_is_a_mistake_of_the_command_line() -> None:
    checked = check("nonsense")
    assert checked.returncode == 2
    assert "'nonsense' is no address: HOST:PORT is needed" in checked.stderr


def test_the_check_loads_little_of_the_exporter() -> None:
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "exporter", "check-health", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stderr
    assert "exporter.health_check" in loaded
    for heavy in ("pydantic", "httpx", "prometheus_client", "exporter.service"):
        assert heavy not in loaded


def test_the_command_lists_the_check_and_runs_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "check-health" in capsys.readouterr().out
    assert main(["check-health", f"--web.listen-address=127.0.0.1:{free_port()}"]) == 1
    assert "connection refused" in capsys.readouterr().err
