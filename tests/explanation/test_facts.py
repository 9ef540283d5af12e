import socket
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from exporter.configuration.loading import ConfigurationError, parse_configuration
from exporter.days import SECONDS_PER_DAY
from exporter.exact import add, total
from exporter.explanation.facts import Facts, NothingAtHandError, Source, attribution_of, gather_facts
from exporter.explanation.reasons import Reasons
from exporter.explanation.report import render_report
from exporter.explanation.survey import Survey, days_at_hand, survey
from exporter.explanation.unmapped import group_unmapped
from exporter.ledger.ledger import Ledger
from exporter.ledger.store import Store
from exporter.openai_api.connection import Connection
from exporter.simulator.faults import Burst, Faults, PathStatus
from exporter.simulator.server import RunningSimulator
from exporter.web.http_server import serving_in_thread
from exporter.web.messages import Request, Response
from tests.explanation.at_hand import Report
from tests.explanation.living import MAPPING, NOW, environment, make_state, true_bill, true_spend

NANO = Decimal("1e-9")


class Inquiry:
    """Gathers facts, and remembers what it was told meanwhile."""

    def __init__(self, simulator: RunningSimulator | None, state: Path, mapping: str = MAPPING, **more: str) -> None:
        self.configuration = parse_configuration(mapping, "test")
        self.told: list[str] = []
        self._environment = (environment(simulator) if simulator else {}) | more
        self._state = state

    def gather(self, source: Source | None = None, now: float = NOW) -> Facts:
        return gather_facts(
            self.configuration,
            self._state,
            source,
            environment=self._environment,
            clock=lambda: now,
            tell=self.told.append,
        )

    def report(self, source: Source | None = None) -> Report:
        return Report(render_report(self.configuration, self.gather(source), NOW))

    def survey(self, facts: Facts) -> Survey:
        days = days_at_hand(facts.accounts)
        assert days is not None
        return survey(attribution_of(self.configuration, facts.names), facts.accounts, days)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, _running: RunningSimulator) -> Path:
    return make_state(tmp_path_factory.mktemp("explained"), _running)


def by_workflow(inquiry: Inquiry, found: Survey) -> dict[str, Decimal]:
    spend: dict[str, Any] = {"unmapped": found.unmapped.usd}
    for rule, taken in found.by_rule.items():
        workflow = inquiry.configuration.workflows[rule].workflow
        spend[workflow] = add(spend.get(workflow, 0), taken.usd)
    return spend


# The sums are right.


@pytest.mark.parametrize("source", Source)
def test_rules_and_the_unmapped_rest_sum_up_to_the_true_bill_to_the_nano_dollar(
    simulator: RunningSimulator, state: Path, source: Source
) -> None:
    inquiry = Inquiry(simulator, state)
    facts = inquiry.gather(source)
    found = inquiry.survey(facts)
    groups = group_unmapped(found, Reasons(attribution_of(inquiry.configuration, facts.names), found, source))

    true_total = sum((row["amount"] for row in true_bill(simulator)), Decimal(0))
    assert true_total > 1_000
    assert abs(total([*(each.usd for each in found.by_rule.values()), found.unmapped.usd]) - true_total) < NANO
    assert abs(found.total.usd - true_total) < NANO
    assert total(group.sum.usd for group in groups) == found.unmapped.usd
    assert sum(group.sum.usage_rows for group in groups) == found.unmapped.usage_rows


@pytest.mark.parametrize("source", Source)
def test_each_workflow_is_told_what_truly_was_its(simulator: RunningSimulator, state: Path, source: Source) -> None:
    inquiry = Inquiry(simulator, state)
    told, truth = by_workflow(inquiry, inquiry.survey(inquiry.gather(source))), true_spend(simulator)

    assert told.keys() == truth.keys() == {"support", "nightly", "notebooks", "search", "legacy", "unmapped"}
    assert all(abs(told[workflow] - truth[workflow]) < NANO for workflow in truth)


def test_state_and_api_tell_the_same(simulator: RunningSimulator, state: Path) -> None:
    of_state, of_api = (Inquiry(simulator, state).report(source) for source in Source)

    for section in ("RULES", "UNMAPPED"):
        assert of_state[section] == of_api[section]


def test_the_report_shows_the_cents_of_the_exact_sums(simulator: RunningSimulator, state: Path) -> None:
    truth = true_spend(simulator)
    told = Inquiry(simulator, state).report()

    assert told.by("RULES", "workflow", "support")["USD"] == f"{truth['support']:,.2f}"
    assert told.by("RULES", "rule", "all")["USD"] == f"{sum(truth.values()):,.2f}"


