"""The table of the benchmarks, and its place in the README."""

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

README: Final = Path(__file__).parents[2] / "README.md"
COMMAND: Final = "make bench"
HEADER: Final = "| what | measured | at most | |"

_SECTION: Final = re.compile(r"(<!-- benchmarks -->\n).*?(<!-- /benchmarks -->)", re.DOTALL)


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


def table(figures: Sequence[Figure]) -> str:
    """Return the table in Markdown."""
    verdicts = {True: "holds", False: "**misses**", None: ""}
    rows = [f"| {each.what} | {each.measured} | {each.at_most} | {verdicts[each.holds]} |" for each in figures]
    return "\n".join([HEADER, "|---|---|---|---|", *rows])


def machine() -> str:
    """Say what the figures were measured on."""
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.machine()}"


def write(figures: Sequence[Figure], readme: Path = README) -> None:
    """Put the table between the README's markers.

    Raises:
        ValueError: there are none.
    """
    text = readme.read_text(encoding="utf-8")
    if not _SECTION.search(text):
        raise ValueError(f"{readme} has no markers for the benchmarks")
    section = f"Measured with `{COMMAND}` on {machine()}:\n\n{table(figures)}\n"
    readme.write_text(_SECTION.sub(lambda found: f"{found[1]}\n{section}\n{found[2]}", text), encoding="utf-8")
