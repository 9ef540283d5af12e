"""Why a rule takes nothing, and why rows are nobody's. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from exporter.attribution import DIMENSIONS, Attribution
from exporter.explanation.facts import Source
from exporter.explanation.hints import hint, listed, quoted, some
from exporter.explanation.survey import Judged, Kind, Survey, trait
from exporter.ledger.store import DirectoryEntry
from exporter.pricing.models import family
from exporter.workflows import ID_BEGINNINGS, NO_PROJECT, is_about_ids

NOUNS: Final = {
    "project": "project",
    "api_key": "API key",
    "user": "user",
    "model": "model",
    "service_tier": "service tier",
    "line_item": "line item",
}
"""What people call what a condition looks at."""

_ROW_HAS_NO: Final = "the row has no "
_FEW_PROJECTS: Final = 3
_SOME_RULES: Final = 3

_NOTHING_MATCHES: Final = {
    "project": "No project is called {}.",
    "api_key": "No API key is called {}.",
    "user": "No user is called {}.",
    "model": "No model at hand is called {}.",
    "service_tier": "No row at hand has the service tier {}.",
    "line_item": "No line item at hand reads {}.",
}


class Why(NamedTuple):
    """Why rows are nobody's.

    Attributes:
        text: in words.
        conditions: what they have to be told apart by, besides their project, to see it.
    """

    text: str
    conditions: frozenset[str]


class Reasons:
    """Finds reasons in what a survey met."""

    def __init__(self, attribution: Attribution, survey: Survey, source: Source) -> None:
        """Take a survey of the same attribution, made from facts of that source."""
        self._attribution = attribution
        self._survey = survey
        self._source = source
        self._conditions = [rule.match.conditions for rule in attribution.rules]
        self._having = {
            condition: sum(1 << rule for rule, conditions in enumerate(self._conditions) if condition in conditions)
            for condition in attribution.workflows.conditions
        }
        self._about_projects = _about_some_projects(attribution, survey)
        self._entries: Mapping[str, Mapping[str, DirectoryEntry]] = {
            "project": attribution.projects,
            "api_key": attribution.api_keys,
            "user": attribution.users,
        }
        self._at_hand = {
            condition: {value for one in survey.judged if (value := trait(one.kind.traits, condition))}
            for condition in DIMENSIONS
        }

    def of_idle(self, rule: int) -> str:
        """Return why a rule takes nothing, in sentences."""
        conditions, meeting = self._conditions[rule], self._survey.meetings[rule]
        never = [condition for condition in conditions if not self._survey.met[condition].possibly >> rule & 1]
        if never:
            return " ".join(self._no_match(rule, condition) for condition in never)
        if meeting.takers:
            take = "takes" if len(meeting.takers) == 1 else "take"
            return f"What it would take, {_some_rules(meeting.takers)} {take} first."
        sentences = []
        if meeting.rivals:
            rivals = _some_rules(meeting.rivals)
            sentences.append(f"Whether {rivals} should take its rows first cannot be told, so nobody gets them.")
        sentences += [
            self._nothing_matches(condition, conditions[condition])
            for condition in conditions
            if self._has_no_such_name(rule, condition)
        ] or [
            f"Rows that match but for the {NOUNS[condition]}: "
            f"{some([self.name(condition, value) for value in meeting.missed[condition]])}."
            for condition in conditions
            if condition in meeting.missed
        ]
        if meeting.in_doubt:
            sentences.append(f"Whether rows are its cannot be told: {self._doubts(rule, meeting.in_doubt)}.")
        if meeting.possible_takers and not sentences:
            sentences.append(f"What might be its, {_some_rules(meeting.possible_takers)} takes first.")
        return " ".join(sentences) or "Each of its conditions matches something, but never all of them the same row."

    def of_unmapped(self, one: Judged) -> Why:
        """Return why a kind of rows is nobody's."""
        standings = self._attribution.workflows.standings(one.kind.traits)
        if one.decision.undecided:
            undecided = sum(1 << rule for rule in one.decision.undecided)
            doubts = {
                condition: self._doubt(one.kind, condition)
                for condition, standing in standings.items()
                if standing.possibly & ~standing.surely & undecided
            }
            return Why(
                f"may be {listed(named(one.decision.undecided))}: {_together(doubts.values())}", frozenset(doubts)
            )
        near: dict[str, list[int]] = {}
        for condition, standing in standings.items():
            rules = self._about_projects & self._having[condition] & ~standing.possibly
            for other, others in standings.items():
                rules &= others.possibly if other != condition else -1
            if rules and condition != "project":
                near[condition] = _indexes(rules)
        if not near:
            return Why("no rule takes it", frozenset())
        others_taken = "; ".join(
            f"{listed(named(rules))} {'takes' if len(rules) == 1 else 'take'} other {NOUNS[condition]}s"
            for condition, rules in near.items()
        )
        return Why(f"no rule takes it; {others_taken}", frozenset(near))

    def _nothing_matches(self, condition: str, pattern: str) -> str:
        if is_about_ids(condition, pattern):
            ids = {*self._entries[condition], *self._at_hand[condition]}
            called_so = [entry.name for entry in self._entries[condition].values() if re.fullmatch(pattern, entry.name)]
            beginning = ID_BEGINNINGS[condition]
            meant = (
                f"The name {listed(called_so)} matches, but a pattern that begins with {beginning} is about ids: "
                f"write [{beginning[0]}]{beginning[1:]}… to mean a name."
                if called_so
                else hint(pattern, ids)
            )
            return f"No {NOUNS[condition]} has the id {quoted(pattern)}. {meant}".strip()
        return f"{_NOTHING_MATCHES[condition].format(quoted(pattern))} {hint(pattern, self._names(condition))}".strip()

    def _no_match(self, rule: int, condition: str) -> str:
        pattern = self._conditions[rule][condition]
        if self._survey.listed.get(condition, 0) >> rule & 1:
            looks_at_names = not is_about_ids(condition, pattern)
            matching = [
                f"{entry.name} ({entry.status})" if entry.status not in {"", "active"} else entry.name
                for identifier, entry in self._entries[condition].items()
                if re.fullmatch(pattern, identifier) or (looks_at_names and re.fullmatch(pattern, entry.name))
            ]
            have = "has" if len(matching) == 1 else "have"
            return f"The {NOUNS[condition]} {listed(matching)} {have} no rows in these days."
        return self._nothing_matches(condition, pattern)

    def _has_no_such_name(self, rule: int, condition: str) -> bool:
        """Whether a condition looks at names, which are known, and none of them nor any row meets it."""
        is_met = self._survey.met[condition].surely | self._survey.listed.get(condition, 0)
        return bool(self._entries.get(condition)) and not is_met >> rule & 1

    def _doubts(self, rule: int, examples: Iterable[Judged]) -> str:
        return _together(
            self._doubt(one.kind, condition)
            for one in examples
            for condition in self._conditions[rule]
            if self._is_doubt(rule, condition, one.kind)
        )

    def _is_doubt(self, rule: int, condition: str, kind: Kind) -> bool:
        standing = self._attribution.workflows.standings(kind.traits).get(condition)
        return standing is not None and bool((standing.possibly & ~standing.surely) >> rule & 1)

    def _doubt(self, kind: Kind, condition: str) -> str:
        noun, dimension = NOUNS[condition], DIMENSIONS[condition]
        if trait(kind.traits, condition) is not None:
            return f"the name of the {noun} is not known"
        if dimension not in kind.endpoint.dimensions:
            return f"{kind.endpoint.api} tells no {noun}"
        if dimension not in kind.grouping:
            return f"the API refused to tell {noun}s" if self._source is Source.API else f"read without {noun}s"
        return f"{_ROW_HAS_NO}{noun}"

    def name(self, condition: str, value: str) -> str:
        """Return what people call a value of what a condition looks at."""
        if not value:
            return NO_PROJECT
        entry = self._entries.get(condition, {}).get(value)
        return entry.name if entry else value

    def _names(self, condition: str) -> set[str]:
        if condition in self._entries:
            names = {entry.name for entry in self._entries[condition].values()}
            nowhere = condition == "project" and any(not one.kind.traits.project_id for one in self._survey.judged)
            return names | {NO_PROJECT} if nowhere else names
        values = self._at_hand[condition]
        return values | set(map(family, values)) if condition == "model" else values


