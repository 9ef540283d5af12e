"""The command itself: started as its user starts it, scraped by a real Prometheus, stopped, and given nonsense."""

import os
import re
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from exporter.simulator.server import RunningSimulator, running_simulator
from tests.end_to_end.prometheus_server import prometheus
from tests.prometheus_tools import check_metrics

# The simulated organization has quiet minutes at night and at weekends.
PATIENCE_SECONDS = 180
# Of plain HTTP. Reading all authorities' certificates takes longer than any page; this knows none, and trusts nobody.
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
# For those who need an answer of the API, and no more.
FEW = frozenset({"research-agents", "evals"})
QUICK = "polling: {usage_interval: 1s, costs_interval: 1s}\nscrape_interval: 1s\n"


@pytest.fixture(scope="module")
def whole() -> Iterator[RunningSimulator]:
    """All projects: something is always going on, every family is on the page, and the bill fills disks."""
    with running_simulator() as running:
        yield running


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator(projects=FEW) as running:
        yield running


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "exporter", *arguments]


def environment(base_url: str, key: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return kept | {"OPENAI_BASE_URL": base_url, "OPENAI_ADMIN_KEY": key}


class Served:
    """A running exporter process."""

    def __init__(self, url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.url = url
        self.process = process
        self._log = log

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def page(self) -> str:
        return httpx.get(f"{self.url}/metrics", timeout=PATIENCE_SECONDS, verify=NO_AUTHORITIES).text

    def wait_for(self, pattern: str) -> str:
        """Scrape until the page matches; another process has no clock that a test could set."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        page = ""
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log()
            try:
                page = self.page()
            except httpx.TransportError:
                page = ""
            if re.search(pattern, page, re.MULTILINE):
                return page
            time.sleep(0.1)
        raise AssertionError(f"{pattern!r} did not come\n{page[-3000:]}\n{self.log()}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE_SECONDS)


@contextmanager
def serving(folder: Path, base_url: str, key: str, *arguments: str) -> Iterator[Served]:
    """Run `serve` with its state in `folder`."""
    port = free_port()
    configuration = folder / "exporter.yml"
    configuration.write_text(QUICK, encoding="utf-8")
    log = folder / "exporter.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command(
                f"--config.file={configuration}",
                f"--storage.path={folder / 'state'}",
                f"--web.listen-address=127.0.0.1:{port}",
                *arguments,
            ),
            env=environment(base_url, key),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Served(f"http://127.0.0.1:{port}", process, log)
    finally:
        process.kill()
        process.wait(timeout=PATIENCE_SECONDS)


def run(
    folder: Path, simulator: RunningSimulator, *arguments: str, key: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run a command that is expected to end by itself."""
    return subprocess.run(
        command(*arguments),
        env=environment(simulator.base_url, key or simulator.admin_key),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


def test_prometheus_scrapes_the_live_page_without_error_and_promtool_accepts_it(
    tmp_path: Path, whole: RunningSimulator
) -> None:
    with serving(tmp_path, whole.base_url, whole.admin_key) as served:
        page = served.wait_for(r"^openai_up 1\.0$")
        status, remarks = check_metrics(page.encode())
        assert (status, remarks) == (0, "")
        target = served.url.removeprefix("http://")
        configuration = (
            "scrape_configs:\n- job_name: openai\n  scrape_interval: 1s\n"
            f"  static_configs: [{{targets: ['{target}']}}]\n"
        )
        with prometheus(tmp_path, configuration) as server:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while time.monotonic() < deadline and [each["health"] for each in server.targets()] in ([], ["unknown"]):
                time.sleep(0.1)
            [scraped] = server.targets()
            assert (scraped["health"], scraped["lastError"]) == ("up", "")
            assert server.query("sum(openai_cost_month_usd)", time.time())
        assert served.stop() == 0
        assert whole.admin_key not in served.log()


def test_the_pages_of_the_web_server_are_all_there(tmp_path: Path, simulator: RunningSimulator) -> None:
    with serving(tmp_path, simulator.base_url, simulator.admin_key) as served:
        served.wait_for(r"^openai_up 1\.0$")
        for path, text in (
            ("/", "OpenAI usage exporter"),
            ("/-/healthy", "Healthy"),
            ("/-/ready", "Ready"),
            ("/config", "usage_interval: 1s"),
        ):
            answer = httpx.get(served.url + path, timeout=PATIENCE_SECONDS, verify=NO_AUTHORITIES)
            assert (answer.status_code, text in answer.text) == (200, True), path
            assert simulator.admin_key not in answer.text
        assert httpx.post(f"{served.url}/-/reload", timeout=PATIENCE_SECONDS, verify=NO_AUTHORITIES).status_code == 200
        (tmp_path / "exporter.yml").write_text("polling: {usage_interval: never}\n", encoding="utf-8")
        refused = httpx.post(f"{served.url}/-/reload", timeout=PATIENCE_SECONDS, verify=NO_AUTHORITIES)
        assert refused.status_code == 500
        assert "polling.usage_interval" in refused.text
        served.wait_for(r"^openai_exporter_config_reload_success 0\.0$")


def test_a_killed_exporter_continues_its_counters_where_they_were(tmp_path: Path, whole: RunningSimulator) -> None:
    tokens = r"^openai_usage_tokens_total\{.*\} [1-9]"
    with serving(tmp_path, whole.base_url, whole.admin_key) as served:
        before = served.wait_for(tokens)
        served.process.kill()
        served.process.wait(timeout=PATIENCE_SECONDS)
    with serving(tmp_path, whole.base_url, whole.admin_key) as served:
        after = served.wait_for(r"^openai_exporter_state_restored 1\.0$")
    assert re.search(r"^openai_exporter_state_commit_timestamp_seconds [1-9]", after, re.MULTILINE)
    values = {}
    for moment, page in (("before", before), ("after", after)):
        values[moment] = dict(re.findall(r"^(openai_usage_tokens_total\{.*\}) (\S+)$", page, re.MULTILINE))
    assert values["before"]
    for series, value in values["before"].items():
        assert int(values["after"][series]) >= int(value), series


def test_a_wrong_key_is_told_once_and_the_page_goes_on(tmp_path: Path, simulator: RunningSimulator) -> None:
    with serving(tmp_path, simulator.base_url, "sk-admin-wrong") as served:
        page = served.wait_for(r"^openai_exporter_auth_failed 1\.0$")
        assert "openai_up 0.0" in page
        # Twelve APIs, the projects and their limits, each told once; the second round asks nobody any more.
        served.wait_for(r'^openai_exporter_poll_success\{api="usage/web_search_calls"\} 0\.0$')
        asked = re.findall(r"^openai_exporter_http_requests_total\{.*\} (\S+)$", served.page(), re.MULTILINE)
        time.sleep(2.5)
        again = re.findall(r"^openai_exporter_http_requests_total\{.*\} (\S+)$", served.page(), re.MULTILINE)
        assert set(asked) == set(again) == {"1.0"}
        log = served.log()
        assert log.count("refused the admin key") == len(re.findall('msg="poll failed"', log)) <= 14
        assert "sk-admin-wrong" not in log
        assert served.stop() == 0


def test_an_unreachable_host_is_told_and_the_counters_stay(tmp_path: Path) -> None:
    with running_simulator() as simulator, serving(tmp_path, simulator.base_url, simulator.admin_key) as served:
        served.wait_for(r"^openai_usage_tokens_total\{.*\} [1-9]")
        assert served.stop() == 0
    with serving(tmp_path, simulator.base_url, simulator.admin_key) as served:
        page = served.wait_for(r'^openai_exporter_poll_success\{api="projects"\} 0\.0$')
        assert re.search(r"^openai_usage_tokens_total\{.*\} [1-9]", page, re.MULTILINE)
        assert "no connection" in served.log()
        assert served.stop() == 0


def test_a_state_is_not_continued_with_another_api_unless_somebody_vouches_for_it(
    tmp_path: Path, simulator: RunningSimulator
) -> None:
    with serving(tmp_path, simulator.base_url, simulator.admin_key) as served:
        served.wait_for(r"^openai_up 1\.0$")
        assert served.stop() == 0
    with running_simulator(seed="another", projects=FEW) as other:
        ended = run(tmp_path, other, "--storage.path=state", "--web.listen-address=127.0.0.1:0")
        assert ended.returncode == 1
        assert f"is about {simulator.base_url}, not about {other.base_url}" in ended.stderr
        with serving(tmp_path, other.base_url, other.admin_key, "--storage.same-organization") as served:
            served.wait_for(r"^openai_exporter_state_restored 1\.0$")
            assert served.stop() == 0
        with serving(tmp_path, other.base_url, other.admin_key) as served:
            served.wait_for(r"^openai_exporter_state_restored 1\.0$")


def test_a_full_disk_is_told_and_nothing_is_lost_when_there_is_room_again(
    tmp_path: Path, whole: RunningSimulator
) -> None:
    limited = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY)); "
        "sys.argv[0] = 'exporter'; runpy.run_module('exporter', run_name='__main__')"
    )
    port = free_port()
    log = tmp_path / "limited.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                limited,
                f"--storage.path={tmp_path / 'state'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            env=environment(whole.base_url, whole.admin_key),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    served = Served(f"http://127.0.0.1:{port}", process, log)
    try:
        page = served.wait_for(r'^openai_exporter_poll_success\{api="costs"\} 0\.0$')
        assert "openai_cost_month_usd" not in page
        assert "cannot write the state" in served.log()
        assert str(tmp_path / "state") in served.log()
        assert served.stop() == 0
    finally:
        process.kill()
        process.wait(timeout=PATIENCE_SECONDS)
    with serving(tmp_path, whole.base_url, whole.admin_key) as served:
        served.wait_for(r"^openai_up 1\.0$")


