"""Starts and ends lives of the exporter, and hears what they say."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.faults.zygote import READY

_PROC = Path("/proc")


class Resources(NamedTuple):
    """What a process takes.

    Attributes:
        memory: resident bytes.
        threads: how many.
        files: open, but for sockets.
        sockets: open.
    """

    memory: int
    threads: int
    files: int
    sockets: int


@dataclass(frozen=True, slots=True)
class Life:
    """One process of the exporter."""

    zygote: "Zygote"
    pid: int

    def kill(self) -> int:
        """Kill it as nothing can prevent; return how it ended: -9, unless it had ended before."""
        os.kill(self.pid, signal.SIGKILL)
        return self.end()

    def stop(self) -> int:
        """Stop it as its user does; return its exit status."""
        os.kill(self.pid, signal.SIGTERM)
        return self.end()

    def end(self) -> int:
        """Wait for its end; return its exit status, or the signal that ended it, below 0."""
        status = self.zygote.ask({"end_of": self.pid})
        assert isinstance(status, int)
        return status

    def ended(self) -> int | None:
        """Return the same at once, None while it lives."""
        status = self.zygote.ask({"has_ended": self.pid})
        assert status is None or isinstance(status, int)
        return status

    def resources(self) -> Resources:
        status = dict(
            line.split(":", 1) for line in (_PROC / str(self.pid) / "status").read_text(encoding="utf-8").splitlines()
        )
        names = []
        for descriptor in (_PROC / str(self.pid) / "fd").iterdir():
            try:
                names.append(str(descriptor.readlink()))
            except FileNotFoundError:
                # Closed between two looks.
                continue
        sockets = sum(name.startswith("socket:") for name in names)
        return Resources(int(status["VmRSS"].split()[0]) * 1024, int(status["Threads"]), len(names) - sockets, sockets)


class Zygote:
    """The process that forks lives, and the log of all of them.

    Attributes:
        log: every line that any life said on its standard error.
        pid: of the zygote.
        environment: of the zygote and of all lives.
    """

    def __init__(self, process: "subprocess.Popen[str]", folder: Path, environment: Mapping[str, str]) -> None:
        self._process = process
        self.environment = environment
        self._folder = folder
        self.pid = process.pid
        self.log: list[str] = []
        # A pipe, not a file: a log must not be what fills the disk.
        self._listening = threading.Thread(target=self._listen, name="log of the lives", daemon=True)
        self._listening.start()

    def start(self, *arguments: str, output: Path | None = None) -> Life:
        """Begin a life with the command's arguments."""
        pid = self.ask({"start": arguments, "output": str(output or self._folder / "output")})
        assert isinstance(pid, int)
        return Life(self, pid)

    def ask(self, request: Mapping[str, object]) -> object:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self.hear()

    def hear(self) -> object:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the zygote has ended: {self.log[-20:]}"
        heard: object = json.loads(line)
        return heard

    def _listen(self) -> None:
        assert self._process.stderr is not None
        self.log.extend(line.rstrip("\n") for line in self._process.stderr)


@contextmanager
def zygote(
    folder: Path, shared_time: Path, environment: Mapping[str, str], within: Sequence[str] = ()
) -> Iterator[Zygote]:
    """A zygote and all its lives until the block ends; `within` is a command that runs another."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    whole = kept | dict(environment)
    with subprocess.Popen(
        [*within, sys.executable, "-m", "tests.faults.zygote", str(shared_time)],
        env=whole,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        made = Zygote(process, folder, whole)
        try:
            assert made.hear() == READY
            yield made
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
