"""Names that others chose: whatever stands in them, pages are read back as they are, and reports obey nobody."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.attribution import Attribution
from exporter.audit.comparison import Figure, Pair
from exporter.audit.findings import Findings, Verdict
from exporter.audit.in_prometheus import FamilySum, InPrometheus, Stored
from exporter.audit.report import render_json, render_text
from exporter.explanation.facts import Facts, Source
from exporter.explanation.report import render_report
from exporter.ledger.counters import SeriesName
from exporter.ledger.ledger import Ledger
from exporter.ledger.store import DirectoryEntry, Store
from exporter.metrics.self_metrics import SelfMetrics
from exporter.metrics.snapshot import Pages, SnapshotBuilder, Surroundings
from exporter.openai_api.directory import ApiKey, User
from exporter.openai_api.limits import RateLimit, SpendLimit
from exporter.openai_api.readings import Readings
from tests.answers import MONDAY, answer
from tests.explanation import at_hand
from tests.fuzzing.mutations import texts

NOON = MONDAY + 43_200
filled = texts.filter(bool)

Labels = frozenset[tuple[str, str]]


def samples_of(families: Any) -> dict[tuple[str, Labels], float]:  # noqa: ANN401 - the library's own
    found: dict[tuple[str, Labels], float] = {}
    for family in families:
        for sample in family.samples:
            name = (sample.name, frozenset(sample.labels.items()))
            assert name not in found, name
            found[name] = sample.value
    return found


def page_of(builder: SnapshotBuilder, ledger: Ledger, attribution: Attribution, readings: Readings) -> dict[bool, str]:
    snapshot = builder.build(ledger, attribution, NOON, Surroundings(readings=readings))
    pages = Pages(snapshot, SelfMetrics().render)
    return {each: b"".join(pages.page(openmetrics=each, gzip=False)).decode() for each in (False, True)}


@settings(max_examples=20)
@given(
    st.lists(st.tuples(filled, filled, filled), min_size=1, max_size=4),
    st.lists(filled, min_size=6, max_size=6),
)
def test_a_page_of_any_names_is_read_back_as_they_are_in_both_formats_also_from_the_state(
    rows: Sequence[tuple[str, str, str]], more: Sequence[str]
) -> None:
    project, model, name, key, email, status = more
    usage: list[dict[str, object]] = [{"project_id": a, "model": b, "num_model_requests": 1} for a, b, _ in rows]
    costs: list[dict[str, object]] = [
        {"project_id": a, "line_item": c, "currency": "usd", "amount": Decimal("0.1")} for a, _, c in rows
    ]
    readings = Readings(
        api_keys=(ApiKey(key, name, project, status, 1, 2, 3),),
        users=(User(key, name, email),),
        spend_limits=(SpendLimit(project, Decimal("0.01"), enforcing=True),),
        rate_limits=(RateLimit(project, model, 1, None),),
    )
    names = {project: DirectoryEntry(name, status), **{a: DirectoryEntry(c, "active") for a, _, c in rows}}
    with tempfile.TemporaryDirectory() as folder:
        pages: list[dict[bool, str]] = []
        for is_new in (True, False):
            with Store.open(Path(folder) / "state") as store:
                ledger = Ledger(store, series_limit=100)
                if is_new:
                    ledger.learn_names("projects", names)
                attribution = Attribution(dict(ledger.directory["projects"]))
                if is_new:
                    for api, of_api in (("usage/completions", usage), ("costs", costs)):
                        news = answer(api, {MONDAY: of_api}, answered_at=NOON)
                        ledger.apply(news, attribution.counter_series, now=NOON, revision_days=3)
                pages.append(page_of(SnapshotBuilder(), ledger, attribution, readings))
    text = samples_of(parse_text(pages[0][False]))
    openmetrics = samples_of(parse_openmetrics(pages[0][True]))  # type: ignore[no-untyped-call]  # the library's gap
    about_the_process = ("process_", "openai_exporter_build_info")
    assert [each for each in text.items() ^ openmetrics.items() if not each[0][0].startswith(about_the_process)] == []
    labels = [dict(each) for name, each in text if name in {"openai_usage_requests_total", "openai_cost_usd_total"}]
    assert {(each["project_id"], each["model"]) for each in labels if "line_item" not in each} == {
        (a, b) for a, b, _ in rows
    }
    assert {each["line_item"] for each in labels if "line_item" in each} == {c for _, _, c in rows}
    (person,) = [dict(each) for name, each in text if name == "openai_user_info"]
    assert person == {"user_id": key, "user": name, "email": email}
    restored = samples_of(parse_text(pages[1][False]))
    assert {each for each in restored if each[0].startswith("openai_cost")} == {
        each for each in text if each[0].startswith("openai_cost")
    }


def check_report(report: str) -> None:
    assert all(line.isprintable() for line in report.removesuffix("\n").split("\n"))
    report.encode()


CONFIGURATION = """
workflows: [{workflow: bot, match: {project: "support-.*"}}, {workflow: idle, match: {api_key: "nobody-.*"}}]
budgets: [{budget: bot, limit_usd: 5, match: {workflow: bot}}]
"""


@settings(max_examples=30)
@given(st.lists(st.tuples(filled, filled, filled, filled), min_size=1, max_size=3), texts, texts)
def test_the_explanation_of_any_names_has_nothing_that_a_terminal_would_obey(
    rows: Sequence[tuple[str, str, str, str]], name: str, problem: str
) -> None:
    costs = [at_hand.cost(project, "1.5", item, key) for project, item, key, _ in rows]
    usage = [at_hand.completions(project, model, key) for project, _, key, model in rows]
    names: Mapping[str, Mapping[str, DirectoryEntry]] = {
        "projects": {project: DirectoryEntry(name, name) for project, *_ in rows},
        "api_keys": {key: DirectoryEntry(name) for _, _, key, _ in rows},
        "users": {},
    }
    known = at_hand.facts(costs, usage, names=names)
    facts = Facts(Source.STATE, name, problem, known.taken_at, known.accounts, names, (problem,))
    check_report(render_report(at_hand.configuration(CONFIGURATION), facts, at_hand.NOW))


def findings_of(said: Sequence[str]) -> Findings:
    project, line_item, name, place, url, problem, label, api = said
    figure = Figure("costs", MONDAY, "usd", (("project_id", project), ("line_item", line_item)))
    series = SeriesName("openai_cost_usd_total", (("project", project), ("line_item", label)))
    return Findings(
        place=place,
        base_url=url,
        written_at=float(NOON),
        in_use=False,
        looks=1,
        days={},
        compared=(),
        verdicts={figure: Verdict.DIFFERENT},
        differences={figure: Pair(1, Decimal("0.5"))},
        names={"projects": {project: DirectoryEntry(name, "active")}},
        absent=frozenset({api}),
        growths=(),
        impossible=(problem,),
        prometheus=InPrometheus(
            url=url,
            sums=(FamilySum("openai_cost_usd_total", (1, 1), (1.0, 0.5)),),
            differing={series: Stored(1.0, 0.5)},
            late=False,
        ),
        problems=(problem,),
    )


@settings(max_examples=50)
@given(st.lists(texts, min_size=8, max_size=8))
def test_the_audit_of_any_names_has_nothing_that_a_terminal_would_obey_and_is_json(said: Sequence[str]) -> None:
    findings = findings_of(said)
    check_report(render_text(findings))
    (difference,) = json.loads(render_json(findings))["figures"]
    assert difference["group"] == {"project_id": said[0], "line_item": said[1]}


def test_the_folder_and_the_addresses_of_an_audit_are_escaped() -> None:
    """Fuzzing found them as they were given, and as a state had them."""
    report = render_text(findings_of(("p", "l", "n", "/a\x1b[2J", "http://b\x1b[2J", "x", "y", "z")))
    assert r"/a\x1b[2J, last written" in report
    assert r"the API at http://b\x1b[2J" in report
    assert r"samples at http://b\x1b[2J" in report
