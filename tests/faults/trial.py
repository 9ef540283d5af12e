"""An exporter on trial: the real command in a process of its own, between an API and a Prometheus, by its clock."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import trustme

from exporter.credentials import BASE_URL_VARIABLE, KEY_VARIABLE
from exporter.ledger.store import STATE_FILE, Store, StoredState
from exporter.simulator.faults import Faults
from exporter.web.http_server import serving_in_thread
from tests.end_to_end.prometheus_server import PrometheusServer, prometheus
from tests.end_to_end.test_serving import free_port
from tests.faults.figures import counted, differences, true
from tests.faults.lives import Life, Zygote, zygote
from tests.faults.resetting_proxy import ResettingProxy, resetting_proxy
from tests.faults.shared_time import SharedTime
from tests.faults.stormy_api import StormyApi
from tests.polling.living import Organization
from tests.polling.small_organization import PROJECTS, small_organization

HOUR = 3_600.0
QUARTER = HOUR / 4
# A machine may be as slow as it likes.
_PATIENCE_SECONDS = 240.0
_PAUSE_SECONDS = 0.1

_CONFIGURATION = """\
polling: {usage_interval: 10m, usage_idle_interval: 10m, costs_interval: 10m, directory_interval: 10m}
scrape_interval: 1m
"""
# One job scrapes as slowly as any machine can answer, the other sees lives of a moment.
_SCRAPED = """\
scrape_configs:
- job_name: openai
  scrape_interval: 2s
  scrape_timeout: 2s
  static_configs: &exporter [{{targets: ["127.0.0.1:{port}"]}}]
- job_name: quick
  scrape_interval: 250ms
  scrape_timeout: 250ms
  static_configs: *exporter
"""
_JOB = 'job="openai"'
_DISK_BYTES = 16 * 1024 * 1024

LASTING_COUNTERS = "openai_(usage|cost)_.*_total"
"""They outlive a process. The exporter's own begin anew with each."""
ALL_COUNTERS = "(openai_.*|process_cpu_seconds)_total"

