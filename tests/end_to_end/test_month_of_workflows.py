"""Whose money a month's bill is: however it is cut, the parts sum to the bill, and no part is a guess."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal

import pytest

from exporter.openai_api.endpoints import ENDPOINTS
from exporter.simulator.clock import SettableClock
from exporter.simulator.command import EXAMPLE_CONFIGURATION
from exporter.simulator.organization import Organization as SimulatedOrganization
from exporter.simulator.price_list import DISCOUNT
from exporter.simulator.server import running_simulator
from tests.polling.living import Living, Organization

HOUR, DAY = 3_600, 86_400
FIRST = 1_790_812_800  # 2026-10-01 00:00 UTC
BEGAN = FIRST - 2 * DAY
NEXT_MONTH = FIRST + 31 * DAY
NANO = Decimal("1e-9")
# Each poll costs. This one comes at all times of day.
STEP = 20 * HOUR

# The mapping that the demonstration runs with; the intervals do not matter, for every poll here is asked for.
BY_KEY = EXAMPLE_CONFIGURATION.read_text(encoding="utf-8")
BY_PROJECT = """
workflows:
  - {workflow: support, team: care, business_unit: retail, action_group: help, match: {project: "support-.*"}}
  - {workflow: the rest, team: others, match: {project: ".+"}}
"""
BY_PROJECT_ALONE = "mapped by project alone"
BY_KEY_TOO = "after a reload, told apart by key"
RENAMED = "after a project was renamed"
REFUSED = "while the grouping by key is refused"
RESTARTED = "after a restart"
REGAINED = "with the grouping by key regained"
MONTH_END = "at the month's end"
STAGES = (BY_PROJECT_ALONE, BY_KEY_TOO, RENAMED, REFUSED, RESTARTED, REGAINED, MONTH_END)

# The two workflows of one project; its rows without a key are of either.
SHARED = {"nightly-classification", "notebooks"}

Shares = Mapping[str, Decimal]


class Stage:
    """What one moment of the month showed, and the truth of that moment."""

    def __init__(
        self, living: Living, owner_by_key: Mapping[tuple[object, object], str], billed_before: Decimal
    ) -> None:
        month = [
            (labels, Decimal(repr(value)))
            for labels, value in living.samples("openai_cost_month_usd")
            if labels["month"] == "current"
        ]
        owners = {labels["workflow"]: labels for labels, _ in living.samples("openai_workflow_info")}
        self.by_workflow = _by("workflow", month)
        self.by_owner = {
            label: _by(label, [(owners[labels["workflow"]], value) for labels, value in month])
            for label in ("team", "business_unit", "action_group")
        }
        simulator = living.organization.simulator.simulator
        now = living.clock()
        rows = simulator.truth(FIRST - DAY * 32, NEXT_MONTH, as_of=now, apis=["costs"])["costs"]
        this_month = [row for row in rows if int(row["bucket"]) >= FIRST]
        self.bill = _total(this_month)
        self.true_by_workflow = _by(
            "workflow",
            [
                ({"workflow": owner_by_key.get((row["project_id"], row["api_key_id"]), "unmapped")}, row["amount"])
                for row in this_month
            ],
        )
        costs = [counter.value for name, counter in living.ledger.book.counters.items() if "cost" in name.family]
        held = [value for values in living.ledger.accounts["costs"].held.values() for value in values]
        self.prices = {
            (labels["model"], labels["token_type"], labels["modality"], labels["service_tier"]): (
                labels["source"],
                value,
            )
            for labels, value in living.samples("openai_effective_price_usd_per_token")
        }
        self.unpriced = living.samples("openai_exporter_unpriced_tokens")
        self.budgets = {
            labels["budget"]: (labels["scope"], Decimal(repr(value)))
            for labels, value in living.samples("openai_budget_spend_usd")
        }
        self.estimated = {
            labels["budget"]: Decimal(repr(value))
            for labels, value in living.samples("openai_budget_estimated_spend_usd")
        }
        self.counted = sum(map(Decimal, costs), Decimal(0)) - sum(map(Decimal, held), Decimal(0))
        self.grown = _total(rows) - billed_before


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Stage]:
    """A month of an exporter's life, told once for all tests."""
    clock = SettableClock(BEGAN)
    with running_simulator(clock=clock, renamed_at=FIRST + 8 * DAY) as simulator:
        organization = Organization(clock, simulator)
        living = Living(organization, tmp_path_factory.mktemp("month"), BY_PROJECT)
        owner_by_key = _owners(simulator.simulator.organization)
        before = simulator.simulator.truth(FIRST - DAY * 32, NEXT_MONTH, as_of=BEGAN, apis=["costs"])["costs"]
        billed_before = _total(before)
        seen: dict[str, Stage] = {}

        def poll() -> None:
            living.poller.advance()
            for api in ("projects", "api_keys", "costs"):
                living.poller.poll(api)

        def note(stage: str) -> None:
            seen[stage] = Stage(living, owner_by_key, billed_before)

        def live_until(moment: int, stage: str | None = None) -> None:
            while clock() < moment:
                clock.set(min(clock() + STEP, moment))
                poll()
            if stage is not None:
                note(stage)

        try:
            poll()
            live_until(FIRST + 5 * DAY, BY_PROJECT_ALONE)
            living.reload(BY_KEY)
            poll()
            note(BY_KEY_TOO)
            live_until(FIRST + 11 * DAY, RENAMED)
            organization.set_faults(refuse_groupings={"costs": ["api_key_id"]})
            live_until(FIRST + 13 * DAY, REFUSED)
            living.restart()
            poll()
            note(RESTARTED)
            organization.set_faults()
            live_until(FIRST + 17 * DAY, REGAINED)
            live_until(NEXT_MONTH - 2 * HOUR)
            living.poll_all()
            live_until(NEXT_MONTH - HOUR, MONTH_END)
        finally:
            living.exporter.close()
    return seen


