"""What is wrong with a configuration though each of its keys is right by itself. Pure."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Final

from exporter.configuration.sections import NOT_SET, UNMAPPED, Budget, Configuration, WorkflowRule
from exporter.openai_api.endpoints import USAGE_ENDPOINTS

_AN_HOUR: Final = timedelta(hours=1)

OWNER_LABELS: Final = ("action_group", "team", "business_unit")
"""What a workflow has one of each of."""


def contradictions(configuration: Configuration) -> list[str]:
    """Return one line per mistake: where, what, and what would be right."""
    return [
        *_too_small_a_budget(configuration),
        *_owners_contradict(configuration.workflows),
        *_rules_never_reached(configuration.workflows),
        *_budgets_named_twice(configuration.budgets),
        *_budgets_of_nothing(configuration.budgets, configuration.workflows),
        *(
            f"prices.{model}: no price is given; known here: input, input_cached, input_cache_write, output"
            for model, prices in configuration.prices.items()
            if not prices.model_dump(exclude_none=True, exclude_defaults=True)
        ),
    ]


def owners(rules: Iterable[WorkflowRule]) -> dict[str, dict[str, str]]:
    """Return action group, team and business unit by workflow, `unmapped` among them; `(none)` where none is set."""
    found: dict[str, dict[str, str]] = {UNMAPPED: {}}
    for rule in rules:
        known = found.setdefault(rule.workflow, {})
        known |= {label: value for label in OWNER_LABELS if (value := getattr(rule, label)) is not None}
    return {workflow: dict.fromkeys(OWNER_LABELS, NOT_SET) | known for workflow, known in found.items()}


def _too_small_a_budget(configuration: Configuration) -> Iterator[str]:
    """Compare the budget of requests with a schedule in which nothing is used and every list has one page."""
    polling, directory = configuration.polling, configuration.directory
    if polling.requests_per_hour is None:
        return
    lists = 1 + sum((directory.spend_limits, directory.rate_limits, directory.api_keys, directory.user_emails))
    least = math.ceil(
        len(USAGE_ENDPOINTS) * _AN_HOUR / max(polling.usage_interval, polling.usage_idle_interval)
        + _AN_HOUR / polling.costs_interval
        + lists * _AN_HOUR / polling.directory_interval
    )
    if polling.requests_per_hour < least:
        yield (
            f"polling.requests_per_hour: {polling.requests_per_hour} is too little: with these intervals "
            f"an organization that uses nothing takes {least}; allow more, or lengthen usage_idle_interval, "
            "costs_interval or directory_interval"
        )


def _owners_contradict(rules: Sequence[WorkflowRule]) -> Iterator[str]:
    first: dict[tuple[str, str], tuple[int, str]] = {}
    for index, rule in enumerate(rules):
        for label in OWNER_LABELS:
            value = getattr(rule, label)
            if value is None:
                continue
            earlier, said = first.setdefault((rule.workflow, label), (index, value))
            if said != value:
                yield (
                    f"workflows.{index}.{label}: {rule.workflow!r} has the {label} {said!r} (workflows.{earlier}), "
                    f"it cannot have {value!r} too; agree on one, or name this workflow otherwise"
                )


def _rules_never_reached(rules: Sequence[WorkflowRule]) -> Iterator[str]:
    seen: dict[tuple[tuple[str, str], ...], int] = {}
    for index, rule in enumerate(rules):
        conditions = tuple(rule.match.conditions.items())
        earlier = seen.setdefault(conditions, index)
        if earlier != index:
            yield f"workflows.{index}.match: the same as workflows.{earlier}.match, which takes all there is first"
        elif () in seen and seen[()] < index:
            yield (
                f"workflows.{index}: never reached, for workflows.{seen[()]} has no conditions and takes everything; "
                "move that one to the end"
            )


def _budgets_named_twice(budgets: Sequence[Budget]) -> Iterator[str]:
    first: dict[str, int] = {}
    for index, budget in enumerate(budgets):
        earlier = first.setdefault(budget.budget, index)
        if earlier != index:
            yield f"budgets.{index}.budget: {budget.budget!r} is the name of budgets.{earlier} too; names must differ"


def _budgets_of_nothing(budgets: Sequence[Budget], rules: Sequence[WorkflowRule]) -> Iterator[str]:
    """Find the budgets whose workflow, team or business unit no rule gives. Projects and models are not known here."""
    known = owners(rules)
    for index, budget in enumerate(budgets):
        conditions = budget.match.conditions
        for label in ("workflow", "team", "business_unit"):
            if label not in conditions:
                continue
            names = set(known) if label == "workflow" else {owner[label] for owner in known.values()}
            if not any(re.fullmatch(conditions[label], name) for name in names):
                yield (
                    f"budgets.{index}.match.{label}: {conditions[label]!r} selects nothing; "
                    f"the rules know: {', '.join(sorted(names))}"
                )
