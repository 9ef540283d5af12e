import re
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from exporter.configuration.sections import UNMAPPED, WorkflowMatch, WorkflowRule
from exporter.workflows import Decision, Traits, Workflows, is_about_ids

NAMES: Mapping[str, Mapping[str, str]] = {
    "project": {"proj_a": "support-eu", "proj_b": "core"},
    "api_key": {"key_a": "search-1", "key_b": "chat-1"},
    "user": {"user-a": "Ada"},
}
ROW = Traits("proj_b", "key_a", "user-a", "gpt-5-2026-03-05", "default", "gpt-5, input")


def rule(workflow: str, **conditions: str) -> WorkflowRule:
    return WorkflowRule(workflow=workflow, match=WorkflowMatch(**conditions))


def decide(rules: Sequence[WorkflowRule], row: Traits = ROW) -> Decision:
    return Workflows(rules, NAMES).decide(row)


def takes(row: Traits = ROW, /, **conditions: str) -> bool:
    return decide([rule("it", **conditions)], row).workflow == "it"


# What a condition looks at.


@pytest.mark.parametrize(
    ("condition", "pattern"),
    [
        ("project", "co.*"),
        ("project", "proj_b"),
        ("api_key", "search-[0-9]"),
        ("api_key", "key_a"),
        ("user", "A.a"),
        ("user", "user-a"),
        ("model", "gpt-5"),
        ("model", "gpt-5-2026-03-05"),
        ("service_tier", "default|flex"),
        ("line_item", "gpt-5, .*"),
    ],
)
def test_a_condition_matches_a_name_and_an_id_and_a_model_with_and_without_its_date(
    condition: str, pattern: str
) -> None:
    assert takes(**{condition: pattern})


@pytest.mark.parametrize("pattern", ["cor", "ore", "core.+", "proj", "Core", "core\n"])
def test_a_pattern_is_anchored_at_both_ends(pattern: str) -> None:
    assert not takes(project=pattern)
    assert takes(ROW._replace(line_item=pattern), line_item=re.escape(pattern))


def test_a_fine_tuned_model_is_one_in_usage_and_on_the_bill() -> None:
    usage = ROW._replace(model="ft:gpt-4o-2024-08-06:acme::b4x7q2")
    bill = ROW._replace(model="ft-gpt-4o-2024-08-06")

    assert takes(usage, model="ft-gpt-4o")
    assert takes(bill, model="ft-gpt-4o")
    assert takes(usage, model="ft:gpt-4o-.*:acme::.*")
    assert not takes(usage, model="gpt-4o.*")


def test_all_conditions_of_a_rule_must_hold() -> None:
    assert takes(project="core", model="gpt-5", service_tier="default")
    assert not takes(project="core", model="gpt-4", service_tier="default")


def test_no_project_is_called_none_and_takes_part_in_patterns() -> None:
    nowhere = ROW._replace(project_id="")

    assert takes(nowhere, project=r"\(none\)")
    assert takes(nowhere, project="")
    assert takes(nowhere, project=".*")
    assert not takes(nowhere, project="core")
    assert decide([rule("core", project="core")], nowhere).undecided == ()


def test_usage_has_no_line_item_and_some_usage_no_model_which_is_no_doubt() -> None:
    row = ROW._replace(model="", line_item="")

    assert decide([rule("tokens", line_item=".+"), rule("models", model=".+")], row) == Decision(UNMAPPED, None, ())
    assert takes(row, line_item="", model="")


# Which rule decides.


def test_the_first_rule_that_takes_a_row_decides() -> None:
    rules = [rule("support", project="support-.*"), rule("core", project="core"), rule("rest")]

    assert decide(rules) == Decision("core", 1, ())
    assert decide(rules, ROW._replace(project_id="proj_a")) == Decision("support", 0, ())
    assert decide(rules, ROW._replace(project_id="")) == Decision("rest", 2, ())


def test_what_no_rule_takes_is_unmapped() -> None:
    assert decide([]) == Decision(UNMAPPED, None, ())
    assert decide([rule("support", project="support-.*")]) == Decision(UNMAPPED, None, ())
    assert Workflows([], {}).workflow(ROW) == UNMAPPED


