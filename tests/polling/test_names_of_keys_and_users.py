"""Rules by the names of keys and people: a name is learned before it is needed, and nobody is asked in vain."""

import threading

import pytest

from tests.polling.conftest import StartScripted
from tests.polling.scripted_organization import Exporter, Spent, Used

MINUTE, HOUR, DAY = 60, 3_600, 86_400
RULES = """
directory: {spend_limits: false}
workflows:
  - {workflow: search, match: {project: core, api_key: "search-.*"}}
  - {workflow: batch, match: {project: core, api_key: "batch-.*"}}
"""
BY_PERSON = """
directory: {spend_limits: false}
workflows:
  - {workflow: ada, match: {user: "Ada .*"}}
  - {workflow: others, match: {user: ".+"}}
"""
SELDOM = "polling: {directory_interval: 1d}\n"


def tokens_today(exporter: Exporter, **labels: str) -> dict[str, float]:
    gauges = exporter.gauge("openai_usage_day_tokens", "workflow", day="today", **labels)
    return {workflow: value for workflow, value in gauges.items() if value}


def test_a_new_key_s_first_posting_is_already_under_its_workflow(start_scripted: StartScripted) -> None:
    exporter = start_scripted(SELDOM + RULES)
    organization = exporter.organization
    organization.used = [Used(100)]
    exporter.pass_time()
    exporter.pass_time(10 * MINUTE)
    organization.keys["key_2"] = "proj_a", "batch-1"
    organization.used.append(Used(7, "key_2"))
    exporter.pass_time(MINUTE)

    assert exporter.counted() == {"search": 0, "batch": 7}
    assert tokens_today(exporter) == {"search": 100, "batch": 7}
    assert organization.requests["api_keys"] == 2


def test_a_new_key_of_a_new_project_is_learned_with_it(start_scripted: StartScripted) -> None:
    exporter = start_scripted(SELDOM + RULES)
    organization = exporter.organization
    organization.used = [Used(100)]
    exporter.pass_time()
    exporter.pass_time(10 * MINUTE)
    organization.projects["proj_b"] = "other"
    organization.keys["key_2"] = "proj_b", "batch-1"
    organization.used.append(Used(7, "key_2", project="proj_b"))
    exporter.pass_time(MINUTE)

    # No rule takes a key of another project: that takes the project's name to tell.
    assert exporter.counted() == {"search": 0, "unmapped": 7}
    assert exporter.counted("project") == {"core": 0, "other": 7}
    assert exporter.ledger.directory["api_keys"].keys() == {"key_1", "key_2"}


def test_a_key_made_right_after_keys_were_read_is_learned_all_the_same(start_scripted: StartScripted) -> None:
    exporter = start_scripted(SELDOM + RULES)
    organization = exporter.organization
    organization.used = [Used(100)]
    exporter.pass_time()
    organization.keys["key_2"] = "proj_a", "batch-1"
    organization.used.append(Used(7, "key_2"))
    exporter.pass_time(MINUTE)

    assert exporter.counted() == {"search": 0, "batch": 7}
    assert tokens_today(exporter) == {"search": 100, "batch": 7}
    assert organization.requests["api_keys"] == 2


