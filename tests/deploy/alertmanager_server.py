"""A real Alertmanager with the shipped configuration, and a server that stands in for everybody it tells."""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from tests.prometheus_tools import program

SHIPPED: Final = Path(__file__).parents[2] / "deploy" / "alertmanager"
_START_SECONDS: Final = 30
_PAUSE_SECONDS: Final = 0.1


@dataclass(slots=True)
class Receivers:
    """A web server that takes whatever is posted to it, for ever, and serves one page.

    Attributes:
        url: its root.
        posted: what came, by path; JSON as it was sent.
        page: what `/metrics` answers; None to answer nothing that can be scraped.
    """

    url: str
    posted: dict[str, list[Any]] = field(default_factory=dict)
    page: str | None = None

    def texts(self, receiver: str) -> str:
        """Return all that a receiver was sent, as JSON."""
        return json.dumps(self.posted.get(f"/{receiver}", []), ensure_ascii=False)


@contextmanager
def receivers() -> Iterator[Receivers]:
    """Serve on loopback until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200 if there.page is not None else 503, (there.page or "").encode())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            there.posted.setdefault(self.path, []).append(body)
            # Slack wants to read "ok", and PagerDuty to be taken at its word with 202.
            self._answer(202 if self.path.endswith("pager") else 200, b"ok")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name for it
            """Say nothing of each request."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    there = Receivers(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield there
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def shipped_configuration() -> dict[str, Any]:
    """Return `alertmanager.yml`, read."""
    configuration: dict[str, Any] = yaml.safe_load((SHIPPED / "alertmanager.yml").read_text(encoding="utf-8"))
    return configuration


def for_the_test(configuration: dict[str, Any], folder: Path, to: Receivers) -> dict[str, Any]:
    """Return the shipped configuration as it is, but for what a test cannot have.

    - Every receiver sends to `to`, under its own name as the path. Chats and pagers keep their kind, their templates
      and their secrets in files; webhooks lose the token; mail, which needs a mail server, becomes a webhook.
    - Groups wait two seconds, long enough for what inhibits to arrive beside what it inhibits.
    """
    changed = yaml.safe_load(yaml.safe_dump(configuration))
    for name in [name for name in changed["global"] if name.startswith("smtp_")]:
        del changed["global"][name]
    changed["templates"] = [str(SHIPPED / name) for name in changed["templates"]]
    for route in _routes(changed["route"]):
        for wait in {"group_wait", "group_interval"} & route.keys():
            route[wait] = "2s"
    for receiver in changed["receivers"]:
        url = f"{to.url}/{receiver['name']}"
        secret = folder / f"{receiver['name']}.secret"
        for chat in receiver.get("slack_configs", ()):
            secret.write_text(url, encoding="utf-8")
            chat["api_url_file"] = str(secret)
        for pager in receiver.get("pagerduty_configs", ()):
            secret.write_text("0" * 32, encoding="utf-8")
            pager |= {"routing_key_file": str(secret), "url": url}
        if receiver.pop("email_configs", None) or "webhook_configs" in receiver:
            receiver["webhook_configs"] = [{"url": url}]
    return dict(changed)


def _routes(route: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield route
    for child in route.get("routes", ()):
        yield from _routes(child)


@dataclass(frozen=True, slots=True)
class AlertmanagerServer:
    """A running Alertmanager.

    Attributes:
        address: host and port.
    """

    address: str

    def states(self) -> Mapping[tuple[str, str], str]:
        """Return active or suppressed, by the names and severities of the alerts that are here."""
        answer = httpx.get(f"http://{self.address}/api/v2/alerts", timeout=10)
        answer.raise_for_status()
        return {
            (alert["labels"]["alertname"], alert["labels"]["severity"]): alert["status"]["state"]
            for alert in answer.json()
        }


@contextmanager
def alertmanager(folder: Path, configuration: Mapping[str, Any]) -> Iterator[AlertmanagerServer]:
    """Run Alertmanager on loopback, alone, until the block ends."""
    file = folder / "alertmanager.yml"
    file.write_text(yaml.safe_dump(dict(configuration)), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    log = folder / "alertmanager.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                program("prometheus-alertmanager"),
                f"--config.file={file}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address={address}",
                "--cluster.listen-address=",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: process.poll() is not None or _is_ready(address), _START_SECONDS, "Alertmanager starts")
        assert process.poll() is None, log.read_text(encoding="utf-8")[-2000:]
        yield AlertmanagerServer(address)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _is_ready(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/-/ready", timeout=5).is_success
    except httpx.TransportError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for foreign processes, which have no clock of ours; fail when the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} seconds in vain: {what}"
        time.sleep(_PAUSE_SECONDS)
