import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.pricing.models import family, find, find_name

FINE_TUNED = "ft:gpt-4o-2024-08-06:acme::b4x7q2"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-5", "gpt-5"),
        ("gpt-5.4-2026-03-05", "gpt-5.4"),
        ("gpt-image-2-2026-04-21", "gpt-image-2"),
        ("text-embedding-3-small", "text-embedding-3-small"),
        ("gpt-4-0613", "gpt-4-0613"),
        ("ft-gpt-4o-2024-08-06", "ft-gpt-4o"),
        (FINE_TUNED, "ft-gpt-4o"),
        ("ft:gpt-4.1-mini:acme:tone:abc", "ft-gpt-4.1-mini"),
        ("2026-03-05", "2026-03-05"),
        ("", ""),
    ],
)
def test_a_family_is_the_name_without_its_date(model: str, expected: str) -> None:
    assert family(model) == expected


@pytest.mark.parametrize(
    ("model", "names", "expected"),
    [
        # Usage's spelling and the bill's, both ways round.
        ("gpt-image-1-2025-04-23", ["gpt-image-1"], "gpt-image-1"),
        ("gpt-image-2", ["gpt-image-2-2026-04-21"], "gpt-image-2-2026-04-21"),
        (FINE_TUNED, ["gpt-4o-2024-08-06", "ft-gpt-4o-2024-08-06"], "ft-gpt-4o-2024-08-06"),
        ("ft-gpt-4o-2024-08-06", [FINE_TUNED], FINE_TUNED),
        (FINE_TUNED, ["ft:gpt-4o-2024-08-06"], "ft:gpt-4o-2024-08-06"),
        # The name itself before any other spelling.
        ("gpt-4o", ["gpt-4o-2024-11-20", "gpt-4o"], "gpt-4o"),
        ("gpt-4o-2024-08-06", ["gpt-4o", "gpt-4o-2024-08-06"], "gpt-4o-2024-08-06"),
        (FINE_TUNED, ["ft-gpt-4o", "ft-gpt-4o-2024-08-06"], "ft-gpt-4o-2024-08-06"),
        ("ft-gpt-4o-2024-08-06", [FINE_TUNED, "ft-gpt-4o-2024-08-06"], "ft-gpt-4o-2024-08-06"),
        # A name without a date means the one without, else the newest.
        ("ft:gpt-4o:acme::b4x7q2", ["ft-gpt-4o-2024-08-06", "ft-gpt-4o"], "ft-gpt-4o"),
        ("ft-gpt-4o", ["ft:gpt-4o-2024-05-13", "ft-gpt-4o-2024-08-06"], "ft-gpt-4o-2024-08-06"),
        ("gpt-4o", ["gpt-4o-2024-05-13", "gpt-4o-2024-11-20", "gpt-4o-2024-08-06"], "gpt-4o-2024-11-20"),
    ],
)
def test_a_model_is_found_in_its_other_spelling(model: str, names: list[str], expected: str) -> None:
    for order in (names, names[::-1]):
        assert find_name(model, dict.fromkeys(order)) == expected
        assert find(model, {name: name.upper() for name in order}) == expected.upper()


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("gpt-4o-2024-05-13", ["gpt-4o-2024-08-06"]),
        ("gpt-4o", ["gpt-4o-mini", "gpt-4", "GPT-4o"]),
        (FINE_TUNED, ["gpt-4o-2024-08-06", "gpt-4o"]),
        ("gpt-4o-2024-08-06", ["ft-gpt-4o-2024-08-06", FINE_TUNED]),
        (FINE_TUNED, ["ft-gpt-4o-mini-2024-07-18"]),
        (FINE_TUNED, ["ft:gpt-4o-2024-08-06:acme::other"]),
        ("", ["gpt-5"]),
        ("gpt-5", []),
    ],
)
def test_another_model_is_never_taken_for_it(model: str, names: list[str]) -> None:
    assert find_name(model, dict.fromkeys(names)) is None
    assert find(model, dict.fromkeys(names, 1)) is None


@given(st.text(alphabet="ft:-gpo4206 \n", max_size=30), st.sets(st.text(alphabet="ft:-gpo4206 \n", max_size=30)))
def test_whatever_is_found_is_of_the_same_family(model: str, names: set[str]) -> None:
    found = find_name(model, dict.fromkeys(names))

    assert (model in names) <= (found == model)
    assert found is None or (found in names and family(found) == family(model))