SHARED = [rule("search", project="core", api_key="search-.*"), rule("chat", project="core", api_key="chat-.*")]


def test_a_project_that_workflows_share_is_told_apart_by_key() -> None:
    assert decide(SHARED) == Decision("search", 0, ())
    assert decide(SHARED, ROW._replace(api_key_id="key_b")) == Decision("chat", 1, ())


def test_what_cannot_be_told_apart_without_a_key_is_unmapped_and_not_the_next_rules() -> None:
    keyless = ROW._replace(api_key_id=None)

    assert decide(SHARED, keyless) == Decision(UNMAPPED, None, (0, 1))
    assert decide([*SHARED, rule("core", project="core")], keyless) == Decision(UNMAPPED, None, (0, 1))
    assert decide([*SHARED, rule("rest")], keyless._replace(project_id="proj_a")) == Decision("rest", 2, ())


@pytest.mark.parametrize(
    ("condition", "row"),
    [
        ("api_key", ROW._replace(api_key_id=None)),
        ("user", ROW._replace(user_id=None)),
        ("service_tier", ROW._replace(service_tier=None)),
    ],
)
def test_a_trait_that_cannot_be_told_leaves_every_pattern_in_doubt(condition: str, row: Traits) -> None:
    assert decide([rule("it", **{condition: ".*"})], row) == Decision(UNMAPPED, None, (0,))


def test_a_row_is_certain_when_all_rules_it_could_be_taken_by_are_of_one_workflow() -> None:
    keyless = ROW._replace(api_key_id=None)
    rules = [rule("search", api_key="search-.*"), rule("search", api_key="find-.*"), rule("search", project="core")]

    assert decide(rules, keyless) == Decision("search", 2, (0, 1))


def test_a_row_that_may_be_nobodys_is_unmapped_though_only_one_workflow_could_have_it() -> None:
    rules = [rule("search", api_key="search-.*"), rule("search", api_key="find-.*")]

    assert decide(rules, ROW._replace(api_key_id=None)) == Decision(UNMAPPED, None, (0, 1))


def test_rules_after_the_one_that_takes_a_row_raise_no_doubt() -> None:
    rules = [rule("core", project="core"), rule("search", api_key="search-.*")]

    assert decide(rules, ROW._replace(api_key_id=None)) == Decision("core", 0, ())


def test_a_condition_that_does_not_hold_settles_a_rule_whatever_else_cannot_be_told() -> None:
    rules = [rule("search", project="support-.*", api_key="search-.*"), rule("rest")]

    assert decide(rules, ROW._replace(api_key_id=None)) == Decision("rest", 1, ())


@pytest.mark.parametrize(
    ("condition", "row"),
    [
        ("project", ROW._replace(project_id="proj_x")),
        ("api_key", ROW._replace(api_key_id="key_x")),
        ("user", ROW._replace(user_id="user-x")),
    ],
)
def test_an_id_whose_name_is_not_known_is_taken_by_its_id_alone_and_else_in_doubt(condition: str, row: Traits) -> None:
    assert decide([rule("it", **{condition: ".*[-_]x"})], row) == Decision("it", 0, ())
    assert decide([rule("it", **{condition: "search"}), rule("rest")], row) == Decision(UNMAPPED, None, (0,))
    assert Workflows([rule("it", **{condition: "search"})], {}).decide(row) == Decision(UNMAPPED, None, (0,))


ABOUT_IDS = [("project", "proj_", "proj_b"), ("api_key", "key_", "key_a"), ("user", "user-", "user-a")]


@pytest.mark.parametrize(("condition", "beginning", "identifier"), ABOUT_IDS)
@pytest.mark.parametrize("pattern", ["{}x", "{}x.*", "{}[xyz]", "^{}x|{}y", "{}x?", "(?s){}x"])
def test_a_pattern_that_begins_as_ids_do_is_about_ids_whatever_the_name(
    condition: str, beginning: str, identifier: str, pattern: str
) -> None:
    written = pattern.format(beginning, beginning)
    rules = [rule("it", **{condition: written}), rule("rest")]
    named_alike = {condition: {identifier: f"{beginning}x"}}

    assert is_about_ids(condition, written)
    for names in ({}, NAMES, named_alike):
        assert Workflows(rules, names).decide(ROW) == Decision("rest", 1, ())
    taken = ROW._replace(**{f"{condition}_id": f"{beginning}x"})
    assert Workflows(rules, {}).decide(taken) == Decision("it", 0, ())


