import re
from decimal import Decimal

import pytest

from exporter.explanation.facts import Facts, Source, attribution_of
from exporter.explanation.report import render_report
from exporter.explanation.survey import Sum, days_at_hand, survey
from exporter.explanation.tables import WIDTH
from exporter.ledger.account import Account
from exporter.ledger.store import DirectoryEntry
from exporter.openai_api.endpoints import ENDPOINTS
from tests.explanation.at_hand import (
    DAY,
    INPUT,
    NAMES,
    NOW,
    OUTPUT,
    TODAY,
    account,
    completions,
    configuration,
    cost,
    facts,
    report,
    why_idle,
)

RULES = """
workflows:
  - {workflow: support-bot, team: care, match: {project: "support-.*"}}
  - {workflow: search, team: platform, match: {project: core, api_key: "search-.*"}}
  - {workflow: chat, match: {project: core, api_key: "chat-.*"}}
  - {workflow: old, match: {project: summer-campaign}}
"""
COSTS = [
    cost("proj_a", "10.006"),
    cost("proj_a", "0.5", OUTPUT),
    cost("proj_b", "7", key="key_1"),
    cost("proj_b", "70", key="key_2"),
    cost("proj_b", "5", key="key_3"),
    cost("proj_b", "2.25"),
    cost("proj_c", "1000"),
    cost("proj_c", "200", OUTPUT),
    cost(None, "-3", "Promotional credit"),
]
USAGE = [completions("proj_a"), completions("proj_b", key="key_2"), completions("proj_b", model="gpt-4o", key="key_2")]


GPT_5 = "gpt-5, gpt-5-2026-03-05"
CHANGED = "USD 1,291.76; it last changed"


# Where the facts are from.


def test_the_report_begins_with_where_the_facts_are_from_and_how_old_they_are() -> None:
    told = report(RULES, facts(COSTS, USAGE))["FACTS"].splitlines()

    assert told == [
        "FACTS",
        "  from    the state in /data, about https://api.example/v1, last written 2026-11-06 09:59 UTC (2 minutes ago)",
        f"  bill    2026-10-30 to 2026-11-06, the last 7 closed days and today so far: 9 rows, {CHANGED} just",
        "          now",
        "  usage   2026-11-03 to 2026-11-06: 3 rows",
        "  names   4 projects, 3 API keys",
    ]


def test_an_old_state_is_explained_by_its_own_newest_days() -> None:
    told = report(RULES, facts(COSTS, USAGE), now=NOW + 40 * DAY)

    assert "(40 days ago)" in told.flat("FACTS")
    assert "bill 2026-10-30 to 2026-11-06, the newest days there are: 9 rows, USD 1,291.76" in told.flat("FACTS")
    assert told.by("RULES", "rule", "all")["USD"] == "1,291.76"


def test_only_the_last_closed_days_and_the_open_one_are_told_of() -> None:
    days = {TODAY - number * DAY: [cost("proj_a", "1")] for number in range(12)}
    accounts = {**facts([]).accounts, "costs": account("costs", days)}
    told = report(RULES, Facts(Source.STATE, "the state", "", NOW, accounts, NAMES))

    assert told.by("RULES", "rule", "workflows.0")["USD"] == "8.00"
    assert "2026-10-30 to 2026-11-06" in told["FACTS"]


def test_a_bill_that_does_not_reach_back_so_far_is_said_to() -> None:
    accounts = {**facts([]).accounts, "costs": account("costs", {TODAY - DAY: [], TODAY: [cost("proj_a", "1")]})}
    told = report(RULES, Facts(Source.STATE, "the state", "", NOW, accounts, NAMES))

    assert "bill 2026-11-05 to 2026-11-06, as far as it was read: 1 rows" in told.flat("FACTS")


