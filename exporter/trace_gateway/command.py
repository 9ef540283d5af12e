"""The command `trace-gateway`. What it needs is imported when it runs: no other command needs it."""

import argparse
import asyncio
import importlib
import logging
import time
from typing import TYPE_CHECKING, Final

from exporter.configuration.loading import ConfigurationError, load_configuration
from exporter.listen_address import add_listen_address, listen_address

if TYPE_CHECKING:
    from exporter.trace_gateway.upstream import UpstreamAddress

_log = logging.getLogger(__name__)

NAME: Final = "trace-gateway"
SUMMARY: Final = "forward applications' requests to AITracer unchanged, and count the traces that it accepts"
DEFAULT_ADDRESS: Final = "127.0.0.1:10187"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Give the command its flags, beside those for configuration files and logs."""
    command.add_argument(
        "--upstream",
        type=_upstream,
        required=True,
        metavar="URL",
        help="where AITracer is: https://HOST, with a port and a path in front of all others where it has them",
    )
    add_listen_address(command, DEFAULT_ADDRESS, "where applications send their traces; an empty host means all")
    command.add_argument(
        "--web.telemetry-address",
        dest="telemetry_address",
        type=listen_address,
        metavar="HOST:PORT",
        help="where /metrics, /-/healthy and /-/ready are; "
        "without it they are at --web.listen-address, and only other paths are forwarded",
    )


def run(options: argparse.Namespace) -> int:
    """Forward until asked to stop.

    Raises:
        ConfigurationError: the configuration cannot be used.
        ServiceError: an address cannot be listened on.
    """
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - as said above

    from exporter.trace_gateway.counting import TraceCounter  # noqa: PLC0415 - the same
    from exporter.trace_gateway.gateway import Gateway, GatewayOptions  # noqa: PLC0415 - the same
    from exporter.trace_gateway.upstream import proxy_of_environment  # noqa: PLC0415 - the same

    configuration = load_configuration(options.config_file)
    try:
        # Now, and not while the first application waits.
        importlib.import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    except ImportError:
        _log.warning(
            "OTLP in protobuf is forwarded but not counted",
            extra={"remedy": "install openai-usage-exporter[trace-gateway]"},
        )
    registry = CollectorRegistry()
    counter = TraceCounter(
        configuration.trace_gateway,
        configuration.workflows,
        registry,
        time.monotonic,
        zero_for=configuration.scrape_interval.total_seconds(),
    )
    gateway_options = GatewayOptions(
        upstream=options.upstream,
        listen=options.listen_address,
        telemetry=options.telemetry_address,
        web_config_file=options.web_config_file,
        proxy=proxy_of_environment(options.upstream),
    )

    async def forward() -> None:
        try:
            gateway = Gateway(gateway_options, counter, registry)
        except ValueError as error:
            raise ConfigurationError("the environment", [str(error)]) from error
        await gateway.run()

    asyncio.run(forward())
    return 0


def _upstream(text: str) -> "UpstreamAddress":
    from exporter.trace_gateway.upstream import upstream_address  # noqa: PLC0415 - the same

    try:
        return upstream_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"no address of an upstream: {error}") from None
