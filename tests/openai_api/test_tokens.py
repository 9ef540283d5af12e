from hypothesis import example, given
from hypothesis import strategies as st

from exporter.openai_api.endpoints import TOKEN_MEASURES
from exporter.openai_api.tokens import TokenCounts, partition

COUNTS = st.integers(0, 2**63 - 1) | st.integers(0, 1000)
OPTIONAL = st.none() | COUNTS
REQUIRED = ("input_tokens", "output_tokens")
ROWS = st.builds(
    TokenCounts,
    **{name: COUNTS if name in REQUIRED else OPTIONAL for name in TokenCounts.__dataclass_fields__},
)


NAMES = tuple(TokenCounts.__dataclass_fields__)
NEARBY_ROWS = st.tuples(
    st.fixed_dictionaries({name: COUNTS if name in REQUIRED else OPTIONAL for name in NAMES}),
    st.fixed_dictionaries(dict.fromkeys(NAMES, st.integers(0, 3))),
)
"""A row and what its fields grow by; what is missing stays missing."""


def split(row: TokenCounts) -> dict[str, int]:
    """All parts that are not zero."""
    return {name: count for name, count in zip(TOKEN_MEASURES, partition(row), strict=True) if count}


@given(ROWS)
@example(TokenCounts(input_tokens=0, output_tokens=0, input_cached_tokens=5, input_cache_write_tokens=5))
def test_the_parts_of_any_row_add_up_to_its_tokens_and_none_is_negative(row: TokenCounts) -> None:
    parts = partition(row)
    assert sum(parts) == row.input_tokens + row.output_tokens
    assert min(parts) >= 0
    assert len(parts) == len(TOKEN_MEASURES)


@given(ROWS)
def test_input_and_output_never_mix(row: TokenCounts) -> None:
    parts = dict(zip(TOKEN_MEASURES, partition(row), strict=True))
    assert sum(count for name, count in parts.items() if name.startswith("output_")) == row.output_tokens


@given(NEARBY_ROWS)
@example(
    ({**dict.fromkeys(NAMES), "input_tokens": 0, "output_tokens": 9, "output_text_tokens": 9}, {"output_tokens": 1})
)
@example(
    (
        {**dict.fromkeys(NAMES), "input_tokens": 0, "output_tokens": 10**9, "output_text_tokens": 10**9},
        {"output_text_tokens": 1},
    )
)
def test_rows_that_differ_little_are_split_into_parts_that_differ_little(
    nearby: tuple[dict[str, int | None], dict[str, int]],
) -> None:
    fields, growth = nearby
    grown = {name: None if count is None else count + growth.get(name, 0) for name, count in fields.items()}
    row, other = TokenCounts(**fields), TokenCounts(**grown)  # type: ignore[arg-type]  # required ones are never None
    # A token more in a field is at most one part that grows and one that shrinks.
    assert sum(abs(a - b) for a, b in zip(partition(row), partition(other), strict=True)) <= 2 * sum(growth.values())


def test_the_example_of_the_specification_is_split_into_all_its_parts() -> None:
    row = TokenCounts(
        input_tokens=1000,
        input_cached_tokens=400,
        input_cache_write_tokens=100,
        output_tokens=500,
        input_text_tokens=400,
        output_text_tokens=400,
        input_cached_text_tokens=300,
        input_audio_tokens=50,
        input_cached_audio_tokens=50,
        output_audio_tokens=50,
        input_image_tokens=50,
        input_cached_image_tokens=50,
        output_image_tokens=50,
    )
    assert split(row) == {
        "input_text_tokens": 400,
        "input_audio_tokens": 50,
        "input_image_tokens": 50,
        "input_cached_text_tokens": 300,
        "input_cached_audio_tokens": 50,
        "input_cached_image_tokens": 50,
        "input_cache_write_unspecified_tokens": 100,
        "output_text_tokens": 400,
        "output_audio_tokens": 50,
        "output_image_tokens": 50,
    }


def test_a_row_without_details_is_unspecified_input_and_output() -> None:
    assert split(TokenCounts(input_tokens=7, output_tokens=3)) == {
        "input_unspecified_tokens": 7,
        "output_unspecified_tokens": 3,
    }


def test_cached_tokens_known_only_by_modality_are_cached() -> None:
    row = TokenCounts(input_tokens=10, output_tokens=0, input_cached_text_tokens=4, input_cached_audio_tokens=1)
    assert split(row) == {
        "input_unspecified_tokens": 5,
        "input_cached_text_tokens": 4,
        "input_cached_audio_tokens": 1,
    }


def test_cache_writes_known_only_by_retention_add_up() -> None:
    row = TokenCounts(input_tokens=10, output_tokens=0, input_cache_write_30m_tokens=3, input_cache_write_12h_tokens=2)
    assert split(row) == {"input_unspecified_tokens": 5, "input_cache_write_unspecified_tokens": 5}


def test_the_rest_of_a_part_is_unspecified() -> None:
    row = TokenCounts(input_tokens=10, output_tokens=8, input_text_tokens=6, output_audio_tokens=8)
    assert split(row) == {
        "input_text_tokens": 6,
        "input_unspecified_tokens": 4,
        "output_audio_tokens": 8,
    }


def test_details_larger_than_their_part_are_cut_down_to_it() -> None:
    row = TokenCounts(input_tokens=10, output_tokens=8, input_cached_tokens=4, input_text_tokens=10)
    assert split(row) == {
        "input_text_tokens": 6,
        "input_cached_unspecified_tokens": 4,
        "output_unspecified_tokens": 8,
    }


def test_text_has_its_place_first_and_audio_next_when_the_modalities_exceed_their_part() -> None:
    row = TokenCounts(
        input_tokens=0, output_tokens=10, output_text_tokens=6, output_audio_tokens=3, output_image_tokens=2
    )
    assert split(row) == {"output_text_tokens": 6, "output_audio_tokens": 3, "output_image_tokens": 1}
    row = TokenCounts(
        input_tokens=0, output_tokens=10, output_text_tokens=6, output_audio_tokens=7, output_image_tokens=2
    )
    assert split(row) == {"output_text_tokens": 6, "output_audio_tokens": 4}


def test_cached_tokens_are_cut_first_and_cache_writes_next_when_they_exceed_the_input() -> None:
    row = TokenCounts(input_tokens=10, output_tokens=0, input_cached_tokens=8, input_cache_write_tokens=5)
    assert split(row) == {"input_cached_unspecified_tokens": 8, "input_cache_write_unspecified_tokens": 2}
    row = TokenCounts(input_tokens=10, output_tokens=0, input_cached_tokens=11, input_cache_write_tokens=5)
    assert split(row) == {"input_cached_unspecified_tokens": 10}
