"""Plain text for a terminal: aligned tables and paragraphs, and nothing in them that a terminal would obey. Pure."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Final

from exporter.exact import Amount
from exporter.logs import redact

WIDTH: Final = 120
INDENT: Final = 2

_GAP: Final = "  "
_LONGEST: Final = 300
_SHARES: Final = Context(prec=28)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: its first line.
        is_number: stands at the right, and is never wrapped.
        widest: longer cells are wrapped.
        narrowest: where there is little room, other columns give way first.
    """

    title: str
    is_number: bool = False
    widest: int = WIDTH
    narrowest: int = 12


def printable(text: str, longest: int = _LONGEST) -> str:
    """Spell a foreign text on one line, without control characters, keys or endless length."""
    clean = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in redact(text[: longest + 1])
    )
    return clean if len(clean) <= longest else f"{clean[: longest - 1]}…"


def dollars(amount: Amount) -> str:
    """Spell an amount to the cent, in groups of thousands."""
    text = f"{Decimal(amount):,.2f}"
    return text.removeprefix("-") if not text.strip("-0.") else text


def share(part: Amount, whole: Amount) -> str:
    """Spell a part in per cent, "" where there is no whole."""
    return f"{_SHARES.divide(Decimal(part), Decimal(whole)):.1%}" if whole else ""


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]], *, rule_before_last: bool = False) -> list[str]:
    """Align cells under their titles, within `WIDTH`; cells of text that do not fit are wrapped.

    Args:
        columns: the columns.
        rows: the cells of each row, printable.
        rule_before_last: draw a line above the last row, which sums the others up.
    """
    titled = [tuple(column.title for column in columns), *map(tuple, rows)]
    widths = _widths(columns, titled)
    lines: list[str] = []
    for number, row in enumerate(titled):
        if number == 1 or (rule_before_last and number == len(titled) - 1):
            lines.append(_line("-" * width for width in widths))
        cells = [
            [text] if column.is_number else wrap(text, width)
            for column, text, width in zip(columns, row, widths, strict=True)
        ]
        for part in range(max(map(len, cells))):
            texts = (cell[part] if part < len(cell) else "" for cell in cells)
            lines.append(
                _line(
                    _padded(text, width, at_right=column.is_number)
                    for column, text, width in zip(columns, texts, widths, strict=True)
                )
            )
    return lines


def paragraph(text: str, *, bullet: str = "") -> list[str]:
    """Wrap sentences, set in; the lines after the first stand behind the bullet."""
    first = f"{' ' * INDENT}{bullet}"
    lines = wrap(text, WIDTH - len(first))
    return [f"{first if number == 0 else ' ' * len(first)}{line}" for number, line in enumerate(lines)]


def wrap(text: str, width: int) -> list[str]:
    """Break a text into lines of at most `width` columns, between words where that can be; at least one line."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if display_width(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        *whole, line = _pieces(word, width)
        lines += whole
    return [*lines, line]


def display_width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_character_width, text))


def _character_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def _pieces(word: str, width: int) -> Iterator[str]:
    """Cut a word that is too long: behind a bar, which sets alternatives of a pattern apart, where there is one."""
    piece = ""
    for character in word:
        if display_width(piece + character) > width:
            head, bar, tail = piece.rpartition("|")
            yield head + bar or piece
            piece = tail if bar else ""
        piece += character
    yield piece


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    widths = [
        max(display_width(row[position]) for row in rows)
        if column.is_number
        else max(display_width(column.title), min(column.widest, max(display_width(row[position]) for row in rows)))
        for position, column in enumerate(columns)
    ]
    room = WIDTH - INDENT - len(_GAP) * (len(columns) - 1)
    while sum(widths) > room:
        shrinkable = [
            position
            for position, column in enumerate(columns)
            if not column.is_number and widths[position] > column.narrowest
        ]
        if not shrinkable:
            break
        widths[max(shrinkable, key=widths.__getitem__)] -= 1
    return widths


def _padded(text: str, width: int, *, at_right: bool) -> str:
    missing = " " * (width - display_width(text))
    return f"{missing}{text}" if at_right else f"{text}{missing}"


def _line(cells: Iterable[str]) -> str:
    return f"{' ' * INDENT}{_GAP.join(cells)}".rstrip()
