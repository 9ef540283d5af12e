"""The commands `simulate` and `demo`: the simulated organization by itself, and with an exporter in front of it."""

import asyncio
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from exporter.credentials import BASE_URL_VARIABLE, KEY_VARIABLE
from exporter.service import Options, Service, ServiceError
from exporter.simulator.applications import sending
from exporter.simulator.server import running_simulator

EXAMPLE_CONFIGURATION: Final = Path(__file__).parent / "exporter.yml"
"""A mapping of the simulated organization, with budgets."""


def simulate(
    *, host: str, port: int, seed: str, traces_since: float | None = None, send_traces_to: str | None = None
) -> int:
    """Serve the simulated API until interrupted, and tell of its traces.

    Args:
        host: to listen on.
        port: the same.
        seed: of the organization.
        traces_since: Unix seconds; None for the last midnight, or for now where traces are sent.
        send_traces_to: the base URL that the applications send traces to; None shows them counted instead.

    Raises:
        ServiceError: the address cannot be listened on.
    """
    with ExitStack() as stack:
        simulator = running_simulator(
            seed=seed,
            clock=time.time,
            host=host,
            port=port,
            traces_since=traces_since,
            counts_traces=send_traces_to is None,
        )
        try:
            running = stack.enter_context(simulator)
        except OSError as error:
            raise ServiceError.about_address(host, port, error) from error
        if send_traces_to is not None:
            calls = running.simulator.calls_since(time.time() if traces_since is None else traces_since)
            stack.enter_context(sending(send_traces_to, calls, time.time))
        told_to = f"Its applications send their traces to {send_traces_to}\n" if send_traces_to is not None else ""
        sys.stdout.write(
            f"The simulated OpenAI API answers at {running.base_url} with the admin key {running.admin_key}\n"
            f"  {BASE_URL_VARIABLE}={running.base_url} {KEY_VARIABLE}={running.admin_key} "
            "openai-usage-exporter --storage.path=simulated\n"
            f"{told_to}"
            "Ctrl-C ends it.\n"
        )
        sys.stdout.flush()
        _wait_for_the_end()
    return 0


def demo(*, host: str, port: int, seed: str) -> int:
    """Serve an exporter of a simulated organization until interrupted. State and key are thrown away."""
    with (
        running_simulator(seed=seed, clock=time.time, host="127.0.0.1", port=0) as running,
        tempfile.TemporaryDirectory(prefix="openai-usage-exporter-demo-") as folder,
    ):
        environment = {KEY_VARIABLE: running.admin_key, BASE_URL_VARIABLE: running.base_url}
        service = Service(Options(EXAMPLE_CONFIGURATION, Path(folder) / "state", host, port, environment=environment))

        def invite(host: str, port: int) -> None:
            sys.stdout.write(
                f"A simulated organization is at work. See http://{host}:{port}/ and http://{host}:{port}/metrics\n"
                "Counters begin at 0 and grow with each poll; day and month gauges are right at once. Ctrl-C ends it.\n"
            )
            sys.stdout.flush()

        asyncio.run(service.run(on_listening=invite))
    return 0


def _wait_for_the_end() -> None:
    async def wait() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        await stopping.wait()

    asyncio.run(wait())
