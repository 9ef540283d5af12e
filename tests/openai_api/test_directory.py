from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from exporter.openai_api.directory import ApiKey, Directory, User
from exporter.openai_api.errors import BadAnswer, KeyRefused, OpenAIError, RequestRefused, Unreachable
from exporter.openai_api.lists import Entry
from exporter.openai_api.projects import Project
from tests.openai_api.by_path import asked, by_path
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


def test_a_key_that_was_used_or_expires_at_0_never_was_and_never_does() -> None:
    (key,) = Directory(pages(listed({"id": "key_a", "last_used_at": 0, "expires_at": 0}))).api_keys("proj_a")
    assert (key.last_used_at, key.expires_at) == (None, None)


ACTIVE = (Project("a", "A", "active"), Project("b", "B", "active"), Project("c", "C", "active"))


def test_keys_are_read_of_every_active_project_and_of_no_archived_one() -> None:
    api = by_path({f"projects/{id_}/api_keys": listed({"id": f"key_{id_}"}) for id_ in "abc"})
    projects = (*ACTIVE, Project("d", "D", "archived"))
    assert [(key.id, key.project_id) for key in Directory(api).api_keys_of(projects)] == [
        ("key_a", "a"),
        ("key_b", "b"),
        ("key_c", "c"),
    ]


def test_an_organization_without_active_projects_has_no_keys() -> None:
    api = by_path({})
    assert Directory(api).api_keys_of((Project("d", "D", "archived"),)) == ()
    assert api.paths == []


@pytest.mark.parametrize("status", [400, 404])
def test_a_project_that_was_archived_or_deleted_meanwhile_is_left_out(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    answers: dict[str, object] = {f"projects/{id_}/api_keys": listed({"id": f"key_{id_}"}) for id_ in "ac"}
    answers["projects/b/api_keys"] = RequestRefused("api_keys", status, "is archived", "project_id")
    assert [key.id for key in Directory(by_path(answers)).api_keys_of(ACTIVE)] == ["key_a", "key_c"]
    (record,) = caplog.records
    assert (record.levelname, record.__dict__["project_id"], record.__dict__["code"]) == ("INFO", "b", status)


@pytest.mark.parametrize(
    "refusal",
    [
        KeyRefused("api_keys", 401, ""),
        KeyRefused("api_keys", 403, "Missing scopes: api.management.read"),
        Unreachable("api_keys", "HTTP 503"),
        BadAnswer("api_keys", "too large"),
        RequestRefused("api_keys", 405),
        RequestRefused("api_keys", 400, "No item found", "after"),
        RequestRefused("api_keys", 400, "Limit must be at most 50", "limit"),
    ],
    ids=lambda refusal: f"{type(refusal).__name__} {getattr(refusal, 'param', '')}",
)
def test_any_other_failure_for_one_project_fails_the_whole_read(refusal: OpenAIError) -> None:
    answers: dict[str, object] = {f"projects/{id_}/api_keys": listed({"id": f"key_{id_}"}) for id_ in "ac"}
    api = by_path({**answers, "projects/b/api_keys": refusal})
    with pytest.raises(type(refusal)) as raised:
        Directory(api).api_keys_of(ACTIVE)
    assert raised.value is refusal
    assert asked(api) == ["projects/a/api_keys", "projects/b/api_keys"]


def test_projects_are_not_believed_to_be_gone_all_at_once() -> None:
    refusal = RequestRefused("api_keys", 400, "an unknown parameter")
    with pytest.raises(RequestRefused, match="an unknown parameter"):
        Directory(by_path({f"projects/{id_}/api_keys": refusal for id_ in "abc"})).api_keys_of(ACTIVE)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("bob@acme.test", "id"),
        ("Bob <Bob.B+x@mail.acme.test>", "id"),
        ("key of bob@acme.test (old)", "id"),
        ("böb@ácme.tést", "id"),
        ("search@v1.2", "search@v1.2"),
        ("@acme", "@acme"),
        ("team @ acme.test", "team @ acme.test"),
        ("a" * 50_000 + "@", "a" * 50_000 + "@"),
    ],
    ids=lambda value: value[:20],
)
def test_no_name_holds_an_e_mail_address(name: str, shown: str) -> None:
    api = by_path(
        {"projects/id/api_keys": (frame := listed({"id": "id", "name": name})), "projects": frame, "users": frame}
    )
    directory = Directory(api)
    assert [directory.projects()[0].name, directory.api_keys("id")[0].name, directory.users()[0].name] == [shown] * 3


def test_a_name_that_holds_the_user_s_own_address_in_another_spelling_gives_way_to_the_id() -> None:
    entry = {"id": "user-1", "name": "Root (ROOT@LocalHost)", "email": "root@localhost"}
    assert Directory(pages(listed(entry))).users() == (User("user-1", "user-1"),)


def test_addresses_are_read_where_they_are_asked_for_and_still_name_nobody() -> None:
    entries = (
        {"id": "user-1", "name": "Ann", "email": "ann@acme.test"},
        {"id": "user-2", "name": "bob@acme.test", "user": {"email": "bob@acme.test"}},
        {"id": "user-3", "name": "Cat", "email": None},
    )
    users = Directory(pages(listed(*entries))).users(with_emails=True)
    assert users == (
        User("user-1", "Ann", "ann@acme.test"),
        User("user-2", "user-2", "bob@acme.test"),
        User("user-3", "Cat", ""),
    )
    assert "acme.test" not in repr(users)


def test_an_address_in_an_entry_that_cannot_be_read_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    entries = ({"id": ["ann@acme.test"]}, {"id": "user-1", "name": {"email": "ann@acme.test"}})
    assert Directory(pages(listed(*entries))).users(with_emails=True) == ()
    assert len(caplog.records) == 1
    assert "acme.test" not in str(caplog.records[0].__dict__)


def test_what_an_entry_was_made_from_is_not_in_the_words_of_its_error() -> None:
    with pytest.raises(ValidationError, match="Entry") as error:
        Entry.model_validate({"id": ["ann@acme.test"]})
    assert "acme.test" not in str(error.value)


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
