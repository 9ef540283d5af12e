"""The part of the report that says what everything else is said by: rows of which days, names, and what is missing."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from exporter.attribution import DIMENSIONS, Attribution
from exporter.days import day_of
from exporter.explanation.facts import CLOSED_DAYS, Facts, Source
from exporter.explanation.reasons import NOUNS
from exporter.explanation.survey import CURRENCY, Days, Sum, Survey, trait
from exporter.explanation.tables import dollars, paragraph, printable
from exporter.ledger.account import Account
from exporter.ledger.store import DirectoryEntry
from exporter.openai_api.endpoints import COSTS, ENDPOINTS

_LABEL_WIDTH: Final = 8
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def facts_section(attribution: Attribution, facts: Facts, days: Days, found: Survey, now: float) -> list[str]:
    """Return the lines of the section, without a title."""
    entries = [
        ("from", _origin(facts, now)),
        ("bill", _bill(facts.accounts[COSTS.api], days, found.total, now)),
        ("usage", _usage(facts.accounts, days, found.total)),
        ("names", _names(attribution, found)),
        *(("lacks", text) for text in _lacking(attribution, facts, days)),
        *(("note", text) for text in (*_foreign_money(facts.accounts[COSTS.api], days), *facts.problems)),
    ]
    return [
        line for label, text in entries for line in paragraph(printable(text, 1_000), bullet=label.ljust(_LABEL_WIDTH))
    ]


def _origin(facts: Facts, now: float) -> str:
    if facts.source is Source.API:
        return f"{facts.place}, asked {_moment(facts.taken_at)}"
    about = f", about {facts.base_url}" if facts.base_url else ""
    return f"{facts.place}{about}, last written {_moment(facts.taken_at)} ({ago(now - facts.taken_at)})"


def _bill(costs: Account, days: Days, total: Sum, now: float) -> str:
    if costs.covered_from is None:
        return "was not read"
    changed = "" if costs.changed_at is None else f"; it last changed {ago(now - costs.changed_at)}"
    first = max(days.first, costs.covered_from)
    return (
        f"{_span(first, days.last)}, {_what_days(days, first, now)}: {total.cost_rows:,} rows, "
        f"USD {dollars(total.usd)}{changed}"
    )


def _what_days(days: Days, first: int, now: float) -> str:
    if days.last < day_of(now):
        return "the newest days there are"
    if first > days.first:
        return "as far as it was read"
    return f"the last {CLOSED_DAYS} closed days and today so far"


def _usage(accounts: Mapping[str, Account], days: Days, total: Sum) -> str:
    first = [account.covered_from for account in accounts.values() if account.covered_from and account.api != COSTS.api]
    if not first:
        return "was not read"
    return f"{_span(max(days.first, min(first)), days.last)}: {total.usage_rows:,} rows"


def _names(attribution: Attribution, found: Survey) -> str:
    kinds: dict[str, Mapping[str, DirectoryEntry]] = {
        "project": attribution.projects,
        "api_key": attribution.api_keys,
        "user": attribution.users,
    }
    wanted = [kind for kind in kinds if kind == "project" or kind in attribution.workflows.conditions]
    counts = ", ".join(f"{len(kinds[kind]):,} {NOUNS[kind]}s" for kind in wanted)
    nameless = []
    for kind in wanted:
        ids = {value for one in found.judged if (value := trait(one.kind.traits, kind))}
        missing = ids - kinds[kind].keys()
        if missing:
            nameless.append(f"{len(missing):,} of the {len(ids):,} {NOUNS[kind]}s in these rows")
    return f"{counts}; no name is known of {' and '.join(nameless)}" if nameless else counts


def _lacking(attribution: Attribution, facts: Facts, days: Days) -> Iterator[str]:
    rows: Counter[tuple[str, bool]] = Counter()
    lacking: Counter[tuple[str, bool]] = Counter()
    for api, account in facts.accounts.items():
        endpoint = ENDPOINTS[api]
        for day, bucket in account.buckets.items():
            for condition in attribution.workflows.conditions:
                dimension = DIMENSIONS[condition]
                if dimension in endpoint.dimensions and day >= days.first:
                    of_bill = endpoint is COSTS
                    rows[condition, of_bill] += len(bucket.rows)
                    lacking[condition, of_bill] += 0 if dimension in bucket.grouping else len(bucket.rows)
    for condition in sorted(attribution.workflows.conditions):
        parts = [
            f"{lacking[condition, of_bill]:,} of {rows[condition, of_bill]:,} rows of {side}"
            for side, of_bill in (("the bill", True), ("usage", False))
            if lacking[condition, of_bill]
        ]
        if parts:
            yield f"{' and '.join(parts)} do not tell {NOUNS[condition]}s, which rules look at{_way_out(facts.source)}"


def _way_out(source: Source) -> str:
    if source is Source.API:
        return ": the API refused to group by them"
    return (
        ": they were read for other rules, or the API refused. --explain.source=api asks for them now; an exporter "
        "that runs with this file reads these days again by itself"
    )


def _foreign_money(costs: Account, days: Days) -> Sequence[str]:
    foreign: Counter[str] = Counter()
    for day, bucket in costs.buckets.items():
        if day >= days.first:
            foreign.update(str(key[-1]).upper() for key in bucket.rows if key[-1] != CURRENCY)
    return [
        f"{count:,} rows are in {currency}; they count as rows, not as money." for currency, count in foreign.items()
    ]


def ago(seconds: float) -> str:
    """Spell how long ago something was."""
    for unit, length in (("days", _DAY), ("hours", _HOUR), ("minutes", _MINUTE)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit} ago"
    return "just now"


def _moment(second: float) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M} UTC"


def _span(first: int, last: int) -> str:
    return " to ".join(
        f"{datetime.fromtimestamp(day, UTC):%Y-%m-%d}" for day in dict.fromkeys((min(first, last), last))
    )
