"""What a configuration says of workflows, budgets and prices: mistakes are told all at once, with path and remedy."""

import pytest

from exporter.configuration.consistency import owners
from exporter.configuration.loading import ConfigurationError, parse_configuration
from exporter.configuration.sections import WorkflowRule


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_configuration(text, "exporter.yml")
    return caught.value.mistakes


@pytest.mark.parametrize(
    ("rule", "place", "reason"),
    [
        ("{match: {project: a}}", "workflows.0.workflow", "field required"),
        (
            "{workflow: w, match: {project: '('}}",
            "workflows.0.match.project",
            "a regular expression is needed: missing )",
        ),
        ("{workflow: w, match: {project: '[[a]'}}", "workflows.0.match.project", "a regular expression is needed"),
        ("{workflow: w, match: {project: 7}}", "workflows.0.match.project", "input should be a valid string"),
        (
            "{workflow: w, match: {projekt: a}}",
            "workflows.0.match.projekt",
            "this key is not known; known here: project, ",
        ),
        ("{workflow: w, teem: a}", "workflows.0.teem", "this key is not known; known here: workflow, team, "),
        ("{workflow: ''}", "workflows.0.workflow", "a name of 1 to 128 printable characters is needed"),
        ("{workflow: ' w'}", "workflows.0.workflow", "a name of 1 to 128 printable characters is needed"),
        ('{workflow: "w\\n"}', "workflows.0.workflow", "a name of 1 to 128 printable characters is needed"),
        ("{workflow: w, team: ''}", "workflows.0.team", "a name of 1 to 128 printable characters is needed"),
        ("{workflow: unmapped}", "workflows.0.workflow", "unmapped is the name of what no rule takes"),
    ],
)
def test_a_bad_rule_is_refused_with_its_path_and_the_reason(rule: str, place: str, reason: str) -> None:
    (mistake,) = mistakes(f"workflows: [{rule}]")
    assert mistake.startswith(f"{place}: {reason}")


@pytest.mark.parametrize(
    ("budget", "place", "reason"),
    [
        ("{budget: b, limit_usd: 0}", "budgets.0.limit_usd", "input should be greater than 0"),
        ("{budget: b, limit_usd: -5}", "budgets.0.limit_usd", "input should be greater than 0"),
        ("{budget: b, limit_usd: .inf}", "budgets.0.limit_usd", "a finite amount of US dollars is needed"),
        ("{budget: b, limit_usd: true}", "budgets.0.limit_usd", "an amount of US dollars is needed"),
        ("{budget: b, limit_usd: much}", "budgets.0.limit_usd", "an amount of US dollars is needed"),
        ("{budget: b}", "budgets.0.limit_usd", "field required"),
        ("{limit_usd: 5}", "budgets.0.budget", "field required"),
        (
            "{budget: b, limit_usd: 5, match: {user: a}}",
            "budgets.0.match.user",
            "this key is not known; known here: project,",
        ),
        ("{budget: b, limit_usd: 5, match: {model: '*'}}", "budgets.0.match.model", "a regular expression is needed"),
    ],
)
def test_a_bad_budget_is_refused_with_its_path_and_the_reason(budget: str, place: str, reason: str) -> None:
    (mistake,) = mistakes(f"budgets: [{budget}]")
    assert mistake.startswith(f"{place}: {reason}")


@pytest.mark.parametrize(
    ("prices", "place", "reason"),
    [
        ("{gpt: {input: -1.0e-6}}", "prices.gpt.input", "input should be greater than or equal to 0"),
        # The price of a million tokens in the place of one's.
        ("{gpt: {input: 1.25}}", "prices.gpt.input", "input should be less than 1"),
        ("{gpt: {audio: {output: 64}}}", "prices.gpt.audio.output", "input should be less than 1"),
        ("{gpt: {cached: 1.0e-6}}", "prices.gpt.cached", "this key is not known; known here: input, input_cached, "),
        # Sums of these would have more digits than are kept.
        ("{gpt: {input: 1.0e-61}}", "prices.gpt.input", "at most 60 decimals are allowed"),
        (f"{{gpt: {{input: '0.{'1' * 300}'}}}}", "prices.gpt.input", "at most 60 decimals are allowed"),
        ("{gpt: {}}", "prices.gpt", "no price is given"),
        ("{gpt: {audio: {}}}", "prices.gpt", "no price is given"),
    ],
)
def test_a_bad_price_is_refused_with_its_path_and_the_reason(prices: str, place: str, reason: str) -> None:
    (mistake,) = mistakes(f"prices: {prices}")
    assert mistake.startswith(f"{place}: {reason}")


