"""Prometheus' own programs: found, started, waited for, stopped."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 60


class ProgramError(Exception):
    """A program is missing or failed; the message says which, why, and what to do."""


def program(name: str) -> str:
    """Return the program's path.

    Raises:
        ProgramError: it is not installed.
    """
    path = shutil.which(name)
    if path is None:
        raise ProgramError(f"{name} is not installed or not on PATH (Debian: prometheus, prometheus-alertmanager)")
    return path


@contextmanager
def running(
    command: Sequence[str], log: Path, ready_url: str, *, environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server until the block ends; it is left when `ready_url` has answered well once.

    Args:
        command: the program and its arguments.
        log: a file that its output is appended to.
        ready_url: answers with a success once the server can be used.
        environment: all of the variables that it sees; by default those of this process.

    Raises:
        ProgramError: it does not come up; with the end of its log.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - what is started is decided by the caller, never by input
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            # A Ctrl-C in the terminal is for whoever started it: what others still need is stopped last.
            start_new_session=True,
        )
    try:
        _wait_until_ready(Path(command[0]).name, ready_url, process, log)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=_STOP_SECONDS)


@contextmanager
def running_prometheus(folder: Path, configuration: str = "", *, find: Callable[[str], str] = program) -> Iterator[str]:
    """Run Prometheus over `folder`/data until the block ends; yield its URL on loopback.

    Its log is `folder`/prometheus.log.

    Raises:
        ProgramError: it is missing or does not start.
    """
    file = folder / "prometheus.yml"
    file.write_text(configuration, encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [
        find("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=20y",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(command, folder / "prometheus.log", f"{url}/-/ready"):
        yield url


def _wait_until_ready(name: str, ready_url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    # Nothing on this machine is behind a proxy. One client: making one takes longer than an answer.
    with httpx.Client(timeout=5, trust_env=False) as client:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if client.get(ready_url).is_success:
                    return
            except httpx.TransportError:
                pass
            # A foreign process: there is no clock of ours that could say when it is up.
            time.sleep(0.1)
    end = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise ProgramError(f"{name} did not start:\n{end}")