def test_the_newest_day_of_any_api_is_the_last_one_told_of() -> None:
    # Just after midnight usage was read again, the bill was not.
    accounts = {**facts([], USAGE).accounts, "costs": account("costs", {TODAY - 9 * DAY: [], TODAY - DAY: COSTS})}
    told = report(RULES, Facts(Source.STATE, "the state", "", NOW, accounts, NAMES))

    assert "bill 2026-10-30 to 2026-11-06, the last 7 closed days and today so far: 9 rows" in told.flat("FACTS")
    assert told.by("RULES", "rule", "workflows.0")["usage"] == "1"


def test_a_state_without_rows_says_so() -> None:
    empty = Facts(Source.STATE, "the state in /data", "", NOW, {api: Account(api) for api in ENDPOINTS}, {})

    assert render_report(configuration(RULES), empty, NOW) == "FACTS\n  There are no rows in the state in /data yet.\n"


def test_usage_alone_can_be_explained() -> None:
    accounts = {**facts([], USAGE).accounts, "costs": Account("costs")}
    told = report(RULES, Facts(Source.STATE, "the state", "", NOW, accounts, NAMES))

    assert "bill was not read" in told.flat("FACTS")
    assert told.by("RULES", "rule", "workflows.0")["usage"] == "1"
    assert told.by("RULES", "rule", "workflows.0")["share"] == ""


@pytest.mark.parametrize(
    ("source", "way_out"),
    [
        (Source.STATE, "they were read for other rules, or the API refused. --explain.source=api asks for them now"),
        (Source.API, "the API refused to group by them"),
    ],
)
def test_dimensions_that_the_rules_need_and_the_rows_lack_are_told_with_a_way_out(source: Source, way_out: str) -> None:
    told = report(RULES, facts(COSTS, USAGE, grouping=("project_id", "line_item"), source=source)).flat("FACTS")

    assert f"lacks 9 of 9 rows of the bill do not tell API keys, which rules look at: {way_out}" in told
    assert "user" not in told


def test_ids_without_a_name_are_counted() -> None:
    told = report(RULES, facts([*COSTS, cost("proj_x", "1")], names={"projects": NAMES["projects"]})).flat("FACTS")

    assert (
        "names 4 projects, 0 API keys; no name is known of 1 of the 4 projects in these rows and 3 of the 3 API keys "
        "in these rows"
    ) in told


def test_money_in_another_currency_is_counted_as_rows_and_not_as_dollars() -> None:
    told = report(RULES, facts([*COSTS, cost("proj_a", "1000", currency="eur")]))

    assert "1 rows are in EUR; they count as rows, not as money." in told["FACTS"]
    assert told.by("RULES", "rule", "workflows.0") == {
        "USD": "10.51",
        "share": "0.8%",
        "bill": "3",
        "usage": "0",
        "rule": "workflows.0",
        "workflow": "support-bot",
        "team": "care",
        "conditions": "project=support-.*",
    }


# What each rule takes.


def test_rules_are_told_by_the_money_they_take_with_the_rest_and_the_sum_below() -> None:
    told = report(RULES, facts(COSTS, USAGE))

    assert told["RULES"].startswith("RULES: 3 of 4 take USD 87.51 of 1,291.76, 6.8%\n")
    assert [row[:6] for row in told.cells("RULES")[1:]] == [
        ["70.00", "5.4%", "1", "2", "workflows.2", "chat"],
        ["10.51", "0.8%", "2", "1", "workflows.0", "support-bot"],
        ["7.00", "0.5%", "1", "0", "workflows.1", "search"],
        ["1,204.25", "93.2%", "5", "0", "no rule", "unmapped"],
        ["1,291.76", "100.0%", "9", "3", "all", ""],
    ]
    assert told.by("RULES", "rule", "workflows.2")["team"] == "(none)"


