"""A lock file taken apart: what is pinned, with which hashes, and who wants it."""

import re
from pathlib import Path
from typing import NamedTuple

from packaging.markers import Marker
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

# As the resolver writes it: a pinned name, hashes on lines of their own, and who asked in comments.
_ENTRY = re.compile(
    r"^(?P<name>\S+)==(?P<version>\S+)(?: ; (?P<marker>[^\\\n]+?))?(?P<hashes>(?: \\\n    --hash=sha256:[0-9a-f]{64})+)"
    r"(?P<via>(?:\n    #.*)*)\n",
    re.MULTILINE,
)


class Pinned(NamedTuple):
    name: NormalizedName
    version: Version
    marker: Marker | None
    hashes: list[str]
    wanted_by: list[str]


def read_lock_file(path: Path) -> list[Pinned]:
    """Raises AssertionError if there is anything in it that is no pinned package with its hashes."""
    text = "".join(
        line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if not line.startswith("#")
    )
    pinned = []
    while text:
        found = _ENTRY.match(text)
        assert found, f"{path.name}: {text[:200]}"
        text = text[found.end() :]
        pinned.append(
            Pinned(
                canonicalize_name(found["name"]),
                Version(found["version"]),
                Marker(found["marker"]) if found["marker"] else None,
                re.findall(r"sha256:([0-9a-f]{64})", found["hashes"]),
                re.findall(r"^ +# +(?:via )?([A-Za-z0-9._-]+(?: \(pyproject\.toml\))?)$", found["via"], re.MULTILINE),
            )
        )
    return pinned
