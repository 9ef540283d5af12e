from decimal import Decimal
from typing import Any

import pytest

from exporter.openai_api.endpoints import COSTS, ENDPOINTS, USAGE_ENDPOINTS, Endpoint
from exporter.openai_api.pages import parse_json
from exporter.openai_api.rows import read_rows
from tests.openai_api.stand_ins import cost

COMPLETIONS = ENDPOINTS["usage/completions"]
EMBEDDINGS = ENDPOINTS["usage/embeddings"]
IMAGES = ENDPOINTS["usage/images"]
VECTOR_STORES = ENDPOINTS["usage/vector_stores"]


def embedding(**fields: object) -> dict[str, object]:
    return {"object": EMBEDDINGS.result_object, "input_tokens": 10, "num_model_requests": 1, **fields}


def completion(**fields: object) -> dict[str, object]:
    return {
        "object": COMPLETIONS.result_object,
        "input_tokens": 10,
        "output_tokens": 5,
        "num_model_requests": 1,
        **fields,
    }


def keys(endpoint: Endpoint, grouping: list[str], *rows: object) -> list[Any]:
    day = read_rows(endpoint, grouping, rows)
    assert not day.rejected
    return list(day.values)


@pytest.mark.parametrize("endpoint", USAGE_ENDPOINTS, ids=lambda endpoint: endpoint.operation)
def test_every_usage_endpoint_reads_a_row_with_all_its_dimensions_and_measures(endpoint: Endpoint) -> None:
    dimensions = {name: f"the {name}" for name in endpoint.dimensions}
    measures = {name: number for number, name in enumerate(endpoint.measures, start=1)}
    if "input_unspecified_tokens" in endpoint.measures:
        measures["input_tokens"] = measures["input_unspecified_tokens"]
    if "output_text_tokens" in endpoint.measures:
        measures |= {"input_tokens": 1000, "output_tokens": 1000, "input_cached_tokens": 100}
        measures["input_cache_write_tokens"] = measures["input_cache_write_unspecified_tokens"]
    day = read_rows(endpoint, endpoint.dimensions, [{"object": endpoint.result_object, **dimensions, **measures}])
    assert not day.rejected
    ((key, values),) = day.values.items()
    assert key == tuple(f"the {name}" for name in endpoint.dimensions)
    expected = dict(measures)
    if "output_text_tokens" in endpoint.measures:
        named = measures["input_cached_text_tokens"] + measures["input_cached_audio_tokens"]
        named += measures["input_cached_image_tokens"]
        expected["input_cached_unspecified_tokens"] = 100 - named
        named = measures["input_text_tokens"] + measures["input_audio_tokens"] + measures["input_image_tokens"]
        expected["input_unspecified_tokens"] = 900 - measures["input_cache_write_tokens"] - named
        named = measures["output_text_tokens"] + measures["output_audio_tokens"] + measures["output_image_tokens"]
        expected["output_unspecified_tokens"] = 1000 - named
    assert values == tuple(expected[name] for name in endpoint.measures)


def test_dimensions_that_were_not_asked_for_are_none_whatever_the_api_sends() -> None:
    row = embedding(project_id="proj_a", model="m", user_id="user-1", api_key_id=5)
    assert keys(EMBEDDINGS, ["project_id"], row) == [("proj_a", None, None, None)]


def test_an_endpoint_of_one_dimension_has_keys_of_one_element() -> None:
    row = {"object": VECTOR_STORES.result_object, "usage_bytes": 9, "project_id": ""}
    assert keys(VECTOR_STORES, ["project_id"], row) == [(None,)]


def test_empty_and_null_and_absent_dimensions_are_one_key() -> None:
    day = read_rows(EMBEDDINGS, ["model"], [embedding(model=""), embedding(model=None), embedding()])
    assert day.values == {(None, None, None, None): (30, 3)}


@pytest.mark.parametrize(
    ("sent", "read"), [(True, "true"), (False, "false"), ("true", "true"), ("False", "false"), (None, None), ("", None)]
)
def test_batch_is_text_however_it_is_sent(sent: object, read: str | None) -> None:
    (key,) = keys(COMPLETIONS, ["batch"], completion(batch=sent))
    assert key[COMPLETIONS.dimensions.index("batch")] == read


def test_no_batch_is_told_from_no_project() -> None:
    (key,) = keys(COMPLETIONS, ["project_id", "batch"], completion(project_id="", batch=False))
    assert (key[0], key[COMPLETIONS.dimensions.index("batch")]) == (None, "false")


def test_rows_with_equal_keys_add_up_and_rows_of_zeros_are_left_out() -> None:
    rows = [embedding(model="a"), embedding(model="a"), embedding(model="b", input_tokens=0, num_model_requests=0)]
    day = read_rows(EMBEDDINGS, ["model"], rows)
    assert day.values == {(None, None, None, "a"): (20, 2)}
    assert not day.rejected


def test_a_level_of_zero_is_kept() -> None:
    rows = [{"object": VECTOR_STORES.result_object, "usage_bytes": 0, "project_id": name} for name in ("a", "b", "b")]
    assert read_rows(VECTOR_STORES, ["project_id"], rows).values == {("a",): (0,), ("b",): (0,)}


