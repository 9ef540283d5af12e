"""Which rule takes what of the rows at hand, what is left unmapped, and what the idle rules met. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from exporter.attribution import DIMENSIONS, Attribution
from exporter.days import SECONDS_PER_DAY
from exporter.exact import Amount, add
from exporter.explanation.facts import CLOSED_DAYS
from exporter.ledger.account import Account
from exporter.openai_api.answer import RowKey
from exporter.openai_api.endpoints import COSTS, ENDPOINTS, Endpoint
from exporter.workflows import Decision, Standing, Traits

CURRENCY: Final = "usd"

# So many examples are enough for a person; more would cost time where there are many keys and rules.
_EXAMPLES: Final = 4


class Days(NamedTuple):
    """A span of UTC days by their midnights, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Sum:
    """What some rows come to.

    Attributes:
        usd: billed US dollars.
        cost_rows: rows of the bill, one per day and line.
        usage_rows: rows of usage, one per day and line.
    """

    usd: Amount = 0
    cost_rows: int = 0
    usage_rows: int = 0

    def __add__(self, other: "Sum") -> "Sum":
        """Return what both come to."""
        return Sum(add(self.usd, other.usd), self.cost_rows + other.cost_rows, self.usage_rows + other.usage_rows)


class Kind(NamedTuple):
    """Rows that no rule can tell apart.

    Attributes:
        endpoint: where they are from.
        grouping: the dimensions they were read by.
        traits: what rules see of them.
    """

    endpoint: Endpoint
    grouping: tuple[str, ...]
    traits: Traits


class Judged(NamedTuple):
    """Rows of one kind, what they come to, and whose they are."""

    kind: Kind
    sum: Sum
    decision: Decision


@dataclass(slots=True)
class Meeting:
    """What an idle rule met. Examples come by money, the largest first, and end after a few.

    Attributes:
        takers: rules that take rows first that surely would be its.
        rivals: rules before it that might take such rows, so that nobody gets them.
        possible_takers: rules that take rows first that might be its.
        in_doubt: kinds of rows that it might take, were more known of them.
        missed: of rows that surely meet all its conditions but one, what the one looks at, by condition.
    """

    takers: list[int] = field(default_factory=list)
    rivals: list[int] = field(default_factory=list)
    possible_takers: list[int] = field(default_factory=list)
    in_doubt: list[Judged] = field(default_factory=list)
    missed: dict[str, list[str]] = field(default_factory=dict)

    def note(self, rule: int, decision: Decision, *, surely: bool) -> None:
        """Note who gets a row instead of `rule`, whose it surely or possibly would be."""
        if decision.rule is not None:
            takers = self.takers if surely else self.possible_takers
            if decision.rule not in takers:
                takers.append(decision.rule)
        elif surely:
            self.rivals += [rival for rival in decision.undecided if rival < rule and rival not in self.rivals]


@dataclass(frozen=True, slots=True)
class Survey:
    """What the rules make of the rows of some days.

    Attributes:
        judged: every kind of rows, the most expensive first.
        by_rule: what each rule takes; rules that take nothing are left out.
        unmapped: what no rule surely takes.
        total: everything.
        meetings: of each idle rule.
        met: by condition, the rules whose condition some row surely meets, and those whose some row possibly does.
        listed: by condition, the rules whose condition some known project, key or user meets; bits of an integer.
    """

    judged: Sequence[Judged]
    by_rule: Mapping[int, Sum]
    unmapped: Sum
    total: Sum
    meetings: Mapping[int, Meeting]
    met: Mapping[str, Standing]
    listed: Mapping[str, int]


def trait(traits: Traits, condition: str) -> str | None:
    """Return what a condition looks at; None where it cannot be told."""
    found: str | None = getattr(traits, DIMENSIONS[condition])
    return found


def days_at_hand(accounts: Mapping[str, Account]) -> Days | None:
    """Return the newest day any API has answered for, and the closed days before it; None if none was ever read."""
    newest = [account.applied_through for account in accounts.values() if account.applied_through is not None]
    if not newest:
        return None
    last = max(newest)
    return Days(last - CLOSED_DAYS * SECONDS_PER_DAY, last)


