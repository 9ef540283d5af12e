"""Patterns that surely do something, but hardly what their writer meant. Pure."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from exporter.configuration.sections import Budget, WorkflowRule
from exporter.exact import Amount, add
from exporter.explanation.hints import listed, quoted
from exporter.explanation.reasons import NOUNS, Reasons
from exporter.explanation.survey import Survey, trait
from exporter.explanation.tables import dollars
from exporter.workflows import ID_BEGINNINGS, NO_PROJECT, is_about_ids

# What matches all of these was meant to match everything.
_PROBES: Final = ("x", "Key 2", "key_0123456789", "ünknown/name.of-a_key!")
_GROUP_OF_NONE: Final = re.compile(r"(?<!\\)\(none\)")


def pitfalls(rules: Sequence[WorkflowRule], budgets: Sequence[Budget], survey: Survey, reasons: Reasons) -> list[str]:
    """Return a paragraph for each, in the order of the rules."""
    return [
        *_taken_by_id(rules, survey, reasons),
        *_never_without(rules, survey),
        *_groups_of_none([(f"workflows.{index}", rule.match.conditions) for index, rule in enumerate(rules)]),
        *_groups_of_none([(f"budgets.{index}", budget.match.conditions) for index, budget in enumerate(budgets)]),
    ]


def _taken_by_id(rules: Sequence[WorkflowRule], survey: Survey, reasons: Reasons) -> Iterator[str]:
    found: dict[tuple[int, str], dict[str, Amount]] = {}
    for one in survey.judged:
        rule = one.decision.rule
        if rule is None:
            continue
        for condition, pattern in rules[rule].match.conditions.items():
            identifier = trait(one.kind.traits, condition) if condition in ID_BEGINNINGS else None
            if not identifier or _names_ids(condition, pattern) or not re.fullmatch(pattern, identifier):
                continue
            name = reasons.name(condition, identifier)
            if not re.fullmatch(pattern, name):
                names = found.setdefault((rule, condition), {})
                names[name] = add(names.get(name, 0), one.sum.usd)
    for (rule, condition), names in sorted(found.items()):
        pattern = rules[rule].match.conditions[condition]
        usd: Amount = 0
        for amount in names.values():
            usd = add(usd, amount)
        yield (
            f"workflows.{rule}: {condition} {quoted(pattern)} reads as if it were about names, but it takes "
            f"{listed(list(names))} (USD {dollars(usd)}) by their ids, which begin with {ID_BEGINNINGS[condition]}. "
            f"To mean names only, write {quoted(f'(?!{ID_BEGINNINGS[condition]})(?:{pattern})')}."
        )


def _names_ids(condition: str, pattern: str) -> bool:
    return is_about_ids(condition, pattern) or ID_BEGINNINGS[condition] in pattern


def _never_without(rules: Sequence[WorkflowRule], survey: Survey) -> Iterator[str]:
    for index, rule in enumerate(rules):
        for condition in ("api_key", "user"):
            pattern = rule.match.conditions.get(condition)
            if pattern is None or not all(re.fullmatch(pattern, probe) for probe in _PROBES):
                continue
            usd: Amount = 0
            for one in survey.judged:
                if trait(one.kind.traits, condition) is None and index in one.decision.undecided:
                    usd = add(usd, one.sum.usd)
            noun = NOUNS[condition]
            yield (
                f"workflows.{index}: {condition} {quoted(pattern)} holds for every {noun}, but not for rows that have "
                f"none (USD {dollars(usd)} in these days). To mean all rows, leave the condition out."
            )


def _groups_of_none(matches: Sequence[tuple[str, dict[str, str]]]) -> Iterator[str]:
    for place, conditions in matches:
        for condition, pattern in conditions.items():
            if _GROUP_OF_NONE.search(pattern) and not re.fullmatch(pattern, NO_PROJECT):
                written = _GROUP_OF_NONE.sub(lambda _: r"\(none\)", pattern)
                yield (
                    f"{place}: in {condition} {quoted(pattern)} the brackets are a group, which matches the text none. "
                    f"What has no {NOUNS.get(condition, condition.replace('_', ' '))} is written {quoted(written)}."
                )
