"""A real Prometheus over samples that carry their own timestamps."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.prometheus_tools import program

_START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class PrometheusServer:
    """A running Prometheus.

    Attributes:
        url: its root.
    """

    url: str

    def query(self, expression: str, at: float) -> dict[tuple[tuple[str, str], ...], float]:
        """Evaluate an instant query; return values by sorted label pairs."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression, "time": str(at)}, timeout=60)
        answer.raise_for_status()
        return {
            tuple(sorted(series["metric"].items())): float(series["value"][1])
            for series in answer.json()["data"]["result"]
        }

    def targets(self) -> list[dict[str, str]]:
        """Return the active targets with their health and last error."""
        answer = httpx.get(f"{self.url}/api/v1/targets", params={"state": "active"}, timeout=60)
        targets: list[dict[str, str]] = answer.json()["data"]["activeTargets"]
        return targets


@contextmanager
def prometheus(folder: Path, configuration: str = "") -> Iterator[PrometheusServer]:
    """Run Prometheus over `folder`/data until the block ends."""
    file = folder / "prometheus.yml"
    file.write_text(configuration, encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--storage.tsdb.retention.time=20y",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url, process, log)
        yield PrometheusServer(url)
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/-/ready", timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        # A foreign process: there is no clock of ours that could say when it is up.
        time.sleep(0.1)
    raise AssertionError(f"Prometheus did not start:\n{log.read_text()[-2000:]}")