def survey(attribution: Attribution, accounts: Mapping[str, Account], days: Days) -> Survey:
    """Look at all rows of these days, as far as they are held."""
    workflows = attribution.workflows
    judged = sorted(
        (Judged(kind, each, workflows.decide(kind.traits)) for kind, each in _kinds(attribution, accounts, days)),
        key=lambda one: (one.sum.usd, one.sum.usage_rows, one.kind.endpoint.api),
        reverse=True,
    )
    by_rule: dict[int, Sum] = defaultdict(Sum)
    unmapped = Sum()
    for one in judged:
        if one.decision.rule is None:
            unmapped += one.sum
        else:
            by_rule[one.decision.rule] += one.sum
    total = unmapped
    for each in by_rule.values():
        total += each
    idle = sum(1 << rule for rule in range(len(attribution.rules)) if rule not in by_rule)
    meetings, met = _meetings(attribution, judged, idle)
    return Survey(judged, dict(by_rule), unmapped, total, meetings, met, _listed(attribution))


def _kinds(attribution: Attribution, accounts: Mapping[str, Account], days: Days) -> Iterator[tuple[Kind, Sum]]:
    sums: dict[Kind, Sum] = defaultdict(Sum)
    for api, account in accounts.items():
        endpoint = ENDPOINTS[api]
        rows: dict[tuple[tuple[str, ...], RowKey], Sum] = defaultdict(Sum)
        for day, bucket in account.buckets.items():
            if day >= days.first:
                for key, values in bucket.rows.items():
                    rows[bucket.grouping, key] += _row(endpoint, key, values)
        for (grouping, key), each in rows.items():
            sums[Kind(endpoint, grouping, attribution.traits(endpoint, key))] += each
    yield from sums.items()


def _row(endpoint: Endpoint, key: RowKey, values: tuple[Amount, ...]) -> Sum:
    if endpoint is not COSTS:
        return Sum(usage_rows=1)
    # Money in another currency is a row, and no dollars.
    return Sum(values[0] if key[-1] == CURRENCY else 0, cost_rows=1)


def _meetings(
    attribution: Attribution, judged: Sequence[Judged], idle: int
) -> tuple[dict[int, Meeting], dict[str, Standing]]:
    workflows = attribution.workflows
    met = dict.fromkeys(workflows.conditions, Standing(0, 0))
    meetings = {rule: Meeting() for rule in _rules(idle)}
    # Rules that have met enough are left out from then on, and those that have met the very same before.
    open_to_doubt = idle
    open_to_misses = dict.fromkeys(workflows.conditions, idle)
    noted: dict[tuple[Decision, bool], int] = defaultdict(int)
    for one in judged:
        standings = workflows.standings(one.kind.traits)
        sure = possible = (1 << len(attribution.rules)) - 1
        for condition, standing in standings.items():
            sure &= standing.surely
            possible &= standing.possibly
            met[condition] = Standing(
                met[condition].surely | standing.surely, met[condition].possibly | standing.possibly
            )
        decision = one.decision
        in_doubt = _bits(decision.undecided) & ~sure & idle
        for surely, rules in ((True, sure & idle), (False, possible & ~sure & ~in_doubt & idle)):
            for rule in _rules(rules & ~noted[decision, surely]):
                meetings[rule].note(rule, decision, surely=surely)
            noted[decision, surely] |= rules
        for rule in _rules(in_doubt & open_to_doubt):
            meetings[rule].in_doubt.append(one)
            open_to_doubt &= ~_bit_if(rule, len(meetings[rule].in_doubt) >= _EXAMPLES)
        for condition, standing in standings.items():
            missing = open_to_misses[condition] & ~standing.possibly
            for other, others in standings.items():
                missing &= others.surely if other != condition else -1
            value = trait(one.kind.traits, condition) or ""
            for rule in _rules(missing):
                missed = meetings[rule].missed.setdefault(condition, [])
                if value not in missed:
                    missed.append(value)
                open_to_misses[condition] &= ~_bit_if(rule, len(missed) >= _EXAMPLES)
    return meetings, met


def _bits(rules: Iterable[int]) -> int:
    return sum(1 << rule for rule in rules)


def _bit_if(rule: int, condition: bool) -> int:  # noqa: FBT001 - a finding
    return 1 << rule if condition else 0


def _listed(attribution: Attribution) -> dict[str, int]:
    nothing = Traits("", None, None, "", None, "")
    directories = {
        "project": [nothing._replace(project_id=identifier) for identifier in attribution.projects],
        "api_key": [nothing._replace(api_key_id=identifier) for identifier in attribution.api_keys],
        "user": [nothing._replace(user_id=identifier) for identifier in attribution.users],
    }
    listed = {}
    for condition in attribution.workflows.conditions & directories.keys():
        listed[condition] = 0
        for traits in directories[condition]:
            listed[condition] |= attribution.workflows.standings(traits)[condition].surely
    return listed


def _rules(rules: int) -> Iterator[int]:
    while rules:
        first = rules & -rules
        yield first.bit_length() - 1
        rules &= ~first
