"""Tells in the log when more than this machine can reach pages that nothing protects."""

import logging
from collections.abc import Sequence
from ipaddress import ip_address

from exporter.web.protection import Protection

_log = logging.getLogger(__name__)


def beyond_loopback(addresses: Sequence[str]) -> str:
    """Return those of these IP addresses that others can reach, as a text; "" for none."""
    return ", ".join(address for address in addresses if not ip_address(address).is_loopback)


def warn_of_open_pages(addresses: Sequence[str], protection: Protection, *, what: str) -> None:
    """Warn of pages that ask nobody who it is, and of passwords that are not encrypted.

    Args:
        addresses: IP addresses that are listened on.
        protection: what is in force there.
        what: whoever reads the pages sees.
    """
    outside = beyond_loopback(addresses)
    if not outside:
        return
    if not protection.authenticates:
        _log.warning(
            "whoever reaches this address sees %s; ask for passwords or client certificates with --web.config.file, "
            "or listen on loopback",
            what,
            extra={"address": outside},
        )
    if protection.users and protection.context is None:
        _log.warning(
            "passwords cross the network in plain text; add tls_server_config to --web.config.file, or listen on "
            "loopback behind what speaks TLS",
            extra={"address": outside},
        )
