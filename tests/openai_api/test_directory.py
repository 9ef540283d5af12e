from typing import Any

import httpx
import pytest

from exporter.openai_api.directory import ApiKey, Directory, Project, User
from exporter.openai_api.errors import BadAnswer, RequestRefused
from tests.openai_api.stand_ins import ScriptedApi, Setup, pages


def listed(*entries: object, more: bool = False, last_id: str | None = None) -> dict[str, Any]:
    return {"object": "list", "data": list(entries), "first_id": None, "last_id": last_id, "has_more": more}


def project(id_: str, **fields: object) -> dict[str, object]:
    return {"object": "organization.project", "id": id_, "name": f"Project {id_}", "status": "active", **fields}


API_KEY = {
    "object": "organization.project.api_key",
    "id": "key_a",
    "name": "search",
    "redacted_value": "sk-proj-...abc",
    "created_at": 1,
    "last_used_at": 2,
    "expires_at": 3,
    "owner_project_access": "active",
    "owner": {"type": "user", "user": {"id": "user-1", "name": "Ann", "email": "person@acme.test"}},
}


def ids(api: ScriptedApi) -> list[str]:
    return [project.id for project in Directory(api).projects()]


def test_projects_are_asked_for_with_the_archived_ones() -> None:
    api = pages(listed(project("a"), project("b", name="Old one", status="archived", archived_at=5)))
    assert Directory(api).projects() == (
        Project("a", "Project a", "active"),
        Project("b", "Old one", "archived"),
    )
    assert api.paths == ["/organization/projects"]
    assert api.queries == [(("include_archived", "true"), ("limit", "100"))]


def test_a_project_without_a_name_or_a_status_still_counts() -> None:
    entries = (project("a", name=None, status=None), project("b", name="", status=None, archived_at=5))
    assert Directory(pages(listed(*entries))).projects() == (
        Project("a", "a", "active"),
        Project("b", "b", "archived"),
    )


def test_a_list_is_read_page_by_page_after_its_last_id() -> None:
    api = pages(listed(project("a"), project("b"), more=True, last_id="b"), listed(project("c"), last_id="c"))
    assert ids(api) == ["a", "b", "c"]
    assert [dict(query).get("after") for query in api.queries] == [None, "b"]


def test_a_page_without_a_last_id_is_continued_after_its_last_entry() -> None:
    api = pages(listed(project("a"), project("b"), more=True), listed(project("c")))
    assert ids(api) == ["a", "b", "c"]
    assert dict(api.queries[1])["after"] == "b"


def test_an_empty_page_is_the_end_whatever_it_says() -> None:
    assert ids(pages(listed(project("a"), more=True, last_id="a"), listed(more=True))) == ["a"]


def test_an_entry_that_moved_to_the_next_page_counts_once() -> None:
    assert ids(pages(listed(project("a"), project("b"), more=True), listed(project("b"), project("c")))) == [
        "a",
        "b",
        "c",
    ]


def test_a_list_that_repeats_itself_is_not_believed() -> None:
    api = pages(listed(project("a"), more=True, last_id="a"))
    with pytest.raises(BadAnswer, match=r"^projects: a page of the list repeats"):
        ids(api)
    assert len(api.queries) == 2


def test_a_list_without_end_is_not_believed() -> None:
    numbers = iter(range(10_000))
    api = ScriptedApi(lambda _query, _grouping: listed(project(str(next(numbers))), more=True), 0)
    with pytest.raises(BadAnswer, match="more than 1000 pages"):
        ids(api)


@pytest.mark.parametrize("frame", [[], {}, {"data": []}, {"data": {}, "has_more": False}, b"secret", b'{"data":['])
def test_a_frame_of_another_shape_is_not_believed(frame: object) -> None:
    with pytest.raises(BadAnswer, match=r"^users: the answer ") as refusal:
        Directory(pages(frame)).users()
    assert "secret" not in str(refusal.value)


def test_an_entry_that_cannot_be_read_costs_no_other_and_is_logged_without_content(
    caplog: pytest.LogCaptureFixture,
) -> None:
    entries = ({"name": "secret"}, "secret", project("a"), project("b", name=["secret"]), project(""))
    assert ids(pages(listed(*entries))) == ["a"]
    (record,) = caplog.records
    assert (record.levelname, record.__dict__["entries"], record.__dict__["field"]) == ("WARNING", 4, "data.0.id")
    assert "secret" not in str(record.__dict__)


def test_api_keys_are_read_without_their_value_and_their_owners_address() -> None:
    api = pages(listed(API_KEY, {"id": "key_b", "name": None, "owner": {"type": "service_account"}}, {"id": "key_c"}))
    keys = Directory(api).api_keys("proj_a")
    assert keys == (
        ApiKey("key_a", "search", "proj_a", "user", 1, 2, 3),
        ApiKey("key_b", "key_b", "proj_a", "service_account", None, None, None),
        ApiKey("key_c", "key_c", "proj_a", "", None, None, None),
    )
    assert api.paths == ["/organization/projects/proj_a/api_keys"]
    assert "sk-proj" not in str(keys)
    assert "acme.test" not in str(keys)


def test_a_project_id_cannot_lead_to_another_path() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(200, json=listed())

    for project_id in ("..", "../../organization", "a/b", "a?b#c", "a b"):
        Directory(Setup(answer).connection).api_keys(project_id)
    base = "https://api.test/v1/organization/projects"
    assert seen == [
        f"{base}/{path}/api_keys?limit=100"
        for path in ("%2E%2E", "%2E%2E%2F%2E%2E%2Forganization", "a%2Fb", "a%3Fb%23c", "a%20b")
    ]


def test_users_are_read_without_their_addresses() -> None:
    users = Directory(
        pages(
            listed(
                {"id": "user-1", "name": "Ann", "email": "ann@acme.test", "role": "owner"},
                {"id": "user-2", "name": "bob@acme.test", "email": "bob@acme.test"},
                {"id": "user-3", "name": None, "user": {"id": "user-3", "name": "Cat", "email": "cat@acme.test"}},
                {"id": "user-4"},
            )
        )
    ).users()
    assert users == (User("user-1", "Ann"), User("user-2", "user-2"), User("user-3", "Cat"), User("user-4", "user-4"))


def test_a_refusal_is_passed_on() -> None:
    with pytest.raises(RequestRefused):
        Directory(pages(RequestRefused("api_keys", 404))).api_keys("proj_archived")
