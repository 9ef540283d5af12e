"""Workflows on counters and gauges: each has what its own keys did, through reloads, renames, refusals and restarts."""

from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal

import pytest

from exporter.openai_api.endpoints import ENDPOINTS
from tests.polling.conftest import Start, StartScripted
from tests.polling.living import DAY, HOUR, NANO, Living, Organization
from tests.polling.scripted_organization import Spent, Used
from tests.polling.small_organization import RENAMED

COMPLETIONS = "usage/completions"
MAPPED = r"""
polling: {directory_interval: 1h}
workflows:
  - {workflow: nightly-classification, team: data, match: {project: data-science, api_key: "batch-.*"}}
  # All the rest of the project, but not what has no key: that might be the former's.
  - {workflow: notebooks, team: data, business_unit: corporate, match: {project: data-science}}
  - {workflow: evaluation, team: data, match: {project: evals}}
  - {workflow: employee-copilot, team: workplace, match: {project: "internal-tools|employee-copilot"}}
  - {workflow: research-agent, team: operations, match: {project: research-agents}}
  - {workflow: campaign-studio, match: {project: summer-campaign}}
  # What has no project, but no credits: of the bill what names a model, and all usage, which has no line item.
  - {workflow: legacy-scripts, match: {project: '\(none\)', model: ".+"}}
"""
BY_PROJECT = """
workflows:
  - {workflow: science, team: data, match: {project: "data-science|evals"}}
  - {workflow: research-agent, match: {project: research-agents}}
"""

Shares = dict[str, Decimal]


def shown(living: Living, family: str, **labels: str) -> Shares:
    """Return what a family comes to by workflow, of the series that have these labels."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for found, value in living.samples(family):
        if found.items() >= labels.items():
            sums[found["workflow"]] += Decimal(repr(value))
    return {workflow: amount for workflow, amount in sums.items() if amount}


def owner_by_key(organization: Organization) -> Mapping[tuple[object, object], str]:
    """Return the workflow of each project's keys, and of what has no key where a project has one workflow."""
    owners: dict[tuple[object, object], str] = {}
    by_project: dict[object, set[str]] = defaultdict(set)
    for stream in organization.simulator.simulator.organization.streams:
        names = ENDPOINTS[stream.api].dimensions
        key = stream.dimensions[names.index("api_key_id")] if "api_key_id" in names else None
        by_project[stream.project_id].add(stream.workflow.workflow)
        owners[stream.project_id, key] = stream.workflow.workflow
    for project, workflows in by_project.items():
        owners[project, None] = workflows.pop() if len(workflows) == 1 else "unmapped"
    return owners


def true_shares(  # noqa: PLR0913 - what, of which days, known when
    organization: Organization,
    api: str,
    measure: str,
    days: tuple[int, int],
    *,
    as_of: float,
    without_keys: bool = False,
) -> Shares:
    """Return what each workflow's own keys did on these days, straight from what happened."""
    owners = owner_by_key(organization)
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for row in organization.simulator.simulator.truth(*days, as_of=as_of, apis=[api])[api]:
        owner = owners[row["project_id"], None if without_keys else row["api_key_id"]]
        if row.get("line_item") == "Promotional credit":
            owner = "unmapped"
        amounts = [row["input_tokens"], row["output_tokens"]] if measure == "tokens" else [row[measure]]
        sums[owner] += sum(map(Decimal, amounts))
    return {workflow: amount for workflow, amount in sums.items() if amount}


def day_of(organization: Organization, back: int = 0) -> tuple[int, int]:
    midnight = int(organization.clock()) // DAY * DAY - back * DAY
    return midnight, midnight + DAY


def assert_equal(found: Shares, expected: Shares) -> None:
    assert found.keys() == expected.keys()
    assert {name: (found[name], amount) for name, amount in expected.items() if abs(found[name] - amount) > NANO} == {}


def assert_usage_is_each_workflow_s_own(living: Living, *, without_keys: bool = False) -> None:
    organization = living.organization
    now = organization.clock()
    for family, measure in (("openai_usage_day_tokens", "tokens"), ("openai_usage_day_requests", "num_model_requests")):
        for back, day in enumerate(("today", "yesterday")):
            days = day_of(organization, back)
            true = true_shares(organization, COMPLETIONS, measure, days, as_of=now, without_keys=without_keys)
            assert_equal(shown(living, family, operation="completions", day=day), true)