@pytest.mark.parametrize(("condition", "beginning"), [each[:2] for each in ABOUT_IDS])
@pytest.mark.parametrize("pattern", ["{}x|core", "[{}]x", "(?:{}x)", "a?{}x", ".*", "|{}x"])
def test_a_pattern_that_may_begin_otherwise_is_about_names_too(condition: str, beginning: str, pattern: str) -> None:
    written = pattern.format(beginning)
    unknown = ROW._replace(**{f"{condition}_id": "x"})

    assert not is_about_ids(condition, written)
    assert Workflows([rule("it", **{condition: written + "!"})], {}).decide(unknown).undecided == (0,)


def test_the_beginning_of_one_kind_of_id_says_nothing_about_another() -> None:
    assert not is_about_ids("api_key", "user-frontend")
    assert not is_about_ids("model", "key_.*")
    named = {"api_key": {"key_a": "user-frontend"}}
    assert Workflows([rule("it", api_key="user-.*")], named).workflow(ROW) == "it"


def test_a_missing_key_may_be_one_that_a_pattern_about_ids_means() -> None:
    assert decide([rule("it", api_key="key_b")], ROW._replace(api_key_id=None)) == Decision(UNMAPPED, None, (0,))


def test_a_configuration_written_with_ids_maps_all_while_no_name_can_be_read() -> None:
    rules = [rule("support", project="proj_a"), rule("search", project="proj_b", api_key="key_a"), rule("rest")]

    assert Workflows(rules, {}).decide(ROW) == Decision("search", 1, ())
    assert Workflows(rules, {}).decide(ROW._replace(api_key_id="key_b")) == Decision("rest", 2, ())


def test_standings_are_what_a_decision_is_made_of() -> None:
    workflows = Workflows([*SHARED, rule("rest")], NAMES)

    assert workflows.standings(ROW) == {"project": (0b111, 0b111), "api_key": (0b101, 0b101)}
    assert workflows.standings(ROW._replace(api_key_id=None, project_id="proj_a")) == {
        "project": (0b100, 0b100),
        "api_key": (0b100, 0b111),
    }


def test_the_conditions_are_those_that_any_rule_has() -> None:
    assert Workflows([*SHARED, rule("flex", service_tier="flex"), rule("rest")], NAMES).conditions == {
        "project",
        "api_key",
        "service_tier",
    }
    assert Workflows([rule("rest")], NAMES).conditions == frozenset()


# The shortcuts never change a result: everything is compared with re.fullmatch on everything.


def compiles(pattern: str) -> bool:
    try:
        WorkflowMatch(line_item=pattern)
    except ValidationError:
        return False
    return True


CHARACTERS = "aAbBiIkKsS19-.,_ #\n|(){}[]*+?^$\\\u0130\u0131\u017f\u212aéÉ\u03a3\u03c3\u03c2"
LITTLE = st.sampled_from(
    [
        *CHARACTERS,
        *(rf"\{character}" for character in ".,- #|(){}[]*+?^$\\dDwWsSbBAZ190é"),
        *("[ab]", "[^a]", "[]a]", "[^]a]", r"[\]a]", "[(|)]", r"[\\]", "[a-k]"),
        *(r"\x61", r"\u0061", r"\U00000061", r"\N{LATIN SMALL LETTER A}", r"\141", r"\061", r"\n"),
        *("{1}", "{2,}", "{,2}", "{0,1}", "{,}", "{}", "*?", "+?", "??", "*+", "(?#", "(?:", "(?!", "(?=", "(?<=a)"),
        *("(?i:", "(?-i:", "(?x:", "(?P<g>", "(?P=g)", "(?>", "(?(1)", r"\1", "team-", "ab", "kiss"),
    ]
)