def test_deleted_keys_do_not_make_the_directory_be_read_over_and_over(start_scripted: StartScripted) -> None:
    exporter = start_scripted(SELDOM + RULES)
    organization = exporter.organization
    organization.used = [Used(100), Used(5, "key_deleted")]
    for _ in range(3 * HOUR // MINUTE):
        exporter.pass_time(MINUTE)
    # Once at the beginning, and once more when a row met the key.
    assert organization.requests["api_keys"] == 2
    organization.used.append(Used(5, "key_deleted_too"))
    for _ in range(HOUR // MINUTE):
        exporter.pass_time(MINUTE)
    assert organization.requests["api_keys"] == 3
    assert exporter.counted() == {"search": 0, "unmapped": 5}


def test_many_new_keys_are_learned_by_one_read(start_scripted: StartScripted) -> None:
    exporter = start_scripted(SELDOM + RULES)
    organization = exporter.organization
    exporter.pass_time()
    for number in range(200):
        organization.keys[f"key_new_{number}"] = "proj_a", f"batch-{number}"
        organization.used.append(Used(1, f"key_new_{number}"))
        organization.spent.append(Spent("1", key=f"key_new_{number}"))
    exporter.pass_time(15 * MINUTE)

    assert exporter.counted() == {"batch": 200}
    assert exporter.counted(family="openai_cost_usd_total") == {"batch": 200 * 4}
    assert organization.requests["api_keys"] == 2


def test_keys_that_cannot_be_read_at_start_hold_up_nothing_and_are_made_up_for(start_scripted: StartScripted) -> None:
    exporter = start_scripted(RULES)
    organization = exporter.organization
    organization.down = {"api_keys"}
    organization.used = [Used(100)]
    exporter.pass_time()
    organization.used = [Used(130)]
    exporter.pass_time(10)
    for _ in range(2):
        exporter.pass_time(60)
    assert exporter.counted() == {"unmapped": 30}
    # Each try is one request, and none of them is for a row.
    assert organization.requests["api_keys"] == 3
    organization.down = set()
    exporter.pass_time(2 * MINUTE)
    assert tokens_today(exporter) == {"search": 130}
    organization.used = [Used(150)]
    exporter.pass_time(MINUTE)

    assert exporter.counted() == {"unmapped": 30, "search": 20}


def test_names_once_read_are_there_while_keys_cannot_be_read_and_after_a_restart(start_scripted: StartScripted) -> None:
    exporter = start_scripted(RULES)
    organization = exporter.organization
    organization.used = [Used(100)]
    exporter.pass_time()
    organization.down = {"api_keys", "projects"}
    organization.used = [Used(110)]
    exporter.pass_time(HOUR)
    assert exporter.counted() == {"search": 10}
    exporter.restart()
    organization.used = [Used(125)]
    exporter.pass_time(HOUR)

    assert exporter.counted() == {"search": 25}
    assert tokens_today(exporter) == {"search": 125}


def test_a_renamed_key_moves_to_the_workflow_of_its_new_name(start_scripted: StartScripted) -> None:
    exporter = start_scripted(RULES)
    organization = exporter.organization
    organization.used = [Used(100)]
    exporter.pass_time()
    organization.used = [Used(110)]
    exporter.pass_time(MINUTE)
    organization.keys["key_1"] = "proj_a", "batch-9"
    organization.used = [Used(115)]
    exporter.pass_time(30 * MINUTE)

    assert exporter.counted() == {"search": 10, "batch": 5}
    assert tokens_today(exporter) == {"batch": 115}


def test_a_row_without_a_key_is_nobodys_where_keys_tell_workflows_apart(start_scripted: StartScripted) -> None:
    exporter = start_scripted(RULES)
    exporter.organization.used = [Used(100), Used(9, None), Used(4, None, project=None)]
    exporter.pass_time()

    assert tokens_today(exporter) == {"search": 100, "unmapped": 13}


def test_keys_are_only_asked_for_where_something_needs_them(start_scripted: StartScripted) -> None:
    exporter = start_scripted("directory: {spend_limits: false}")
    exporter.organization.used = [Used(100)]
    exporter.pass_time()

    assert exporter.organization.requests["projects"] == 1
    assert not exporter.organization.requests.keys() & {"api_keys", "users", "rate_limits", "spend_limits"}
    assert all("api_key_id" not in account.grouping for account in exporter.ledger.accounts.values())


def test_a_rule_by_person_goes_by_name_or_id_and_a_new_person_is_learned_at_once(start_scripted: StartScripted) -> None:
    exporter = start_scripted(SELDOM + BY_PERSON)
    organization = exporter.organization
    organization.people = {"user-1": ("Ada Abel", "ada@acme.test")}
    organization.used = [Used(100, user="user-1")]
    exporter.pass_time()
    organization.people["user-2"] = "Ada Brandt", "brandt@acme.test"
    organization.people["user-3"] = "Bert", "bert@acme.test"
    organization.used += [Used(20, user="user-2"), Used(3, user="user-3"), Used(4, user=None)]
    exporter.pass_time(6 * MINUTE)

    assert exporter.counted() == {"ada": 20, "others": 3, "unmapped": 4}
    assert organization.requests["users"] == 2


def test_an_address_in_the_place_of_a_name_is_no_name(start_scripted: StartScripted) -> None:
    exporter = start_scripted(BY_PERSON)
    organization = exporter.organization
    organization.people = {"user-1": ("Ada ada@acme.test", "ada@acme.test"), "user-2": ("", "Ada b@acme.test")}
    organization.used = [Used(100, user="user-1"), Used(5, user="user-2")]
    exporter.pass_time()

    assert tokens_today(exporter) == {"others": 105}
    assert {entry.name for entry in exporter.ledger.directory["users"].values()} == {"user-1", "user-2"}


EVERYTHING = """
labels: {user: true, api_key: true}
directory: {spend_limits: true, rate_limits: true, api_keys: true, user_emails: true}
"""
LISTS = {
    "api_keys": "openai_api_key_info",
    "users": "openai_user_info",
    "spend_limits": "openai_spend_limit_usd",
    "rate_limits": "openai_rate_limit_tokens_per_minute",
}


@pytest.mark.parametrize("slowest", list(LISTS))
def test_lists_that_are_read_at_the_same_time_lose_nothing_of_each_other(
    start_scripted: StartScripted, slowest: str
) -> None:
    exporter = start_scripted(EVERYTHING)
    organization = exporter.organization
    organization.people = {"user-1": ("Ada", "ada@acme.test")}
    organization.spend_limits = {"": 500}
    exporter.poller.poll("projects")
    others_are_done, is_asked = threading.Event(), threading.Event()

    def hold_up(api: str) -> None:
        if api == slowest:
            is_asked.set()
            assert others_are_done.wait(20)

    organization.before_answer = hold_up
    slow = threading.Thread(target=exporter.poller.poll, args=(slowest,))
    slow.start()
    assert is_asked.wait(20)
    for api in LISTS:
        if api != slowest:
            exporter.poller.poll(api)
    page = exporter.page()
    assert {api for api, family in LISTS.items() if f"\n{family}{{" in page} == LISTS.keys() - {slowest}
    others_are_done.set()
    slow.join()

    page = exporter.page()
    assert {api for api, family in LISTS.items() if f"\n{family}{{" in page} == LISTS.keys()
    assert all(exporter.poller.health.apis[api].success for api in LISTS)


def test_lists_switched_on_and_off_by_a_reload_come_and_go_at_once(start_scripted: StartScripted) -> None:
    exporter = start_scripted("")
    organization = exporter.organization
    organization.people = {"user-1": ("Ada", "ada@acme.test")}
    organization.spend_limits = {"": 500, "proj_a": 20}
    exporter.pass_time()

    def shown() -> set[str]:
        return {api for api, family in LISTS.items() if f"\n{family}{{" in exporter.page()}

    assert shown() == {"spend_limits"}
    exporter.reload(EVERYTHING)
    # What was read stays, what was not is not there before it is read.
    assert shown() == {"spend_limits"}
    exporter.pass_time()
    assert shown() == LISTS.keys()
    exporter.reload("directory: {spend_limits: false, api_keys: true}")
    assert shown() == {"api_keys"}
    exporter.pass_time()
    assert shown() == {"api_keys"}
    assert exporter.poller.health.apis.keys() & {*LISTS} == {"api_keys"}
    organization.requests.clear()
    exporter.pass_time(HOUR)
    assert not organization.requests.keys() & {"users", "spend_limits", "rate_limits"}


@pytest.mark.parametrize("api", list(LISTS))
def test_a_list_read_while_it_is_switched_off_is_not_shown(start_scripted: StartScripted, api: str) -> None:
    exporter = start_scripted(EVERYTHING)
    organization = exporter.organization
    organization.people = {"user-1": ("Ada", "ada@acme.test")}
    organization.spend_limits = {"": 500}
    exporter.poller.poll("projects")
    organization.before_answer = lambda _: exporter.reload("directory: {spend_limits: false}")
    exporter.poller.poll(api)

    assert LISTS[api] not in exporter.page()
    assert "acme.test" not in exporter.page()


def test_a_person_s_address_goes_the_moment_it_is_switched_off(start_scripted: StartScripted) -> None:
    exporter = start_scripted("labels: {user: true}\ndirectory: {user_emails: true}")
    exporter.organization.people = {"user-1": ("Ada", "ada@acme.test")}
    exporter.pass_time()
    assert 'openai_user_info{user_id="user-1",user="Ada",email="ada@acme.test"} 1' in exporter.page()
    exporter.reload("labels: {user: true}")
    assert 'openai_user_info{user_id="user-1",user="Ada",email=""} 1' in exporter.page()
    exporter.reload("")
    assert "openai_user_info" not in exporter.page()


def test_a_reload_between_an_answer_and_the_names_it_needs_is_no_fault(
    start_scripted: StartScripted, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = start_scripted(RULES)
    organization = exporter.organization
    organization.used = [Used(100)]
    exporter.pass_time()
    organization.keys["key_2"] = "proj_a", "batch-1"
    organization.used.append(Used(7, "key_2"))
    # The list is switched off while it is being read for the new key.
    organization.before_answer = lambda api: (
        exporter.reload("directory: {spend_limits: false}") if api == "api_keys" else None
    )
    exporter.pass_time(6 * MINUTE)
    organization.before_answer = lambda _: None
    exporter.pass_time()

    assert not [record for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}]
    assert sum(exporter.counted().values()) == 7


def test_what_needs_no_name_does_not_wait_while_another_api_learns_one(start_scripted: StartScripted) -> None:
    exporter = start_scripted(RULES)
    organization = exporter.organization
    organization.used, organization.spent = [Used(100)], [Spent("1")]
    exporter.pass_time()
    exporter.clock.advance(HOUR)
    organization.keys["key_2"] = "proj_a", "batch-1"
    organization.used.append(Used(7, "key_2"))
    is_asked, go_on = threading.Event(), threading.Event()

    def hold_up(api: str) -> None:
        if api == "api_keys":
            is_asked.set()
            assert go_on.wait(20)

    organization.before_answer = hold_up
    slow = threading.Thread(target=exporter.poller.poll, args=("usage/completions",))
    slow.start()
    assert is_asked.wait(20)
    other = threading.Thread(target=exporter.poller.poll, args=("costs",))
    other.start()
    other.join(10)
    waits = other.is_alive()
    go_on.set()
    slow.join()
    other.join()

    assert not waits
    assert exporter.counted() == {"search": 0, "batch": 7}
