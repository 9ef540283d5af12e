"""The simulated directory and limits, as the official SDK and the exporter's own client read them."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Any, Final

import openai
import pytest
from openai import OpenAI

from exporter.openai_api.admin_key import AdminKey
from exporter.openai_api.connection import Connection
from exporter.openai_api.directory import Directory
from exporter.openai_api.errors import KeyRefused, RequestRefused
from exporter.openai_api.limits import Limits
from exporter.openai_api.projects import Project
from exporter.simulator.billing import EXACT, Billing
from exporter.simulator.clock import SettableClock
from exporter.simulator.faults import Faults
from exporter.simulator.known import Known, KnownDays
from exporter.simulator.limits import MonthToDate, spend_limit
from exporter.simulator.organization import ARCHIVED_AT, build_organization
from exporter.simulator.server import RunningSimulator, Simulator, running_simulator
from exporter.simulator.traffic import Traffic
from tests.openai_api.stand_ins import Observer
from tests.simulator.asking import DAY, NOW, ask, read_all

HOUR: Final = 3600
# Wednesday, 2026-10-28 09:00 UTC.
LATE: Final = int(datetime(2026, 10, 28, 9, tzinfo=UTC).timestamp())
MONTH: Final = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp())

_CLOCK: Final = SettableClock(LATE)


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSimulator]:
    with running_simulator(clock=_CLOCK) as running:
        yield running


@pytest.fixture
def clock(running: RunningSimulator) -> SettableClock:
    running.simulator.set_faults(Faults())
    _CLOCK.set(LATE)
    return _CLOCK


@pytest.fixture
def client(running: RunningSimulator, clock: SettableClock) -> Iterator[OpenAI]:
    assert clock() == LATE
    with OpenAI(
        api_key="unused",
        admin_api_key=running.admin_key,
        base_url=running.base_url,
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client


@pytest.fixture
def connection(running: RunningSimulator, clock: SettableClock) -> Iterator[Connection]:
    with Connection(running.base_url, lambda: AdminKey(running.admin_key), Observer(), clock=clock) as connection:
        yield connection


def spend_limits_by_sdk(client: OpenAI) -> dict[str, tuple[Decimal, str]]:
    """Threshold in US dollars and state, by project id, "" for the organization."""
    organization = client.admin.organization
    limits: dict[str, Any] = {"": organization.spend_limit.retrieve()}
    for project in organization.projects.list():
        try:
            limits[project.id] = organization.projects.spend_limit.retrieve(project.id)
        except openai.NotFoundError:
            continue
    assert all((limit.currency, limit.interval) == ("USD", "month") for limit in limits.values())
    return {
        project_id: (Decimal(limit.threshold_amount) / 100, limit.enforcement.status)
        for project_id, limit in limits.items()
    }


def billed(simulator: Simulator, start: int) -> dict[str, Decimal]:
    """What the costs API says was spent since `start`, by project id, "" for the organization."""
    spent: dict[str, Decimal] = defaultdict(Decimal)
    with localcontext(EXACT):
        for bucket in read_all(simulator, "costs", start_time=start, group_by=["project_id"], limit=31):
            for row in bucket["results"]:
                amount = Decimal(row["amount"]["value"])
                spent[""] += amount
                if row["project_id"] is not None:
                    spent[row["project_id"]] += amount
    return spent


def by_name(simulator: Simulator, name: str) -> Any:  # noqa: ANN401 - the simulator's project, not the exporter's
    return next(project for project in simulator.organization.projects if project.first_name == name)


def test_the_sdk_and_the_exporter_read_the_same_spend_limits(client: OpenAI, connection: Connection) -> None:
    directory = Directory(connection)
    by_sdk = spend_limits_by_sdk(client)
    by_exporter = directory.spend_limits(directory.projects())
    assert by_sdk == {
        limit.project_id: (limit.limit_usd, "enforcing" if limit.enforcing else "inactive") for limit in by_exporter
    }
    assert len(by_exporter) == len(by_sdk) == 7
    assert by_sdk[""] == (Decimal(15_000), "inactive")


@pytest.mark.parametrize("day", [1, 12, 19, 22, 30])
def test_a_limit_is_enforced_exactly_if_the_month_s_bill_has_reached_it(
    client: OpenAI, running: RunningSimulator, clock: SettableClock, day: int
) -> None:
    clock.set(MONTH + (day - 1) * DAY + 9 * HOUR)
    spent = billed(running.simulator, MONTH)
    for project_id, (limit_usd, status) in spend_limits_by_sdk(client).items():
        assert status == ("enforcing" if spent[project_id] >= limit_usd else "inactive")


def test_late_in_the_month_one_project_is_stopped_one_is_near_and_the_organization_goes_on(
    client: OpenAI, running: RunningSimulator, clock: SettableClock
) -> None:
    agents, support = (by_name(running.simulator, name).id for name in ("research-agents", "support-bot"))
    limits = spend_limits_by_sdk(client)
    assert {project_id for project_id, (_, status) in limits.items() if status == "enforcing"} == {agents}
    clock.set(MONTH + 31 * DAY - HOUR)
    assert Decimal("0.85") < billed(running.simulator, MONTH)[support] / limits[support][0] < 1
    assert spend_limits_by_sdk(client)[support][1] == "inactive"
    clock.set(MONTH + 10 * DAY)
    assert spend_limits_by_sdk(client)[agents][1] == "inactive"


def test_a_new_month_begins_with_nothing_spent(client: OpenAI, clock: SettableClock) -> None:
    clock.set(MONTH + 31 * DAY - 1)
    assert "enforcing" in {status for _, status in spend_limits_by_sdk(client).values()}
    clock.set(MONTH + 31 * DAY)
    assert {status for _, status in spend_limits_by_sdk(client).values()} == {"inactive"}


def test_a_limit_is_reached_by_its_last_cent() -> None:
    states = [spend_limit("project", 5, spent)["enforcement"]["status"] for spent in map(Decimal, ("4.999999", "5"))]
    assert states == ["inactive", "enforcing"]


class CountingDays(KnownDays):
    asked = 0

    def costs(self, day: int, now: float) -> Known[Decimal]:
        self.asked += 1
        assert now % HOUR == 0
        return super().costs(day, now)


def test_the_month_is_added_up_once_an_hour_however_often_it_is_asked_for() -> None:
    traffic = Traffic(build_organization(), "acme")
    days = CountingDays(traffic, Billing(traffic, "acme"))
    month = MonthToDate(days)
    at_nine = month.spent(MONTH + 4 * DAY + 9 * HOUR + 1000)
    for seconds in (0, *range(59, HOUR, 60)):
        assert month.spent(MONTH + 4 * DAY + 9 * HOUR + seconds) == at_nine
    assert days.asked == 5
    assert month.spent(MONTH + 4 * DAY + 10 * HOUR) != at_nine
    assert days.asked == 10


def test_limits_depend_on_seed_and_clock_alone_whatever_was_asked_before() -> None:
    clock = SettableClock(NOW)
    first, second = (Simulator(seed="one", clock=clock) for _ in range(2))
    agents = by_name(first, "research-agents").id
    paths = [
        "/v1/organization/spend_limit",
        *(f"/v1/organization/projects/{agents}/{what}" for what in ("spend_limit", "rate_limits", "api_keys")),
    ]
    # Only one of the two is asked on the way, forwards and backwards, for costs too.
    for moment in (NOW + 3 * DAY, NOW + 9 * DAY + 700, NOW + 10 * DAY + 100, NOW + 2 * DAY):
        clock.set(moment)
        billed(first, NOW)
        for path in paths:
            ask(first, path)
    for moment in (NOW + 8 * DAY + 1800, NOW - DAY):
        clock.set(moment)
        assert [ask(first, path).body for path in paths] == [ask(second, path).body for path in paths]
        assert billed(first, NOW - 3 * DAY) == billed(second, NOW - 3 * DAY)


def test_the_sdk_and_the_exporter_read_the_same_rate_limits(client: OpenAI, connection: Connection) -> None:
    directory = Directory(connection)
    projects = client.admin.organization.projects
    by_sdk = [
        (project.id, limit.model, limit.max_tokens_per_1_minute, limit.max_requests_per_1_minute)
        for project in projects.list()
        for limit in projects.rate_limits.list_rate_limits(project.id, limit=5)
    ]
    assert by_sdk == [
        (limit.project_id, limit.model, limit.tokens_per_minute, limit.requests_per_minute)
        for limit in directory.rate_limits(directory.projects())
    ]
    assert len({(project_id, model) for project_id, model, _, _ in by_sdk}) == len(by_sdk) == 13 * 17
    assert len({tokens for _, model, tokens, _ in by_sdk if model == "gpt-5.4"}) > 2
    project_id = by_sdk[0][0]
    assert len(projects.rate_limits.list_rate_limits(project_id).data) == 17


def test_the_sdk_and_the_exporter_read_the_same_keys_and_users(client: OpenAI, connection: Connection) -> None:
    directory = Directory(connection)
    organization = client.admin.organization
    assert [
        (key.id, key.name, project.id, key.owner.type, key.created_at, key.last_used_at, key.expires_at)
        for project in organization.projects.list()
        for key in organization.projects.api_keys.list(project.id)
    ] == [
        (key.id, key.name, key.project_id, key.owner_type, key.created_at, key.last_used_at, key.expires_at)
        for key in directory.api_keys_of(directory.projects())
    ]
    users = [(user.id, user.name, user.email) for user in organization.users.list()]
    assert [(user.id, user.name, user.email) for user in directory.users(with_emails=True)] == users
    assert {user.email for user in directory.users()} == {""}


@pytest.mark.parametrize("moment", [LATE, LATE + 6 * DAY, LATE + 40 * DAY + 12345, NOW])
def test_at_any_time_some_key_expires_within_a_week_none_has_expired_and_some_were_never_used(
    connection: Connection, clock: SettableClock, moment: int
) -> None:
    clock.set(moment)
    directory = Directory(connection)
    keys = directory.api_keys_of(directory.projects())
    ends = [key.expires_at for key in keys if key.expires_at is not None]
    assert moment < min(ends) <= moment + 7 * DAY
    assert max(ends) > moment + 365 * DAY
    assert 0 < len([key for key in keys if key.last_used_at is None]) < len(keys) / 5
    assert any(key.expires_at is None for key in keys)


def test_a_key_keeps_its_expiry_until_it_is_renewed(connection: Connection, clock: SettableClock) -> None:
    evals = Project(next(p.id for p in Directory(connection).projects() if p.name == "evals"), "evals", "active")
    seen = []
    for day in range(29):
        clock.set(LATE + day * DAY)
        seen.append([key.expires_at for key in Directory(connection).api_keys_of([evals])])
    for expiries in zip(*seen, strict=True):
        assert len(set(expiries)) == 2
        assert max(filter(None, expiries)) - min(filter(None, expiries)) == 28 * DAY


def test_a_project_that_is_archived_between_two_requests_hides_no_other(
    connection: Connection, clock: SettableClock, running: RunningSimulator
) -> None:
    archived = by_name(running.simulator, "summer-campaign").id
    clock.set(ARCHIVED_AT - 1)
    directory = Directory(connection)
    projects = directory.projects()
    assert {project.status for project in projects} == {"active"}

    def read_everything() -> list[list[str]]:
        return [
            [key.project_id for key in directory.api_keys_of(projects)],
            [limit.project_id for limit in directory.rate_limits(projects)],
            [limit.project_id for limit in directory.spend_limits(projects)],
        ]

    keys, rates, spends = read_everything()
    assert (keys.count(archived), rates.count(archived)) == (4, 17)
    clock.set(ARCHIVED_AT)
    assert read_everything() == [[each for each in read if each != archived] for read in (keys, rates, spends)]
    for read in (directory.api_keys, Limits(connection).rate_limits_of_project, Limits(connection).spend_limit):
        with pytest.raises(RequestRefused, match="is archived"):
            read(archived)


def test_a_key_without_the_scope_reads_no_limits(connection: Connection, running: RunningSimulator) -> None:
    running.simulator.set_faults(Faults(missing_scopes=["api.management.read"]))
    with pytest.raises(KeyRefused, match=r"Missing scopes: api\.management\.read"):
        Directory(connection).spend_limits(())
