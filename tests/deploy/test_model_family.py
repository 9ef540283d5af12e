"""The family of a model, by which bill, usage and traces are joined: one expression, in every place the same."""

import re
from functools import cache
from typing import Final

import pytest

from exporter.simulator.price_list import MODELS, Model
from tests.deploy.rule_files import RULES, rules

_FAMILY: Final = re.compile(r"\"model_family\", \"([^\"]*)\", \"model\",\s*'([^']*)'")


@cache
def steps() -> list[list[tuple[str, str]]]:
    """Return what each rule does to get a family, in order: replacement and regular expression."""
    return [found for rule in rules(*RULES) if (found := _FAMILY.findall(rule.expression))]


def family(model: str) -> str:
    result = ""
    for replacement, expression in steps()[0]:
        match = re.fullmatch(expression, model)
        if match:
            result = replacement.replace("$1", match[1])
    return result


def test_the_bill_usage_and_traces_get_it_in_the_same_way() -> None:
    every = steps()
    assert len(every) == 8
    assert all(found == every[0] for found in every)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-5", "gpt-5"),
        ("openai/gpt-5", "gpt-5"),
        ("gpt-5-2025-08-07", "gpt-5"),
        ("openai/gpt-5-2025-08-07", "gpt-5"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("gpt-4-0613", "gpt-4"),
        ("gpt-4-0125-preview", "gpt-4"),
        ("gpt-4-32k-0613", "gpt-4-32k"),
        ("gpt-3.5-turbo-1106", "gpt-3.5-turbo"),
        ("gpt-4o-realtime-preview-2024-12-17", "gpt-4o-realtime"),
        ("o1-preview", "o1"),
        ("o1-preview-2024-09-12", "o1"),
        ("gpt-image-2-2026-04-21", "gpt-image-2"),
        ("text-embedding-3-small", "text-embedding-3-small"),
        ("text-embedding-ada-002", "text-embedding-ada-002"),
        ("whisper-1", "whisper-1"),
        ("gpt-5-4096", "gpt-5-4096"),
        ("ft-gpt-4o-2024-08-06", "ft-gpt-4o-2024-08-06"),
        ("ft:gpt-4o-2024-08-06:acme::b4x7q2", "ft-gpt-4o-2024-08-06"),
        ("openai/ft:gpt-4o-mini:acme::b4x7q2", "ft-gpt-4o-mini"),
        ("ft:gpt-4-0613:acme:custom:7p4lURel", "ft-gpt-4-0613"),
        ("openai/", "openai/"),
        ("(other)", "(other)"),
        ("", ""),
    ],
)
def test_families(model: str, expected: str) -> None:
    assert family(model) == expected


@pytest.mark.parametrize(
    "model", [model for model in MODELS.values() if model.text.input], ids=lambda model: model.name
)
def test_usage_and_bill_of_the_simulated_organization_meet(model: Model) -> None:
    assert family(model.name) == family(model.billed_as)
