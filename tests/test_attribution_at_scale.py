"""Ten thousand keys and five hundred rules: what the rules cost, and that they cost no series."""

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from exporter.attribution import Attribution
from exporter.configuration.sections import WorkflowMatch, WorkflowRule
from exporter.exact import Amount
from exporter.ledger.account import Account, Bucket
from exporter.ledger.counters import CounterBook
from exporter.ledger.store import DirectoryEntry
from exporter.metrics.catalogue import USAGE_DAY_TOKENS, USAGE_TOKENS
from exporter.metrics.event_gauges import event_gauges
from exporter.openai_api.answer import RowKey, RowValues
from exporter.openai_api.endpoints import ENDPOINTS
from tests.answers import MONDAY

KEYS, RULES, PROJECTS, MODELS = 10_000, 500, 50, 3
COMPLETIONS = ENDPOINTS["usage/completions"]
GROUPING = ("project_id", "api_key_id", "model", "service_tier")
PROJECT_ENTRIES = {f"proj_{n:02}": DirectoryEntry(f"project-{n}", "active") for n in range(PROJECTS)}
KEY_ENTRIES = {f"key_{n:05}": DirectoryEntry(f"team-{n % RULES}-{n}") for n in range(KEYS)}
# Four kinds of tokens each, beside the requests.
VALUES = tuple(
    {"input_text_tokens": 100, "input_cached_text_tokens": 20, "output_text_tokens": 30, "output_audio_tokens": 5}.get(
        measure, 1 if measure == "num_model_requests" else 0
    )
    for measure in COMPLETIONS.measures
)

Result = TypeVar("Result")


def row_key(number: int) -> RowKey:
    row = {
        # A rule's keys all live in one project.
        "project_id": f"proj_{number % RULES % PROJECTS:02}",
        "api_key_id": f"key_{number:05}",
        "model": f"gpt-{number % MODELS}",
        "service_tier": "default",
    }
    return tuple(row.get(dimension) for dimension in COMPLETIONS.dimensions)


ROWS: Mapping[RowKey, RowValues] = {row_key(number): VALUES for number in range(KEYS)}


def rules(count: int) -> tuple[WorkflowRule, ...]:
    # However many there are, the last ones take the most keys.
    return tuple(
        WorkflowRule(workflow=f"workflow-{n}", match=WorkflowMatch(project="project-.*", api_key=f"team-{n}-.*"))
        for n in range(RULES - count, RULES)
    )


def attribute_a_poll(rule_count: int, opt_in: frozenset[str] = frozenset()) -> dict[str, int]:
    """Do what the first poll after a reload does with its rows; return the number of series by family."""
    attribution = Attribution(PROJECT_ENTRIES, opt_in, KEY_ENTRIES, rules=rules(rule_count))
    counters = {name for key in ROWS for name in attribution.counter_series(COMPLETIONS.api, key)}
    account = Account(
        api=COMPLETIONS.api, covered_from=MONDAY, applied_through=MONDAY, buckets={MONDAY: Bucket(GROUPING, ROWS)}
    )
    gauges = event_gauges(COMPLETIONS, account, attribution, CounterBook({}, 10**6), MONDAY)
    used: dict[str, Amount] = {
        USAGE_TOKENS.name: len(
            {
                name
                for key in ROWS
                for name, value in zip(attribution.counter_series(COMPLETIONS.api, key), VALUES, strict=True)
                if value and name is not None and name.family == USAGE_TOKENS.name
            }
        ),
        USAGE_DAY_TOKENS.name: len(gauges[USAGE_DAY_TOKENS]),
    }
    assert None not in counters
    return {family: int(count) for family, count in used.items()}


def fastest(action: Callable[[], Result], tries: int = 3) -> float:
    times = []
    for _ in range(tries):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return min(times)


def test_telling_keys_apart_costs_no_series_but_those_of_the_workflows() -> None:
    # Each workflow is one project's, and its keys use every model.
    assert attribute_a_poll(RULES) == {
        USAGE_TOKENS.name: RULES * MODELS * 4,
        USAGE_DAY_TOKENS.name: RULES * MODELS * 4 * 2,
    }


def test_without_rules_there_are_as_many_series_as_projects_and_models() -> None:
    assert attribute_a_poll(0)[USAGE_TOKENS.name] == PROJECTS * MODELS * 4


def test_the_label_of_keys_makes_as_many_series_as_there_are_keys() -> None:
    assert attribute_a_poll(RULES, frozenset({"api_key"}))[USAGE_TOKENS.name] == KEYS * 4


def test_five_hundred_rules_cost_little_more_than_one() -> None:
    # Trying each pattern on each key would make it about a hundred times as much.
    assert fastest(lambda: attribute_a_poll(RULES)) < 5 * fastest(lambda: attribute_a_poll(1))
