"""The official SDK, a client nobody here wrote, reads everything over HTTP with strict validation of each answer."""

import json
from collections.abc import Iterator

import httpx
import openai
import pytest
from openai import OpenAI

from exporter.openai_api.endpoints import COSTS, ENDPOINTS, USAGE_ENDPOINTS
from exporter.simulator.clock import SettableClock
from exporter.simulator.server import RunningSimulator, running_simulator
from tests.simulator.asking import DAY, NOW, TODAY


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSimulator]:
    with running_simulator(clock=SettableClock(NOW)) as running:
        yield running


@pytest.fixture(scope="module")
def client(running: RunningSimulator) -> Iterator[OpenAI]:
    with OpenAI(
        api_key="unused",
        admin_api_key=running.admin_key,
        base_url=running.base_url,
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client


@pytest.mark.parametrize("endpoint", [*USAGE_ENDPOINTS, COSTS], ids=lambda endpoint: endpoint.operation)
@pytest.mark.parametrize("is_grouped", [False, True], ids=["plain", "grouped"])
def test_the_sdk_reads_every_page_of_every_endpoint(client: OpenAI, endpoint: object, *, is_grouped: bool) -> None:
    endpoint = ENDPOINTS[getattr(endpoint, "api")]  # noqa: B009 - the parameter's type is pytest's
    read = getattr(client.admin.organization.usage, endpoint.operation)
    rows = 0
    page = openai.NOT_GIVEN
    while True:
        answer = read(
            start_time=TODAY - 4 * DAY,
            limit=2,
            group_by=list(endpoint.dimensions) if is_grouped else openai.NOT_GIVEN,
            page=page,
        )
        for bucket in answer.data:
            rows += len(bucket.results)
            assert {result.object for result in bucket.results} <= {endpoint.result_object}
        if not answer.has_more:
            break
        page = answer.next_page
    assert rows >= (10 if is_grouped else 4)


def test_the_sdk_reads_the_directory(client: OpenAI, running: RunningSimulator) -> None:
    organization = client.admin.organization
    projects = list(organization.projects.list(limit=5, include_archived=True))
    assert len(projects) == 14
    assert {project.status for project in projects} == {"active", "archived"}
    active = list(organization.projects.list())
    assert len(active) == 13
    keys = [key for project in active for key in organization.projects.api_keys.list(project.id, limit=2)]
    assert len({key.id for key in keys}) == len(keys) > 85
    assert {key.owner.type for key in keys} == {"user", "service_account"}
    accounts = [a for project in active for a in organization.projects.service_accounts.list(project.id)]
    assert len(accounts) == 13
    users = list(organization.users.list(limit=7))
    assert [user.id for user in users] == [user.id for user in running.simulator.organization.users]
    assert organization.spend_limit.retrieve().threshold_amount == 1_500_000


def test_the_sdk_meets_the_errors_it_knows(client: OpenAI) -> None:
    usage = client.admin.organization.usage
    with pytest.raises(openai.BadRequestError, match="Earliest supported start date") as refused:
        usage.costs(start_time=TODAY - 400 * DAY)
    assert refused.value.code == "reporting_lookback_exceeded"
    with pytest.raises(openai.PermissionDeniedError, match="Missing scopes"):
        client.with_options(admin_api_key="sk-proj-abc").admin.organization.usage.costs(start_time=TODAY)
    with pytest.raises(openai.AuthenticationError):
        client.with_options(admin_api_key="sk-admin-other").admin.organization.users.list()


def test_the_simulators_own_pages_work_over_http(running: RunningSimulator) -> None:
    with httpx.Client(base_url=running.root_url) as web:
        assert "/_simulator/truth" in web.get("/").text
        assert "aitracer_trace_requests_total" in web.get("/metrics").text
        truth = web.get("/_simulator/truth", params={"start": TODAY, "end": TODAY + DAY, "as_of": NOW}).json()
        assert truth["now"] == NOW
        assert set(truth["apis"]) == set(ENDPOINTS)
        assert all(isinstance(row["amount"], str) for row in truth["apis"]["costs"])
        assert web.get("/_simulator/truth", params={"since": 1}).status_code == 400
        assert web.post("/_simulator/clock", content=json.dumps({"now": NOW + 60})).json()["now"] == NOW + 60
        assert web.get("/_simulator/clock").json() == {"now": NOW + 60, "settable": True}
        assert web.post("/_simulator/clock", content="soon").status_code == 400


def test_a_cut_answer_is_a_network_fault_to_a_client(running: RunningSimulator) -> None:
    headers = {"Authorization": f"Bearer {running.admin_key}"}
    with httpx.Client(base_url=running.root_url, headers=headers) as web:
        web.post("/_simulator/faults", json={"cut_probability": 1.0})
        with pytest.raises(httpx.TransportError):
            web.get("/v1/organization/costs", params={"start_time": TODAY})
        web.post("/_simulator/faults", json={})
        assert web.get("/v1/organization/costs", params={"start_time": TODAY}).status_code == 200


def test_real_time_cannot_be_set() -> None:
    with running_simulator() as running, httpx.Client(base_url=running.root_url) as web:
        assert web.post("/_simulator/clock", json={"now": 0}).status_code == 409
