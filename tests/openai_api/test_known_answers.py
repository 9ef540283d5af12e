"""Answers of the real API, copied by hand, read from bytes on the wire to rows."""

from decimal import Decimal

import httpx
import pytest

from exporter.openai_api.answer import Answer
from exporter.openai_api.endpoints import COSTS, ENDPOINTS, Endpoint
from exporter.openai_api.errors import KeyRefused, RequestRefused
from exporter.openai_api.reading import WindowReader
from tests.openai_api.stand_ins import AUGUST, DAY, Clock, Setup

COMPLETIONS = ENDPOINTS["usage/completions"]

GROUPED_COSTS = b"""{"object":"page","data":[
 {"object":"bucket","start_time":1785542400,"end_time":1785628800,"start_time_iso":"2026-08-01T00:00:00+00:00",\
"end_time_iso":"2026-08-02T00:00:00+00:00","results":[
  {"object":"organization.costs.result","amount":{"value":0.0025945,"currency":"usd"},"line_item":"gpt-5, input",\
"project_id":"proj_a","project_name":"Default project","organization_id":"org_acme","organization_name":"ACME",\
"quantity":5189,"quantity_unit":"tokens","user_id":"user-1","user_email":"person@acme.test","api_key_id":"key_a"},
  {"object":"organization.costs.result","amount":{"value":"0.003627500000000000000000000000000000","currency":"usd"},\
"line_item":"gpt-5.4-2026-03-05, output","project_id":null,"quantity":null},
  {"object":"organization.costs.result","amount":{"value":"0E-6176","currency":"usd"},\
"line_item":"gpt-5.4-2026-03-05, cached input"}]},
 {"object":"bucket","start_time":1785628800,"end_time":1785715200,"results":[]}],"has_more":false,"next_page":null}"""

# The row of the specification's example, and a real one of October 2025.
COMPLETIONS_PAGE = b"""{"object":"page","data":[{"object":"bucket","start_time":1785542400,"end_time":1785628800,\
"results":[
{"object":"organization.usage.completions.result","input_tokens":1000,"input_cached_tokens":400,\
"input_cache_write_tokens":100,"input_uncached_tokens":500,"output_tokens":500,
 "input_text_tokens":400,"output_text_tokens":400,"input_cached_text_tokens":300,"input_audio_tokens":50,\
"input_cached_audio_tokens":50,"output_audio_tokens":50,"input_image_tokens":50,
 "input_cached_image_tokens":50,"output_image_tokens":50,"num_model_requests":5,"project_id":null,"user_id":null,\
"api_key_id":null,"model":null,"batch":null,"service_tier":null},
{"object":"organization.usage.completions.result","input_tokens":59200,"input_cached_tokens":5760,\
"input_uncached_tokens":53440,"output_tokens":10646,"num_model_requests":10,"model":"gpt-4o-2024-08-06",\
"batch":false,"service_tier":"default"}]}],"has_more":false,"next_page":null}"""

# The shape of a published walk-through: asked for "now less 30 days", unaligned at both ends.
UNALIGNED = b"""{"object":"page","data":[
{"object":"bucket","start_time":1736616660,"end_time":1736640000,"results":[
 {"object":"organization.usage.completions.result","input_tokens":141201,"output_tokens":9756,"num_model_requests":470,\
"project_id":null,"user_id":null,"api_key_id":null,"model":null,"batch":null,"input_cached_tokens":0,\
"input_audio_tokens":0,"output_audio_tokens":0}]},
{"object":"bucket","start_time":1736640000,"end_time":1736726400,"results":[]},
{"object":"bucket","start_time":1739145600,"end_time":1739208663,"results":[
 {"object":"organization.usage.completions.result","input_tokens":45949,"output_tokens":282,"num_model_requests":150,\
"project_id":null,"user_id":null,"api_key_id":null,"model":null,"batch":null,"input_cached_tokens":0,\
"input_audio_tokens":0,"output_audio_tokens":0}]}],"has_more":false,"next_page":null}"""

NOT_BEFORE = b"""{"error":{"message":"group_by=api_key_id is not available for this time range. Try a start_time on or \
after 1764979200.","type":"invalid_request_error","param":"start_time","code":"invalid_request_error"}}"""
LOOKBACK = b"""{"error":{"type":"invalid_request_error","code":"reporting_lookback_exceeded","message":"Usage and cost \
data are available for the past year. Earliest supported start date: 2025-11-21 (UTC)."}}"""
LIMIT = b"""{"error":{"message":"Invalid limit provided: 366. Limit must be less than or equal to 180.",\
"type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"""
SCOPES = b"""{"error":{"message":"You have insufficient permissions for this operation. Missing scopes: \
api.usage.read. Check that you have the correct role in your organization, and if you're using a restricted API key, \
that it has the necessary scopes.","type":"invalid_request_error","param":null,"code":null}}"""


