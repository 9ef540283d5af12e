"""The runbook has an entry for every alert, and what it tells to ask, run or look for exists."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

import promql_parser as promql
import pytest

from exporter.command_line import main
from tests.deploy.alert_files import NAMES
from tests.deploy.promql_labels import labels_of_rules
from tests.deploy.rule_files import ADAPTED, PROMETHEUS, RULES, Rule, rules, scraped

RUNBOOK: Final = PROMETHEUS / "runbook.md"
TEXT: Final = RUNBOOK.read_text(encoding="utf-8")
PARTS: Final = ("**Means.**", "**Check.**", "**Do.**")
ROOT: Final = PROMETHEUS.parents[1]


def entries() -> dict[str, str]:
    pieces = re.split(r"^#{1,2} (.*)$", TEXT, flags=re.MULTILINE)
    return {name: text for name, text in zip(pieces[1::2], pieces[2::2], strict=True) if name in NAMES}


def blocks(language: str) -> Iterator[str]:
    yield from re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def queries() -> list[str]:
    return [line for block in blocks("promql") for line in block.splitlines()]


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_has_an_entry_that_says_what_it_means_how_to_check_and_what_to_do(name: str) -> None:
    text = entries()[name]
    assert [text.count(part) for part in PARTS] == [1, 1, 1]
    assert sorted(PARTS, key=text.index) == list(PARTS)


def test_no_entry_is_about_an_alert_that_is_gone() -> None:
    assert set(re.findall(r"^## (.*)$", TEXT, re.MULTILINE)) == set(NAMES)


def test_links_within_the_runbook_lead_somewhere() -> None:
    links = re.findall(r"\]\(#(\S+?)\)", TEXT)
    assert links
    assert set(links) <= {name.lower() for name in NAMES}
    for file in re.findall(r"\]\((?!#|http)(\S+?)\)", TEXT):
        assert (RUNBOOK.parent / file).exists(), file


@cache
def known_series() -> Mapping[str, frozenset[str]]:
    known = {**scraped(), **ADAPTED}
    return {**known, **labels_of_rules(rules(*RULES), known)[0]}


@pytest.mark.parametrize("query", queries())
def test_a_query_of_the_runbook_can_be_asked(query: str) -> None:
    promql.parse(query)
    assert labels_of_rules([Rule(RUNBOOK, "query", query)], known_series())[1] == []


def test_metrics_and_thresholds_in_the_text_exist() -> None:
    for name in re.findall(r"`((?:openai|aitracer)[a-z0-9_:]+)[`{]", TEXT):
        assert name in known_series(), name


def test_log_lines_that_the_runbook_quotes_are_written_so() -> None:
    source = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "exporter").rglob("*.py"))
    quoted = re.findall(r"msg=\"([^\"`]+)", TEXT)
    problems = ("cannot write the state in", "OpenAI refused the admin key (HTTP ", "is in use by another process")
    assert quoted
    for line in (*quoted, *problems, "nothing of it was used"):
        assert line in TEXT
        assert line in source, line


def test_pages_and_flags_that_the_runbook_names_exist(capsys: pytest.CaptureFixture[str]) -> None:
    shell = "".join(blocks("sh"))
    application = (ROOT / "exporter" / "web" / "application.py").read_text(encoding="utf-8")
    for page in re.findall(r"\$EXPORTER(/[-/a-z]+)", TEXT):
        assert f'"{page}"' in application, page
    with pytest.raises(SystemExit):
        main(["check-config", "--help"])
    known = capsys.readouterr().out
    flags = {flag for flag in re.findall(r"check-config (.*)", shell) for flag in re.findall(r"--[a-z.]+", flag)}
    assert flags
    for flag in flags:
        assert flag in known


def test_configuration_keys_that_the_runbook_names_exist() -> None:
    readme = Path(ROOT / "README.md").read_text(encoding="utf-8")
    for key in re.findall(r"`((?:openai|polling|labels|limits|directory|trace_gateway)\.[a-z_]+)`", TEXT):
        assert f"| `{key}` |" in readme, key