@pytest.mark.parametrize("stage", STAGES)
def test_a_month_by_workflow_team_business_unit_and_action_group_sums_to_the_bill(
    stages: Mapping[str, Stage], stage: str
) -> None:
    seen = stages[stage]
    assert seen.bill > 1000
    for shares in (seen.by_workflow, *seen.by_owner.values()):
        assert len(shares) > 1
        assert abs(sum(shares.values()) - seen.bill) <= NANO


@pytest.mark.parametrize("stage", STAGES)
def test_what_was_counted_is_what_the_bill_grew_by_whatever_the_mapping(
    stages: Mapping[str, Stage], stage: str
) -> None:
    assert abs(stages[stage].counted - stages[stage].grown) <= NANO


@pytest.mark.parametrize("stage", [BY_KEY_TOO, RENAMED, REGAINED, MONTH_END])
def test_each_workflow_of_the_month_has_exactly_its_money_and_what_has_no_key_stays_unmapped(
    stages: Mapping[str, Stage], stage: str
) -> None:
    seen = stages[stage]
    assert seen.by_workflow.keys() == seen.true_by_workflow.keys()
    assert len(seen.by_workflow) > 12
    for workflow, true in seen.true_by_workflow.items():
        assert abs(seen.by_workflow[workflow] - true) <= NANO, workflow


@pytest.mark.parametrize("stage", [REFUSED, RESTARTED])
def test_what_a_refused_grouping_hides_is_unmapped_and_goes_to_no_other_workflow(
    stages: Mapping[str, Stage], stage: str
) -> None:
    seen = stages[stage]
    for workflow, true in seen.true_by_workflow.items():
        if workflow not in {*SHARED, "unmapped"}:
            assert abs(seen.by_workflow[workflow] - true) <= NANO, workflow
    for workflow in SHARED:
        assert seen.by_workflow[workflow] < seen.true_by_workflow[workflow] - 1
    assert seen.by_workflow["unmapped"] > seen.true_by_workflow["unmapped"] + 1


