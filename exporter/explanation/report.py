"""The report that `check-config --explain` prints: what a configuration makes of the facts, in plain text. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from exporter.configuration.consistency import owners
from exporter.configuration.sections import Configuration, WorkflowRule
from exporter.exact import subtract
from exporter.explanation.budget_section import budget_section
from exporter.explanation.facts import Facts, attribution_of
from exporter.explanation.facts_section import facts_section
from exporter.explanation.pitfalls import pitfalls
from exporter.explanation.reasons import NOUNS, Reasons
from exporter.explanation.survey import Sum, Survey, days_at_hand, survey
from exporter.explanation.tables import Column, dollars, paragraph, printable, share, table
from exporter.explanation.unmapped import Group, group_unmapped

_MOST_GROUPS: Final = 20
_LONGEST_NAME: Final = 60

_AMOUNTS: Final = (
    Column("USD", is_number=True),
    Column("share", is_number=True),
    Column("bill", is_number=True),
    Column("usage", is_number=True),
)


def render_report(configuration: Configuration, facts: Facts, now: float) -> str:
    """Return the report, which ends with a line break.

    Args:
        configuration: a consistent one.
        facts: what it is explained by.
        now: Unix seconds.
    """
    attribution = attribution_of(configuration, facts.names)
    days = days_at_hand(facts.accounts)
    if days is None:
        return "\n".join(["FACTS", *paragraph(f"There are no rows in {facts.place} yet.")]) + "\n"
    found = survey(attribution, facts.accounts, days)
    reasons = Reasons(attribution, found, facts.source)
    groups = group_unmapped(found, reasons)
    remarks = pitfalls(configuration.workflows, configuration.budgets, found, reasons)
    sections: list[tuple[str, list[str]]] = [
        ("FACTS", facts_section(attribution, facts, days, found, now)),
        (_rules_title(configuration.workflows, found), _rules(configuration.workflows, found)),
    ]
    if found.meetings:
        title = f"RULES THAT TAKE NOTHING: {len(found.meetings)} of {len(configuration.workflows)}"
        sections.append((title, _idle_rules(configuration.workflows, found, reasons)))
    if groups:
        title = f"UNMAPPED: USD {dollars(found.unmapped.usd)} of {dollars(found.total.usd)}"
        sections.append((title, _unmapped(groups, found.total, reasons)))
    if configuration.budgets:
        budgets = budget_section(configuration.budgets, attribution, facts.accounts, days.last)
        sections.append(("BUDGETS", budgets))
    if remarks:
        sections.append(("WARNINGS", [line for remark in remarks for line in paragraph(remark, bullet="- ")]))
    return "\n\n".join("\n".join([title, *lines]) for title, lines in sections) + "\n"


def _rules_title(rules: Sequence[WorkflowRule], found: Survey) -> str:
    if not rules:
        return "RULES"
    taken = subtract(found.total.usd, found.unmapped.usd)
    return (
        f"RULES: {len(found.by_rule)} of {len(rules)} take USD {dollars(taken)} of {dollars(found.total.usd)}"
        f"{f', {part}' if (part := share(taken, found.total.usd)) else ''}"
    )


def _rules(rules: Sequence[WorkflowRule], found: Survey) -> list[str]:
    if not rules:
        return paragraph("This configuration has none: everything is unmapped.")
    owner_of = owners(rules)
    by_money = sorted(found.by_rule.items(), key=lambda each: each[0])
    by_money.sort(key=lambda each: each[1].usd, reverse=True)
    rows = [
        (
            *_amounts(each, found.total),
            f"workflows.{rule}",
            printable(rules[rule].workflow),
            printable(owner_of[rules[rule].workflow]["team"]),
            _conditions(rules[rule]),
        )
        for rule, each in by_money
    ]
    rows.append((*_amounts(found.unmapped, found.total), "no rule", "unmapped", "", ""))
    rows.append((*_amounts(found.total, found.total), "all", "", "", ""))
    columns = (
        *_AMOUNTS,
        Column("rule"),
        Column("workflow", widest=26),
        Column("team", widest=18),
        Column("conditions", narrowest=30),
    )
    return [
        *paragraph("The first rule that takes a row decides. Bill and usage are the numbers of rows taken."),
        "",
        *table(columns, rows, rule_before_last=True),
    ]


def _idle_rules(rules: Sequence[WorkflowRule], found: Survey, reasons: Reasons) -> list[str]:
    rows = [
        (f"workflows.{rule}", printable(rules[rule].workflow), _conditions(rules[rule]), reasons.of_idle(rule))
        for rule in found.meetings
    ]
    columns = (Column("rule"), Column("workflow", widest=22), Column("conditions", widest=36), Column("why"))
    return table(columns, rows)


def _unmapped(groups: Sequence[Group], total: Sum, reasons: Reasons) -> list[str]:
    rows = [
        (
            *_amounts(group.sum, total),
            ", ".join(_told_apart(group.told_apart_by, reasons)),
            printable(group.parts[0], _LONGEST_NAME) + (f" (+{len(group.parts) - 1})" if group.parts[1:] else ""),
            group.why,
        )
        for group in groups[:_MOST_GROUPS]
    ]
    rest = groups[_MOST_GROUPS:]
    if rest:
        left = Sum()
        for group in rest:
            left += group.sum
        rows.append((*_amounts(left, total), f"{len(rest)} more", "", ""))
    columns = (
        *_AMOUNTS,
        Column("project", widest=48, narrowest=20),
        Column("mostly", widest=40, narrowest=20),
        Column("why", narrowest=36),
    )
    return table(columns, rows)


def _told_apart(values: Mapping[str, str | None], reasons: Reasons) -> Iterator[str]:
    for condition, value in values.items():
        name = "unknown" if value is None else printable(reasons.name(condition, value), _LONGEST_NAME)
        yield name if condition == "project" else f"{NOUNS[condition]} {name}"


def _amounts(each: Sum, total: Sum) -> tuple[str, str, str, str]:
    return dollars(each.usd), share(each.usd, total.usd), f"{each.cost_rows:,}", f"{each.usage_rows:,}"


def _conditions(rule: WorkflowRule) -> str:
    spelled = ", ".join(f"{name}={pattern}" for name, pattern in rule.match.conditions.items())
    return printable(spelled) or "none: takes everything"