@pytest.mark.parametrize("label", ["team", "business_unit", "action_group"])
def test_a_workflow_has_one_owner_of_each_kind(label: str) -> None:
    (mistake,) = mistakes(
        f"""
workflows:
  - {{workflow: search, {label}: one, match: {{project: a}}}}
  - {{workflow: other, {label}: two, match: {{project: b}}}}
  - {{workflow: search, match: {{project: c}}}}
  - {{workflow: search, {label}: two, match: {{project: d}}}}
"""
    )
    assert mistake.startswith(
        f"workflows.3.{label}: 'search' has the {label} 'one' (workflows.0), it cannot have 'two'"
    )


def test_a_rule_that_can_never_be_reached_is_refused() -> None:
    assert mistakes("workflows: [{workflow: a, match: {project: p}}, {workflow: b, match: {project: p}}]") == [
        "workflows.1.match: the same as workflows.0.match, which takes all there is first"
    ]
    assert mistakes("workflows: [{workflow: a}, {workflow: b, match: {project: p}}]") == [
        "workflows.1: never reached, for workflows.0 has no conditions and takes everything; move that one to the end"
    ]
    parse_configuration("workflows: [{workflow: b, match: {project: p}}, {workflow: a}]", "a rest is allowed")


def test_budgets_of_one_name_are_refused() -> None:
    assert mistakes("budgets: [{budget: b, limit_usd: 1}, {budget: c, limit_usd: 1}, {budget: b, limit_usd: 2}]") == [
        "budgets.2.budget: 'b' is the name of budgets.0 too; names must differ"
    ]


def test_a_budget_of_a_workflow_team_or_unit_that_no_rule_gives_is_refused_with_those_that_are_there() -> None:
    rules = "workflows: [{workflow: search, team: platform, match: {project: p}}]\n"
    assert mistakes(rules + "budgets: [{budget: b, limit_usd: 1, match: {team: plat}}]") == [
        "budgets.0.match.team: 'plat' selects nothing; the rules know: (none), platform"
    ]
    assert mistakes("budgets: [{budget: b, limit_usd: 1, match: {workflow: search}}]") == [
        "budgets.0.match.workflow: 'search' selects nothing; the rules know: unmapped"
    ]
    assert mistakes(rules + "budgets: [{budget: b, limit_usd: 1, match: {business_unit: x}}]")
    for selected in ("team: platform", "workflow: unmapped", 'team: "plat.*"', 'business_unit: "\\\\(none\\\\)"'):
        parse_configuration(f"{rules}budgets: [{{budget: b, limit_usd: 1, match: {{{selected}}}}}]", selected)


@pytest.mark.parametrize(
    ("polling", "least"),
    [
        ("", 52),
        ("usage_idle_interval: 1h", 19),
        ("usage_interval: 2h, usage_idle_interval: 1h", 14),
        ("costs_interval: 10s", 408),
    ],
)
def test_a_budget_of_requests_that_carries_not_even_an_idle_organization_is_refused(polling: str, least: int) -> None:
    [mistake] = mistakes(f"polling: {{requests_per_hour: {least - 1}, {polling}}}")
    assert mistake.startswith(f"polling.requests_per_hour: {least - 1} is too little")
    assert f"takes {least};" in mistake
    parse_configuration(f"polling: {{requests_per_hour: {least}, {polling}}}", "test")


def test_every_contradiction_is_told_at_once() -> None:
    told = mistakes(
        "polling: {requests_per_hour: 1}\n"
        "workflows: [{workflow: a, team: x}, {workflow: a, team: y}]\n"
        "budgets: [{budget: b, limit_usd: 1}, {budget: b, limit_usd: 1}]\nprices: {gpt: {}}"
    )
    assert [mistake.partition(":")[0] for mistake in told] == [
        "polling.requests_per_hour",
        "workflows.1.team",
        "workflows.1.match",
        "budgets.1.budget",
        "prices.gpt",
    ]


def test_owners_come_from_any_of_a_workflow_s_rules_and_unmapped_has_none() -> None:
    rules = [WorkflowRule(workflow="w", team="t"), WorkflowRule(workflow="w", business_unit="u")]
    nobody = {"action_group": "(none)", "team": "(none)", "business_unit": "(none)"}
    assert owners(rules) == {"unmapped": nobody, "w": {"action_group": "(none)", "team": "t", "business_unit": "u"}}