@pytest.mark.parametrize(
    ("model", "token_type", "modality", "per_million"),
    [
        ("gpt-5.4-2026-03-05", "input", "text", "1.25"),
        ("gpt-5.4-2026-03-05", "input_cached", "text", "0.125"),
        ("gpt-4o-mini-2024-07-18", "output", "unspecified", "0.6"),
        ("gpt-realtime-2025-08-28", "input", "audio", "32"),
        ("gpt-realtime-2025-08-28", "output", "audio", "64"),
        ("gpt-realtime-2025-08-28", "input", "text", "4"),
        # Usage and the bill spell these three differently.
        ("gpt-image-1-2025-04-23", "output", "image", "40"),
        ("gpt-image-2", "input", "image", "8"),
        ("ft:gpt-4o-2024-08-06:acme::b4x7q2", "input_cached", "text", "1.875"),
        ("text-embedding-3-small", "input", "unspecified", "0.02"),
    ],
)
def test_a_token_costs_what_the_organization_s_own_bill_says_discount_included(
    stages: Mapping[str, Stage], model: str, token_type: str, modality: str, per_million: str
) -> None:
    source, price = stages[MONTH_END].prices[model, token_type, modality, ""]
    contract = Decimal(per_million) * DISCOUNT / 1_000_000
    assert source == "billed"
    assert abs(Decimal(repr(price)) / contract - 1) < Decimal("1e-9")


def test_every_model_with_tokens_has_a_price(stages: Mapping[str, Stage]) -> None:
    assert stages[MONTH_END].unpriced == []


def test_budgets_show_what_they_are_about_and_what_was_billed_this_month(stages: Mapping[str, Stage]) -> None:
    seen = stages[MONTH_END]
    scopes = {budget: scope for budget, (scope, _) in seen.budgets.items()}
    billed = {budget: usd for budget, (_, usd) in seen.budgets.items()}
    assert scopes == {
        "everything": "organization",
        "customer care": "team=customer-care",
        "research": "workflow=research-agent",
        "image models": "model=gpt-image-.*",
    }
    assert abs(billed["everything"] - seen.bill) <= NANO
    assert abs(billed["customer care"] - seen.by_owner["team"]["customer-care"]) <= NANO
    assert abs(billed["research"] - seen.by_workflow["research-agent"]) <= NANO
    assert 0 < billed["image models"] < seen.bill


def test_what_the_bill_does_not_hold_yet_is_estimated(stages: Mapping[str, Stage]) -> None:
    seen = stages[MONTH_END]
    # The bill of the day is hours behind. A day costs about a thirtieth of the month.
    missing = seen.estimated["everything"] - seen.bill
    assert seen.bill / 300 < missing < seen.bill / 15
    assert seen.estimated["research"] > seen.by_workflow["research-agent"]


def _owners(organization: SimulatedOrganization) -> dict[tuple[object, object], str]:
    """Return the workflow of each key, and of each project's rows without one where the project has just one."""
    owner_by_key: dict[tuple[object, object], str] = {}
    owners_by_project: dict[object, set[str]] = defaultdict(set)
    for stream in organization.streams:
        names = ENDPOINTS[stream.api].dimensions
        key = stream.dimensions[names.index("api_key_id")] if "api_key_id" in names else None
        owners_by_project[stream.project_id].add(stream.workflow.workflow)
        if key is not None or stream.project_id is None:
            owner_by_key[stream.project_id, key] = stream.workflow.workflow
    return owner_by_key | {
        (project, None): next(iter(owners)) if len(owners) == 1 else "unmapped"
        for project, owners in owners_by_project.items()
    }


def _by(label: str, samples: Iterable[tuple[Mapping[str, str], Decimal]]) -> dict[str, Decimal]:
    shares: dict[str, Decimal] = defaultdict(Decimal)
    for labels, value in samples:
        shares[labels[label]] += value
    return dict(shares)


def _total(rows: Iterable[Mapping[str, Decimal]]) -> Decimal:
    return sum((row["amount"] for row in rows), Decimal(0))
