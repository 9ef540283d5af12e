"""The configuration file: what is documented works, all that is wrong is told at once, nothing else ever happens."""

import traceback
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.configuration.durations import parse_duration, render_duration
from exporter.configuration.loading import (
    ConfigurationError,
    load_configuration,
    parse_configuration,
    render_configuration,
)
from exporter.configuration.sections import Configuration

EVERYTHING = """
openai: {base_url: "https://openai.example/v1/", admin_key_file: /run/secrets/openai-admin-key}
polling:
  usage_interval: 2m
  costs_interval: 30m
  directory_interval: 1h
  usage_revision_window: 4d
  costs_revision_window: 7d
labels: {api_key: true, user: true, batch: true, service_tier: true, api_source: true, vector_store: true}
directory: {spend_limits: false, rate_limits: true, api_keys: true, user_emails: true}
limits: {series_per_family: 500}
trace_gateway: {action_group_keys: [group], project_keys: [], label_sets: 50}
scrape_interval: 30s
workflows:
  - {workflow: support-bot, team: customer-care, business_unit: retail, action_group: support, match: {project: "s.*"}}
  - {workflow: search, match: {api_key: "k.*", user: ada, model: "m.*", service_tier: flex, line_item: ".*, input"}}
budgets:
  - {budget: everything, limit_usd: 10000}
  - {budget: some, limit_usd: 0.5, match: {project: p, workflow: search, team: ".+", business_unit: ".+", model: m}}
prices: {"gpt-6-astra": {input: 1.25e-6, input_cached: "1e-7", audio: {output: 2.0e-5}}}
"""


def refused(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_configuration(text, "exporter.yml")
    error = caught.value
    assert str(error).startswith("exporter.yml: ")
    assert all(mistake in str(error) and "\n" not in mistake for mistake in error.mistakes)
    return error.mistakes


def test_every_documented_key_is_taken_over() -> None:
    configuration = parse_configuration(EVERYTHING, "test")
    assert configuration.openai.base_url == "https://openai.example/v1"
    assert configuration.openai.admin_key_file == Path("/run/secrets/openai-admin-key")
    assert configuration.polling.usage_interval == timedelta(minutes=2)
    assert configuration.polling.costs_interval == timedelta(minutes=30)
    assert configuration.polling.directory_interval == timedelta(hours=1)
    assert configuration.polling.usage_revision_window == timedelta(days=4)
    assert configuration.polling.costs_revision_window == timedelta(days=7)
    assert configuration.labels.switched_on == {
        "api_key",
        "user",
        "batch",
        "service_tier",
        "api_source",
        "vector_store",
    }
    assert configuration.limits.series_per_family == 500
    gateway = configuration.trace_gateway
    assert (gateway.action_group_keys, gateway.project_keys, gateway.label_sets) == (("group",), (), 50)
    assert configuration.scrape_interval == timedelta(seconds=30)
    directory = configuration.directory
    assert (directory.spend_limits, directory.rate_limits, directory.api_keys, directory.user_emails) == (
        False,
        True,
        True,
        True,
    )
    first, second = configuration.workflows
    assert (first.workflow, first.team, first.business_unit, first.action_group) == (
        "support-bot",
        "customer-care",
        "retail",
        "support",
    )
    assert first.match.conditions == {"project": "s.*"}
    assert list(second.match.conditions) == ["api_key", "user", "model", "service_tier", "line_item"]
    everything, some = configuration.budgets
    assert (everything.budget, everything.limit_usd, dict(everything.match.conditions)) == (
        "everything",
        Decimal(10_000),
        {},
    )
    assert some.limit_usd == Decimal("0.5")
    assert list(some.match.conditions) == ["project", "workflow", "team", "business_unit", "model"]
    prices = configuration.prices["gpt-6-astra"]
    # What the file says, not the binary number next to it.
    assert (prices.input, prices.input_cached, prices.audio.output) == (
        Decimal("0.00000125"),
        Decimal("0.0000001"),
        Decimal("0.00002"),
    )


def outcome_of(text: str) -> Configuration | ConfigurationError:
    try:
        return parse_configuration(text, "any")
    except ConfigurationError as error:
        return error


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "null\n", "{}", "polling: {}"])
def test_an_empty_file_means_every_default(text: str) -> None:
    assert parse_configuration(text, "test") == Configuration() == load_configuration(None)


