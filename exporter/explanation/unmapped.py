"""What is nobody's, put together as far as one new rule could take it. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from exporter.explanation.reasons import Reasons, Why
from exporter.explanation.survey import Judged, Sum, Survey, trait
from exporter.openai_api.endpoints import COSTS


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are nobody's for one reason.

    Attributes:
        told_apart_by: what they have in common by condition, their project first; None where that is not told.
        why: they are nobody's.
        sum: what they come to.
        parts: their line items, the most expensive first; operations and models where there is only usage.
    """

    told_apart_by: dict[str, str | None]
    why: str
    sum: Sum
    parts: Sequence[str]


@dataclass(slots=True)
class _Growing:
    sum: Sum = field(default_factory=Sum)
    line_items: dict[str, None] = field(default_factory=dict)
    operations: dict[str, None] = field(default_factory=dict)


def group_unmapped(survey: Survey, reasons: Reasons) -> list[Group]:
    """Return all that is unmapped, the most expensive first.

    Rows of one project are told apart only by what rules near them look at: a project that no rule knows is one group.
    """
    groups: dict[tuple[tuple[tuple[str, str | None], ...], str], _Growing] = defaultdict(_Growing)
    for one in survey.judged:
        if one.decision.rule is not None:
            continue
        why = reasons.of_unmapped(one)
        group = groups[_told_apart_by(one, why), why.text]
        group.sum += one.sum
        kind = one.kind
        if kind.endpoint is COSTS:
            group.line_items[kind.traits.line_item or "no line item"] = None
        else:
            group.operations[f"{kind.endpoint.operation} {kind.traits.model}".strip()] = None
    found = [
        Group(dict(apart), why, group.sum, tuple(group.line_items or group.operations))
        for (apart, why), group in groups.items()
    ]
    return sorted(found, key=lambda group: (group.sum.usd, group.sum.cost_rows, group.sum.usage_rows), reverse=True)


def _told_apart_by(one: Judged, why: Why) -> tuple[tuple[str, str | None], ...]:
    traits = one.kind.traits
    return (
        ("project", traits.project_id),
        *((condition, trait(traits, condition)) for condition in sorted(why.conditions - {"project"})),
    )