_COUNTER = re.compile(r"^((?:openai_usage|openai_cost)_[a-z_]+_total)\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_UP = re.compile(r"^openai_up 1\.0$", re.MULTILINE)
_LAST_SUCCESS = re.compile(r'^openai_exporter_poll_last_success_timestamp_seconds\{api="(.*)"\} (\S+)$', re.MULTILINE)
_SUCCESS = re.compile(r'^openai_exporter_poll_success\{api="(.*)"\} (\S+)$', re.MULTILINE)
_DURATION = re.compile(r'^openai_exporter_poll_duration_seconds\{api="(.*)"\} (\S+)$', re.MULTILINE)

Series = tuple[str, frozenset[tuple[str, str]]]
"""A family, and its labels without empty ones."""


class Audit(NamedTuple):
    """What `audit` said, and its exit status."""

    status: int
    text: str


@dataclass
class Trial:
    """The exporter, all that surrounds it, and all that was seen of it.

    Attributes:
        organization: and its own clock.
        api: what the exporter asks, behind `proxy`.
        time: the exporter's clock, in step with the organization's unless a storm steps it.
        server: the Prometheus that scrapes it all the time.
        state: the folder as a life sees it.
        state_from_here: the same folder as this process sees it.
        has_small_disk: the state is on a disk of its own.
        began: when its zero line was drawn.
        life: the process of now.
        fallen: counters that were seen to fall from one page to the next.
    """

    organization: Organization
    api: StormyApi
    proxy: ResettingProxy
    time: SharedTime
    zygote: Zygote
    server: PrometheusServer
    folder: Path
    state: Path
    state_from_here: Path
    has_small_disk: bool
    port: int
    client: httpx.Client
    began: float = 0.0
    life: Life | None = None
    fallen: list[str] = field(default_factory=list)
    seen: dict[Series, float] = field(default_factory=dict)

    @property
    def living(self) -> Life:
        assert self.life is not None
        return self.life

    def arguments(self) -> tuple[str, ...]:
        return f"--config.file={self.folder / 'exporter.yml'}", f"--storage.path={self.state}"

    def start(self) -> Life:
        """Begin a life; it does not listen yet."""
        self.life = self.zygote.start("serve", *self.arguments(), f"--web.listen-address=127.0.0.1:{self.port}")
        return self.life

    @contextmanager
    def whole_process(self) -> Iterator["subprocess.Popen[bytes]"]:
        """A life that nobody forked; it has its own Python."""
        self.life = None
        listen = f"--web.listen-address=127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "tests.faults.zygote", str(self.folder / "time"), "serve", *self.arguments()]
        with subprocess.Popen([*command, listen], env=self.zygote.environment, stderr=subprocess.DEVNULL) as process:
            try:
                yield process
            finally:
                process.kill()

    def begin(self) -> None:
        """Draw the zero line: begin the first life, and let it read everything once."""
        self.began = self.organization.clock()
        self.start()
        self.wait_until(self.is_polled, "every API is read for the first time")

    def pass_time(self, seconds: float) -> None:
        """Let time pass, for the API first: nobody reads of the future."""
        self.organization.clock.advance(seconds)
        self.time.advance(seconds)

    def set_faults(self, **settings: object) -> None:
        """Replace what goes wrong at the API."""
        self.organization.simulator.simulator.set_faults(Faults.model_validate(settings))

    def page(self) -> str:
        """Scrape the page, and compare every counter with the page before."""
        text = self.client.get(f"http://127.0.0.1:{self.port}/metrics").raise_for_status().text
        counters = counters_of(text)
        self.fallen += [
            f"{name} fell from {before} to {counters.get(name)}"
            for name, before in self.seen.items()
            if counters.get(name, -1.0) < before
        ]
        self.seen |= counters
        return text

    def failing(self) -> set[str]:
        """Return the APIs whose newest poll failed."""
        return {api for api, success in _SUCCESS.findall(self.page()) if float(success) == 0}

    def ask_all(self, seconds: float = QUARTER) -> None:
        """Let time pass, and wait until one more poll of every API has ended, well or not."""
        before = self._polls()
        self.pass_time(seconds)
        self.wait_until(lambda: not before.items() & self._polls().items(), "every API is asked")

    def _polls(self) -> dict[str, str]:
        """Return what tells one poll of an API from the next: no two take equally long."""
        return dict(_DURATION.findall(self.page()))

    def poll_all(self, seconds: float = HOUR) -> None:
        """Let time pass, and wait until every API was read at this moment."""
        self.pass_time(seconds)
        self.wait_until(self.is_polled, "every API is read")

    def is_polled(self) -> bool:
        """Tell whether the newest poll of every API is of this moment, and succeeded."""
        page = self.page()
        now = self.time.now()
        return bool(_UP.search(page)) and all(float(moment) >= now for _, moment in _LAST_SUCCESS.findall(page))

    def wait_until(self, happened: Callable[[], bool], what: str) -> None:
        """Wait for other processes, which have no clock that says when they are done."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                if happened():
                    return
            except httpx.TransportError:
                # It does not listen yet.
                pass
            said = "\n".join(self.zygote.log[-20:])
            assert self.life is None or self.life.ended() is None, f"it ended before: {what}\n{said}"
            assert time.monotonic() < deadline, f"not in time: {what}\n{said}"
            time.sleep(_PAUSE_SECONDS)

    def stored(self) -> StoredState:
        """Return what is on the disk, from a copy, while nothing is written."""
        with tempfile.TemporaryDirectory() as name:
            for file in self.state_from_here.glob(f"{STATE_FILE}*"):
                # The index of the log is the processes' that have it open.
                if not file.name.endswith("-shm"):
                    shutil.copy(file, name)
            with closing(Store.open(Path(name))) as store:
                return store.load()

    def wrong_figures(self) -> list[str]:
        """Return where the counters, less what is held back, are not the truth; or the page not the counters."""
        state = self.stored()
        simulator = self.organization.simulator.simulator
        truth = true(simulator, self.began, self.organization.clock())
        assert truth, "too little has happened to say anything"
        return differences(counted(state), truth) + self._wrong_on_page(state)

    def _wrong_on_page(self, state: StoredState) -> list[str]:
        expected = {
            (name.family, frozenset(pair for pair in name.labels if pair[1])): float(counter.value)
            if counter.shown
            else 0.0
            for name, counter in state.counters.items()
        }
        page = counters_of(self.page())
        return [
            f"{name} is {page.get(name)} on the page, {expected.get(name)} in the state"
            for name in expected.keys() | page.keys()
            if page.get(name) != expected.get(name)
        ]

    def resets(self, names: str) -> dict[str, float]:
        """Return how often counters fell, by family, as Prometheus saw it in all this time."""
        answer = self.server.client.get(f"{self.server.url}/api/v1/label/__name__/values").raise_for_status().json()
        families = [name for name in answer["data"] if re.fullmatch(names, name)]
        # One at a time: without their names, series of two families may be the same.
        return {
            family: sum(self.server.query(f"sum(resets({family}[1d]))", time.time()).values()) for family in families
        }

    def scrapes(self) -> float:
        """Return how many scrapes succeeded."""
        return sum(self.server.query("sum_over_time(up[1d])", time.time()).values())

    def wait_for_scrape(self) -> None:
        """Wait until Prometheus has seen the page as it is."""
        now = time.time()
        begun_and_succeeded = f"timestamp(up{{{_JOB}}}) * (up{{{_JOB}}} == 1)"
        self.wait_until(
            lambda: any(begun > now for begun in self.server.query(begun_and_succeeded, time.time()).values()),
            "Prometheus has scraped",
        )

    def audit(self) -> Audit:
        """Run the command `audit` against the API and Prometheus."""
        output = self.folder / "audit"
        life = self.zygote.start(
            "audit",
            *self.arguments(),
            f"--prometheus.url={self.server.url}",
            f"--prometheus.selector={_JOB}",
            "--patience=60s",
            output=output,
        )
        return Audit(life.end(), output.read_text(encoding="utf-8"))


def counters_of(page: str) -> dict[Series, float]:
    """Return the lasting counters of a page."""
    return {
        (family, frozenset(pair for pair in _LABEL.findall(labels) if pair[1])): float(value)
        for family, labels, value in _COUNTER.findall(page)
    }


@contextmanager
def trial(folder: Path, *, small_disk: bool = False, projects: frozenset[str] = PROJECTS) -> Iterator[Trial]:
    """A trial before its first life.

    With a `small_disk` the state is on a disk of its own, where that can be had. Fewer projects make cheaper lives.
    """
    state = folder / "state"
    state.mkdir(mode=0o700)
    within = _on_small_disk(state) if small_disk else []
    port = free_port()
    (folder / "exporter.yml").write_text(_CONFIGURATION, encoding="utf-8")
    shared = SharedTime(folder / "time")
    with ExitStack() as stack:
        organization = stack.enter_context(small_organization(projects))
        shared.set(organization.clock())
        api = StormyApi(organization.simulator.simulator)
        upstream = stack.enter_context(serving_in_thread(api.handle))
        proxy, (host, proxy_port) = stack.enter_context(resetting_proxy(upstream, "storms"))
        environment = {
            BASE_URL_VARIABLE: f"http://{host}:{proxy_port}/v1",
            KEY_VARIABLE: organization.simulator.admin_key,
            # Nobody speaks TLS here, and to read all authorities of the world takes as long as half a life.
            "SSL_CERT_FILE": str(_one_authority(folder)),
        }
        server = stack.enter_context(prometheus(folder, _SCRAPED.format(port=port)))
        lives = stack.enter_context(zygote(folder, folder / "time", environment, within))
        yield Trial(
            organization,
            api,
            proxy,
            shared,
            lives,
            server,
            folder,
            state,
            Path(f"/proc/{lives.pid}/root{state}") if within else state,
            has_small_disk=bool(within),
            port=port,
            client=stack.enter_context(httpx.Client(timeout=_PATIENCE_SECONDS, trust_env=False)),
        )


def _one_authority(folder: Path) -> Path:
    file = folder / "authority.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    return file


def _on_small_disk(state: Path) -> list[str]:
    """Return what runs a command that sees a small disk at `state`; nothing where that cannot be done."""
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    mount = f'mount -t tmpfs -o size={_DISK_BYTES},mode=700 none "$0" && exec "$@"'
    prefix = ["unshare", *user, "--mount", "--", "sh", "-ec", mount, str(state)]
    try:
        refused = subprocess.run([*prefix, sys.executable, "--version"], capture_output=True, check=False, timeout=60)
        problem = refused.stderr.decode() if refused.returncode else ""
    except OSError as error:
        problem = str(error)
    if problem and os.environ.get("REQUIRE_NAMESPACES"):
        pytest.fail(f"no disk of its own can be had here: {problem}")
    return [] if problem else prefix
