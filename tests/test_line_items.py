import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.line_items import LineItem, parse_line_item

REAL = [
    ("gpt-4o-2024-08-06, input", LineItem("gpt-4o-2024-08-06", "input"), "default"),
    ("gpt-5, input", LineItem("gpt-5", "input"), "default"),
    ("gpt-5.4-2026-03-05, output", LineItem("gpt-5.4-2026-03-05", "output"), "default"),
    ("gpt-5.4-2026-03-05, cached input", LineItem("gpt-5.4-2026-03-05", "input_cached"), "default"),
    ("gpt-5.6-terra, cache writes", LineItem("gpt-5.6-terra", "input_cache_write"), "default"),
    (
        "priority | gpt-5.6-sol, output, long context",
        LineItem("gpt-5.6-sol", "output", prefix="priority", long_context=True),
        "priority",
    ),
    ("gpt-image-1 text, cached input", LineItem("gpt-image-1", "input_cached", "text"), "default"),
    ("gpt-image-2-2026-04-21 image, output", LineItem("gpt-image-2-2026-04-21", "output", "image"), "default"),
    ("gpt-audio-mini-2025-12-15 audio, input", LineItem("gpt-audio-mini-2025-12-15", "input", "audio"), "default"),
    ("ft-gpt-4o-2024-08-06, output", LineItem("ft-gpt-4o-2024-08-06", "output"), "default"),
    ("evals | gpt-4o-mini-2024-07-18, input", LineItem("gpt-4o-mini-2024-07-18", "input", prefix="evals"), "default"),
    ("text-embedding-3-small, input", LineItem("text-embedding-3-small", "input"), "default"),
    ("assistants api | file search", LineItem(), ""),
    ("web search tool calls", LineItem(), ""),
    ("whisper", LineItem(), ""),
    ("Vector storage", LineItem(), ""),
]

DOCUMENTED_OR_POSSIBLE = [
    ("gpt-5, input_tokens", LineItem("gpt-5", "input"), "default"),
    ("gpt-5, output_tokens", LineItem("gpt-5", "output"), "default"),
    ("flex | gpt-5, cached input", LineItem("gpt-5", "input_cached", prefix="flex"), "flex"),
    (
        "assistants api | gpt-4o-2024-08-06, input",
        LineItem("gpt-4o-2024-08-06", "input", prefix="assistants api"),
        "default",
    ),
    (
        "priority | gpt-image-2 image, cache writes, long context",
        LineItem("gpt-image-2", "input_cache_write", "image", "priority", long_context=True),
        "priority",
    ),
    ("batch | gpt-5, output", LineItem("gpt-5", "output", prefix="batch"), "batch"),
    ("scale | gpt-5 audio, output", LineItem("gpt-5", "output", "audio", "scale"), "scale"),
    ("ft:gpt-4o-2024-08-06:acme::abc123, input", LineItem("ft:gpt-4o-2024-08-06:acme::abc123", "input"), "default"),
    ("whisper-1, audio", LineItem(), ""),
    ("Image models", LineItem(), ""),
    ("Promotional credit", LineItem(), ""),
]

NO_MODEL_LINES = [
    "",
    " ",
    ", input",
    "gpt-5",
    "gpt-5,input",
    "gpt-5, ",
    "gpt-5, sideways",
    "gpt-5, input, short context",
    "gpt-5 video, input",
    "gpt-5, input\n",
    "| gpt-5, input",
    " | gpt-5, input",
    "a | b | gpt-5, input",
]


@pytest.mark.parametrize(("text", "parts", "tier"), REAL)
def test_every_real_line_item_is_understood(text: str, parts: LineItem, tier: str) -> None:
    assert parse_line_item(text) == parts
    assert parse_line_item(text).service_tier == tier


@pytest.mark.parametrize(("text", "parts", "tier"), DOCUMENTED_OR_POSSIBLE)
def test_line_items_that_may_come_are_understood(text: str, parts: LineItem, tier: str) -> None:
    assert parse_line_item(text) == parts
    assert parse_line_item(text).service_tier == tier


@pytest.mark.parametrize("text", NO_MODEL_LINES)
def test_what_does_not_parse_names_no_model_and_no_tier(text: str) -> None:
    assert parse_line_item(text) == LineItem()
    assert parse_line_item(text).service_tier == ""


@settings(max_examples=200, deadline=None, database=None)
@given(st.text(alphabet=st.sampled_from("gpt-5, |inputoutputcached\n text"), max_size=40))
def test_no_text_makes_it_fail(text: str) -> None:
    parts = parse_line_item(text)

    # All or nothing: a model without a direction would claim to be priced per token.
    assert bool(parts.model) == bool(parts.token_type) == bool(parts.service_tier)


def test_a_very_long_line_item_is_read_at_once() -> None:
    assert parse_line_item("a " * 50_000 + "| gpt-5, sideways") == LineItem()
