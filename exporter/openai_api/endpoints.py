"""The one table of the usage and costs endpoints: everything that differs between them is a field here.

Source: OpenAI's OpenAPI document (2026-08-21) and the official SDK 3.52.0, package `openai.types.admin.organization`.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

TOKEN_MEASURES: Final = tuple(
    f"{token_type}_{modality}_tokens"
    for token_type, modalities in (
        ("input", ("text", "audio", "image", "unspecified")),
        ("input_cached", ("text", "audio", "image", "unspecified")),
        ("input_cache_write", ("unspecified",)),
        ("output", ("text", "audio", "image", "unspecified")),
    )
    for modality in modalities
)
"""An exact partition of `input_tokens + output_tokens` of completions and decisions."""

PLAIN_INPUT_MEASURES: Final = ("input_unspecified_tokens",)
"""Embeddings and moderations know nothing but input."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint of the usage or costs API.

    Attributes:
        api: what the `api` label says, such as `usage/completions` or `costs`.
        result_object: the `object` that every row must carry.
        dimensions: every `group_by` value the API lists for it, in the order of a row's key.
        always_grouped: the dimensions that the metric contract's labels need.
        measures: what is counted per row, in the order of a row's values.
        is_level: the values are a level (bytes stored), not a flow: nothing is posted to counters.
        may_be_absent: not every organization has it: a refusal is no failure.
    """

    api: str
    result_object: str
    dimensions: tuple[str, ...]
    always_grouped: tuple[str, ...]
    measures: tuple[str, ...]
    is_level: bool = False
    may_be_absent: bool = False

    @property
    def path(self) -> str:
        """Path below the API's base URL."""
        return f"/organization/{self.api}"

    @property
    def operation(self) -> str:
        """The endpoint's own name, for the label `operation`."""
        return self.api.rpartition("/")[2]


_BY_PROJECT = ("project_id",)
_BY_MODEL = ("project_id", "user_id", "api_key_id", "model")
_BY_CALL = (*_BY_MODEL, "batch", "service_tier", "api_source")

USAGE_ENDPOINTS: Final = (
    Endpoint(
        api="usage/completions",
        result_object="organization.usage.completions.result",
        dimensions=_BY_CALL,
        always_grouped=("project_id", "model"),
        measures=(*TOKEN_MEASURES, "num_model_requests"),
    ),
    Endpoint(
        api="usage/decisions",
        result_object="organization.usage.decisions.result",
        dimensions=_BY_CALL,
        always_grouped=("project_id", "model"),
        measures=(*TOKEN_MEASURES, "num_model_requests"),
        may_be_absent=True,
    ),
    Endpoint(
        api="usage/embeddings",
        result_object="organization.usage.embeddings.result",
        dimensions=_BY_MODEL,
        always_grouped=("project_id", "model"),
        measures=(*PLAIN_INPUT_MEASURES, "num_model_requests"),
    ),
    Endpoint(
        api="usage/moderations",
        result_object="organization.usage.moderations.result",
        dimensions=_BY_MODEL,
        always_grouped=("project_id", "model"),
        measures=(*PLAIN_INPUT_MEASURES, "num_model_requests"),
    ),
    Endpoint(
        api="usage/images",
        result_object="organization.usage.images.result",
        dimensions=(*_BY_MODEL, "size", "source"),
        always_grouped=("project_id", "model", "size", "source"),
        measures=("images", "num_model_requests"),
    ),
    Endpoint(
        api="usage/audio_speeches",
        result_object="organization.usage.audio_speeches.result",
        dimensions=_BY_MODEL,
        always_grouped=("project_id", "model"),
        measures=("characters", "num_model_requests"),
    ),
    Endpoint(
        api="usage/audio_transcriptions",
        result_object="organization.usage.audio_transcriptions.result",
        dimensions=_BY_MODEL,
        always_grouped=("project_id", "model"),
        measures=("seconds", "num_model_requests"),
    ),
    Endpoint(
        api="usage/vector_stores",
        result_object="organization.usage.vector_stores.result",
        dimensions=_BY_PROJECT,
        always_grouped=("project_id",),
        measures=("usage_bytes",),
        is_level=True,
    ),
    Endpoint(
        api="usage/code_interpreter_sessions",
        result_object="organization.usage.code_interpreter_sessions.result",
        dimensions=_BY_PROJECT,
        always_grouped=("project_id",),
        measures=("num_sessions",),
    ),
    Endpoint(
        api="usage/file_search_calls",
        result_object="organization.usage.file_searches.result",
        dimensions=("project_id", "user_id", "api_key_id", "vector_store_id"),
        always_grouped=("project_id",),
        measures=("num_requests",),
    ),
    Endpoint(
        api="usage/web_search_calls",
        result_object="organization.usage.web_searches.result",
        dimensions=(*_BY_MODEL, "context_level", "api_source"),
        always_grouped=("project_id", "model", "context_level"),
        # The model requests of web searches are already counted under completions.
        measures=("num_requests",),
    ),
)

COSTS: Final = Endpoint(
    api="costs",
    result_object="organization.costs.result",
    dimensions=("project_id", "user_id", "line_item", "api_key_id", "api_source"),
    always_grouped=("project_id", "line_item"),
    measures=("amount",),
)

ENDPOINTS: Final = MappingProxyType({endpoint.api: endpoint for endpoint in (*USAGE_ENDPOINTS, COSTS)})
"""All twelve, by `api`."""
