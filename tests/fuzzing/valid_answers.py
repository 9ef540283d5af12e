"""What the simulated organization answers, a few rows of each kind, for mutations to begin with."""

from functools import cache
from typing import Any

from exporter.openai_api.endpoints import Endpoint
from exporter.simulator.server import Simulator
from tests.simulator.asking import NOW, TODAY, ask, ask_api

_DAY = 86_400
_ROWS = 3

Document = dict[str, Any]


@cache
def _simulator() -> Simulator:
    return Simulator(clock=lambda: NOW)


@cache
def pages_of(endpoint: Endpoint) -> tuple[Document, ...]:
    """Pages of two days, grouped by everything and by nothing."""
    return tuple(_page(endpoint, grouping) for grouping in (endpoint.dimensions, ()))


def _page(endpoint: Endpoint, grouping: tuple[str, ...]) -> Document:
    reply = ask_api(
        _simulator(), endpoint.api, start_time=TODAY - _DAY, end_time=TODAY + _DAY, bucket_width="1d", group_by=grouping
    )
    page: Document = _plain(reply.json)
    assert page["object"] == "page", page
    for bucket in page["data"]:
        bucket["results"] = bucket["results"][:_ROWS]
    return page


@cache
def lists() -> dict[str, tuple[Document, ...]]:
    """Answers of the directory, by what they are about."""
    projects = _list("/v1/organization/projects")
    project = f"/v1/organization/projects/{projects['data'][0]['id']}"
    return {
        "projects": (projects,),
        "api_keys": (_list(f"{project}/api_keys"),),
        "users": (_list("/v1/organization/users"),),
        "spend_limits": (_list("/v1/organization/spend_limit"), _list(f"{project}/spend_limit")),
        "rate_limits": (_list(f"{project}/rate_limits"),),
    }


def _list(path: str) -> Document:
    answer: Document = _plain(ask(_simulator(), path).json)
    if isinstance(answer.get("data"), list):
        answer |= {"data": answer["data"][:_ROWS], "has_more": False}
    return answer


def refusals() -> tuple[Document, ...]:
    """Errors as the API spells them: of a key, a grouping, a page size and of lost history."""
    found = [
        ask(_simulator(), "/v1/organization/costs", key="wrong").json,
        ask(_simulator(), "/v1/organization/nothing").json,
        ask_api(_simulator(), "costs", start_time=TODAY - _DAY, group_by=("nonsense",)).json,
        ask_api(_simulator(), "costs", start_time=TODAY - _DAY, limit=100_000).json,
        {
            "error": {
                "message": "The earliest date of this organization is 2024-08-01.",
                "type": "invalid_request_error",
                "param": "start_time",
                "code": "reporting_lookback_exceeded",
            }
        },
    ]
    assert all("error" in each for each in found)
    return tuple(found)


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON is anything
    """Return JSON's decimals as floats, which can be spelled again."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return float(value) if not isinstance(value, int | str | None) else value
