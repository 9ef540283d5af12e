"""Tells requests that a browser sends on behalf of another site. Tools that are no browsers say nothing of a site."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

_OWN_DOING: Final = frozenset({"same-origin", "none"})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def comes_from_another_site(headers: Mapping[str, str]) -> bool:
    """Tell whether a page of another site is behind a request, by what browsers add and no page can forge.

    Args:
        headers: names in lower case.
    """
    site = headers.get("sec-fetch-site")
    if site is not None and site.strip().lower() not in _OWN_DOING:
        return True
    origin = headers.get("origin")
    return origin is not None and not _is_origin_of(origin, headers.get("host", ""))


def _is_origin_of(origin: str, host: str) -> bool:
    scheme, _, _ = origin.partition("://")
    try:
        asking = urlsplit(origin)
        # Host has no scheme; where it leaves out the port too, the origin's own is meant.
        asked = urlsplit(f"{scheme}://{host}")
        default = _DEFAULT_PORTS.get(asking.scheme)
        ours = (asked.hostname, asked.port or default)
        theirs = (asking.hostname, asking.port or default)
    except ValueError:
        # Brackets without end, or a port that is no number.
        return False
    # Such as "null", which is what a page in a sandbox says.
    return asking.hostname is not None and theirs == ours
