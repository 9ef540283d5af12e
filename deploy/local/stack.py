"""The whole stack on this machine, without containers: `make stack`.

A simulated organization, its exporter, a trace gateway that its applications send their traces through, Prometheus with
all rules, and Alertmanager, with weeks of history at once. Everything listens on loopback and lives in a temporary
folder, which goes when it ends.
"""

import argparse
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import yaml

from exporter.credentials import BASE_URL_VARIABLE, KEY_VARIABLE
from exporter.listen_address import listen_address
from exporter.simulator.history.command import HOURLY_DAYS, MINUTES
from exporter.simulator.history.life import Life
from exporter.simulator.history.making import make_history, scraped
from exporter.simulator.history.moments import Watch
from exporter.simulator.history.programs import ProgramError, program, running
from exporter.simulator.server import DEFAULT_ADMIN_KEY, DEFAULT_SEED

DEPLOY: Final = Path(__file__).resolve().parents[1]
RULES: Final = DEPLOY / "prometheus" / "rules"
CONFIGURATIONS: Final = DEPLOY / "compose"

# In the order of the addresses.
_DEFAULT_PORTS: Final = {
    "exporter": 10185,
    "simulator": 10186,
    "trace_gateway": 10187,
    "prometheus": 9090,
    "alertmanager": 9093,
}

# A death is noticed this soon, in seconds.
_LOOK_EVERY: Final = 0.5
_LAST_LINES: Final = 15
# A terminal that is closed ends it, too: the servers would outlive it.
_ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything listens, as HOST:PORT, in the order of the containers' names."""

    exporter: str
    simulator: str
    trace_gateway: str
    prometheus: str
    alertmanager: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stack until SIGINT or SIGTERM; return the exit status: 0 stopped as asked, 1 something failed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.days < 1 or options.minutes < 0:
        parser.error("--days begins at 1, --minutes at 0")
    addresses = Addresses(*(getattr(options, name) for name in _DEFAULT_PORTS))
    for number in _ENDING:
        signal.signal(number, _stop)
    try:
        _demand_free(addresses)
        watch = Watch(options.days, min(options.days, HOURLY_DAYS), options.minutes)
        with stack(addresses, watch=watch, seed=options.seed, tell=_tell) as dead:
            _tell(_invitation(addresses))
            while not (names := dead()):
                time.sleep(_LOOK_EVERY)
        _tell(f"stack: {', '.join(names)} ended by itself")
    except KeyboardInterrupt:
        _tell("stack: stopped, nothing is left")
        return 0
    except ProgramError as error:
        sys.stderr.write(f"stack: {error}\n")
    return 1


@contextmanager
def stack(
    addresses: Addresses, *, watch: Watch, seed: str, tell: Callable[[str], None]
) -> Iterator[Callable[[], list[str]]]:
    """Run everything until the block ends; yield what names those that have ended by themselves.

    Raises:
        ProgramError: a program is missing, or does not come up.
    """
    programs = {name: program(_called_here(name)) for name in ("prometheus", "promtool", "alertmanager")}
    with tempfile.TemporaryDirectory(prefix="openai-usage-exporter-stack-") as name, ExitStack() as servers:
        folder = Path(name)
        rule_files = [*sorted(RULES.glob("*.yml")), RULES / "adapters" / "aitracer.yml"]
        configuration = CONFIGURATIONS / "simulated" / "exporter" / "exporter.yml"
        end = int(time.time())
        make_history(
            folder / "data",
            life=Life(seed, configuration, folder / "state", port=_port(addresses.simulator)),
            watch=watch,
            end=end,
            # The gateway's counters begin anew where those of the history end: in the same series, as after a restart.
            scraped=scraped(addresses.exporter, addresses.trace_gateway),
            rule_files=rule_files,
            tell=tell,
        )
        (folder / "prometheus.yml").write_text(_prometheus_configuration(addresses, rule_files), encoding="utf-8")
        environment = {KEY_VARIABLE: DEFAULT_ADMIN_KEY, BASE_URL_VARIABLE: f"http://{addresses.simulator}/v1"}
        processes = {}
        for server in _servers(addresses, folder, programs, configuration, since=watch.last(end), seed=seed):
            tell(f"stack: starting {server.name}")
            log = folder / f"{server.name}.log"
            processes[server.name] = servers.enter_context(
                running(server.command, log, server.ready_url, environment=environment)
            )

        def dead() -> list[str]:
            ended = [server for server, process in processes.items() if process.poll() is not None]
            for server in ended:
                log = (folder / f"{server}.log").read_text(encoding="utf-8", errors="replace")
                tell("\n".join(log.splitlines()[-_LAST_LINES:]))
            return ended

        yield dead


@dataclass(frozen=True, slots=True)
class _Server:
    name: str
    command: Sequence[str]
    ready_url: str