def test_rules_that_take_as_much_stand_in_their_own_order() -> None:
    rules = """
workflows:
  - {workflow: b, match: {line_item: ".*output"}}
  - {workflow: c, match: {project: core}}
  - {workflow: a, match: {project: support-bot}}
"""
    told = report(rules, facts([cost("proj_a", "1"), cost("proj_b", "1"), cost("proj_c", "1", OUTPUT)]))

    assert [row[4] for row in told.cells("RULES")[1:4]] == ["workflows.0", "workflows.1", "workflows.2"]


def test_without_rules_everything_is_unmapped() -> None:
    told = report("", facts(COSTS, USAGE))

    assert told["RULES"] == "RULES\n  This configuration has none: everything is unmapped."
    assert "RULES THAT TAKE NOTHING" not in told
    assert told["UNMAPPED"].startswith("UNMAPPED: USD 1,291.76 of 1,291.76\n")


def test_rules_and_the_unmapped_rest_sum_up_to_the_last_decimal() -> None:
    odd = [cost("proj_a", "0.1234567890123456789012345678901234"), cost("proj_b", "1E+17"), cost(None, "-1E-30")]
    parsed = configuration(RULES)
    at_hand = facts(odd)
    days = days_at_hand(at_hand.accounts)
    assert days is not None
    found = survey(attribution_of(parsed, at_hand.names), at_hand.accounts, days)

    exact = Decimal("100000000000000000.123456789012345678901234567889123400")
    assert found.total == Sum(exact, cost_rows=3)
    assert found.by_rule == {0: Sum(Decimal("0.1234567890123456789012345678901234"), cost_rows=1)}
    assert found.unmapped == Sum(Decimal("99999999999999999.999999999999999999999999999999"), cost_rows=2)


def test_nothing_is_wider_than_the_terminal_it_is_made_for() -> None:
    long = "|".join(f"project-number-{number}" for number in range(40))
    names = {"projects": {"proj_a": DirectoryEntry("x" * 500)}, "api_keys": {}, "users": {}}
    told = report(
        f"workflows:\n"
        f"  - {{workflow: {'w' * 128}, team: {'t' * 128}, match: {{project: 'x+|{long}', line_item: '.*, in.*'}}}}\n"
        f"  - {{workflow: idle, match: {{project: '{long}'}}}}\n"
        f"budgets: [{{budget: {'b' * 128}, limit_usd: 1e14, match: {{project: '{long}'}}}}]",
        facts([cost("proj_a", "1e15"), cost("proj_a", "1", "y" * 500), cost("proj_" + "z" * 200, "1")], names=names),
    )

    assert max(map(len, told.text.splitlines())) <= WIDTH
    assert {"RULES", "RULES THAT TAKE NOTHING", "UNMAPPED", "BUDGETS"} <= set(told.sections)


def test_no_name_of_the_organization_reaches_the_terminal_raw() -> None:
    evil = "\x1b[2J\x1b]0;owned\x07\r\u202e"
    names = {
        "projects": {
            "proj_a": DirectoryEntry(evil),
            "proj_b": DirectoryEntry("core"),
            "proj_z": DirectoryEntry(f"z{evil}"),
        },
        "api_keys": {"key_1": DirectoryEntry(evil), "key_2": DirectoryEntry(f"search{evil}")},
        "users": {},
    }
    rules = """
workflows:
  - {workflow: search, match: {project: core, api_key: "search"}}
  - {workflow: by-id, match: {project: "pr.*", api_key: ".*"}}
  - {workflow: z, match: {project: "z.*"}}
budgets: [{budget: it, limit_usd: 1, match: {project: "z(?s:.*)"}}]
"""
    rows = [
        cost("proj_a", "1", evil, key="key_1"),
        cost("proj_b", "1", evil, key=f"key{evil}"),
        cost("proj_b", "1", evil, key="key_1"),
        cost(f"proj{evil}", "1", evil, currency=evil),
    ]

    told = report(rules, facts(rows, [completions("proj_a", model=evil)], names=names))

    assert all(character.isprintable() or character == "\n" for character in told.text)
    assert r"\x1b[2J" in told.text


# Why a rule takes nothing.