def _about_some_projects(attribution: Attribution, survey: Survey) -> int:
    """Return the rules whose condition on the project is met by few projects: what they are about is told by it."""
    by_project = {
        one.kind.traits.project_id: standings["project"].surely
        for one in survey.judged
        if "project" in (standings := attribution.workflows.standings(one.kind.traits))
    }
    met = [sum(rules >> rule & 1 for rules in by_project.values()) for rule in range(len(attribution.rules))]
    most = max(_FEW_PROJECTS, len(by_project) // 2)
    return sum(
        1 << rule
        for rule, count in enumerate(met)
        if count <= most and "project" in attribution.rules[rule].match.conditions
    )


def named(rules: Iterable[int]) -> list[str]:
    """Name rules as error messages do, the first in full."""
    return [f"{'.' if number else 'workflows.'}{rule}" for number, rule in enumerate(rules)]


def _together(doubts: Iterable[str]) -> str:
    """Say each doubt once; what one row has not, in one go."""
    once = dict.fromkeys(doubts)
    missing = [doubt.removeprefix(_ROW_HAS_NO) for doubt in once if doubt.startswith(_ROW_HAS_NO)]
    others = [doubt for doubt in once if not doubt.startswith(_ROW_HAS_NO)]
    return ", ".join([*([_ROW_HAS_NO + " and no ".join(missing)] if missing else []), *others])


def _some_rules(by_money: Sequence[int]) -> str:
    others = " and others" if len(by_money) > _SOME_RULES else ""
    return f"{listed(named(sorted(by_money[:_SOME_RULES])))}{others}"


def _indexes(rules: int) -> list[int]:
    return [rule for rule in range(rules.bit_length()) if rules >> rule & 1]
