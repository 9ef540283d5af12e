"""The command `check-health`, for container engines: it asks the exporter on this machine whether it is alive.

It needs neither a password nor a certificate: that the exporter asks for one shows that it is alive.
"""

import argparse
import asyncio
import contextlib
import os
import ssl
import sys
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from exporter.listen_address import DEFAULT_ADDRESS, add_listen_address

NAME: Final = "check-health"
SUMMARY: Final = "ask the exporter on this machine whether it is alive; needs no password and no certificate"

_SECONDS: Final = 5.0
_REQUEST: Final = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_STATUS_LINE_BYTES: Final = 1024
# What listens on every address is asked on loopback.
_LOOPBACK: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - these are asked, not bound


class UnhealthyError(Exception):
    """The exporter is not alive; the message says what happened instead of an answer."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return 0 for a live exporter, 1 for none."""
    parser = argparse.ArgumentParser(
        prog=f"openai-usage-exporter {NAME}", description=f"{SUMMARY[0].upper()}{SUMMARY[1:]}.", allow_abbrev=False
    )
    add_arguments(parser)
    return run(parser.parse_args(arguments))


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Give the command its flags."""
    add_listen_address(command, DEFAULT_ADDRESS, "where the exporter listens; all addresses means loopback here")


def run(options: argparse.Namespace) -> int:
    """Ask, and say what came of it: to standard output if all is well, else to standard error."""
    host, port = options.listen_address
    try:
        finding = check_health(host, port)
    except UnhealthyError as error:
        sys.stderr.write(f"openai-usage-exporter: unhealthy: {error}\n")
        return 1
    sys.stdout.write(f"{finding}\n")
    return 0


def check_health(host: str, port: int, seconds: float = _SECONDS) -> str:
    """Return how the exporter that listens there showed that it is alive.

    Args:
        host: as it was told to listen on.
        port: the same.
        seconds: for all of it.

    Raises:
        UnhealthyError: it did not.
    """
    return asyncio.run(_check(_LOOPBACK.get(host, host), port, seconds))


async def _check(host: str, port: int, seconds: float) -> str:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        async with asyncio.timeout(seconds):
            status = await _ask(host, port, None)
            if status == HTTPStatus.BAD_REQUEST:
                # So it tells those who speak plain HTTP to its TLS port.
                status = await _ask(host, port, _unverified())
    except UnicodeError as error:
        raise UnhealthyError(f"{address}: no host can have this name") from error
    except TimeoutError as error:
        raise UnhealthyError(f"{address} gave no answer within {seconds:g} s") from error
    except ssl.SSLError as error:
        reason = (error.reason or "no TLS").replace("_", " ").lower()
        if "alert" in reason:
            return f"healthy: {address} turns away whoever has no client certificate ({reason})"
        raise UnhealthyError(f"{address}: {reason}") from error
    except OSError as error:
        # asyncio puts words of its own in the place of the system's; an unknown name has a number below 0.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise UnhealthyError(f"{address}: {reason.lower()}") from error
    if status == HTTPStatus.OK:
        return f"healthy: {address}"
    if status == HTTPStatus.UNAUTHORIZED:
        return f"healthy: {address} asks for a password"
    raise UnhealthyError(f"{address} answered {status}" if status else f"{address} gave no answer in HTTP")


async def _ask(host: str, port: int, context: ssl.SSLContext | None) -> int:
    """Return the status of the answer, 0 for none that is HTTP."""
    reader, writer = await asyncio.open_connection(host, port, ssl=context, limit=_STATUS_LINE_BYTES)
    try:
        writer.write(_REQUEST)
        line = b""
        with contextlib.suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            line = await reader.readuntil(b"\r\n")
    finally:
        writer.transport.abort()
    match line.split(b" ", 2):
        case [b"HTTP/1.1" | b"HTTP/1.0", status, _] if status.isdigit():
            return int(status)
    return 0


def _unverified() -> ssl.SSLContext:
    """Trust whatever certificate there is: it names the exporter's host, not loopback, and nothing secret is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