def test_the_defaults_are_those_that_are_documented() -> None:
    assert yaml.safe_load(render_configuration(Configuration(), "https://api.openai.com/v1")) == {
        "openai": {"base_url": "https://api.openai.com/v1", "admin_key_file": None},
        "polling": {
            "usage_interval": "1m",
            "usage_idle_interval": "15m",
            "costs_interval": "15m",
            "directory_interval": "30m",
            "usage_revision_window": "3d",
            "costs_revision_window": "3d",
            "requests_per_hour": None,
        },
        "labels": dict.fromkeys(("api_key", "user", "batch", "service_tier", "api_source", "vector_store"), False),
        "directory": {"spend_limits": True, "rate_limits": False, "api_keys": False, "user_emails": False},
        "limits": {"series_per_family": 20_000},
        "trace_gateway": {
            "action_group_keys": ["actionGroup", "action_group"],
            "project_keys": ["projectId", "project_id"],
            "label_sets": 1_000,
        },
        "scrape_interval": "1m",
        "workflows": [],
        "budgets": [],
        "prices": {},
    }


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1), ("90s", 90), ("1h30m", 5_400), ("1d12h", 129_600), ("3d", 259_200)]
)
def test_durations_are_spelled_as_prometheus_spells_them(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value",
    ["", "0s", "0d0h", "60", "-1m", "1 m", "m", "1m1h", "1.5h", "1M", "٣m", "1m\n", 60, True, None, [], "9" * 12 + "d"],
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a duration such as 90s"):
        parse_duration(value)


@given(st.integers(1, 10**9).map(lambda seconds: timedelta(seconds=seconds)))
def test_a_rendered_duration_is_read_back_as_it_was(duration: timedelta) -> None:
    assert parse_duration(render_duration(duration)) == duration


def test_all_mistakes_are_told_at_once_each_with_its_path_and_reason() -> None:
    mistakes = refused(
        "polling: {usage_interval: soon, costs_interval: 2d, directory_interval: 25h, usage_revision_window: 36h,"
        " costs_revision_window: 31d, tempo: fast}\n"
        "labels: {api_key: perhaps}\n"
        "limits: {series_per_family: 0}\n"
        "openai: []\n"
        "labells: {}\n"
    )
    by_place = dict(mistake.split(": ", 1) for mistake in mistakes)
    assert by_place.keys() == {
        "polling.usage_interval",
        "polling.costs_interval",
        "polling.directory_interval",
        "polling.usage_revision_window",
        "polling.costs_revision_window",
        "polling.tempo",
        "labels.api_key",
        "limits.series_per_family",
        "openai",
        "labells",
    }
    assert by_place["polling.usage_interval"] == "a duration such as 90s, 15m, 1h30m or 3d is needed, not 'soon'"
    assert "at most 1d" in by_place["polling.costs_interval"]
    assert "at most 1d" in by_place["polling.directory_interval"]
    assert "whole days from 1d to 30d" in by_place["polling.usage_revision_window"]
    assert "whole days from 1d to 30d" in by_place["polling.costs_revision_window"]
    assert by_place["polling.tempo"].startswith("this key is not known; known here: usage_interval, ")
    sections = "openai, polling, labels, directory, limits, trace_gateway, scrape_interval, workflows, budgets, prices"
    assert by_place["labells"] == f"this key is not known; known here: {sections}"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("polling: 1m", "polling"),
        ("polling: {usage_interval: 60}", "polling.usage_interval"),
        ("polling: {usage_interval: null}", "polling.usage_interval"),
        ("polling: {usage_interval: 999999999999999d}", "polling.usage_interval"),
        ("polling: {usage_interval: " + "9" * 5_000 + "s}", "polling.usage_interval"),
        ("labels: [api_key]", "labels"),
        ("labels: {user: 2}", "labels.user"),
        ("limits: {series_per_family: many}", "limits.series_per_family"),
        ("limits: {series_per_family: yes}", "limits.series_per_family"),
        ("limits: {series_per_family: 1.5}", "limits.series_per_family"),
        ("limits: {series_per_family: .inf}", "limits.series_per_family"),
        ("limits: {series_per_family: 1000001}", "limits.series_per_family"),
        ("openai: {base_url: 5}", "openai.base_url"),
        ("openai: {base_url: openai.example}", "openai.base_url"),
        ("openai: {base_url: 'ftp://openai.example'}", "openai.base_url"),
        ("openai: {admin_key_file: 5}", "openai.admin_key_file"),
        ("scrape_interval: 0s", "scrape_interval"),
        ("scrape_interval: 0x" + "f" * 5_000, "scrape_interval"),
        ("scrape_interval: 2d", "scrape_interval"),
        ("1: 2", "1"),
        ("~: 2", "None"),
    ],
)
def test_a_wrong_value_is_refused_with_its_path(text: str, place: str) -> None:
    [mistake] = refused(text)
    assert mistake.startswith(f"{place}: ")
    assert len(mistake) < 400


