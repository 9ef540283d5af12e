"""What waits for the budget of requests gets its turn: whatever clocks do, lists grow to, or polls end in."""

from collections import Counter
from collections.abc import Callable

import pytest

from exporter.configuration.sections import Polling
from exporter.metrics.self_metrics import SelfMetrics
from exporter.openai_api.endpoints import COSTS
from exporter.polling.timetable import Timetable
from tests.polling.conftest import StartScripted
from tests.polling.scripted_organization import BEGAN, ScriptedOrganization, Spent, Used

MINUTE, HOUR = 60, 3_600
LISTS = ("projects", "users", "rate_limits")


class Watched:
    """A timetable with lists, a budget of 80 requests an hour, and both of its clocks."""

    def __init__(self) -> None:
        self.now, self.steady = float(BEGAN), 0.0
        self._self_metrics = SelfMetrics()
        self.timetable = Timetable(self._self_metrics, lambda _: None, place="here", steady=lambda: self.steady)
        self.plan()

    def plan(self, budget: int = 80, costs_interval: str = "15m") -> None:
        polling = Polling.model_validate({"requests_per_hour": budget, "costs_interval": costs_interval})
        self.timetable.plan(polling, LISTS, self.now)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.steady += seconds

    def spend(self, api: str, requests: int) -> None:
        """Let a poll send requests and succeed."""
        self.send(api, requests)
        self.timetable.succeeded(api, self.now)

    def send(self, api: str, requests: int) -> None:
        for _ in range(requests):
            self._self_metrics.answered(api, "200", 0.0)
        self.timetable.ended(api)

    def due(self) -> list[str]:
        return self.timetable.due(self.now, ())


def _is_absent(watched: Watched) -> None:
    watched.timetable.absent("users", watched.now)


def _has_no_key(watched: Watched) -> None:
    watched.timetable.await_key("users", watched.now)


@pytest.mark.parametrize("end", [_is_absent, _has_no_key])
def test_nothing_gives_way_to_a_poll_that_had_its_turn_however_it_ended(end: Callable[[Watched], None]) -> None:
    watched = Watched()
    watched.send("anything", 80)
    watched.pass_time(50 * MINUTE)
    assert not watched.due()
    watched.pass_time(11 * MINUTE)
    begun = watched.due()
    assert {"users", "projects"} <= set(begun)
    for api in begun:
        if api == "users":
            watched.timetable.ended(api)
            end(watched)
        else:
            watched.spend(api, 1)
    watched.pass_time(10 * MINUTE)
    watched.timetable.ask_now("projects", watched.now)
    assert "projects" in watched.due()


def test_a_poll_that_was_to_begin_and_did_not_is_still_due() -> None:
    watched = Watched()
    watched.spend("rate_limits", 50)
    watched.pass_time(10 * HOUR)
    assert "rate_limits" in watched.due()
    assert "rate_limits" in watched.due()


def test_a_smaller_budget_keeps_nothing_out_for_what_it_took_before() -> None:
    watched = Watched()
    watched.spend(COSTS.api, 70)
    watched.plan(budget=60)
    watched.pass_time(2 * HOUR)
    assert COSTS.api in watched.due()


@pytest.mark.parametrize("set_by", [-400 * 24 * HOUR, -2 * HOUR, 2 * HOUR, 400 * 24 * HOUR])
def test_a_clock_that_is_set_takes_nobody_s_precedence(set_by: float) -> None:
    watched = Watched()
    watched.spend("rate_limits", 60)
    watched.pass_time(50 * MINUTE)
    watched.timetable.ask_now("rate_limits", watched.now)
    begun = watched.due()
    assert "rate_limits" not in begun
    for api in begun:
        watched.spend(api, 1)
    watched.now += set_by
    watched.pass_time(5 * MINUTE)
    watched.timetable.ask_now("projects", watched.now)
    # It would fit, and take the room that the large list waits for.
    assert "projects" not in watched.due()


def test_a_large_list_that_found_no_room_in_time_gets_another_chance() -> None:
    watched = Watched()
    # Costs come first, and leave just enough for the list.
    watched.plan(budget=120, costs_interval="1m")
    sent = _live(watched, 7 * HOUR)
    assert sent[COSTS.api] >= 6 * 55
    sent = _live(watched, 11 * HOUR)
    assert sent["rate_limits"] >= 56
    assert sent[COSTS.api] >= 11 * 55
    assert all(sent[api] for api in watched.timetable.intervals)


def _live(watched: Watched, seconds: int) -> Counter[str]:
    """Poll what is due, with no room to spare for the list; return the requests."""
    sent: Counter[str] = Counter()
    for _ in range(seconds // 30):
        watched.pass_time(30)
        for api in watched.due():
            requests = 56 if api == "rate_limits" else 1
            watched.spend(api, requests)
            sent[api] += requests
    return sent


def _with_more_requests(
    organization: ScriptedOrganization, listed: str, requests: int, code: str
) -> Callable[[str], None]:
    """Return what lets each read of a list take so many requests more: tries, or pages."""

    def count(api: str) -> None:
        if api == listed and organization.observer is not None:
            for _ in range(requests):
                organization.observer.answered(api, code, 0.0)

    return count


def test_a_list_that_took_more_requests_than_an_hour_has_fails_and_says_so_and_is_tried_again(
    start_scripted: StartScripted, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = start_scripted("{polling: {requests_per_hour: 80}, labels: {user: true}}")
    organization = exporter.organization

    organization.before_answer = _with_more_requests(organization, "users", 89, "503")
    exporter.pass_time()
    organization.before_answer = lambda _: None
    for _ in range(5 * HOUR // MINUTE):
        exporter.pass_time(MINUTE)
    assert organization.requests["users"] == 1
    assert exporter.gauge("openai_exporter_poll_success", "api")["users"] == 0
    problems = [record.__dict__["problem"] for record in caplog.records if record.message == "poll failed"]
    assert "it takes 90 requests to read it, and an hour may have 80" in problems[0]
    for _ in range(4 * HOUR // MINUTE):
        exporter.pass_time(MINUTE)
    assert organization.requests["users"] > 1
    assert exporter.gauge("openai_exporter_poll_success", "api")["users"] == 1


def test_a_project_that_no_list_names_takes_the_budget_from_nobody(start_scripted: StartScripted) -> None:
    exporter = start_scripted("polling: {requests_per_hour: 80}")
    organization = exporter.organization

    organization.before_answer = _with_more_requests(organization, "projects", 9, "200")
    organization.spent = [Spent("1.5")]
    exporter.pass_time()
    before = organization.requests.copy()
    for minute in range(120):
        if minute == 60:
            before = organization.requests.copy()
        organization.used = [Used(minute + 1_000, project="proj_gone")]
        exporter.pass_time(MINUTE)
    asked = organization.requests - before
    assert asked["projects"] <= 5
    assert asked["usage/completions"] >= 25
    assert asked[COSTS.api] >= 2
