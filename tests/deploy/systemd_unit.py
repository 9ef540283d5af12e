"""The systemd units, read as systemd reads it: sections, repeated keys, continued lines, and its specifiers put in."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.deploy.rule_files import PROMETHEUS

SYSTEMD: Final = PROMETHEUS.parent / "systemd"
UNIT: Final = SYSTEMD / "openai-usage-exporter.service"
GATEWAY_UNIT: Final = SYSTEMD / "openai-trace-gateway.service"
INSTALLED: Final = "/opt/openai-usage-exporter/bin/openai-usage-exporter"
"""The program that the units start."""


def settings(text: str) -> Mapping[str, Sequence[str]]:
    """Return each key's values in their order; keys are unique across a unit's sections."""
    found: dict[str, list[str]] = {}
    kept = (line for line in text.splitlines() if not line.startswith(("#", ";")))
    for line in "\n".join(kept).replace("\\\n", " ").splitlines():
        if line and not line.startswith("["):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def setting(key: str, file: Path = UNIT) -> str:
    """Return a unit's one value of a key."""
    [value] = settings(file.read_text(encoding="utf-8"))[key]
    return value


def expanded(text: str, unit: str, *, root: Path = Path("/")) -> str:
    """Return a value with its specifiers put in, for a unit of that name; folders are below `root`."""
    name = unit.removesuffix(".service")
    for specifier, meaning in {
        "%N": name,
        "%E": str(root / "etc"),
        "%S": str(root / "var/lib"),
        "%d": str(root / "run/credentials" / unit),
    }.items():
        text = text.replace(specifier, meaning)
    assert "%" not in text, text
    return text


def command(unit: str, *, root: Path = Path("/"), more: Sequence[str] = (), file: Path = UNIT) -> list[str]:
    """Return what ExecStart runs, with `more` for its $ARGUMENTS."""
    words = shlex.split(expanded(setting("ExecStart", file), unit, root=root))
    assert words[-1] == "$ARGUMENTS"
    return [*words[:-1], *more]
