"""What is idle is asked less often, what moves is not, and a budget of requests is kept: all of it on the page."""

from collections import Counter

import pytest

from exporter.openai_api.endpoints import COSTS, ENDPOINTS
from exporter.openai_api.errors import RequestRefused
from tests.polling.conftest import StartScripted
from tests.polling.scripted_organization import BEGAN, COMPLETIONS, Exporter, Spent, Used

MINUTE, HOUR = 60, 3_600
IDLE = "usage/audio_speeches"
STEP = 10


def live(exporter: Exporter, seconds: int, *, moving: bool = False) -> Counter[str]:
    """Let time pass in small steps, and return the requests of it by API."""
    before = exporter.organization.requests.copy()
    for _ in range(seconds // STEP):
        if moving:
            exporter.organization.used = [Used(int(exporter.clock()) - BEGAN + 1_000)]
        exporter.pass_time(STEP)
    return exporter.organization.requests - before


def value(exporter: Exporter, name: str, api: str) -> float:
    return exporter.gauge(f"openai_exporter_{name}", "api")[api]


def start_used(start_scripted: StartScripted, configuration: str = "") -> Exporter:
    exporter = start_scripted(configuration)
    exporter.organization.used = [Used(1_000)]
    exporter.organization.spent = [Spent("1.5")]
    exporter.pass_time()
    return exporter


def test_an_endpoint_of_which_nothing_is_used_is_asked_every_quarter_of_an_hour_in_the_end(
    start_scripted: StartScripted,
) -> None:
    exporter = start_used(start_scripted)
    first = live(exporter, 8 * MINUTE, moving=True)
    assert first[IDLE] >= 8
    live(exporter, 2 * HOUR, moving=True)
    asked = live(exporter, 3 * HOUR, moving=True)
    assert {asked[api] for api in ENDPOINTS if api not in {COMPLETIONS, COSTS.api}} <= {12, 13}
    assert asked[COMPLETIONS] == 180
    assert asked[COSTS.api] == 12
    assert value(exporter, "poll_interval_seconds", IDLE) == 900
    assert value(exporter, "poll_interval_seconds", COMPLETIONS) == 60


def test_the_first_row_of_an_idle_endpoint_brings_it_back_to_full_pace(start_scripted: StartScripted) -> None:
    exporter = start_scripted("")
    live(exporter, 2 * HOUR)
    assert value(exporter, "poll_interval_seconds", COMPLETIONS) == 900
    exporter.organization.used = [Used(7)]
    live(exporter, 15 * MINUTE)
    assert exporter.counted()["unmapped"] == 7
    assert value(exporter, "poll_interval_seconds", COMPLETIONS) == 60
    assert live(exporter, 10 * MINUTE)[COMPLETIONS] == 10


def test_what_is_used_and_stands_still_is_asked_every_five_minutes_and_news_are_never_later(
    start_scripted: StartScripted,
) -> None:
    exporter = start_used(start_scripted)
    assert live(exporter, 20 * MINUTE)[COMPLETIONS] >= 20
    live(exporter, 2 * HOUR)
    assert 12 <= live(exporter, HOUR)[COMPLETIONS] <= 13
    exporter.organization.used = [Used(1_500)]
    live(exporter, 5 * MINUTE)
    assert exporter.counted()["unmapped"] == 500
    assert live(exporter, 10 * MINUTE)[COMPLETIONS] == 10


def test_around_the_utc_day_s_turn_everything_is_asked_at_full_pace(start_scripted: StartScripted) -> None:
    exporter = start_used(start_scripted)
    live(exporter, 15 * HOUR - 10 * MINUTE)
    asked = live(exporter, 17 * MINUTE)
    assert all(asked[api] >= 17 for api in ENDPOINTS if api != COSTS.api)


def test_a_failure_and_a_changed_configuration_bring_full_pace_back(start_scripted: StartScripted) -> None:
    exporter = start_used(start_scripted)
    live(exporter, 3 * HOUR)
    exporter.organization.down = {IDLE}
    live(exporter, 15 * MINUTE)
    assert value(exporter, "poll_interval_seconds", IDLE) == 60
    exporter.organization.down = set()
    assert live(exporter, 5 * MINUTE)[IDLE] >= 5
    live(exporter, 3 * HOUR)
    exporter.reload("scrape_interval: 2m")
    asked = live(exporter, 5 * MINUTE)
    assert all(asked[api] >= 5 for api in ENDPOINTS if api != COSTS.api)


def test_polls_of_different_apis_are_not_in_step(start_scripted: StartScripted) -> None:
    exporter = start_used(start_scripted)
    exporter.pass_time()
    for _ in range(3 * MINUTE):
        exporter.pass_time(1)
    at: Counter[int] = Counter()
    for second in range(MINUTE):
        before = exporter.organization.requests.total()
        exporter.pass_time(1)
        at[second] = exporter.organization.requests.total() - before
    assert at.total() >= 11
    assert max(at.values()) == 1


@pytest.mark.parametrize("projects", [60, 1_000])
def test_of_many_projects_those_without_a_spend_limit_are_asked_in_turns(
    start_scripted: StartScripted, projects: int
) -> None:
    exporter = start_scripted("")
    exporter.organization.projects = {f"proj_{number}": f"project {number}" for number in range(projects)}
    exporter.organization.spend_limits = {"": 500, "proj_7": 20}
    exporter.pass_time()
    assert exporter.organization.requests["spend_limits"] == projects + 1
    exporter.pass_time(30 * MINUTE)
    assert exporter.organization.requests["spend_limits"] - projects - 1 <= 2 + max(50, projects / 10)
    exporter.organization.spend_limits |= {f"proj_{projects - 1}": 30}
    exporter.organization.projects["proj_new"] = "new"
    exporter.organization.spend_limits["proj_new"] = 40
    exporter.pass_time(30 * MINUTE)
    assert exporter.gauge("openai_spend_limit_usd", "project_id").items() >= {"": 500, "proj_7": 20}.items()
    exporter.pass_time(30 * MINUTE)
    # A new project is asked as soon as it is known.
    assert exporter.gauge("openai_spend_limit_usd", "project_id")["proj_new"] == 40
    for _ in range(12):
        exporter.pass_time(30 * MINUTE)
    assert exporter.gauge("openai_spend_limit_usd", "project_id")[f"proj_{projects - 1}"] == 30


@pytest.mark.parametrize("set_by", [-400 * 24 * HOUR, -8 * HOUR, 8 * HOUR])
def test_a_clock_that_is_set_keeps_no_project_from_being_asked_for_its_spend_limit(
    start_scripted: StartScripted, set_by: int
) -> None:
    exporter = start_scripted("")
    exporter.organization.projects = {f"proj_{number}": f"project {number}" for number in range(150)}
    exporter.pass_time()
    exporter.clock.advance(set_by)
    exporter.organization.spend_limits = {"proj_0": 20, "proj_149": 30}
    for _ in range(6):
        exporter.pass_time(30 * MINUTE)
    assert exporter.gauge("openai_spend_limit_usd", "project_id") == {"proj_0": 20, "proj_149": 30}


def test_spend_limits_that_were_refused_for_a_while_are_all_back_with_the_next_read(
    start_scripted: StartScripted,
) -> None:
    def refuse(api: str) -> None:
        if api == "spend_limits":
            raise RequestRefused(api, 403, "not for this key")

    exporter = start_scripted("")
    organization = exporter.organization
    organization.projects = {f"proj_{number}": f"project {number}" for number in range(150)}
    organization.spend_limits = {"": 500, "proj_7": 20}
    exporter.pass_time()
    exporter.pass_time(30 * MINUTE)
    organization.before_answer = refuse
    exporter.pass_time(30 * MINUTE)
    assert not exporter.gauge("openai_spend_limit_usd", "project_id")
    organization.before_answer = lambda _: None
    exporter.reload("")
    exporter.pass_time()
    assert exporter.gauge("openai_spend_limit_usd", "project_id") == {"": 500, "proj_7": 20}


BUDGET = "polling: {requests_per_hour: 80}"


def test_no_hour_has_more_requests_than_the_budget_and_what_is_in_use_waits_least(
    start_scripted: StartScripted, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = start_used(start_scripted, BUDGET)
    sent = [(exporter.clock(), exporter.organization.requests.total())]
    first = exporter.organization.requests.copy()
    for _ in range(4 * HOUR // STEP):
        live(exporter, STEP, moving=True)
        sent.append((exporter.clock(), exporter.organization.requests.total()))
    hour = HOUR // STEP
    assert sent[0][1] <= 80
    assert all(after[1] - before[1] <= 80 for before, after in zip(sent, sent[hour:], strict=False))
    asked = exporter.organization.requests - first
    # Four hours: nearly all that there is for completions and costs, and yet some for all others.
    assert asked[COMPLETIONS] > 160
    assert asked[COSTS.api] >= 12
    assert all(asked[api] for api in (*ENDPOINTS, "projects"))
    told = [record for record in caplog.records if "budget of requests is short" in record.message]
    assert len(told) == 1
    assert told[0].__dict__["requests_per_hour"] == 80
    assert value(exporter, "poll_interval_seconds", IDLE) > 900
    page = exporter.page()
    assert "openai_exporter_request_budget 80.0" in page
    [used] = [line.split()[1] for line in page.splitlines() if line.startswith("openai_exporter_request_budget_used ")]
    assert 60 <= float(used) <= 80


def test_names_of_new_projects_take_no_more_than_the_budget_has_and_all_come_in_the_end(
    start_scripted: StartScripted,
) -> None:
    exporter = start_used(start_scripted, BUDGET)
    organization = exporter.organization
    sent = [organization.requests.total()]
    for number in range(3 * HOUR // STEP):
        if number % 6 == 0:
            organization.projects[f"proj_{number}"] = f"project {number}"
            organization.used.append(Used(1_000, project=f"proj_{number}"))
        exporter.pass_time(STEP)
        sent.append(organization.requests.total())
    hour = HOUR // STEP
    assert all(after - before <= 80 for before, after in zip(sent, sent[hour:], strict=False))
    organization.used = [used._replace(tokens=used.tokens + 1) for used in organization.used]
    live(exporter, HOUR)
    names = exporter.gauge("openai_project_info", "project")
    assert names.keys() == set(organization.projects.values())


def test_a_large_list_waits_for_an_hour_that_has_room_for_it_and_costs_do_not_wait_for_the_list(
    start_scripted: StartScripted,
) -> None:
    exporter = start_scripted("{polling: {requests_per_hour: 80}, directory: {rate_limits: true, spend_limits: false}}")
    exporter.organization.projects = {f"proj_{number}": f"project {number}" for number in range(60)}
    exporter.pass_time()
    asked = live(exporter, 6 * HOUR)
    assert asked["rate_limits"] % 60 == 0
    assert 60 <= asked["rate_limits"] <= 6 * 60
    assert asked[COSTS.api] >= 20
    assert exporter.gauge("openai_exporter_polls_postponed_total", "api")["rate_limits"] >= 1
    assert len(exporter.gauge("openai_rate_limit_tokens_per_minute", "project_id")) == 60
    assert exporter.poller.why_not_ready() is None


def test_a_list_that_no_hour_has_room_for_is_a_failure_that_says_so(
    start_scripted: StartScripted, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = start_scripted("{polling: {requests_per_hour: 80}, directory: {rate_limits: true}}")
    exporter.organization.projects = {f"proj_{number}": f"project {number}" for number in range(100)}
    exporter.pass_time()
    assert exporter.organization.requests["rate_limits"] == 0
    assert value(exporter, "poll_success", "rate_limits") == 0
    [failed] = [record for record in caplog.records if record.message == "poll failed"]
    assert "it takes 101 requests to read it, and an hour may have 80" in failed.__dict__["problem"]
    assert value(exporter, "poll_success", COSTS.api) == 1


def test_without_a_budget_nothing_waits(start_scripted: StartScripted) -> None:
    exporter = start_used(start_scripted)
    live(exporter, HOUR, moving=True)
    assert not any(exporter.gauge("openai_exporter_polls_postponed_total", "api").values())
    assert "openai_exporter_request_budget +Inf" in exporter.page()
