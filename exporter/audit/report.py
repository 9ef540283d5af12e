"""The findings as text for people and as JSON for programs. Pure."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from exporter.audit.asking import day_text
from exporter.audit.comparison import DayComparison, Figure, Pair
from exporter.audit.findings import Findings, Verdict
from exporter.days import SECONDS_PER_DAY
from exporter.exact import Amount, subtract
from exporter.explanation.facts import Names
from exporter.explanation.tables import Column, paragraph, printable, table

_MOST_LISTED: Final = 200
_MARK: Final = ">>"
_DECIMALS: Final = 9


def render_text(findings: Findings) -> str:
    """Return the report."""
    sections = [
        _heads(findings),
        _days(findings),
        _differences(findings),
        _invariant(findings),
        _prometheus(findings),
        _unknown(findings),
        [_verdict(findings)],
    ]
    return "\n".join("\n".join([*section, ""]) for section in sections if section)


def render_json(findings: Findings) -> str:
    """Return the same as one JSON object; amounts are texts, since they are exact."""
    prometheus = findings.prometheus
    document: dict[str, Any] = {
        "differences": findings.count,
        "state": {"written_at": findings.written_at, "in_use": findings.in_use},
        "base_url": findings.base_url,
        "looks": findings.looks,
        "days": [
            {
                "api": day.api,
                "day": day_text(day.day),
                "measure": measure,
                "state": _exact(pair.state),
                "openai": _exact(pair.openai),
                "verdict": verdict or "equal",
            }
            for day, measure, pair, verdict in _lines(findings)
        ],
        "figures": [
            {
                "api": figure.api,
                "day": day_text(figure.day),
                "measure": figure.measure,
                "group": dict(figure.group),
                "state": _exact(pair.state),
                "openai": _exact(pair.openai),
                "verdict": findings.verdicts[figure],
            }
            for figure, pair in sorted(findings.differences.items(), key=_by_figure)
        ],
        "growth": [
            {
                "family": growth.family,
                "counters_less_held_back": _exact(growth.counted),
                "newest_values": None if growth.told is None else _exact(growth.told),
                "holds": growth.holds,
            }
            for growth in findings.growths
        ],
        "impossible": list(findings.impossible),
        "prometheus": None
        if prometheus is None
        else {
            "url": prometheus.url,
            "late": prometheus.late,
            "series": [
                {"family": name.family, "labels": dict(name.labels), "state": state, "prometheus": value}
                for name, (state, value) in prometheus.differing.items()
            ],
        },
        "not_known": {api: {"since": first, "until": last} for api, first, last in _not_known(findings)},
        "absent": sorted(findings.absent),
        "problems": list(findings.problems),
    }
    return f"{json.dumps(document, indent=2)}\n"


def _heads(findings: Findings) -> list[str]:
    written = f"{datetime.fromtimestamp(findings.written_at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    use = "an exporter has it open, or was killed while it had" if findings.in_use else "no exporter has it open"
    return [
        "LEDGER AND OPENAI",
        *paragraph(f"{printable(findings.place)}, last written {written}; {use}"),
        *paragraph(f"the API at {printable(findings.base_url)}, asked {_times(findings.looks)}"),
    ]


def _days(findings: Findings) -> list[str]:
    rows = []
    for day, measure, pair, verdict in _lines(findings):
        rows.append(
            (
                _MARK if verdict and verdict.is_difference else "",
                day.api,
                day_text(day.day),
                measure,
                _short(pair.state),
                _short(pair.openai),
                _exact(subtract(pair.openai, pair.state)) if pair.openai != pair.state else "",
                verdict or "equal",
            )
        )
    if not rows:
        return paragraph("Nothing was used on these days, on neither side.")
    columns = (
        Column("", narrowest=len(_MARK)),
        Column("api", narrowest=28),
        Column("day (UTC)", narrowest=10),
        Column("measure", narrowest=27),
        Column("ledger", is_number=True),
        Column("OpenAI", is_number=True),
        Column("OpenAI - ledger", is_number=True),
        Column("verdict"),
    )
    lines = table(columns, rows)
    seen = set(findings.verdicts.values())
    meanings = {
        Verdict.CAUGHT_UP: "it differed at the first look, and was equal once the exporter had polled again.",
        Verdict.BEHIND: "newer at OpenAI than the last poll: the ledger has what OpenAI said earlier in this audit.",
        Verdict.NOT_READ: "the ledger was never answered for that day: no poll has succeeded since.",
        Verdict.DIFFERENT: "the ledger has what OpenAI said at no look of this audit.",
    }
    return [*lines, *(line for each in Verdict if each in seen for line in paragraph(f"{each}: {meanings[each]}"))]


def _differences(findings: Findings) -> list[str]:
    listed = sorted(findings.differences.items(), key=_by_figure)
    if not listed:
        return []
    lines = ["DIFFERENCES"]
    for figure, pair in listed[:_MOST_LISTED]:
        group = ", ".join(_dimension(name, value, findings.names) for name, value in figure.group) or "everything"
        lines += paragraph(
            f"{figure.api} {day_text(figure.day)} {figure.measure} of {group}: the ledger has {_exact(pair.state)}, "
            f"OpenAI says {_exact(pair.openai)}",
            bullet="- ",
        )
    if len(listed) > _MOST_LISTED:
        lines += paragraph(f"and {len(listed) - _MOST_LISTED} more; --format=json has all of them.", bullet="- ")
    if not findings.in_use:
        lines += paragraph(
            "No exporter has this state open: what OpenAI has revised since the last poll stands here, too."
        )
    return lines


def _dimension(name: str, value: str | None, names: Names) -> str:
    entry = names.get({"project_id": "projects", "api_key_id": "api_keys"}.get(name, ""), {}).get(value or "")
    text = "null" if value is None else printable(value)
    return f"{name}={text}" + (f" ({printable(entry.name)})" if entry else "")


def _invariant(findings: Findings) -> list[str]:
    lines = ["COUNTERS AND WHAT IS HELD BACK"]
    for growth in findings.growths:
        if growth.told is None:
            said = f"{growth.family}: days came or went meanwhile, so its growth was not compared."
        else:
            said = (
                f"{_MARK + ' ' if not growth.holds else ''}{growth.family}: counters less held back grew by "
                f"{_exact(growth.counted)}, the newest values by {_exact(growth.told)}."
            )
        lines += paragraph(said, bullet="- ")
    if not findings.growths:
        lines += paragraph(
            "Nothing grew between the first look and the last. What stood at the zero line is in no state, so one "
            "look cannot tell what counters should be; only their growth can be compared."
        )
    for each in findings.impossible:
        lines += paragraph(f"{_MARK} {printable(each)}, which no ledger makes.", bullet="- ")
    return lines


def _prometheus(findings: Findings) -> list[str]:
    found = findings.prometheus
    if found is None:
        return []
    lines = [
        "PROMETHEUS",
        *paragraph(
            f"The newest samples at {printable(found.url)}, series by series, against what an exporter with this state "
            "and this configuration shows: counters, and the gauges about days and months. A value is right if the "
            "state showed it at some look of this audit. Sums are of what both sides had at the last look."
        ),
    ]
    if found.sums:
        bad = {name.family for name in found.differing}
        lines += table(
            (
                Column("", narrowest=2),
                Column("family"),
                Column("series", is_number=True),
                Column("there", is_number=True),
                Column("sum", is_number=True),
                Column("there", is_number=True),
            ),
            [
                (
                    _MARK if each.name.partition("{")[0] in bad else "",
                    each.name,
                    *map(str, each.series),
                    *(_without_zeros(f"{value:.{_DECIMALS}f}") for value in each.sums),
                )
                for each in found.sums
            ],
        )
    for name, (state, value) in list(found.differing.items())[:_MOST_LISTED]:
        labels = ", ".join(f'{label}="{printable(text)}"' for label, text in name.labels)
        lines += paragraph(f"{name.family}{{{labels}}}: the state shows {state}, Prometheus has {value}", bullet="- ")
    if len(found.differing) > _MOST_LISTED:
        lines += paragraph(f"and {len(found.differing) - _MOST_LISTED} more; --format=json has all.", bullet="- ")
    if found.differing:
        lines += paragraph("Labels and gauges follow the configuration: name the one that the exporter runs with.")
    return lines


def _unknown(findings: Findings) -> list[str]:
    lines = [
        *(f"{api}: the state does not know {first} to {last}." for api, first, last in _not_known(findings)),
        *(f"{api}: this organization does not have it." for api in sorted(findings.absent)),
        *findings.problems,
    ]
    said = [line for each in lines for line in paragraph(printable(each, 1_000), bullet="- ")]
    return ["NOT COMPARED", *said] if said else []


def _verdict(findings: Findings) -> str:
    days = {day.day for day in findings.compared}
    span = f"{day_text(min(days))} to {day_text(max(days))}" if days else "no day"
    if findings.count:
        return f"{_MARK} {findings.count} differences ({span})."
    return f"No differences ({span})."


def _lines(findings: Findings) -> Iterator[tuple[DayComparison, str, Pair, Verdict | None]]:
    """Yield every day's measures with the worst that was found of their figures, None where all were equal at once."""
    worst: dict[tuple[str, int, str], Verdict] = {}
    for figure, verdict in findings.verdicts.items():
        known = worst.setdefault(figure[:3], verdict)
        worst[figure[:3]] = max(known, verdict, key=tuple(Verdict).index)
    for day in findings.compared:
        for measure, pair in day.sums.items():
            # Equal at the first look, moved since: another figure of the day was looked at again.
            moved = None if pair.state == pair.openai else Verdict.BEHIND
            yield day, measure, pair, worst.get((day.api, day.day, measure), moved)


def _not_known(findings: Findings) -> Iterator[tuple[str, str, str]]:
    for api, days in findings.days.items():
        if days.unknown_from is not None:
            yield api, day_text(days.unknown_from), day_text(min(days.first - SECONDS_PER_DAY, days.last))


def _by_figure(item: tuple[Figure, object]) -> tuple[str, int, str, tuple[tuple[str, str], ...]]:
    figure = item[0]
    return figure.api, figure.day, figure.measure, tuple((name, value or "") for name, value in figure.group)


def _exact(amount: Amount) -> str:
    return _without_zeros(f"{amount:f}") if isinstance(amount, Decimal) else str(amount)


def _short(amount: Amount) -> str:
    """Spell an amount for a column; the column of differences has all digits."""
    return _without_zeros(f"{amount:.{_DECIMALS}f}") if isinstance(amount, Decimal) else str(amount)


def _without_zeros(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")