def read(
    endpoint: Endpoint,
    grouping: tuple[str, ...],
    *responses: tuple[int, bytes],
    window: tuple[int, int] = (AUGUST, AUGUST + 2 * DAY),
) -> tuple[Answer, list[httpx.URL]]:
    left = list(responses)
    urls: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        urls.append(request.url)
        status, body = left.pop(0)
        return httpx.Response(status, content=body)

    reader = WindowReader(Setup(answer).connection, Clock())
    return reader.read(endpoint, *window, grouping), urls


def test_costs_with_numbers_strings_nulls_and_extra_keys_are_read_to_the_last_digit() -> None:
    answer, _ = read(COSTS, ("project_id", "line_item"), (200, GROUPED_COSTS))
    assert answer.buckets == {
        AUGUST: {
            ("proj_a", None, "gpt-5, input", None, None, "usd"): (Decimal("0.0025945"),),
            (None, None, "gpt-5.4-2026-03-05, output", None, None, "usd"): (Decimal("0.0036275"),),
        },
        AUGUST + DAY: {},
    }
    assert answer.rejected == {}
    assert "person@acme.test" not in str(answer)


def test_costs_by_user_and_key_carry_both() -> None:
    answer, _ = read(COSTS, COSTS.dimensions, (200, GROUPED_COSTS))
    assert ("proj_a", "user-1", "gpt-5, input", "key_a", None, "usd") in answer.buckets[AUGUST]


def test_null_amounts_and_an_unknown_kind_of_row_cost_no_other_row() -> None:
    body = GROUPED_COSTS.replace(b'{"value":"0E-6176","currency":"usd"}', b"null").replace(
        b'"results":[]', b'"results":[{"object":"organization.credits.result","amount":{"value":5,"currency":"usd"}}]'
    )
    answer, _ = read(COSTS, ("project_id", "line_item"), (200, body))
    assert answer.rejected == {"missing_amount": 1, "unknown_object": 1}
    assert sum(len(day) for day in answer.buckets.values()) == 2


def test_completions_are_split_exactly() -> None:
    answer, _ = read(COMPLETIONS, ("model", "batch", "service_tier"), (200, COMPLETIONS_PAGE))
    example, real = answer.buckets[AUGUST].items()
    assert example[0] == (None,) * 7
    assert dict(zip(COMPLETIONS.measures, example[1], strict=True)) == {
        "input_text_tokens": 400,
        "input_audio_tokens": 50,
        "input_image_tokens": 50,
        "input_unspecified_tokens": 0,
        "input_cached_text_tokens": 300,
        "input_cached_audio_tokens": 50,
        "input_cached_image_tokens": 50,
        "input_cached_unspecified_tokens": 0,
        "input_cache_write_unspecified_tokens": 100,
        "output_text_tokens": 400,
        "output_audio_tokens": 50,
        "output_image_tokens": 50,
        "output_unspecified_tokens": 0,
        "num_model_requests": 5,
    }
    assert real[0] == (None, None, None, "gpt-4o-2024-08-06", "false", "default", None)
    parts = dict(zip(COMPLETIONS.measures, real[1], strict=True))
    assert {name: value for name, value in parts.items() if value} == {
        "input_unspecified_tokens": 53440,
        "input_cached_unspecified_tokens": 5760,
        "output_unspecified_tokens": 10646,
        "num_model_requests": 10,
    }


def test_unaligned_buckets_belong_to_the_day_they_start_in() -> None:
    answer, _ = read(COMPLETIONS, (), (200, UNALIGNED), window=(1736553600, 1739232000))
    assert {day: sum(sum(values) for values in rows.values()) for day, rows in answer.buckets.items()} == {
        1736553600: 141201 + 9756 + 470,
        1736640000: 0,
        1739145600: 45949 + 282 + 150,
    }


def test_keys_that_are_not_available_so_far_back_are_left_out() -> None:
    answer, urls = read(COSTS, ("project_id", "line_item", "api_key_id"), (400, NOT_BEFORE), (200, GROUPED_COSTS))
    assert answer.grouping == ("project_id", "line_item")
    assert [url.params.get_list("group_by[]") for url in urls] == [
        ["project_id", "line_item", "api_key_id"],
        ["project_id", "line_item"],
    ]


def test_history_beyond_a_year_is_left_out() -> None:
    november = 1763683200
    answer, urls = read(
        COSTS, (), (400, LOOKBACK), (200, GROUPED_COSTS), window=(november - 10 * DAY, AUGUST + 2 * DAY)
    )
    assert answer.start == november
    assert urls[1].params["start_time"] == str(november)


def test_a_limit_refused_without_a_smaller_one_is_a_refusal() -> None:
    with pytest.raises(RequestRefused, match="Invalid limit provided: 366"):
        read(COSTS, (), (400, LIMIT))


@pytest.mark.parametrize("status", [401, 403])
def test_a_missing_scope_is_told_by_its_name(status: int) -> None:
    with pytest.raises(KeyRefused, match=r"Missing scopes: api\.usage\.read"):
        read(COSTS, (), (status, SCOPES))
