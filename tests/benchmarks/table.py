"""The table of the benchmarks, and its place in the README."""

import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

README: Final = Path(__file__).parents[2] / "README.md"
COMMAND: Final = "make bench"
HEADER: Final = "| benchmark | what | measured | at most | |"

_SECTION: Final = re.compile(r"(<!-- benchmarks -->\n).*?(<!-- /benchmarks -->)", re.DOTALL)
_ROW: Final = re.compile(r"^\| (\w+) \| (.+) \| (.+) \| (.*) \| (.*) \|$", re.MULTILINE)
_VERDICTS: Final = {True: "holds", False: "**misses**", None: ""}


class Figure(NamedTuple):
    """One row of the table.

    Attributes:
        what: is measured, against what.
        measured: with its unit; a ratio has none.
        at_most: the target in the same spelling; empty where there is none.
        holds: whether the target is met; None where there is none.
    """

    what: str
    measured: str
    at_most: str = ""
    holds: bool | None = None


def ratio(what: str, part: float, whole: float, at_most: float | None = None) -> Figure:
    """Return `part` / `whole` as a row."""
    value = part / whole
    if at_most is None:
        return Figure(what, _spelled(value))
    return Figure(what, _spelled(value), _spelled(at_most), value <= at_most)


def _spelled(value: float) -> str:
    return f"1/{1 / value:.0f}" if value < 1 / 3 else f"{value:.1f} times"


Found = Mapping[str, Sequence[Figure]]
"""The figures of each benchmark."""


def row(benchmark: str, figure: Figure) -> str:
    """Return a figure in Markdown."""
    return f"| {benchmark} | {figure.what} | {figure.measured} | {figure.at_most} | {_VERDICTS[figure.holds]} |"


def table(found: Found) -> str:
    """Return the table in Markdown."""
    rows = [row(benchmark, figure) for benchmark, figures in found.items() for figure in figures]
    return "\n".join([HEADER, "|---|---|---|---|---|", *rows])


def figures_of(readme: Path = README) -> Found:
    """Return the figures that the README shows."""
    found: dict[str, list[Figure]] = {}
    holds = {verdict: value for value, verdict in _VERDICTS.items()}
    for benchmark, what, measured, at_most, verdict in _ROW.findall(_section(readme.read_text(encoding="utf-8"))):
        if verdict in holds:
            found.setdefault(benchmark, []).append(Figure(what, measured, at_most, holds[verdict]))
    return found


def _section(text: str) -> str:
    section = _SECTION.search(text)
    if section is None:
        raise ValueError("the README has no markers for the benchmarks")
    return section[0]


def machine() -> str:
    """Say what the figures were measured on."""
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.machine()}"


def write(found: Found, readme: Path = README) -> None:
    """Put the table between the README's markers.

    Raises:
        ValueError: there are none.
    """
    text = readme.read_text(encoding="utf-8")
    old = _section(text)
    first, last = old.splitlines()[0], old.splitlines()[-1]
    section = f"{first}\n\nMeasured with `{COMMAND}` on {machine()}:\n\n{table(found)}\n\n{last}"
    readme.write_text(text.replace(old, section), encoding="utf-8")