@pytest.mark.parametrize(
    ("match", "why"),
    [
        ('project: "suport-bot"', "No project is called 'suport-bot'. Nearest: support-bot."),
        ("project: Core", "No project is called 'Core'. But for upper and lower case it matches core; (?i) in front "),
        ("project: proj_bb", "No project has the id 'proj_bb'. Nearest: proj_b, proj_a, proj_c."),
        ('api_key: "serch-[0-9]"', "No API key is called 'serch-[0-9]'. Nearest: search-1."),
        (
            "user: ada",
            "No user is called 'ada'. But for upper and lower case it matches Ada; (?i) in front ignores it. Whether ",
        ),
        ("model: gpt-4", "No model at hand is called 'gpt-4'. It matches only a part of gpt-4o;"),
        ("service_tier: flexx", "No row at hand has the service tier 'flexx'. Nearest: flex."),
        ("line_item: Gpt-5.*", "No line item at hand reads 'Gpt-5.*'. But for upper and lower case it matches"),
        ("project: summer-campaign", "The project summer-campaign (archived) has no rows in these days."),
        ('project: "(none)"', r"No project is called '(none)'. To match '(none)' literally, write '\(none\)'."),
    ],
)
def test_a_condition_that_matches_nothing_is_named_with_what_was_perhaps_meant(match: str, why: str) -> None:
    rows = [*COSTS, cost("proj_a", "1", "flex | gpt-4o, input")]

    assert why_idle(f"workflows: [{{workflow: it, match: {{{match}}}}}]", facts(rows, USAGE)).startswith(why)


def test_a_name_that_begins_as_ids_do_has_to_be_written_otherwise() -> None:
    names = {"projects": {"proj_a": DirectoryEntry("a")}, "api_keys": {"key_1": DirectoryEntry("key_production")}}
    idle = "workflows: [{workflow: it, match: {api_key: 'key_prod.*'}}]"

    assert why_idle(idle, facts([cost("proj_a", "1", key="key_1")], names=names)) == (
        "No API key has the id 'key_prod.*'. The name key_production matches, but a pattern that begins with key_ is "
        "about ids: write [k]ey_… to mean a name."
    )
    written = "workflows: [{workflow: it, match: {api_key: '[k]ey_prod.*'}}]"
    told = report(written, facts([cost("proj_a", "1", key="key_1")], names=names))
    assert told.by("RULES", "rule", "workflows.0")["USD"] == "1.00"


def test_conditions_that_never_meet_in_one_row_are_told_by_what_is_there_instead() -> None:
    rules = "workflows: [{workflow: it, match: {project: core, model: gpt-4o}}]"
    rows = [cost("proj_b", "3", "gpt-5, input"), cost("proj_b", "5", "o3, input"), cost("proj_c", "1", "gpt-4o, input")]

    assert why_idle(rules, facts(rows)) == (
        "Rows that match but for the project: Data Science. Rows that match but for the model: o3, gpt-5."
    )


def test_only_what_surely_meets_the_rest_is_told_as_a_near_miss() -> None:
    rules = "workflows: [{workflow: it, match: {project: core, api_key: 'search-.*'}}]"
    rows = [cost("proj_a", "9"), cost("proj_c", "5", key="key_1"), cost("proj_b", "3", key="key_2")]

    assert why_idle(rules, facts(rows)) == (
        "Rows that match but for the project: Data Science. Rows that match but for the API key: chat-1."
    )


def test_rules_that_take_what_only_might_be_a_rules_are_no_reason_if_there_is_a_better_one() -> None:
    rules = """
workflows:
  - {workflow: batch, match: {project: core, api_key: "batch-.*"}}
  - {workflow: ada, match: {project: core, user: Ada}}
"""
    names = {**NAMES, "users": {**NAMES["users"], "user-2": DirectoryEntry("Bo")}}
    keyed = cost("proj_b", "5", key="key_3")

    assert why_idle(rules, facts([keyed, cost("proj_b", "3", key="key_1", user_id="user-2")], names=names), 1) == (
        "Rows that match but for the user: Bo."
    )
    assert why_idle(rules, facts([keyed]), 1) == "What might be its, workflows.0 takes first."