def test_a_state_folder_that_cannot_be_written_is_refused(tmp_path: Path, simulator: RunningSimulator) -> None:
    # A file in the folder's place stops root too, whom permissions would not.
    (tmp_path / "state").write_text("", encoding="utf-8")
    ended = run(tmp_path, simulator, "serve", "--storage.path=state/below", "--web.listen-address=127.0.0.1:0")
    assert ended.returncode == 1
    assert "state/below" in ended.stderr
    assert "--storage.path" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_a_read_only_state_folder_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    state = tmp_path / "state"
    state.mkdir(mode=0o555)
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom exporter.ledger.store import StateError, Store\n"
        "os.setgid(65534), os.setuid(65534)\n"
        "try: Store.open(Path(sys.argv[1]))\nexcept StateError as error: print(error)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(state)], capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )
    assert f"cannot use the state folder {state}: Permission denied" in ended.stdout, ended.stderr
    assert list(state.iterdir()) == []


def test_a_corrupt_state_is_refused_and_left_as_it_is(tmp_path: Path, simulator: RunningSimulator) -> None:
    state = tmp_path / "state"
    state.mkdir()
    damaged = state / "ledger.sqlite3"
    damaged.write_bytes(b"SQLite format 3\x00" + bytes(range(256)) * 40)
    before = damaged.read_bytes()
    ended = run(tmp_path, simulator, "--storage.path=state", "--web.listen-address=127.0.0.1:0")
    assert ended.returncode == 1
    assert "state/ledger.sqlite3 cannot be read" in ended.stderr
    assert "Restore it from a backup, or move it away" in ended.stderr
    assert damaged.read_bytes() == before


