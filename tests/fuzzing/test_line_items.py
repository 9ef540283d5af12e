"""Any text is a line item: of one model that stands in it, or of none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.line_items import LineItem, parse_line_item
from tests.fuzzing.mutations import any_texts

DIRECTIONS = {
    "input": "input",
    "input_tokens": "input",
    "cached input": "input_cached",
    "cache writes": "input_cache_write",
    "output": "output",
    "output_tokens": "output",
}
pieces = st.sampled_from(
    (
        *DIRECTIONS,
        *(" | ", "|", ", ", ",", " ", "\n", " text", " audio", " image", ", long context"),
        *("gpt-5-2026-03-05", "priority", "flex", "evals", "ft:gpt-4o:acme::x", "o3"),
    )
)
tails = st.sampled_from(sorted(DIRECTIONS)).map(", {}".format)
# What looks like a line item, with anything in the places of its parts.
formed = st.tuples(
    any_texts, st.sampled_from((" | ", "", "|")), any_texts | st.just("o3"), st.just("o3") | pieces, tails
)
line_items = (formed | st.lists(pieces | any_texts, max_size=9)).map("".join)


@settings(max_examples=150)
@given(line_items)
def test_any_text_has_one_model_that_stands_in_it_at_its_place_or_none(text: str) -> None:
    item = parse_line_item(text)
    assert item.service_tier in {"", "default", "priority", "flex", "batch", "scale"}
    if not item.model:
        assert item == LineItem()
        return
    prefix = f"{item.prefix} | " if item.prefix else ""
    modality = f" {item.modality}" if item.modality else ""
    context = ", long context" if item.long_context else ""
    # It is spelled in one way only, so that no text could mean two models.
    assert text in {
        f"{prefix}{item.model}{modality}, {direction}{context}"
        for direction, token_type in DIRECTIONS.items()
        if token_type == item.token_type
    }


@settings(max_examples=80)
@given(
    prefix=st.sampled_from(("", "priority", "flex", "evals", "two words")),
    model=st.text(st.characters(exclude_characters=",|", exclude_categories=["Z", "Cs", "Cc"]), min_size=1),
    modality=st.sampled_from(("", "text", "audio", "image")),
    direction=st.sampled_from(sorted(DIRECTIONS)),
    long_context=st.booleans(),
)
def test_every_known_form_comes_back_as_its_parts(
    prefix: str,
    model: str,
    modality: str,
    direction: str,
    long_context: bool,  # noqa: FBT001 - drawn
) -> None:
    text = f"{prefix and prefix + ' | '}{model}{modality and ' ' + modality}, {direction}"
    item = parse_line_item(text + ", long context" * long_context)
    assert item == LineItem(model, DIRECTIONS[direction], modality, prefix, long_context)


@pytest.mark.parametrize("beginning", ["a | ", " ", "a", "gpt, input, ", "x text, ", "\n"])
def test_a_text_without_end_is_no_model_in_no_time(beginning: str) -> None:
    assert parse_line_item(beginning * 50_000) == LineItem()
