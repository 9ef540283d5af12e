from exporter.attribution import Attribution
from exporter.configuration.sections import WorkflowMatch, WorkflowRule
from exporter.ledger.counters import SeriesName
from exporter.ledger.store import DirectoryEntry
from exporter.metrics.catalogue import COST, USAGE_IMAGES, USAGE_REQUESTS, USAGE_TOKENS
from exporter.openai_api.answer import RowKey
from exporter.openai_api.endpoints import COSTS, ENDPOINTS

COMPLETIONS = ENDPOINTS["usage/completions"]
PLAIN = Attribution({"proj_a": DirectoryEntry("core", "active")})
DETAILED = Attribution(
    {"proj_a": DirectoryEntry("core", "active")},
    frozenset({"api_key", "service_tier", "batch"}),
    {"key_a": DirectoryEntry("ci")},
)


def completion(project: str | None = "proj_a", model: str | None = "gpt-5", api_key: str | None = "key_a") -> RowKey:
    return (project, "user-1", api_key, model, "false", "default", "responses")


def cost(project: str | None, line_item: str | None, currency: str = "usd") -> RowKey:
    return (project, None, line_item, None, None, currency)


def labels(series: SeriesName | None) -> dict[str, str]:
    assert series is not None
    return dict(series.labels)


def test_a_known_project_has_its_name_and_an_unknown_one_its_id() -> None:
    assert PLAIN.labels(COMPLETIONS, completion())["project"] == "core"
    assert PLAIN.labels(COMPLETIONS, completion("proj_x"))["project"] == "proj_x"


def test_no_project_is_called_none_and_has_no_id() -> None:
    found = PLAIN.labels(COMPLETIONS, completion(None))

    assert (found["project_id"], found["project"]) == ("", "(none)")


def test_a_model_that_is_null_is_empty() -> None:
    assert PLAIN.labels(COMPLETIONS, completion(model=None))["model"] == ""


def test_everything_is_unmapped_until_a_mapping_says_otherwise() -> None:
    assert PLAIN.labels(COMPLETIONS, completion())["workflow"] == "unmapped"


def test_every_token_measure_has_a_series_of_its_own_and_requests_theirs() -> None:
    *tokens, requests = PLAIN.counter_series("usage/completions", completion())

    assert len(tokens) == len(COMPLETIONS.measures) - 1
    assert len({*tokens}) == len(tokens)
    assert {(labels(series)["token_type"], labels(series)["modality"]) for series in tokens} == {
        (token_type, modality)
        for token_type in ("input", "input_cached", "output")
        for modality in ("text", "audio", "image", "unspecified")
    } | {("input_cache_write", "unspecified")}
    assert requests == SeriesName(
        USAGE_REQUESTS.name,
        (
            ("project_id", "proj_a"),
            ("project", "core"),
            ("model", "gpt-5"),
            ("workflow", "unmapped"),
            ("operation", "completions"),
        ),
    )


def test_the_series_of_a_measure_says_what_the_measure_counts() -> None:
    series = dict(zip(COMPLETIONS.measures, PLAIN.counter_series("usage/completions", completion()), strict=True))

    assert (
        labels(series["input_cached_audio_tokens"]).items()
        >= {"token_type": "input_cached", "modality": "audio"}.items()
    )
    assert (
        labels(series["output_unspecified_tokens"]).items()
        >= {"token_type": "output", "modality": "unspecified"}.items()
    )


def test_labels_stand_in_the_order_of_their_family() -> None:
    tokens = PLAIN.counter_series("usage/completions", completion())[0]
    images = PLAIN.counter_series("usage/images", ("proj_a", None, None, "gpt-image-1", "1024x1024", None))[0]

    assert tuple(labels(tokens)) == USAGE_TOKENS.labels
    assert tuple(labels(images)) == USAGE_IMAGES.labels
    assert labels(images).items() >= {"size": "1024x1024", "source": ""}.items()


def test_endpoints_without_a_model_have_no_model_label() -> None:
    assert labels(PLAIN.counter_series("usage/code_interpreter_sessions", ("proj_a",))[0]) == {
        "project_id": "proj_a",
        "project": "core",
        "workflow": "unmapped",
    }