def test_a_rule_whose_rows_others_take_first_names_them() -> None:
    rules = """
workflows:
  - {workflow: a, match: {project: support-bot}}
  - {workflow: b, match: {project: core}}
  - {workflow: c, match: {project: "Data Science"}}
  - {workflow: it, match: {project: "support-bot|core"}}
"""
    assert why_idle(rules, facts(COSTS), 3) == "What it would take, workflows.0, .1 take first."


def test_a_rule_that_takes_everything_after_rules_that_already_do_names_some() -> None:
    rules = "workflows:\n" + "".join(
        f'  - {{workflow: w{number}, match: {{line_item: "item-{number}"}}}}\n' for number in range(9)
    )
    rows = [cost("proj_a", "1", f"item-{number}") for number in range(9)]

    assert why_idle(f"{rules}  - {{workflow: rest}}\n", facts(rows), 9) == (
        "What it would take, workflows.0, .1, .2 and others take first."
    )


def test_a_rule_behind_one_that_may_take_its_rows_gets_nothing() -> None:
    rules = """
workflows:
  - {workflow: search, match: {project: core, api_key: "search-.*"}}
  - {workflow: core, match: {project: core}}
"""
    at_hand = facts([cost("proj_b", "2.25")])

    assert why_idle(rules, at_hand, 1) == (
        "Whether workflows.0 should take its rows first cannot be told, so nobody gets them."
    )
    assert why_idle(rules, at_hand, 0) == "Whether rows are its cannot be told: the row has no API key."


def test_what_cannot_be_told_names_what_is_not_known() -> None:
    rules = "workflows: [{workflow: it, match: {project: core, api_key: 'search-.*'}}]"

    def why(at_hand: Facts) -> str:
        return why_idle(rules, at_hand).removeprefix("Whether rows are its cannot be told: ")

    assert why(facts([cost("proj_b", "1")])) == "the row has no API key."
    assert why(facts([cost("proj_b", "1", key="key_x")])) == "the name of the API key is not known."
    assert why(facts([cost("proj_x", "1", key="key_1")])) == "the name of the project is not known."
    coarse = ("project_id", "line_item")
    assert why(facts([cost("proj_b", "1")], grouping=coarse)) == "read without API keys."
    assert why(facts([cost("proj_b", "1")], grouping=coarse, source=Source.API)) == "the API refused to tell API keys."
    accounts = {
        **facts([]).accounts,
        "usage/vector_stores": account("usage/vector_stores", {TODAY: [{"project_id": "proj_b", "usage_bytes": 5}]}),
    }
    stored = Facts(Source.STATE, "the state", "", NOW, accounts, NAMES)
    assert why(stored) == "usage/vector_stores tells no API key."


# What is unmapped.


OTHERS = "workflows.1, .2 take other API keys"


def test_unmapped_rows_are_told_by_money_and_only_as_finely_as_a_rule_could_take_them() -> None:
    told = report(RULES, facts(COSTS, [*USAGE, completions("proj_c")]))

    assert told["UNMAPPED"].startswith("UNMAPPED: USD 1,204.25 of 1,291.76\n")
    assert told.cells("UNMAPPED")[1:] == [
        ["1,200.00", "92.9%", "2", "1", "Data Science", f"{INPUT} (+1)", "no rule takes it"],
        ["5.00", "0.4%", "1", "0", "core, API key batch-1", INPUT, f"no rule takes it; {OTHERS}"],
        ["2.25", "0.2%", "1", "0", "core, API key unknown", INPUT, "may be workflows.1, .2: the row has no API key"],
        ["-3.00", "-0.2%", "1", "0", "(none)", "Promotional credit", "no rule takes it"],
    ]