def sewn(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(parts, max_size=4).map("".join),
        st.lists(parts, min_size=2, max_size=3).map("|".join),
        st.tuples(st.sampled_from(["(", "(?:", "(?i:", "(?=", "(?!", "(?x:", "(?>"]), parts).map(
            lambda group: f"{group[0]}{group[1]})"
        ),
        st.tuples(parts, st.sampled_from(["*", "+", "?", "{0}", "{2}", "{,2}", "*?", "?+", "$", "(?#x)*"])).map(
            "".join
        ),
    )


PATTERNS = st.tuples(
    st.sampled_from(["", "", "", "(?i)", "(?x)", "(?s)", "(?m)", "(?a)", "(?ai)", "(?i)(?m)", "^"]),
    st.recursive(LITTLE, sewn, max_leaves=6),
).map("".join)
VALID_PATTERNS = PATTERNS.filter(compiles)
TEXTS = st.text(CHARACTERS, max_size=4) | st.lists(st.sampled_from(["team-", "ab", "kiss", "a", "1"]), max_size=3).map(
    "".join
)


@settings(max_examples=300, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(VALID_PATTERNS, min_size=1, max_size=8), st.lists(TEXTS, min_size=1, max_size=8))
@example(["(?x:a # )\n)b"], ["ab"])
@example(["a(?#x)*b"], ["b"])
@example(["(?i)kiss", "(?i)i"], ["\u212aI\u017fs", "\u0130", "\u0131"])
@example(["(?i)\u03c3", "(?i)é"], ["\u03c2", "É"])
@example([r"\141", r"\1012"], ["a", "A2", "41"])
@example([r"\08", r"(a)\1", "a{,2}b", "a{}", "[]|]b"], ["\x008", "aa", "b", "a{}", "|b"])
def test_a_pattern_takes_what_fullmatch_takes(patterns: list[str], texts: list[str]) -> None:
    together = Workflows([rule(f"{index}", line_item=pattern) for index, pattern in enumerate(patterns)], {})
    alone = [Workflows([rule("it", line_item=pattern)], {}) for pattern in patterns]

    for text in texts:
        row = ROW._replace(line_item=text)
        matching = [index for index, pattern in enumerate(patterns) if re.fullmatch(pattern, text)]
        assert together.decide(row).rule == (matching[0] if matching else None)
        assert [index for index, one in enumerate(alone) if one.workflow(row) == "it"] == matching


PATTERNS_ABOUT_IDS = {"project": ["proj_1", "proj_.*"], "api_key": ["key_1", "key_.*"], "user": ["user-1", "user-.*"]}
"""All that the tests below know of; of another condition each is like any pattern."""


def is_met(condition: str, pattern: str, row: Traits, names: Mapping[str, Mapping[str, str]]) -> bool | None:
    """Say whether a condition holds; None if it cannot be told."""
    trait = {
        "project": row.project_id,
        "api_key": row.api_key_id,
        "user": row.user_id,
        "model": row.model,
        "service_tier": row.service_tier,
        "line_item": row.line_item,
    }[condition]
    if trait is None:
        return None
    if re.fullmatch(pattern, trait) or pattern in PATTERNS_ABOUT_IDS.get(condition, ()):
        return re.fullmatch(pattern, trait) is not None
    if condition == "project" and trait == "":
        return re.fullmatch(pattern, "(none)") is not None
    if condition == "model":
        bare = re.sub(r"^ft:([^:]*).*", r"ft-\1", trait)
        return re.fullmatch(pattern, re.sub(r"(?<=.)-\d\d\d\d-\d\d-\d\d$", "", bare)) is not None
    if condition in ("project", "api_key", "user"):
        name = names[condition].get(trait)
        return None if name is None else re.fullmatch(pattern, name) is not None
    return False


def decided_naively(rules: Sequence[WorkflowRule], names: Mapping[str, Mapping[str, str]], row: Traits) -> Decision:
    in_doubt: list[int] = []
    for index, tried in enumerate(rules):
        answers = [is_met(condition, pattern, row, names) for condition, pattern in tried.match.conditions.items()]
        if False in answers:
            continue
        if None in answers:
            in_doubt.append(index)
            continue
        if all(rules[other].workflow == tried.workflow for other in in_doubt):
            return Decision(tried.workflow, index, tuple(in_doubt))
        break
    return Decision(UNMAPPED, None, tuple(in_doubt))


