"""The command with `--web.config.file`, scraped by a real Prometheus, and given nonsense."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from exporter.simulator.server import RunningSimulator, running_simulator
from tests.end_to_end.prometheus_server import PrometheusServer, prometheus
from tests.end_to_end.test_serving import PATIENCE_SECONDS, Served, run, serving
from tests.web.certificates import PASSWORD, Certificates, hashed

REQUIRED = ("client_auth_type: RequireAndVerifyClientCert", "client_ca_file: clients.pem")


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator() as running:
        yield running


def wait_for_log(served: Served, text: str) -> str:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while text not in served.log():
        assert served.process.poll() is None, served.log()
        assert time.monotonic() < deadline, served.log()
        # Another process has no clock that a test could set.
        time.sleep(0.1)
    return served.log()


def wait_for_targets(server: PrometheusServer, count: int) -> dict[str, tuple[str, str]]:
    """Return each job's health and last error, once every target was scraped."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = {each["scrapePool"]: (each["health"], each["lastError"]) for each in server.targets()}
        if len(found) == count and all(health != "unknown" for health, _ in found.values()):
            return found
        time.sleep(0.1)
    raise AssertionError(server.targets())


def test_prometheus_scrapes_with_the_matching_certificate_and_password_and_with_nothing_less(
    tmp_path: Path, simulator: RunningSimulator
) -> None:
    certificates = Certificates(tmp_path)
    file = certificates.configure(*REQUIRED, rest=f"basic_auth_users:\n  prometheus: '{hashed(PASSWORD)}'\n")
    client = certificates.clients_authority.issue_cert("prometheus.test")
    client.private_key_pem.write_to_path(str(tmp_path / "client.key"))
    client.cert_chain_pems[0].write_to_path(str(tmp_path / "client.pem"))
    with serving(tmp_path, simulator.base_url, simulator.admin_key, f"--web.config.file={file}") as served:
        wait_for_log(served, "address=https://127.0.0.1:")
        target = served.url.removeprefix("http://")
        trust = "ca_file: authority.pem"
        whole = f"tls_config: {{{trust}, cert_file: client.pem, key_file: client.key}}"
        password = f"basic_auth: {{username: prometheus, password: '{PASSWORD}'}}"
        jobs = {
            "matching": f"scheme: https, {whole}, {password}",
            "wrong-password": f"scheme: https, {whole}, basic_auth: {{username: prometheus, password: wrong}}",
            "no-password": f"scheme: https, {whole}",
            "no-certificate": f"scheme: https, tls_config: {{{trust}}}, {password}",
            "stranger": f"scheme: https, tls_config: {{cert_file: client.pem, key_file: client.key}}, {password}",
            "plain": password,
        }
        configuration = "scrape_configs:\n" + "".join(
            f"- {{job_name: {name}, scrape_interval: 1s, static_configs: [{{targets: ['{target}']}}], {how}}}\n"
            for name, how in jobs.items()
        )
        with prometheus(tmp_path, configuration) as server:
            found = wait_for_targets(server, len(jobs))
            assert found.pop("matching") == ("up", "")
            assert {health for health, _ in found.values()} == {"down"}
            assert "401 Unauthorized" in found["wrong-password"][1]
            assert "401 Unauthorized" in found["no-password"][1]
            assert "certificate required" in found["no-certificate"][1]
            assert "unknown authority" in found["stranger"][1]
            assert "400 Bad Request" in found["plain"][1]
        assert served.stop() == 0
        log = served.log()
        assert PASSWORD not in log
        assert "$2b$" not in log
        assert "whoever reaches" not in log


def test_listening_beyond_loopback_without_authentication_is_told(tmp_path: Path, simulator: RunningSimulator) -> None:
    file = Certificates(tmp_path).configure()
    arguments = (f"--web.config.file={file}", "--web.listen-address=0.0.0.0:0")
    with serving(tmp_path, simulator.base_url, simulator.admin_key, *arguments) as served:
        log = wait_for_log(served, "whoever reaches this address sees what the organization spends")
        assert re.search(r"level=warning .*whoever.* address=0\.0\.0\.0$", log, re.MULTILINE)
        assert served.stop() == 0