def test_every_endpoint_names_one_series_per_measure_and_a_level_none() -> None:
    for api, endpoint in ENDPOINTS.items():
        key = (*(f"{name}-1" for name in endpoint.dimensions), *(["usd"] if endpoint is COSTS else []))
        series = DETAILED.counter_series(api, key)

        assert len(series) == len(endpoint.measures)
        assert all((name is None) == endpoint.is_level for name in series)


def test_a_cost_has_the_model_of_its_line_item_and_the_line_item_itself() -> None:
    (series,) = PLAIN.counter_series("costs", cost("proj_a", "priority | gpt-5.6-sol, output, long context"))

    assert series is not None
    assert series.family == COST.name
    assert tuple(labels(series)) == COST.labels
    assert labels(series)["model"] == "gpt-5.6-sol"
    assert labels(series)["line_item"] == "priority | gpt-5.6-sol, output, long context"


def test_a_cost_of_no_project_and_no_model_is_counted_too() -> None:
    (series,) = PLAIN.counter_series("costs", cost(None, None))

    assert labels(series) == {
        "project_id": "",
        "project": "(none)",
        "model": "",
        "workflow": "unmapped",
        "line_item": "",
    }


def test_each_currency_has_a_family_of_its_own() -> None:
    (series,) = PLAIN.counter_series("costs", cost("proj_a", "gpt-5, input", "eur"))

    assert series is not None
    assert series.family == "openai_cost_eur_total"


def test_opt_in_labels_come_last_and_only_where_they_are_switched_on() -> None:
    (first, *_) = DETAILED.counter_series("usage/completions", completion())

    assert tuple(labels(first)) == (*USAGE_TOKENS.labels, "api_key_id", "api_key", "batch", "service_tier")
    assert labels(first).items() >= {"api_key_id": "key_a", "api_key": "ci", "batch": "false"}.items()


def test_an_unknown_api_key_is_its_own_name_and_none_at_all_is_empty() -> None:
    unknown = DETAILED.labels(COMPLETIONS, completion(api_key="key_x"))
    none = DETAILED.labels(COMPLETIONS, completion(api_key=None))

    assert (unknown["api_key_id"], unknown["api_key"]) == ("key_x", "key_x")
    assert (none["api_key_id"], none["api_key"]) == ("", "")


def test_an_opt_in_label_an_endpoint_does_not_know_is_left_out() -> None:
    (tokens, _) = DETAILED.counter_series("usage/embeddings", ("proj_a", None, "key_a", "text-embedding-3-small"))
    (sessions,) = DETAILED.counter_series("usage/code_interpreter_sessions", ("proj_a",))

    assert "batch" not in labels(tokens)
    assert labels(tokens)["api_key"] == "ci"
    assert "api_key_id" not in labels(sessions)


def test_the_api_is_asked_for_what_labels_rules_and_prices_need_in_its_own_order() -> None:
    # Prices differ by tier.
    assert PLAIN.grouping(COMPLETIONS) == ("project_id", "model", "service_tier")
    assert PLAIN.grouping(ENDPOINTS["usage/embeddings"]) == ("project_id", "model")
    by_key_and_user = WorkflowMatch(api_key="ci.*", user="ada", line_item=".*")
    ruled = Attribution({}, rules=(WorkflowRule(workflow="ci", match=by_key_and_user),))
    assert ruled.grouping(COMPLETIONS) == ("project_id", "user_id", "api_key_id", "model", "service_tier")
    assert ruled.grouping(COSTS) == ("project_id", "user_id", "line_item", "api_key_id")
    assert ruled.grouping(ENDPOINTS["usage/code_interpreter_sessions"]) == ("project_id",)
    assert DETAILED.grouping(COMPLETIONS) == ("project_id", "api_key_id", "model", "batch", "service_tier")
    assert PLAIN.grouping(COSTS) == ("project_id", "line_item")
    assert DETAILED.grouping(COSTS) == ("project_id", "line_item", "api_key_id")
    assert DETAILED.grouping(ENDPOINTS["usage/vector_stores"]) == ("project_id",)


def test_a_row_read_without_a_dimension_has_its_labels_empty() -> None:
    # What a coarser grouping leaves of a row: the API refused all but the project.
    found = labels(DETAILED.counter_series("costs", ("proj_a", None, None, None, None, "usd"))[0])

    assert found.items() >= {"project_id": "proj_a", "line_item": "", "model": "", "api_key_id": ""}.items()