# From a state.


def test_a_state_is_taken_if_there_is_one_and_nobody_is_asked(simulator: RunningSimulator, state: Path) -> None:
    inquiry = Inquiry(None, state)
    # A path may be so long that the line breaks behind it.
    told = " ".join(inquiry.report()["FACTS"].split())

    assert inquiry.told == []
    assert f"the state in {state}, about {simulator.base_url}, last written" in told
    assert "asks https://api.openai.com/v1" in told


def test_a_state_is_not_touched(simulator: RunningSimulator, state: Path) -> None:
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in state.iterdir()}

    Inquiry(simulator, state).report()

    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in state.iterdir()} == before


def test_rules_that_need_more_than_a_state_was_read_by_are_told_how_to_get_it(
    tmp_path: Path, simulator: RunningSimulator
) -> None:
    coarse = make_state(tmp_path, simulator, "")
    told = Inquiry(simulator, coarse).report(Source.STATE)

    assert "do not tell API keys, which rules look at: they were read for other rules" in told.flat("FACTS")
    assert "--explain.source=api asks for them now" in told.flat("FACTS")
    science = told.by("UNMAPPED", "why", "may be workflows.1, .2: read without API keys")
    assert science["project"] == "data-science, API key unknown"
    fine = Inquiry(simulator, coarse).report(Source.API)
    assert "lacks" not in fine["FACTS"]


def test_a_state_of_names_alone_is_none(tmp_path: Path, simulator: RunningSimulator) -> None:
    with Store.open(tmp_path) as store:
        Ledger(store, 10)

    with pytest.raises(NothingAtHandError, match=r"holds no rows yet.*--explain\.source=api"):
        Inquiry(simulator, tmp_path).gather(Source.STATE)
    assert Inquiry(simulator, tmp_path).gather().source is Source.API


def test_a_damaged_state_is_told_and_nobody_is_asked_instead(tmp_path: Path, simulator: RunningSimulator) -> None:
    (tmp_path / "ledger.sqlite3").write_bytes(b"SQLite format 3\x00" + bytes(range(256)) * 40)
    inquiry = Inquiry(simulator, tmp_path)

    with pytest.raises(NothingAtHandError, match=r"Restore it from a backup.*--explain\.source=api"):
        inquiry.gather()
    assert inquiry.told == []


# From the API.


def test_without_a_state_the_api_is_asked_and_that_is_told(tmp_path: Path, simulator: RunningSimulator) -> None:
    inquiry = Inquiry(simulator, tmp_path / "none")
    facts = inquiry.gather()

    assert facts.source is Source.API
    assert inquiry.told[0] == f"there is no state in {tmp_path / 'none'}, the API is asked instead"
    assert "reading the names of api keys" in inquiry.told
    assert not (tmp_path / "none").exists()


def test_the_bill_is_asked_for_from_the_first_of_the_month_or_for_the_last_days_if_that_is_longer(
    tmp_path: Path, simulator: RunningSimulator
) -> None:
    for days_ago, first in ((0, "2026-11-01"), (10, "2026-10-26")):
        inquiry = Inquiry(simulator, tmp_path, "")
        inquiry.gather(Source.API, NOW - days_ago * SECONDS_PER_DAY)
        assert f"reading costs from {first} to today" in inquiry.told


@pytest.mark.parametrize("source", Source)
def test_budgets_are_told_of_the_whole_month(simulator: RunningSimulator, state: Path, source: Source) -> None:
    told = Inquiry(simulator, state, "budgets: [{budget: all, limit_usd: 5}]").report(source)

    month = sum((row["amount"] for row in true_bill(simulator, days=11)), Decimal(0))
    assert told.by("BUDGETS", "budget", "all")["billed USD"] == f"{month:,.2f}"
    assert "known from" not in told["BUDGETS"]


def test_only_the_names_and_dimensions_that_the_rules_need_are_asked_for(
    tmp_path: Path, simulator: RunningSimulator
) -> None:
    inquiry = Inquiry(simulator, tmp_path, "workflows: [{workflow: it, match: {project: core}}]")
    facts = inquiry.gather(Source.API)

    assert [line for line in inquiry.told if "names" in line] == ["reading the names of projects"]
    assert facts.accounts["costs"].grouping == ("project_id", "line_item")


