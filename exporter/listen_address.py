"""How an address to listen on is spelled on the command line."""

import argparse
from typing import Final

DEFAULT_ADDRESS: Final = "127.0.0.1:10185"


def listen_address(text: str) -> tuple[str, int]:
    """Read HOST:PORT; an empty host stays empty and means all addresses.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004 - the highest port there is
        raise argparse.ArgumentTypeError(f"{text!r} is no address: HOST:PORT is needed, such as {DEFAULT_ADDRESS}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def add_listen_address(command: argparse.ArgumentParser, default: str, meaning: str) -> None:
    """Give the command the flag `--web.listen-address`, whose value is a host and a port."""
    command.add_argument(
        "--web.listen-address",
        dest="listen_address",
        type=listen_address,
        default=listen_address(default),
        metavar="HOST:PORT",
        help=f"{meaning} (default: {default})",
    )