RULE_PATTERNS = VALID_PATTERNS | st.sampled_from(
    [
        *("a", "b", "ab", "a.*", ".*b", "", "a|b", ".+", r"\(none\)", "x-1", "(?i)A.*", "p1|p2", "a-2026-01-02", "x|a"),
        *("ft-a", "ft-.*", "a|proj_1", "(?:key_1)", *(each for some in PATTERNS_ABOUT_IDS.values() for each in some)),
    ]
)
IDS = st.sampled_from(["p1", "p2", "p3", "a", "proj_1", "key_1", "user-1", "proj_2"])
SHORT = st.sampled_from(
    ["a", "b", "ab", "A", "x-1", "", "a-2026-01-02", "x-1-2026-12-31", "ft:a-2026-01-02:me", "proj_1", "user-1"]
)
RULES = st.lists(
    st.builds(
        lambda workflow, conditions: rule(workflow, **conditions),
        st.sampled_from(["red", "green"]),
        st.dictionaries(st.sampled_from(tuple(WorkflowMatch.model_fields)), RULE_PATTERNS, max_size=3),
    ),
    max_size=6,
)
ROWS = st.builds(
    Traits,
    project_id=IDS | st.just(""),
    api_key_id=IDS | st.none(),
    user_id=IDS | st.none(),
    model=SHORT,
    service_tier=SHORT | st.none(),
    line_item=SHORT,
)


@settings(max_examples=400, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    RULES,
    st.fixed_dictionaries({kind: st.dictionaries(IDS, SHORT, max_size=3) for kind in ("project", "api_key", "user")}),
    st.lists(ROWS, min_size=1, max_size=10),
)
def test_decisions_are_those_of_trying_every_rule_in_order(
    rules: list[WorkflowRule], names: dict[str, dict[str, str]], rows: list[Traits]
) -> None:
    workflows = Workflows(rules, names)

    for row in (*rows, *rows):
        assert workflows.decide(row) == decided_naively(rules, names, row)
        assert workflows.workflow(row) == workflows.decide(row).workflow


# What it costs.

KEYS = {f"key_{number:05}": f"team-{number % 500}-service-{number // 500}" for number in range(10_000)}
MANY_ROWS = [Traits("proj_b", key, None, "gpt-5", "default", "") for key in KEYS]


def many(pattern: Callable[[int], str], number: int) -> list[WorkflowRule]:
    return [rule(f"workflow-{index}", project="core", api_key=pattern(index)) for index in range(number)]


def seconds(rules: Sequence[WorkflowRule]) -> tuple[float, float]:
    """Return what a first and a later poll cost."""
    workflows = Workflows(rules, {**NAMES, "api_key": KEYS})
    stops = [perf_counter()]
    for _ in range(2):
        for row in MANY_ROWS:
            workflows.workflow(row)
        stops.append(perf_counter())
    return stops[1] - stops[0], stops[2] - stops[1]


@pytest.mark.parametrize(
    "pattern", ["team-{}-.*", "^team-{}-.*$", "(?i)Team-{}-.*", "team-{}-service-3", "x|team-{}-.*"]
)
def test_five_hundred_rules_for_ten_thousand_keys_cost_little_more_than_five(pattern: str) -> None:
    few = min(seconds(many(pattern.format, 5)) for _ in range(3))
    lots = min(seconds(many(pattern.format, 500)) for _ in range(3))

    # Trying them all would cost a hundred times as much.
    assert lots[0] < 8 * few[0]


def test_a_later_poll_costs_a_fraction_of_the_first() -> None:
    first, later = min(seconds(many("team-{}-.*".format, 500)) for _ in range(3))

    assert later < first / 2


def test_each_of_ten_thousand_keys_finds_its_own_of_five_hundred_rules() -> None:
    workflows = Workflows(many("team-{}-.*".format, 500), {**NAMES, "api_key": KEYS})

    assert [workflows.decide(row).rule for row in MANY_ROWS] == [number % 500 for number in range(10_000)]