def test_a_grouping_that_the_api_refuses_is_done_without_and_told(tmp_path: Path, simulator: RunningSimulator) -> None:
    simulator.simulator.set_faults(Faults(refuse_groupings={"costs": ["api_key_id"]}))
    told = Inquiry(simulator, tmp_path).report(Source.API)

    assert "rows of the bill do not tell API keys, which rules look at: the API refused" in told.flat("FACTS")
    science = told.by("UNMAPPED", "why", "may be workflows.1, .2: the API refused to tell API keys")
    assert science["project"] == "data-science, API key unknown"
    true_total = sum((row["amount"] for row in true_bill(simulator)), Decimal(0))
    assert told.by("RULES", "rule", "all")["USD"] == f"{true_total:,.2f}"


def test_what_the_api_does_not_give_is_left_out_and_told(tmp_path: Path, simulator: RunningSimulator) -> None:
    simulator.simulator.set_faults(
        Faults(
            absent_endpoints=["usage/decisions"],
            status=[
                PathStatus(prefix="/v1/organization/usage/images", status=418),
                PathStatus(prefix="/v1/organization/projects", status=403),
            ],
        )
    )
    inquiry = Inquiry(simulator, tmp_path)
    facts = inquiry.gather(Source.API)

    assert [problem.partition(":")[0] for problem in facts.problems] == ["projects", "usage/images"]
    assert "the ids stay without names" in facts.problems[0]
    assert "this organization has no usage/decisions" in inquiry.told
    assert facts.accounts["usage/images"].covered_from is None
    assert facts.accounts["costs"].covered_from is not None


def test_a_request_that_is_repeated_is_told(tmp_path: Path, simulator: RunningSimulator) -> None:
    simulator.simulator.set_faults(Faults(burst_429=Burst(count=1, retry_after=0)))
    inquiry = Inquiry(simulator, tmp_path, "")
    inquiry.gather(Source.API)

    assert "projects: HTTP 429, asking again" in inquiry.told


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        (Faults(revoked=True), "refused the admin key (HTTP 401)"),
        (Faults(missing_scopes=["api.usage.read"]), "costs: OpenAI refused the admin key (HTTP 403)"),
        (
            Faults(status=[PathStatus(prefix="/v1/", status=418)]),
            "gave nothing to explain by: projects: OpenAI refused",
        ),
    ],
)
def test_an_api_that_gives_no_rows_is_nothing_to_explain_by(
    tmp_path: Path, simulator: RunningSimulator, faults: Faults, said: str
) -> None:
    simulator.simulator.set_faults(faults)

    inquiry = Inquiry(simulator, tmp_path)
    with pytest.raises(NothingAtHandError) as caught:
        inquiry.gather(Source.API)

    assert said in str(caught.value)
    # A key that may not read the bill may read no usage either.
    assert any("usage" in line for line in inquiry.told) == ("gave nothing" in said)
    assert simulator.admin_key not in str(caught.value)


def test_where_nobody_answers_the_first_question_no_other_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.explanation.facts.Connection", partial(Connection, sleep=lambda _seconds: None))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    nobody = {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_ADMIN_KEY": "sk-admin-x"}
    inquiry = Inquiry(None, tmp_path, **nobody)

    with pytest.raises(NothingAtHandError, match=r"no connection.*check the base URL, the network and the proxy"):
        inquiry.gather(Source.API)

    assert [line for line in inquiry.told if line.startswith("reading")] == ["reading the names of projects"]


def test_rows_that_could_not_be_read_are_told(tmp_path: Path, simulator: RunningSimulator) -> None:
    async def spoiled(request: Request) -> Response:
        response = await simulator.simulator.handle(request)
        if not request.path.endswith("/costs") or not isinstance(response.body, Sequence):
            return response
        return replace(response, body=(b"".join(response.body).replace(b'"usd"', b'"us dollars!"', 2),))

    with serving_in_thread(spoiled) as (host, port):
        told = Inquiry(simulator, tmp_path, "", OPENAI_BASE_URL=f"http://{host}:{port}/v1").report(Source.API)

    assert "2 rows of costs could not be read" in told.flat("FACTS")


def test_without_state_and_key_both_ways_out_are_told(tmp_path: Path) -> None:
    with pytest.raises(NothingAtHandError) as caught:
        Inquiry(None, tmp_path).gather()
    assert "--storage.path" in str(caught.value)
    assert "OPENAI_ADMIN_KEY" in str(caught.value)
    with pytest.raises(ConfigurationError, match="OPENAI_ADMIN_KEY"):
        Inquiry(None, tmp_path).gather(Source.API)
    with pytest.raises(NothingAtHandError, match=r"--explain\.source=api"):
        Inquiry(None, tmp_path).gather(Source.STATE)