@pytest.mark.parametrize(
    "text", ["polling: {}\npolling: {}\n", "labels: {user: true, user: false}", "labels: {user: true, 'user': true}"]
)
def test_a_key_given_twice_is_refused_with_its_place(text: str) -> None:
    [mistake] = refused(text)
    assert "is given twice" in mistake
    assert mistake.startswith("line ")


@pytest.mark.parametrize(
    "text",
    [
        "- a list",
        "just text",
        "42",
        "a: b: c",
        "polling: {",
        "\t- tab",
        "one\n---\ntwo",
        "*nowhere",
        "? [a, b]\n: c",
        "? {a: b}\n: c",
        "<<: 5",
        "labels: !!bool maybe",
        "labels: !!int ''",
        "labels: !!float ''",
        "labels: !!timestamp soon",
        "labels: !!binary ä",
        "labels: !!set {a, b}",
        "labels: =",
        "when: 2026-99-99",
        "polling: !!python/object/apply:os.abort []",
        "polling: !!python/name:os.abort",
        "polling: !unknown {}",
        "[" * 100_000,
        "{a: " * 20_000,
        "\x00\x01\x02",
        "\ufffe",
        '"\\ud800": 1',
        'scrape_interval: "\\ud800"',
        "polling: &p {usage_interval: *p}",
        "&l [*l]",
    ],
)
def test_hostile_yaml_is_refused_like_any_mistake(text: str) -> None:
    assert refused(text)