def test_a_rule_for_many_projects_divides_none_of_them() -> None:
    rules = "workflows: [{workflow: it, match: {project: '.*', model: gpt-4o}}]"
    projects = {f"proj_{number}": DirectoryEntry(f"p{number}") for number in range(6)}
    rows = [cost(project, "1", f"{model}, input") for project in projects for model in ("gpt-5", "o3")]

    assert [row[4] for row in report(rules, facts(rows, names={"projects": projects})).cells("UNMAPPED")[1:]] == [
        "p0",
        "p1",
        "p2",
        "p3",
        "p4",
        "p5",
    ]


def test_usage_that_is_not_billed_yet_is_told_by_its_operation() -> None:
    told = report(RULES, facts([], [completions("proj_c")]))

    assert told.cells("UNMAPPED")[1] == [
        *("0.00", "", "0", "1", "Data Science", "completions gpt-5-2026-03-05", "no rule takes it")
    ]


def test_more_groups_than_twenty_are_summed_up() -> None:
    rows = [cost(f"proj_{number:02}", str(number)) for number in range(1, 31)]
    *_, last = cells = report(
        RULES, facts(rows, names={"projects": {f"proj_{n:02}": DirectoryEntry(f"p{n}") for n in range(31)}})
    ).cells("UNMAPPED")

    assert len(cells) == 22
    assert cells[1][4] == "p30"
    assert last[:5] == ["55.00", "11.8%", "10", "0", "10 more"]


def test_nothing_unmapped_is_no_section() -> None:
    told = report("workflows: [{workflow: all}]", facts(COSTS, USAGE))

    assert "UNMAPPED" not in told
    assert told.by("RULES", "rule", "workflows.0")["conditions"] == "none: takes everything"


# Budgets.


IDLE = [
    ("typo", "project=suport-.*", "No project is called 'suport-.*'. Nearest: support-bot."),
    ("old", "workflow=old", "No rule of workflow 'old' takes anything."),
    ("archive", "project=summer-.*", "The project summer-campaign has no rows."),
    ("images", "model=gpt-image.*", f"No model at hand is called 'gpt-image.*'. There are: gpt-4o, {GPT_5}."),
    (
        "both",
        "project=core, workflow=support-bot",
        "Each of its conditions matches something, but never all of them the same row.",
    ),
]


def test_budgets_are_told_by_money_with_those_that_nothing_counts_against() -> None:
    rules = f"""{RULES}
budgets:
  - {{budget: everything, limit_usd: 2000}}
  - {{budget: care, limit_usd: 10, match: {{team: care}}}}
  - {{budget: typo, limit_usd: 10, match: {{project: "suport-.*"}}}}
  - {{budget: old, limit_usd: 10, match: {{workflow: old}}}}
  - {{budget: archive, limit_usd: 10, match: {{project: summer-.*}}}}
  - {{budget: images, limit_usd: 10, match: {{model: "gpt-image.*"}}}}
  - {{budget: both, limit_usd: 10, match: {{project: core, workflow: support-bot}}}}
"""
    told = report(rules, facts(COSTS, USAGE))

    assert "Billed in November 2026 up to 2026-11-06." in told["BUDGETS"]
    titles, *rows = told.cells("BUDGETS")
    assert titles == ["billed USD", "limit", "share", "budget", "scope", "why nothing counts against it"]
    assert rows == [
        ["1,291.76", "2,000.00", "64.6%", "everything", "organization", ""],
        ["10.51", "10.00", "105.1%", "care", "team=care", ""],
        *(["0.00", "10.00", "0.0%", budget, *told] for budget, *told in IDLE),
    ]


def test_a_month_that_is_not_known_from_its_beginning_is_said_to_be() -> None:
    accounts = {**facts([]).accounts, "costs": account("costs", {TODAY - 2 * DAY: [], TODAY: [cost("proj_a", "1")]})}
    told = report("budgets: [{budget: all, limit_usd: 5}]", Facts(Source.STATE, "it", "", NOW, accounts, NAMES))

    assert "Billed in November 2026 up to 2026-11-06, known from 2026-11-04 on." in told["BUDGETS"]


