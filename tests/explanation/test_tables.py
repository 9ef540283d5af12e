from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.explanation.tables import WIDTH, Column, display_width, dollars, paragraph, printable, share, table, wrap

NUMBER, TEXT = Column("USD", is_number=True), Column("name")


def test_numbers_stand_at_the_right_and_text_at_the_left() -> None:
    assert table([NUMBER, TEXT], [("1,234.50", "core"), ("0.00", "")]) == [
        "       USD  name",
        "  --------  ----",
        "  1,234.50  core",
        "      0.00",
    ]


def test_the_last_row_may_stand_below_a_line() -> None:
    lines = table([NUMBER, TEXT], [("1.00", "core"), ("1.00", "all")], rule_before_last=True)

    assert lines[3:] == ["  ----  ----", "  1.00  all"]


def test_a_long_cell_is_wrapped_and_nothing_of_it_is_lost() -> None:
    pattern = "|".join(f"project-{number}" for number in range(60))

    lines = table([NUMBER, TEXT, Column("conditions")], [("1.00", "it", pattern)])

    assert "".join("".join(lines[2:]).removeprefix("  1.00  it").split()) == pattern
    assert max(map(len, lines)) <= WIDTH
    assert all(line.endswith("|") for line in lines[2:-1])


def test_a_column_gives_way_no_further_than_it_may() -> None:
    widths = [len(dash) for dash in table([Column("a"), Column("b", narrowest=70)], [("x" * 90, "y" * 90)])[1].split()]

    assert widths == [46, 70]


def test_wide_letters_take_two_columns_and_accents_none() -> None:
    assert [display_width(text) for text in ("core", "東京", "u\u0308", "ü")] == [4, 4, 1, 1]
    assert table([TEXT, TEXT], [("東京", "x"), ("core", "x")])[2:] == ["  東京  x", "  core  x"]


@given(st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs", "Mn")), max_size=200), st.integers(2, 40))
def test_wrapping_loses_no_letter_and_keeps_to_the_width(text: str, width: int) -> None:
    lines = wrap(text, width)

    assert all(display_width(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_a_paragraph_stands_behind_its_bullet() -> None:
    lines = paragraph("word " * 40, bullet="- ")

    assert lines[0].startswith("  - word")
    assert all(line.startswith("    word") for line in lines[1:])
    assert max(map(len, lines)) <= WIDTH


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("Ünï 😀 東京", "Ünï 😀 東京"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\nb\rc\td\x00", r"a\nb\rc\td\x00"),
        ("\x9b31m", r"\x9b31m"),
        ("evil\u202egnp.exe", r"evil\u202egnp.exe"),
        ("line\u2028break", r"line\u2028break"),
        ("half a letter: \ud800", r"half a letter: \ud800"),
        ("sk-admin-0123456789abcdef", "sk-…[redacted]"),
        ("x" * 400, "x" * 299 + "…"),
    ],
)
def test_nothing_that_a_terminal_would_obey_comes_through(text: str, spelled: str) -> None:
    assert printable(text) == spelled


@given(st.text(st.characters(), max_size=400))
def test_whatever_comes_is_printable(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text, 20)) <= 20


@pytest.mark.parametrize(
    ("amount", "spelled"),
    [
        (0, "0.00"),
        (Decimal("1234567.894999999999999999999999999999999"), "1,234,567.89"),
        (Decimal("0E-6176"), "0.00"),
        (Decimal("-0.001"), "0.00"),
        (Decimal("-12.5"), "-12.50"),
        (Decimal("0.006"), "0.01"),
        (Decimal("1E+2"), "100.00"),
    ],
)
def test_amounts_are_told_to_the_cent(amount: Decimal, spelled: str) -> None:
    assert dollars(amount) == spelled


def test_a_share_is_told_in_per_cent() -> None:
    assert share(Decimal(1), Decimal(3)) == "33.3%"
    assert share(0, 5) == "0.0%"
    assert share(Decimal(1), 0) == ""