def test_a_bomb_of_aliases_is_neither_unfolded_nor_printed() -> None:
    lines = ["polling:", "  usage_interval: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    # Seven levels unfold to tens of megabytes: enough to see it, and little enough to survive it.
    lines += [
        f"  {name}: &a{level + 1} [{', '.join([f'*a{level}'] * 10)}]"
        for level, name in enumerate(
            ["costs_interval", "directory_interval", "usage_revision_window", "costs_revision_window", "bang"]
        )
    ]
    lines.append(f"scrape_interval: [{', '.join(['*a5'] * 10)}]")
    mistakes = refused("\n".join(lines))
    assert len(mistakes) == 7
    assert sum(map(len, mistakes)) < 4_000


def test_merged_and_repeated_parts_may_be_used() -> None:
    configuration = parse_configuration("labels: &on {user: &yes true, batch: *yes}\n", "test")
    assert configuration.labels.switched_on == {"user", "batch"}


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
@example("? [a]\n: b")
@example("!!bool x")
def test_any_text_gives_a_configuration_or_a_configuration_error(text: str) -> None:
    assert isinstance(outcome_of(text), Configuration | ConfigurationError)


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.dates()
    | st.sampled_from(["1m", "3d", "1d"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
_sections = {
    name: st.dictionaries(st.sampled_from([*section, "other"]), _values, max_size=3) | _values
    for name, section in {
        "openai": ("base_url", "admin_key_file"),
        "polling": ("usage_interval", "costs_interval", "usage_revision_window"),
        "labels": ("api_key", "user"),
        "limits": ("series_per_family",),
        "scrape_interval": (),
    }.items()
}


@given(st.fixed_dictionaries({}, optional=_sections))
def test_any_document_of_the_right_outline_gives_a_configuration_or_a_configuration_error(
    document: dict[str, object],
) -> None:
    outcome = outcome_of(yaml.safe_dump(document, allow_unicode=True))
    if isinstance(outcome, Configuration):
        outcome = outcome_of(render_configuration(outcome, "https://api.example/v1"))
        assert isinstance(outcome, Configuration)
    else:
        assert outcome.mistakes


_days = st.integers(1, 30).map(lambda days: f"{days}d")
_intervals = st.integers(1, 86_400).map(lambda seconds: render_duration(timedelta(seconds=seconds)))


@given(
    st.fixed_dictionaries(
        {
            "openai": st.fixed_dictionaries(
                {}, optional={"admin_key_file": st.from_regex(r"/[a-z]{1,9}(/[a-z ]{1,9})?", fullmatch=True)}
            ),
            "polling": st.fixed_dictionaries(
                {},
                optional={
                    "usage_interval": _intervals,
                    "usage_idle_interval": _intervals,
                    "requests_per_hour": st.none() | st.integers(60_000, 1_000_000),
                    "costs_interval": _intervals,
                    "directory_interval": _intervals,
                    "usage_revision_window": _days,
                    "costs_revision_window": _days,
                },
            ),
            "labels": st.dictionaries(st.sampled_from(["api_key", "user", "batch"]), st.booleans()),
            "limits": st.fixed_dictionaries({}, optional={"series_per_family": st.integers(1, 1_000_000)}),
            "scrape_interval": _intervals,
        }
    )
)
def test_a_rendered_configuration_is_read_back_as_it_was(document: dict[str, object]) -> None:
    configuration = parse_configuration(yaml.safe_dump(document), "first")
    rendered = render_configuration(configuration, "https://api.example/v1")
    again = parse_configuration(rendered, "second")
    assert again.openai.base_url == "https://api.example/v1"
    assert again.model_copy(update={"openai": configuration.openai}) == configuration
    assert again.openai.admin_key_file == configuration.openai.admin_key_file
    assert render_configuration(again, "https://api.example/v1") == rendered


@pytest.mark.parametrize(
    "text",
    [
        "openai: {base_url: 'https://user:hunter2@openai.example/v1'}",
        "openai: {base_url: 'https://openai.example/v1?key=hunter2'}",
        "openai: {base_url: [hunter2]}",
        "openai: hunter2",
        "openai: {admin_key: hunter2}",
        "admin_key: hunter2",
        "openai: {base_url: {a: hunter2}}",
        "scrape_interval: sk-admin-hunter2",
        "polling: {usage_interval: sk-admin-hunter2}",
        "openai: {sk-admin-hunter2}",
        "sk-admin-hunter2",
        "{sk-admin-hunter2, sk-admin-hunter2}",
    ],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_configuration(text, "exporter.yml")
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value)
    assert "hunter2" not in "".join(caught.value.mistakes)
    if "sk-" not in text:
        # The log redacts what looks like a key, and can know no password.
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_file_that_cannot_be_read_is_told_by_its_path_and_reason(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path, reason in (
        (tmp_path / "missing.yml", "No such file"),
        (tmp_path, "Is a directory"),
        (binary, "it is not UTF-8"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            load_configuration(path)
        assert str(path) in str(caught.value)
        assert reason in str(caught.value)


def test_a_file_is_read_as_its_text(tmp_path: Path) -> None:
    path = tmp_path / "exporter.yml"
    path.write_text(EVERYTHING, encoding="utf-8")
    assert load_configuration(path) == parse_configuration(EVERYTHING, "test")
