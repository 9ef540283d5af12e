"""A key that OpenAI refuses is not sent again, and another one is used as soon as it is there."""

import logging
from collections import Counter

import pytest

from exporter.openai_api.endpoints import ENDPOINTS
from tests.polling.conftest import Start
from tests.polling.living import HOUR, MINUTE, Living, Organization


def put_key(living: Living, key: str) -> None:
    living.key_file.write_text(f"{key}\n", encoding="utf-8")


def put_right_key(living: Living) -> None:
    put_key(living, living.organization.simulator.admin_key)


def test_a_revoked_key_is_told_once_per_api_and_never_sent_again(
    start: Start, organization: Organization, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "exporter.polling")
    living = start("")
    living.poller.poll_due()
    caplog.clear()
    organization.set_faults(revoked=True)
    living.pass_time(HOUR)
    asked = living.requests()
    before = living.counters()
    for _ in range(60):
        living.pass_time(MINUTE)
    assert living.requests() == asked
    assert living.counters() == before
    assert living.value("openai_exporter_auth_failed") == 1
    assert living.value("openai_up") == 0
    lines = Counter(record.__dict__["api"] for record in caplog.records)
    assert lines.keys() == {*ENDPOINTS, "projects", "spend_limits"}
    assert set(lines.values()) == {1}
    assert all("sk-" not in record.__dict__["problem"].replace("sk-admin-...", "") for record in caplog.records)


@pytest.mark.parametrize("absent", [[], ["usage/decisions"]])
def test_another_key_in_the_file_mends_all_within_half_a_minute(
    start: Start, organization: Organization, absent: list[str]
) -> None:
    organization.set_faults(absent_endpoints=absent)
    living = start("")
    put_key(living, "sk-admin-old")
    living.poller.poll_due()
    assert living.value("openai_exporter_auth_failed") == 1
    for _ in range(10):
        living.pass_time(MINUTE)
    put_right_key(living)
    living.pass_time(30)
    assert living.value("openai_exporter_auth_failed") == 0
    assert living.value("openai_up") == 1


def test_another_key_that_is_refused_too_is_sent_once(start: Start) -> None:
    living = start("")
    put_key(living, "sk-admin-old")
    living.poller.poll_due()
    asked = living.requests()
    put_key(living, "sk-admin-older")
    for _ in range(10):
        living.pass_time(MINUTE)
    assert living.requests() == 2 * asked
    put_right_key(living)
    living.pass_time(30)
    assert living.value("openai_up") == 1


def test_a_key_rotated_while_the_old_one_is_being_refused_is_used(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    living = start("")
    put_key(living, "sk-admin-old")
    monkeypatch.setattr(living.self_metrics, "answered", lambda *_: put_right_key(living))
    living.poller.poll("costs")
    assert living.success("costs") == 0
    monkeypatch.undo()
    living.pass_time(30)
    assert living.success("costs") == 1


def test_a_key_file_that_vanishes_while_its_key_is_being_refused_fails_the_poll_and_nothing_more(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    living = start("")
    put_key(living, "sk-admin-old")
    monkeypatch.setattr(living.self_metrics, "answered", lambda *_: living.key_file.unlink())
    living.poller.poll("costs")
    assert living.success("costs") == 0
    monkeypatch.undo()
    put_right_key(living)
    living.pass_time(30)
    assert living.success("costs") == 1


@pytest.mark.parametrize("content", ["", "two words", "sk-proj-of-a-project"])
def test_a_file_without_a_usable_key_sends_nothing_until_it_has_one(start: Start, content: str) -> None:
    living = start("")
    living.poller.poll_due()
    asked = living.requests()
    put_key(living, content)
    for _ in range(40):
        living.pass_time(MINUTE)
    assert living.value("openai_up") == 0
    assert living.requests() == asked
    put_right_key(living)
    living.pass_time(30 * MINUTE)
    assert living.value("openai_up") == 1
    living.assert_exact()


def test_a_key_that_may_not_read_the_directory_still_counts(start: Start, organization: Organization) -> None:
    organization.set_faults(missing_scopes=["api.management.read"])
    living = start("")
    living.poller.poll_due()
    for _ in range(5):
        living.pass_time(15 * MINUTE)
    assert living.success("projects") == 0
    assert living.value("openai_exporter_auth_failed") == 1
    assert living.requests("projects") == 1
    assert living.requests("spend_limits") == 0
    assert all(living.success(api) == 1 for api in ENDPOINTS)
    living.assert_exact()
    projects = {(labels["project_id"], labels["project"]) for labels, _ in living.samples("openai_cost_usd_total")}
    assert len(projects) > 5
    assert all(name == (identifier or "(none)") for identifier, name in projects)


def test_a_reload_asks_once_more_with_the_same_key(start: Start, organization: Organization) -> None:
    organization.set_faults(missing_scopes=["api.management.read"])
    living = start("")
    living.poller.poll_due()
    organization.set_faults()
    living.pass_time(HOUR)
    assert living.success("projects") == 0
    living.reload("")
    living.pass_time(30)
    assert living.success("projects") == 1
    assert living.value("openai_exporter_auth_failed") == 0