def _servers(  # noqa: PLR0913 - two of them by name
    addresses: Addresses, folder: Path, programs: Mapping[str, str], configuration: Path, *, since: int, seed: str
) -> list[_Server]:
    """Return all of them in the order in which they are started: nobody asks who is not there yet."""
    ours = [sys.executable, "-m", "exporter"]
    return [
        _Server(
            "trace-gateway",
            [
                *ours,
                "trace-gateway",
                # The simulator, which answers as AITracer does.
                f"--upstream=http://{addresses.simulator}",
                f"--config.file={configuration}",
                f"--web.listen-address={addresses.trace_gateway}",
            ],
            f"http://{addresses.trace_gateway}/-/ready",
        ),
        _Server(
            "simulator",
            [
                *ours,
                "simulate",
                f"--web.listen-address={addresses.simulator}",
                f"--traces.send-to=http://{addresses.trace_gateway}",
                f"--traces.since={since}",
                f"--seed={seed}",
            ],
            f"http://{addresses.simulator}/",
        ),
        _Server(
            "exporter",
            [
                *ours,
                f"--config.file={configuration}",
                f"--storage.path={folder / 'state'}",
                f"--web.listen-address={addresses.exporter}",
            ],
            f"http://{addresses.exporter}/-/ready",
        ),
        _Server(
            "alertmanager",
            [
                programs["alertmanager"],
                f"--config.file={CONFIGURATIONS / 'alertmanager' / 'alertmanager.yml'}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address={addresses.alertmanager}",
                "--cluster.listen-address=",
            ],
            f"http://{addresses.alertmanager}/-/ready",
        ),
        _Server(
            "prometheus",
            [
                programs["prometheus"],
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--storage.tsdb.retention.time=400d",
                f"--web.listen-address={addresses.prometheus}",
            ],
            f"http://{addresses.prometheus}/-/ready",
        ),
    ]


def _called_here(name: str) -> str:
    # Debian calls it otherwise than its makers do.
    return "prometheus-alertmanager" if name == "alertmanager" and shutil.which(name) is None else name


def _prometheus_configuration(addresses: Addresses, rule_files: Sequence[Path]) -> str:
    """Return the containers' configuration with the addresses and rule files of this machine."""
    file = CONFIGURATIONS / "simulated" / "prometheus" / "prometheus.yml"
    text = file.read_text(encoding="utf-8")
    for container, address in (
        ("exporter:10185", addresses.exporter),
        ("trace-gateway:10187", addresses.trace_gateway),
        ("alertmanager:9093", addresses.alertmanager),
    ):
        text = text.replace(f'"{container}"', f'"{address}"')
    configuration = yaml.safe_load(text)
    configuration["rule_files"] = [str(file) for file in rule_files]
    return yaml.safe_dump(configuration)


def _invitation(addresses: Addresses) -> str:
    return f"""stack: up
  Prometheus    http://{addresses.prometheus}/graph
  Alertmanager  http://{addresses.alertmanager}/
  exporter      http://{addresses.exporter}/
  simulator     http://{addresses.simulator}/
  trace gateway http://{addresses.trace_gateway}/metrics
Grafana is not part of it: import grafana/dashboards/*.json into yours, with this Prometheus as the data source.
Ctrl-C ends it and leaves nothing behind."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make stack",
        description="The simulated organization with exporter, trace gateway, Prometheus and Alertmanager.",
    )
    parser.add_argument("--days", type=int, default=35, help="of history; a day takes about a second (default: 35)")
    parser.add_argument(
        "--minutes", type=int, default=MINUTES, help=f"of history that is seen minute by minute (default: {MINUTES})"
    )
    parser.add_argument("--seed", default=DEFAULT_SEED, help=f"another one is another life (default: {DEFAULT_SEED})")
    for name, port in _DEFAULT_PORTS.items():
        address = f"127.0.0.1:{port}"
        parser.add_argument(
            _flag(name), type=_address, default=address, metavar="HOST:PORT", help=f"default: {address}"
        )
    return parser


def _address(text: str) -> str:
    host, port = listen_address(text)
    if not host or not port:
        raise argparse.ArgumentTypeError(f"{text!r} needs a host and a port, such as 127.0.0.1:9090")
    return text


def _demand_free(addresses: Addresses) -> None:
    """Find what is in use before weeks are lived through, and before a stranger is taken for one of ours."""
    for name in _DEFAULT_PORTS:
        address = getattr(addresses, name)
        host, port = listen_address(address)
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            socket.create_server((host, port), family=family).close()
        except OSError as error:
            flag = _flag(name)
            raise ProgramError(
                f"{flag.removeprefix('--')} cannot listen on {address}: {error.strerror}; end what does (Debian starts "
                f"its packages' servers: systemctl stop prometheus prometheus-alertmanager), or name another address: "
                f"{sys.executable} -m deploy.local.stack {flag}=HOST:PORT"
            ) from error


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _port(address: str) -> int:
    return listen_address(address)[1]


def _stop(_number: int, _frame: FrameType | None) -> None:
    # Ending takes a while: it is asked for once.
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
