"""What fuzzing found, shrunk: each was an exception, a hang, or a page that nobody could read."""

import gzip
from pathlib import Path

import pytest

from exporter.configuration.durations import parse_duration
from exporter.configuration.loading import ConfigurationError, parse_configuration
from exporter.openai_api.directory import Directory
from exporter.openai_api.projects import Project
from exporter.openai_api.refusal import Refusal, earliest_start
from exporter.trace_gateway.decoding import decoded
from exporter.trace_gateway.model_calls import Unreadable
from exporter.web.limits import Limits
from exporter.web.places import Places
from exporter.web.web_configuration import parse_web_configuration
from tests.openai_api.stand_ins import pages

HASH = "$2y$04$abcdefghijklmnopqrstuuxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"


def mistakes_of(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        parse_configuration(text, "test")
    return error.value.mistakes


def web_mistakes_of(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        parse_web_configuration(text.encode(), Path("web.yml"))
    return error.value.mistakes


@pytest.mark.parametrize(
    "place", ["min_version: []", "max_version: {}", "cipher_suites: [[]]", "curve_preferences: [{}]"]
)
def test_a_list_where_a_word_of_tls_belongs_is_a_mistake(place: str) -> None:
    """A TypeError, and while running it refused every connection."""
    (mistake, *_) = web_mistakes_of(f"tls_server_config: {{cert_file: a, key_file: b, {place}}}")
    assert mistake.startswith(f"tls_server_config.{place.partition(':')[0]}")


@pytest.mark.parametrize("name", [r"\ud800", r"\x00", r"a\n"])
def test_a_user_with_half_a_character_or_a_control_character_is_a_mistake(name: str) -> None:
    """Every request was answered with 500."""
    (mistake,) = web_mistakes_of(f'basic_auth_users: {{"{name}": "{HASH}"}}')
    assert mistake == "basic_auth_users: a user's name cannot hold control characters"


def test_half_a_character_in_a_pattern_is_a_mistake() -> None:
    """It came to the page by the label `scope`, and no page could be made."""
    (mistake,) = mistakes_of(r'budgets: [{budget: all, limit_usd: 1, match: {project: "a\ud800"}}]')
    assert mistake.startswith("budgets.0.match.project: a regular expression is needed: half a character")


def test_merges_that_unfold_to_more_than_memory_holds_are_a_mistake() -> None:
    """Nine lines took hours and all the memory there was."""
    lines = ["a: &a {x: 1}"]
    lines += [
        f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 10)}]}}"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    (mistake,) = mistakes_of("\n".join(lines))
    assert mistake == "line 6, column 8: more than 100000 keys are merged by <<"


@pytest.mark.parametrize("level", ["[", "{a: ", "- "])
def test_a_text_of_a_thousand_levels_is_a_mistake_where_it_begins_to_be_senseless(level: str) -> None:
    """6 KB took half a minute."""
    (mistake,) = mistakes_of(level * 1_000)
    assert mistake.startswith("line 1, column ")
    assert mistake.endswith(": more than 50 levels are nested")


@pytest.mark.parametrize("text", ["9999999h", "99999d1440m", "9999999999s"])
def test_a_duration_of_more_days_than_can_be_spelled_is_none(text: str) -> None:
    """What was shown of it could not be read again."""
    with pytest.raises(ValueError, match="a duration such as"):
        parse_duration(text)


def test_merges_within_reason_hold() -> None:
    text = "workflows: [&a {workflow: a, team: x, match: {model: m}}, {<<: [*a, *a], workflow: b, match: {model: n}}]"
    assert [(rule.workflow, rule.team) for rule in parse_configuration(text, "test").workflows] == [
        ("a", "x"),
        ("b", "x"),
    ]


@pytest.mark.parametrize("text", [r'"\e[2J": 1', r'labels: {"\e[2J": 1}', r'limits: {series_per_family: "\e[2J"}'])
def test_what_a_terminal_would_obey_is_escaped_in_a_mistake(text: str) -> None:
    """It cleared the screen of whoever asked `check-config`."""
    (mistake,) = mistakes_of(text)
    assert mistake.isprintable()
    assert r"\x1b[2J" in mistake


def directory_that_says(field: str, number: str) -> Directory:
    entry = f'{{"id": "key_1", "name": "bot", "model": "m", "{field}": {number}}}'
    return Directory(pages(f'{{"data": [{entry}, {{"id": "key_2", "model": "n"}}], "has_more": false}}'.encode()))


@pytest.mark.parametrize("number", ["1e999999999", "1e6000", "9" * 400, str(2**63), str(-(2**63))])
def test_an_entry_of_the_directory_with_a_number_beyond_all_times_is_left_out(number: str) -> None:
    """It was written out: digits for hours, or a page that Prometheus refused as a whole."""
    for field in ("created_at", "expires_at", "last_used_at"):
        assert [key.id for key in directory_that_says(field, number).api_keys("proj_a")] == ["key_2"]
    assert [project.id for project in directory_that_says("archived_at", number).projects()] == ["key_2"]
    for field in ("max_tokens_per_1_minute", "max_requests_per_1_minute"):
        limits = directory_that_says(field, number).rate_limits([Project("proj_a", "A", "active")])
        assert [limit.model for limit in limits] == ["n"]


class Client:
    """A connection that may be cut."""

    was_cut = False

    def cut(self) -> None:
        self.was_cut = True


def test_a_client_that_waits_again_no_longer_stalls() -> None:
    """It was cut for a newcomer, and the newcomer was answered beside one too many."""
    places = Places(Limits(max_connections=3, requests_in_flight=1))
    stalled, busy = Client(), Client()
    for client in (stalled, busy):
        places.enter(client)
    assert places.begin_answer(stalled)
    places.stall(stalled)
    places.wait(stalled)
    assert places.begin_answer(busy)
    assert not places.begin_answer(stalled)
    assert not stalled.was_cut


def test_a_refusal_that_says_earliest_thousands_of_times_is_read_in_no_time() -> None:
    """64 KiB took seven seconds, and every scrape waited; these would take as long as a test may."""
    words = "earliest" * 100_000
    assert earliest_start(Refusal(words, code="reporting_lookback_exceeded")) is None
    assert earliest_start(Refusal(f"{words}: 2026-08-01", code="reporting_lookback_exceeded")) == 1_785_542_400


def test_a_body_of_a_hundred_thousand_empty_gzip_members_is_given_up() -> None:
    """8 MiB of them took minutes."""
    member = gzip.compress(b"", mtime=0)
    with pytest.raises(Unreadable, match="encoding"):
        decoded(member * 100_000, "gzip")
    assert decoded(gzip.compress(b"[") + member * 50 + gzip.compress(b"]"), "gzip") == b"[]"