def test_gauges_of_usage_and_costs_are_each_workflow_s_own(start_small: Start, small: Organization) -> None:
    living = start_small(MAPPED)
    small.clock.advance(12 * HOUR)
    living.poller.poll_due()

    assert_usage_is_each_workflow_s_own(living)
    now = small.clock()
    for back, day in enumerate(("today", "yesterday")):
        true = true_shares(small, "costs", "amount", day_of(small, back), as_of=now)
        assert_equal(shown(living, "openai_cost_day_usd", day=day), true)
        assert {"nightly-classification", "notebooks", "research-agent"} <= true.keys()
    first = day_of(small, 4)[0]
    true = true_shares(small, "costs", "amount", (first, day_of(small)[1]), as_of=now)
    assert_equal(shown(living, "openai_cost_month_usd", month="current"), true)
    credit = [each for each, _ in living.samples("openai_cost_month_usd") if each["line_item"] == "Promotional credit"]
    assert {labels["workflow"] for labels in credit} == {"unmapped"}
    infos = {labels.pop("workflow"): labels for labels, _ in living.samples("openai_workflow_info")}
    assert true.keys() <= infos.keys()
    assert infos["notebooks"] == {"action_group": "(none)", "team": "data", "business_unit": "corporate"}


def test_counters_of_usage_and_costs_are_each_workflow_s_own(start_small: Start, small: Organization) -> None:
    living = start_small(MAPPED)
    living.poller.poll_due()
    began, days = small.clock(), (day_of(small, 3)[0], day_of(small)[1])
    for _ in range(2):
        living.pass_time(2 * HOUR)
    polled = small.clock()
    # New series stand at 0 for a while.
    small.clock.advance(2 * 60)
    living.poller.advance()
    for api, family, measure in (
        (COMPLETIONS, "openai_usage_tokens_total", "tokens"),
        ("costs", "openai_cost_usd_total", "amount"),
    ):
        after = true_shares(small, api, measure, days, as_of=polled)
        before = true_shares(small, api, measure, days, as_of=began)
        operation = {"operation": "completions"} if api == COMPLETIONS else {}
        counted = shown(living, family, **operation)
        held = sum(Decimal(repr(v)) for found, v in living.samples("openai_exporter_held_back") if found["api"] == api)
        none = Decimal(0)
        above = {
            name: counted.get(name, none) - after.get(name, none) + before.get(name, none)
            for name in counted.keys() | after.keys()
        }
        # More than true is only what is held back, which does not say whose it is.
        assert all(amount >= -NANO for amount in above.values()), above
        assert abs(sum(above.values(), none) - held) <= NANO
        assert counted.keys() >= {"notebooks", "employee-copilot", "research-agent", "legacy-scripts"}
    # Sessions are told apart by project alone: what two workflows share is neither's.
    sessions = living.samples("openai_usage_code_interpreter_sessions_total")
    assert {labels["workflow"] for labels, _ in sessions} == {"unmapped", "research-agent"}
    living.assert_exact()


def test_another_mapping_changes_all_gauges_at_once_and_of_counters_only_what_comes_later(
    start_small: Start,
) -> None:
    living = start_small(MAPPED)
    living.poller.poll_due()
    living.pass_time(2 * HOUR)
    living.pass_time(2 * 60)
    counters, before = living.shown(), shown(living, "openai_cost_month_usd", month="current")
    living.reload(BY_PROJECT)

    assert living.shown() == counters
    workflows = {"science", "research-agent", "unmapped"}
    for family in (
        "openai_usage_day_tokens",
        "openai_usage_day_requests",
        "openai_cost_day_usd",
        "openai_cost_month_usd",
    ):
        assert {labels["workflow"] for labels, _ in living.samples(family)} == workflows, family
    assert {labels["workflow"] for labels, _ in living.samples("openai_workflow_info")} == workflows
    after = shown(living, "openai_cost_month_usd", month="current")
    assert after["research-agent"] == before["research-agent"]
    # What had no key is the project's too.
    hidden = after["science"] - before["nightly-classification"] - before["notebooks"] - before["evaluation"]
    assert 0 < hidden < 10
    lost = before["legacy-scripts"] + before["employee-copilot"] - hidden
    assert abs(after["unmapped"] - before["unmapped"] - lost) <= NANO

    living.poller.poll_due()
    living.restart()
    living.poller.poll_due()
    for _ in range(3):
        living.pass_time(2 * HOUR)
    living.pass_time(2 * 60)
    later = living.shown()
    gone = {name for name in counters if 'workflow="notebooks"' in name or 'workflow="nightly' in name}
    assert gone
    assert {name: later[name] for name in gone} == {name: counters[name] for name in gone}
    assert shown(living, "openai_usage_tokens_total")["science"] > 0
    living.assert_exact()


def test_a_project_is_told_apart_by_key_from_the_reload_on_that_needs_it(start_small: Start) -> None:
    living = start_small(BY_PROJECT)
    living.poller.poll_due()
    living.pass_time(2 * HOUR)
    living.reload(MAPPED)
    living.poller.poll_due()

    assert_usage_is_each_workflow_s_own(living)
    living.pass_time(2 * HOUR)
    assert_usage_is_each_workflow_s_own(living)
    living.assert_exact()


