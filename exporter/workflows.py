"""Whose work a row of usage or costs is, by the rules of the configuration. Pure; nothing is guessed."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from string import ascii_lowercase, ascii_uppercase
from types import MappingProxyType
from typing import Final, NamedTuple

from exporter.configuration.sections import UNMAPPED, WorkflowRule
from exporter.pricing.models import family

NO_PROJECT: Final = "(none)"
"""The name of the project of what has no project."""

# More ids, models or line items than these, or more outcomes, cost time and nothing else.
_REMEMBERED_TRAITS: Final = 100_000
_REMEMBERED_DECISIONS: Final = 10_000

ID_BEGINNINGS: Final = MappingProxyType({"project": "proj_", "api_key": "key_", "user": "user-"})
"""What ids begin with, by the condition that looks at them and at their names."""


class Traits(NamedTuple):
    """What rules look at in a row of usage or costs.

    Attributes:
        project_id: "" where there is surely no project.
        api_key_id: None where it cannot be told: the row has none, or the API would not say.
        user_id: the same.
        model: "" where there is surely none.
        service_tier: None where it cannot be told.
        line_item: "" for usage, which has none.
    """

    project_id: str
    api_key_id: str | None
    user_id: str | None
    model: str
    service_tier: str | None
    line_item: str


# Where in the traits a condition finds what it looks at.
_POSITIONS: Final = {
    condition: Traits._fields.index(trait)
    for condition, trait in (
        ("project", "project_id"),
        ("api_key", "api_key_id"),
        ("user", "user_id"),
        ("model", "model"),
        ("service_tier", "service_tier"),
        ("line_item", "line_item"),
    )
}


class Standing(NamedTuple):
    """How the rules' conditions of one kind look at a row: sets of rules, as the bits of an integer.

    Attributes:
        surely: the rules whose condition is met, and those that have none of this kind.
        possibly: the same, and those whose condition cannot be told.
    """

    surely: int
    possibly: int


@dataclass(frozen=True, slots=True)
class Decision:
    """Whose work a row is, and why.

    Attributes:
        workflow: `unmapped` if no rule surely takes the row first.
        rule: index of the first rule that surely takes the row; None if unmapped.
        undecided: indexes of the rules before that one, or of all if none surely takes it, that might take the row too.
    """

    workflow: str
    rule: int | None
    undecided: tuple[int, ...]


class Workflows:
    """The rules, made ready to decide many rows under one directory.

    A condition holds, does not hold, or cannot be told: of a trait that is None, and of an id that does not match while
    its name is unknown. A pattern about ids looks at no name, so that it says the same whether names are known or not.
    A row belongs to the first rule whose conditions all hold, unless a rule for another workflow
    before it might take it.

    Attributes:
        conditions: what any rule looks at, such as "project" or "api_key".
    """

    def __init__(self, rules: Sequence[WorkflowRule], names: Mapping[str, Mapping[str, str]]) -> None:
        """Take the names for "project", "api_key" and "user" by id, as far as they are known; they must not change."""
        self._workflow_of_rule = tuple(rule.workflow for rule in rules)
        self._rules_of_workflow: dict[str, int] = defaultdict(int)
        patterns: dict[str, dict[str, int]] = {}
        for index, rule in enumerate(rules):
            self._rules_of_workflow[rule.workflow] |= 1 << index
            for condition, pattern in rule.match.conditions.items():
                rules_by_pattern = patterns.setdefault(condition, defaultdict(int))
                rules_by_pattern[pattern] |= 1 << index
        self.conditions = frozenset(patterns)
        self._every = (1 << len(rules)) - 1
        self._looks = tuple(
            (
                condition,
                _POSITIONS[condition],
                lru_cache(_REMEMBERED_TRAITS)(_Condition(condition, rules_by_pattern, self._every, names).rules),
            )
            for condition, rules_by_pattern in patterns.items()
        )
        self._decision = lru_cache(_REMEMBERED_DECISIONS)(self._decided)

    def decide(self, traits: Traits) -> Decision:
        """Return whose work a row is, and which rules said so."""
        sure = possible = self._every
        for _, position, rules in self._looks:
            surely, possibly = rules(traits[position])
            sure &= surely
            possible &= possibly
        return self._decision(sure, possible)

    def workflow(self, traits: Traits) -> str:
        """Return whose work a row is."""
        return self.decide(traits).workflow

    def standings(self, traits: Traits) -> dict[str, Standing]:
        """Return how each of `conditions` looks at a row: what a decision is made of."""
        return {condition: rules(traits[position]) for condition, position, rules in self._looks}

    def _decided(self, sure: int, possible: int) -> Decision:
        """Decide between the rules that surely take a row and those that possibly do, the sure ones among them."""
        first = sure & -sure
        undecided = possible & (first - 1) if first else possible
        if first:
            rule = first.bit_length() - 1
            workflow = self._workflow_of_rule[rule]
            if not undecided & ~self._rules_of_workflow[workflow]:
                return Decision(workflow, rule, _indexes(undecided))
        return Decision(UNMAPPED, None, _indexes(undecided))


class _Condition:
    """One of the conditions, over all rules. Sets of rules are the bits of an integer."""

    def __init__(
        self, condition: str, rules_by_pattern: Mapping[str, int], every: int, names: Mapping[str, Mapping[str, str]]
    ) -> None:
        self._condition = condition
        self._patterns = _Patterns(rules_by_pattern)
        self._every = every
        self._indifferent = every
        self._about_ids = 0
        for pattern, rules in rules_by_pattern.items():
            self._indifferent &= ~rules
            if is_about_ids(condition, pattern):
                self._about_ids |= rules
        self._names = names.get(condition, {}) if condition in {"project", "api_key", "user"} else None

    def rules(self, trait: str | None) -> Standing:
        """Return the rules whose condition is surely met, and those whose condition is possibly met."""
        if trait is None:
            return Standing(self._indifferent, self._every)
        sure = self._indifferent | self._patterns.matching(trait)
        other_name = self._other_name(trait)
        if other_name is None:
            return Standing(sure, sure | self._every & ~self._about_ids)
        if other_name != trait:
            sure |= self._patterns.matching(other_name) & ~self._about_ids
        return Standing(sure, sure)

    def _other_name(self, trait: str) -> str | None:
        """Return what else a trait is called: itself if it has one name, None if its name is unknown."""
        if self._names is not None:
            return NO_PROJECT if self._condition == "project" and not trait else self._names.get(trait)
        return family(trait) if self._condition == "model" else trait


def is_about_ids(condition: str, pattern: str) -> bool:
    """Return whether a pattern is about ids alone: whether each of its alternatives begins literally as ids do."""
    beginning = ID_BEGINNINGS.get(condition)
    return beginning is not None and all(
        branch.beginning.startswith(beginning) for branch in _readable(pattern).branches
    )


def _indexes(rules: int) -> tuple[int, ...]:
    return tuple(index for index, bit in enumerate(reversed(f"{rules:b}")) if bit == "1")


class _Patterns:
    """Many anchored regular expressions, asked at once which of them match a text.

    Only those are tried whose literal beginning the text has, and which have no other literal part that the text lacks.
    """

    def __init__(self, rules_by_pattern: Mapping[str, int]) -> None:
        self._literal: dict[str, int] = defaultdict(int)
        self._by_beginning: dict[str, list[tuple[str, Callable[[str], object], int]]] = defaultdict(list)
        for pattern, rules in rules_by_pattern.items():
            readable = _readable(pattern)
            for branch in readable.branches:
                if branch.is_literal:
                    self._literal[branch.beginning] |= rules
                else:
                    candidate = (_in_lower_case(branch.part), readable.fullmatch, rules)
                    self._by_beginning[_in_lower_case(branch.beginning)].append(candidate)
        self._lengths = sorted({len(beginning) for beginning in self._by_beginning})

    def matching(self, text: str) -> int:
        """Return the rules whose pattern matches the whole text."""
        rules = self._literal.get(text, 0)
        lower = _in_lower_case(text)
        for length in self._lengths:
            if length > len(lower):
                break
            for part, fullmatch, candidates in self._by_beginning.get(lower[:length], ()):
                if part in lower and fullmatch(text):
                    rules |= candidates
        return rules


# Python's (?i) takes these four for i, k and s. One character stays one, so that parts of a text stay parts of it.
_LOWER_CASE: Final = str.maketrans(ascii_uppercase + "\u0130\u0131\u017f\u212a", ascii_lowercase + "iisk")


def _in_lower_case(text: str) -> str:
    return text.translate(_LOWER_CASE)


class _Branch(NamedTuple):
    """One alternative of a pattern: every text it matches begins with `beginning`, and has `part` in it.

    If the pattern ignores case, the text in lower case does. A literal one matches nothing but its beginning.
    """

    beginning: str
    part: str
    is_literal: bool


class _Readable(NamedTuple):
    """A regular expression, and what can be told of the texts it matches without trying it."""

    fullmatch: Callable[[str], object]
    branches: tuple[_Branch, ...]


_UNREADABLE: Final = (_Branch("", "", is_literal=False),)

# Comments, and spaces that mean nothing.
_VERBOSE: Final = re.compile(r"\(\?(?:#|[a-zA-Z]*x)")
_FLAGS: Final = re.compile(r"\(\?[a-zA-Z]+\)")

_TOKEN: Final = re.compile(
    r"(?P<escape>\\(?:x..|u.{4}|U.{8}|N\{[^}]*\}|[0-9]{1,3}|.))"
    r"|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])"
    r"|(?P<repeat>[*+?]|\{[0-9]*,?[0-9]*\})"
    r"|(?P<special>[.^$|()\[\]{}])"
    r"|(?P<character>.)",
    re.DOTALL,
)


# A new directory asks for the same patterns again, more of them than Python itself remembers.
@lru_cache(maxsize=10_000)
def _readable(pattern: str) -> _Readable:
    expression = re.compile(pattern)
    ignores_case = bool(expression.flags & re.IGNORECASE)
    if _VERBOSE.search(pattern) or (ignores_case and not pattern.isascii()):
        return _Readable(expression.fullmatch, _UNREADABLE)
    branches = _branches(_FLAGS.sub("", pattern, count=1) if _FLAGS.match(pattern) else pattern)
    if ignores_case:
        branches = [branch._replace(is_literal=False) for branch in branches]
    return _Readable(expression.fullmatch, tuple(branches))


def _branches(pattern: str) -> list[_Branch]:
    """Take a valid pattern apart at its outermost `|`, and find the literal parts outside of groups.

    It errs on the safe side: what it does not recognise is no literal.
    """
    # Each branch as its literal parts; between two parts there may be anything. The first is at the beginning.
    branches = [[""]]
    depth = 0
    for token in _TOKEN.finditer(pattern):
        text, parts = token[0], branches[-1]
        literal = _literal(token)
        if text == ")":
            depth -= 1
        elif text == "(":
            parts.append("")
            depth += 1
        elif depth or (text == "^" and parts == [""]):
            continue
        elif text == "|":
            branches.append([""])
        elif literal is not None:
            parts[-1] += literal
        else:
            if token.lastgroup == "repeat":
                # The character before it may be missing.
                parts[-1] = parts[-1][:-1]
            parts.append("")
    return [_Branch(first, max(others, key=len, default=""), not others) for first, *others in branches]


def _literal(token: re.Match[str]) -> str | None:
    """Return the one character that a token stands for; None if it is something else."""
    text = token[0]
    if token.lastgroup == "character":
        return text
    if token.lastgroup == "escape" and len(text) == len(r"\.") and not text[1].isalnum():
        return text[1]
    return None