def test_a_newer_state_is_refused(tmp_path: Path, simulator: RunningSimulator) -> None:
    assert run(tmp_path, simulator, "--storage.path=state", "--web.listen-address=256.0.0.1:1").returncode == 1
    with sqlite3.connect(tmp_path / "state" / "ledger.sqlite3") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    ended = run(tmp_path, simulator, "--storage.path=state", "--web.listen-address=127.0.0.1:0")
    assert ended.returncode == 1
    assert "written by a newer version (state version 99" in ended.stderr


def test_a_second_exporter_on_the_same_state_refuses_to_start(tmp_path: Path, simulator: RunningSimulator) -> None:
    with serving(tmp_path, simulator.base_url, simulator.admin_key) as served:
        served.wait_for(r"^openai_up 1\.0$")
        ended = run(tmp_path, simulator, "--storage.path=state", "--web.listen-address=127.0.0.1:0")
        assert ended.returncode == 1
        assert f"in use by another process (pid {served.process.pid})" in ended.stderr


def test_a_taken_port_is_told(tmp_path: Path, simulator: RunningSimulator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = run(tmp_path, simulator, f"--web.listen-address={address}")
    assert ended.returncode == 1
    assert f"cannot listen on {address}" in ended.stderr


@pytest.mark.parametrize("name", ["serve", "check-config"])
def test_a_configuration_with_three_mistakes_names_all_three(
    tmp_path: Path, simulator: RunningSimulator, name: str
) -> None:
    (tmp_path / "bad.yml").write_text(
        "polling: {usage_interval: soon}\nlimits: {series_per_family: 0}\nlabells: {}\n", encoding="utf-8"
    )
    ended = run(tmp_path, simulator, name, "--config.file=bad.yml")
    assert ended.returncode == 2
    lines = ended.stderr.splitlines()
    assert lines[0] == "openai-usage-exporter: bad.yml: 3 mistakes"
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "polling.usage_interval",
        "limits.series_per_family",
        "labells",
    ]
    assert not (tmp_path / "data").exists()


def test_without_a_key_the_way_to_get_one_is_told(tmp_path: Path, simulator: RunningSimulator) -> None:
    ended = run(tmp_path, simulator, key=" ")
    assert ended.returncode == 2
    assert "OPENAI_ADMIN_KEY" in ended.stderr
    assert "demo" in ended.stderr


def test_check_config_needs_no_key_and_says_that_serve_does(tmp_path: Path, simulator: RunningSimulator) -> None:
    ended = run(tmp_path, simulator, "check-config", key=" ")
    assert ended.returncode == 0
    assert "this configuration is good" in ended.stdout
    assert "no admin key is configured" in ended.stderr


def test_check_config_shows_the_configuration_with_all_defaults(tmp_path: Path, simulator: RunningSimulator) -> None:
    ended = run(tmp_path, simulator, "check-config")
    assert ended.returncode == 0
    assert "costs_interval: 15m" in ended.stdout
    assert simulator.admin_key not in ended.stdout
