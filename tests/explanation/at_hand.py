"""Facts written down by hand, and the report on them taken apart."""

import re
from collections.abc import Mapping

from exporter.configuration.loading import parse_configuration
from exporter.configuration.sections import Configuration
from exporter.days import SECONDS_PER_DAY
from exporter.explanation.facts import Facts, Names, Source
from exporter.explanation.report import render_report
from exporter.ledger.account import Account
from exporter.ledger.settlement import settle
from exporter.ledger.store import DirectoryEntry
from exporter.openai_api.endpoints import COSTS, ENDPOINTS, USAGE_ENDPOINTS
from tests.answers import MONDAY, Rows, answer

DAY = SECONDS_PER_DAY
TODAY = MONDAY + 4 * DAY
"""2026-11-06, a Friday."""
NOW = TODAY + 10 * 3_600 + 90.0

EVERY_DIMENSION = {endpoint.api: endpoint.dimensions for endpoint in (*USAGE_ENDPOINTS, COSTS)}

NAMES: Names = {
    "projects": {
        "proj_a": DirectoryEntry("support-bot", "active"),
        "proj_b": DirectoryEntry("core", "active"),
        "proj_c": DirectoryEntry("Data Science", "active"),
        "proj_old": DirectoryEntry("summer-campaign", "archived"),
    },
    "api_keys": {
        "key_1": DirectoryEntry("search-1"),
        "key_2": DirectoryEntry("chat-1"),
        "key_3": DirectoryEntry("batch-1"),
    },
    "users": {"user-1": DirectoryEntry("Ada")},
}

INPUT, OUTPUT = "gpt-5-2026-03-05, input", "gpt-5-2026-03-05, output"


def cost(project: str | None, amount: str, item: str = INPUT, key: str | None = None, **more: str) -> dict[str, object]:
    return {"project_id": project, "api_key_id": key, "line_item": item, "amount": amount, "currency": "usd", **more}


def completions(project: str | None, model: str = "gpt-5-2026-03-05", key: str | None = None) -> dict[str, object]:
    return {
        "project_id": project,
        "api_key_id": key,
        "model": model,
        "service_tier": "default",
        "num_model_requests": 1,
    }


def account(api: str, days: Mapping[int, Rows], grouping: tuple[str, ...] | None = None) -> Account:
    """Return the account of one answer that reaches from the first of these days to the last."""
    endpoint = ENDPOINTS[api]
    news = answer(api, days, answered_at=int(NOW), grouping=grouping or EVERY_DIMENSION[api])
    return settle(endpoint, Account(api), news, now=int(NOW), revision_days=30).account


def facts(
    costs: Rows,
    usage: Rows = (),  # type: ignore[assignment]  # no rows
    *,
    names: Names = NAMES,
    source: Source = Source.STATE,
    grouping: tuple[str, ...] | None = None,
) -> Facts:
    """Return facts of rows of today, the bill read back for 7 days; `grouping` is that of the bill."""
    accounts = {api: Account(api) for api in ENDPOINTS}
    accounts["costs"] = account("costs", {TODAY - 7 * DAY: [], TODAY: costs}, grouping)
    accounts["usage/completions"] = account("usage/completions", {TODAY - 3 * DAY: [], TODAY: list(usage)})
    return Facts(source, "the state in /data", "https://api.example/v1", NOW - 120, accounts, names)


def configuration(text: str) -> Configuration:
    return parse_configuration(text, "test")


class Report:
    """A report, by its sections."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sections: dict[str, str] = {}
        name = ""
        for section in text.removesuffix("\n").split("\n\n"):
            title = re.match(r"[A-Z ]{5,}(?=$|:)", section, re.MULTILINE)
            if title:
                name = title[0].strip()
                self.sections[name] = section
            else:
                self.sections[name] += f"\n{section}"

    def __getitem__(self, section: str) -> str:
        return self.sections[section]

    def __contains__(self, section: str) -> bool:
        return section in self.sections

    def flat(self, section: str) -> str:
        """Return a section with its paragraphs on one line each, as far as no column stands beside them."""
        return " ".join(self.sections[section].split())

    def cells(self, section: str) -> list[list[str]]:
        """Return the cells of a section's table, wrapped lines joined again; the title first, the rules left out."""
        lines = self.sections[section].splitlines()
        [mark] = [number for number, line in enumerate(lines) if re.fullmatch(r"[ -]+", line)][:1]
        edges = [(match.start(), match.end()) for match in re.finditer("-+", lines[mark])]
        edges[-1] = (edges[-1][0], 1_000)
        rows: list[list[str]] = []
        for line in (lines[mark - 1], *lines[mark + 1 :]):
            if re.fullmatch(r"[ -]+", line):
                continue
            cells = [line[start:end].strip() for start, end in edges]
            if rows and not cells[0]:
                rows[-1] = [f"{before} {more}".strip() for before, more in zip(rows[-1], cells, strict=True)]
            else:
                rows.append(cells)
        return rows

    def by(self, section: str, column: str, value: str) -> dict[str, str]:
        """Return the row of a table whose cell in that column has this value, by title."""
        titles, *rows = self.cells(section)
        [row] = [row for row in rows if row[titles.index(column)] == value]
        return dict(zip(titles, row, strict=True))


def report(text: str, at_hand: Facts, now: float = NOW) -> Report:
    return Report(render_report(configuration(text), at_hand, now))


def why_idle(text: str, at_hand: Facts, rule: int = 0) -> str:
    """Return why a rule takes nothing."""
    return report(text, at_hand).by("RULES THAT TAKE NOTHING", "rule", f"workflows.{rule}")["why"]
