"""The command `trace-gateway` as a process of its own."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_STOP_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """A gateway that listens: its URL, and which process it is."""

    url: str
    process: int


@contextmanager
def gateway_process(*flags: str) -> Iterator[GatewayProcess]:
    """Run the command on a free port until the end of the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "exporter", "trace-gateway", "--web.listen-address=127.0.0.1:0", *flags],
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={"NO_PROXY": "*"},
    ) as process:
        try:
            assert process.stderr is not None
            listening = re.search(r"address=(\S+)", process.stderr.readline())
            assert listening is not None
            yield GatewayProcess(listening[1], process.pid)
        finally:
            process.terminate()
            process.communicate(timeout=_STOP_SECONDS)