@pytest.mark.parametrize(
    "endpoint", [endpoint for endpoint in USAGE_ENDPOINTS if not endpoint.is_level], ids=lambda each: each.operation
)
def test_a_flow_of_zero_is_left_out(endpoint: Endpoint) -> None:
    counts = dict.fromkeys((*endpoint.measures, "input_tokens", "output_tokens"), 0)
    day = read_rows(endpoint, [], [{"object": endpoint.result_object, **counts}])
    assert (day.values, day.rejected) == ({}, {})


def test_money_that_was_taken_back_leaves_no_row() -> None:
    assert read_rows(COSTS, [], [cost("0.1"), cost("-0.10"), cost(0)]).values == {}


def test_negative_amounts_count() -> None:
    (values,) = read_rows(COSTS, [], [cost(1), cost("-3.5")]).values.values()
    assert values == (Decimal("-2.5"),)


def test_currencies_do_not_mix() -> None:
    rows = [cost(1), {**cost(), "amount": {"value": 2, "currency": "EUR"}}]
    day = read_rows(COSTS, ["project_id"], rows)
    assert day.values == {(None,) * 5 + ("usd",): (Decimal(1),), (None,) * 5 + ("eur",): (Decimal(2),)}


@pytest.mark.parametrize("spelled", ["5", "5.0", "5e0", "0.5E1"])
def test_a_whole_number_is_a_count_however_json_spells_it(spelled: str) -> None:
    assert parse_json(b"[%s]" % spelled.encode()) == [5]
    row = parse_json(
        b'{"object":"organization.usage.embeddings.result","input_tokens":%s,"num_model_requests":1}' % spelled.encode()
    )
    assert read_rows(EMBEDDINGS, [], [row]).values == {(None,) * 4: (5, 1)}


@pytest.mark.parametrize("value", [Decimal("5.5"), -1, True, "5", None, 2**63, Decimal("1e50"), [], {}])
def test_what_is_no_count_rejects_its_row_and_no_other(value: object) -> None:
    rows = [embedding(model="a"), embedding(model="bad", input_tokens=value), embedding(model="c")]
    day = read_rows(EMBEDDINGS, ["model"], rows)
    assert [key[3] for key in day.values] == ["a", "c"]
    assert day.rejected == {"invalid_value": 1}
    assert day.first_rejected == {"invalid_value": "results.1.input_tokens"}


def test_a_row_that_lacks_a_required_count_is_rejected() -> None:
    row = completion()
    del row["output_tokens"]
    day = read_rows(COMPLETIONS, [], [row])
    assert day.first_rejected == {"invalid_value": "results.0.output_tokens"}


def test_a_dimension_of_another_type_is_rejected() -> None:
    day = read_rows(EMBEDDINGS, ["model"], [embedding(model=5)])
    assert day.rejected == {"invalid_value": 1}
    assert day.values == {}


@pytest.mark.parametrize(
    ("amount", "reason", "where"),
    [
        (None, "missing_amount", "amount"),
        ({}, "missing_amount", "amount"),
        ({"value": None, "currency": "usd"}, "missing_amount", "amount"),
        (5, "invalid_value", "amount"),
        ({"value": "NaN", "currency": "usd"}, "invalid_value", "amount.value"),
        ({"value": "1e18", "currency": "usd"}, "invalid_value", "amount.value"),
        ({"value": "0." + "1" * 61, "currency": "usd"}, "invalid_value", "amount.value"),
        ({"value": 1, "currency": None}, "invalid_value", "amount.currency"),
        ({"value": 1, "currency": "dollars"}, "invalid_value", "amount.currency"),
    ],
)
def test_a_cost_without_a_usable_amount_is_rejected_by_its_reason(amount: object, reason: str, where: str) -> None:
    day = read_rows(COSTS, [], [cost(1), {"object": COSTS.result_object, "amount": amount}])
    assert day.rejected == {reason: 1}
    assert day.first_rejected == {reason: f"results.1.{where}"}
    assert list(day.values.values()) == [(Decimal(1),)]


def test_a_cost_with_no_amount_at_all_is_a_missing_amount() -> None:
    assert read_rows(COSTS, [], [{"object": COSTS.result_object}]).rejected == {"missing_amount": 1}


def test_rows_that_are_no_objects_or_of_another_kind_are_counted() -> None:
    rows: list[object] = [None, 5, [], "text", {"object": "organization.usage.unheard_of.result"}, {}, embedding()]
    day = read_rows(EMBEDDINGS, [], rows)
    assert day.rejected == {"not_an_object": 4, "unknown_object": 2}
    assert day.first_rejected == {"not_an_object": "results.0", "unknown_object": "results.4.object"}
    assert list(day.values.values()) == [(10, 1)]


def test_keys_nobody_knows_are_ignored() -> None:
    assert keys(IMAGES, ["size"], {
        "object": IMAGES.result_object,
        "images": 2,
        "num_model_requests": 1,
        "size": "1024x1024",
        "user_email": "person@acme.test",
        "brand_new": {"deeply": ["nested"]},
    }) == [(None, None, None, None, "1024x1024", None)]  # fmt: skip