@pytest.mark.parametrize("arguments", [("--web.listen-address=0.0.0.0:0",), ()])
def test_nothing_is_told_of_an_address_that_asks_for_a_password_or_is_on_loopback(
    tmp_path: Path, simulator: RunningSimulator, arguments: tuple[str, ...]
) -> None:
    file = tmp_path / "web.yml"
    users = f"basic_auth_users: {{prometheus: '{hashed(PASSWORD)}'}}\n"
    file.write_text(users if arguments else "", encoding="utf-8")
    with serving(tmp_path, simulator.base_url, simulator.admin_key, f"--web.config.file={file}", *arguments) as served:
        wait_for_log(served, "msg=listening")
        assert served.stop() == 0
        assert "whoever" not in served.log()


@pytest.mark.parametrize(
    ("address", "scheme", "told"),
    [("0.0.0.0", "http", ["0.0.0.0"]), ("0.0.0.0", "https", []), ("127.0.0.1", "http", [])],  # noqa: S104 - warned of
)
def test_passwords_over_plain_http_beyond_loopback_are_told(
    tmp_path: Path, simulator: RunningSimulator, address: str, scheme: str, told: list[str]
) -> None:
    file = Certificates(tmp_path).configure() if scheme == "https" else tmp_path / "web.yml"
    with file.open("a", encoding="utf-8") as more:
        more.write(f"basic_auth_users: {{prometheus: '{hashed(PASSWORD)}'}}\n")
    arguments = (f"--web.config.file={file}", f"--web.listen-address={address}:0")
    with serving(tmp_path, simulator.base_url, simulator.admin_key, *arguments) as served:
        wait_for_log(served, f"address={scheme}://{address}:")
        assert served.stop() == 0
        pattern = r"level=warning .*passwords cross the network in plain text.* address=(\S+)$"
        assert re.findall(pattern, served.log(), re.MULTILINE) == told
        assert "whoever" not in served.log()


def test_a_reload_needs_the_password_too_and_is_still_closed_to_other_sites(
    tmp_path: Path, simulator: RunningSimulator
) -> None:
    file = tmp_path / "web.yml"
    file.write_text(f"basic_auth_users: {{alice: '{hashed(PASSWORD)}'}}\n", encoding="utf-8")
    with serving(tmp_path, simulator.base_url, simulator.admin_key, f"--web.config.file={file}") as served:
        wait_for_log(served, "msg=listening")
        with httpx.Client(base_url=served.url, timeout=PATIENCE_SECONDS) as client:
            assert client.post("/-/reload").status_code == 401
            client.auth = ("alice", PASSWORD)
            assert client.post("/-/reload", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
            assert client.post("/-/reload").status_code == 200
        assert served.stop() == 0


@pytest.mark.parametrize("name", ["serve", "check-config"])
def test_a_web_configuration_that_cannot_be_used_is_told_before_anything_begins(
    tmp_path: Path, simulator: RunningSimulator, name: str
) -> None:
    (tmp_path / "web.yml").write_text(
        "tls_server_config: {cert_file: none.pem, key_file: none.key}\n", encoding="utf-8"
    )
    ended = run(tmp_path, simulator, name, "--web.config.file=web.yml")
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        "openai-usage-exporter: web.yml: 2 mistakes",
        "  tls_server_config.cert_file: none.pem cannot be read: No such file or directory",
        "  tls_server_config.key_file: none.key cannot be read: No such file or directory",
    ]
    assert not (tmp_path / "data").exists()
    missing = run(tmp_path, simulator, name, "--web.config.file=nowhere.yml")
    assert (missing.returncode, "nowhere.yml: 1 mistake" in missing.stderr) == (2, True)


def test_check_config_says_that_a_web_configuration_is_good(tmp_path: Path, simulator: RunningSimulator) -> None:
    (tmp_path / "web").mkdir()
    # From another folder: the paths in the file are relative to the file.
    Certificates(tmp_path / "web").configure(*REQUIRED)
    ended = run(tmp_path, simulator, "check-config", "--web.config.file=web/web.yml")
    assert ended.returncode == 0, ended.stderr
    assert "# web/web.yml: this web configuration is good." in ended.stdout