def test_budgets_without_a_bill_come_to_nothing_known() -> None:
    accounts = {**facts([], USAGE).accounts, "costs": Account("costs")}
    told = report("budgets: [{budget: all, limit_usd: 5}]", Facts(Source.STATE, "it", "", NOW, accounts, NAMES))

    assert "The bill of November 2026 was not read yet." in told["BUDGETS"]
    assert told.by("BUDGETS", "budget", "all")["billed USD"] == "-"


# Warnings.


@pytest.mark.parametrize(
    ("pattern", "taken", "better"),
    [
        ("p.*", "Data Science, core, support-bot (USD 1,294.76)", "(?!proj_)(?:p.*)"),
        ("(?!core).*", "core (USD 84.25)", "(?!proj_)(?:(?!core).*)"),
    ],
)
def test_a_pattern_that_takes_rows_by_their_ids_though_it_reads_like_one_of_names_is_warned_of(
    pattern: str, taken: str, better: str
) -> None:
    told = report(f"workflows: [{{workflow: it, match: {{project: '{pattern}'}}}}]", facts(COSTS, USAGE))

    assert told.flat("WARNINGS") == (
        f"WARNINGS - workflows.0: project '{pattern}' reads as if it were about names, but it takes {taken} by their "
        f"ids, which begin with proj_. To mean names only, write '{better}'."
    )
    mended = report(f"workflows: [{{workflow: it, match: {{project: '{better}'}}}}]", facts(COSTS, USAGE))
    assert "WARNINGS" not in mended


@pytest.mark.parametrize("pattern", [".*", "core", "proj_b", "proj_.*", "support-bot|proj_b", "co.*|(?:proj_c)"])
def test_a_pattern_that_means_ids_or_matches_names_is_not_warned_of(pattern: str) -> None:
    assert "WARNINGS" not in report(f"workflows: [{{workflow: it, match: {{project: '{pattern}'}}}}]", facts(COSTS))


@pytest.mark.parametrize("pattern", [".*", ".+", "^.*$", "(?s).*", ".*.*"])
def test_a_key_pattern_that_means_everything_is_warned_of_for_it_leaves_out_rows_without_a_key(pattern: str) -> None:
    rules = f"workflows: [{{workflow: it, match: {{project: core, api_key: '{pattern}'}}}}]"

    assert report(rules, facts(COSTS)).flat("WARNINGS") == (
        f"WARNINGS - workflows.0: api_key '{pattern}' holds for every API key, but not for rows that have none (USD "
        "2.25 in these days). To mean all rows, leave the condition out."
    )


def test_none_in_brackets_is_warned_of_for_it_is_a_group() -> None:
    rules = r"""
workflows:
  - {workflow: a, match: {project: "core|(none)"}}
  - {workflow: b, match: {project: '\(none\)'}}
  - {workflow: c, match: {project: '.?(none).?'}}
budgets: [{budget: b, limit_usd: 1, match: {project: "(none)"}}]
"""
    told = report(rules, facts(COSTS)).flat("WARNINGS")

    assert re.findall(r"(workflows\.\d|budgets\.\d): in project '(.*?)' the brackets", told) == [
        ("workflows.0", "core|(none)"),
        ("budgets.0", "(none)"),
    ]
    assert r"written 'core|\(none\)'." in told


def test_a_good_configuration_is_not_warned_of() -> None:
    assert "WARNINGS" not in report(RULES, facts(COSTS, USAGE))


def test_the_report_is_the_same_whatever_order_the_rows_come_in() -> None:
    assert report(RULES, facts(COSTS[::-1], USAGE[::-1])).text == report(RULES, facts(COSTS, USAGE)).text
