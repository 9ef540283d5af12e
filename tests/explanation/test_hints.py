import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from exporter.configuration.sections import WorkflowMatch
from exporter.explanation.hints import hint, listed, quoted

WHOLE = "it must match the whole, such as with .* at its ends."
NAMES = ["support-bot", "support-voice", "core", "Default project", "C++ tools", "(none)", "data-science"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("(none)", r"To match '(none)' literally, write '\(none\)'."),
        (r"C++ tools", r"To match 'C++ tools' literally, write 'C\+\+\ tools'."),
        ("default project", "But for upper and lower case it matches Default project; (?i) in front ignores it."),
        ("CORE", "But for upper and lower case it matches core; (?i) in front ignores it."),
        (
            "support-*",
            "As a wildcard it would match support-bot, support-voice; as a regular expression write 'support-.*'.",
        ),
        ("data*", "As a wildcard it would match data-science; as a regular expression write 'data.*'."),
        (
            "support",
            f"It matches only a part of support-bot, support-voice; {WHOLE}",
        ),
        ("suport-bot", "Nearest: support-bot, support-voice."),
        ("coer|dat-science", "Nearest: data-science, core."),
        ("suport-.*", "Nearest: support-bot, support-voice."),
        (r"(?i)^defalt\ project$", "Nearest: Default project."),
        ("zzzzzz", ""),
        ("", ""),
        (".{40,}", ""),
    ],
)
def test_a_pattern_that_matches_nothing_gets_the_likeliest_explanation(pattern: str, expected: str) -> None:
    assert hint(pattern, NAMES) == expected


def test_few_names_are_told_where_none_is_near() -> None:
    assert hint("zzzzzz", ["core"]) == "There is: core."
    assert hint("zzzzzz", ["core", "evals", ""]) == "There are: core, evals."
    assert hint("zzzzzz", []) == ""


def test_the_nearest_is_found_among_very_many() -> None:
    names = [f"team-{number}-service-{number % 7}" for number in range(20_000)]

    assert "team-4-service-4" in hint("team-4-servise-4", [*names[:10], *names[10_000:]])


def test_more_than_a_few_names_are_counted() -> None:
    assert listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert listed(["\x1b[1m"]) == r"\x1b[1m"
    assert quoted("a\nb") == r"'a\nb'"


def compiles(pattern: str) -> bool:
    try:
        WorkflowMatch(line_item=pattern)
    except ValidationError:
        return False
    return True


@given(st.text(alphabet="ab(){}[]|*+?.\\-^$ (?i)", max_size=12).filter(compiles))
def test_any_pattern_gets_some_hint_or_none(pattern: str) -> None:
    names = [name for name in ("ab", "a-b", "(a)", "A B") if not re.fullmatch(pattern, name)]

    assert hint(pattern, names).isprintable()