def test_work_that_a_refused_grouping_hides_is_unmapped_and_nobody_else_s_and_is_regained(
    start_small: Start, small: Organization
) -> None:
    living = start_small(MAPPED)
    living.poller.poll_due()
    small.set_faults(refuse_groupings={COMPLETIONS: ["api_key_id"]})
    for _ in range(2):
        living.clock.advance(3 * HOUR)
        living.poller.poll(COMPLETIONS)
        assert_usage_is_each_workflow_s_own(living, without_keys=True)
    assert shown(living, "openai_usage_day_tokens", day="today")["unmapped"] > 0
    grouping = "openai_exporter_grouping_enabled"
    assert living.value(grouping, api=COMPLETIONS, dimension="api_key_id") == 0
    living.restart()
    assert_usage_is_each_workflow_s_own(living, without_keys=True)
    living.clock.advance(3 * HOUR)
    living.poller.poll_due()
    assert_usage_is_each_workflow_s_own(living, without_keys=True)
    living.assert_exact()
    small.set_faults()
    living.clock.advance(DAY)
    living.poller.poll_due()
    assert living.value(grouping, api=COMPLETIONS, dimension="api_key_id") == 1
    assert_usage_is_each_workflow_s_own(living)
    living.assert_exact()


BY_NAME = """
polling: {directory_interval: 30m}
workflows:
  - {workflow: before, match: {project: internal-tools}}
  - {workflow: after, match: {project: employee-copilot}}
"""


def test_a_rule_on_a_project_s_name_holds_as_long_as_the_name_does(start_small: Start) -> None:
    living = start_small(BY_NAME)
    living.poller.poll_due()
    living.clock.set(RENAMED - 60)
    living.poller.poll_due()
    assert shown(living, "openai_cost_month_usd").keys() == {"before", "unmapped"}
    before = shown(living, "openai_cost_month_usd")["before"]
    living.pass_time(31 * 60)
    # The whole month, as soon as the name is known.
    assert shown(living, "openai_cost_month_usd").keys() == {"after", "unmapped"}
    assert shown(living, "openai_usage_day_tokens", day="yesterday").keys() == {"after", "unmapped"}
    assert abs(shown(living, "openai_cost_month_usd")["after"] - before) < before / 10
    living.pass_time(2 * 60)
    counted = shown(living, "openai_usage_tokens_total")["before"]
    living.pass_time(2 * HOUR)
    living.pass_time(2 * 60)
    tokens = shown(living, "openai_usage_tokens_total")
    assert tokens["before"] == counted
    assert tokens["after"] > 0
    living.assert_exact()


# The same in figures worked out by hand.

SHARED = """
directory: {spend_limits: false}
workflows:
  - {workflow: search, match: {project: core, api_key: "search-.*"}}
  - {workflow: batch, match: {project: core}}
"""
ONE = "directory: {spend_limits: false}\nworkflows: [{workflow: core, match: {project: core}}]"


def test_growth_is_posted_under_the_mapping_of_its_moment_and_nothing_is_posted_twice(
    start_scripted: StartScripted,
) -> None:
    exporter = start_scripted(ONE)
    organization = exporter.organization
    organization.keys["key_2"] = "proj_a", "nightly"
    organization.used = [Used(100), Used(50, "key_2")]
    organization.spent = [Spent("1"), Spent("0.5", key="key_2")]
    exporter.pass_time()
    organization.used = [Used(110), Used(55, "key_2")]
    exporter.pass_time(900)
    assert exporter.counted() == {"core": 15}
    for configuration in (SHARED, ONE, SHARED):
        exporter.reload(configuration)
        exporter.pass_time()
        exporter.pass_time(900)
    assert {name: count for name, count in exporter.counted().items() if count} == {"core": 15}
    organization.used = [Used(117), Used(58, "key_2")]
    organization.spent = [Spent("3"), Spent("1.5", key="key_2")]
    exporter.pass_time(900)

    assert exporter.counted() == {"core": 15, "search": 7, "batch": 3}
    # Four days are read anew: two dollars more, and one.
    assert exporter.counted(family="openai_cost_usd_total") == {"core": 0, "search": 8, "batch": 4}
    today = exporter.gauge("openai_usage_day_tokens", "workflow", day="today")
    assert today == {"search": 117, "batch": 58}
    exporter.reload(ONE)
    assert exporter.gauge("openai_usage_day_tokens", "workflow", day="today") == {"core": 175}


@pytest.mark.parametrize("restarted", [False, True])
def test_a_fall_that_is_held_back_over_a_reload_is_absorbed_once(
    start_scripted: StartScripted, *, restarted: bool
) -> None:
    exporter = start_scripted(ONE)
    organization = exporter.organization
    organization.keys["key_2"] = "proj_a", "nightly"
    organization.used = [Used(100), Used(50, "key_2")]
    exporter.pass_time()
    organization.used = [Used(130), Used(50, "key_2")]
    exporter.pass_time(900)
    organization.used = [Used(110), Used(50, "key_2")]
    exporter.pass_time(900)
    assert exporter.counted() == {"core": 30}
    exporter.reload(SHARED)
    if restarted:
        exporter.restart()
    organization.used = [Used(125), Used(70, "key_2")]
    exporter.pass_time(900)

    # 20 of the 35 were counted before.
    assert sum(exporter.counted().values()) == 30 + 15
    assert exporter.counted()["core"] == 30
