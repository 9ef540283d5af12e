"""The lists of projects, keys, service accounts, users and limits."""

import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import parse_qs

from exporter.simulator.errors import ApiError, not_found
from exporter.simulator.organization import ApiKey, Organization, Project, User

PREFIX: Final = "/v1/organization/"

_DEFAULT_LIMIT: Final = 20
_MOST: Final = 100
_DORMANT_EVERY: Final = 19

Item = dict[str, Any]


def read_directory(organization: Organization, path: str, query: str, now: float) -> Item:
    """Answer a path below `/v1/organization/` that is neither usage nor costs."""
    parameters = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
    match path.removeprefix(PREFIX).split("/"):
        case ["projects"]:
            with_archived = parameters.get("include_archived") == "true"
            projects = [each for each in organization.projects if with_archived or not each.is_archived(now)]
            return _listed([_project(each, now) for each in projects if each.created_at <= now], parameters)
        case ["users"]:
            return _listed([_user(user) for user in organization.users], parameters)
        case ["spend_limit"]:
            return _spend_limit("organization.spend_limit", 1_500_000)
        case ["projects", project_id, what] if what in _OF_A_PROJECT:
            return _OF_A_PROJECT[what](_open_project(organization, project_id, now), now, parameters)
        case _:
            raise not_found("GET", path)


def _open_project(organization: Organization, project_id: str, now: float) -> Project:
    project = organization.by_id.get(project_id)
    if project is None:
        raise ApiError(404, f"No project found with id '{project_id}'.", param="project_id", code="project_not_found")
    if project.is_archived(now):
        raise ApiError(400, f"Project '{project_id}' is archived.", param="project_id", code="project_archived")
    return project


def _listed(items: Sequence[Item], parameters: dict[str, str]) -> Item:
    limit_text = parameters.get("limit", str(_DEFAULT_LIMIT))
    if not limit_text.isdecimal() or not 1 <= int(limit_text) <= _MOST:
        raise ApiError(
            400, f"Invalid limit provided: {limit_text}. Limit must be between 1 and {_MOST}.", param="limit"
        )
    first = 0
    if "after" in parameters:
        ids = [item["id"] for item in items]
        if parameters["after"] not in ids:
            raise ApiError(400, f"No item found with id '{parameters['after']}'.", param="after")
        first = ids.index(parameters["after"]) + 1
    page = items[first : first + int(limit_text)]
    return {
        "object": "list",
        "data": list(page),
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": first + len(page) < len(items),
    }


def _project(project: Project, now: float) -> Item:
    archived = project.is_archived(now)
    return {
        "id": project.id,
        "object": "organization.project",
        "name": project.name(now),
        "created_at": project.created_at,
        "archived_at": project.archived_at if archived else None,
        "status": "archived" if archived else "active",
    }


def _user(user: User) -> Item:
    return {
        "object": "organization.user",
        "id": user.id,
        "name": user.name,
        "email": user.email,
        "role": user.role,
        "added_at": user.added_at,
    }


def _api_key(key: ApiKey, now: float) -> Item:
    spread = zlib.crc32(key.id.encode())
    owner: Item = {"type": "user" if key.user else "service_account"}
    if key.user is not None:
        owner["user"] = {
            **_user(key.user),
            "object": "organization.project.user",
            "created_at": key.user.added_at,
            "role": "member",
        }
    elif key.service_account is not None:
        account = key.service_account
        owner["service_account"] = {
            "object": "organization.project.service_account",
            "id": account.id,
            "name": account.name,
            "role": "member",
            "created_at": account.created_at,
        }
    return {
        "object": "organization.project.api_key",
        "id": key.id,
        "name": key.name,
        "redacted_value": f"sk-proj-{key.id[4:7]}***{key.id[-3:]}",
        "created_at": key.created_at,
        "last_used_at": None if spread % _DORMANT_EVERY == 0 else int(now) - spread % 5_400,
        "expires_at": key.expires_at,
        "owner_project_access": "active",
        "owner": owner,
    }


def _api_keys(project: Project, now: float, parameters: dict[str, str]) -> Item:
    return _listed([_api_key(key, now) for key in project.keys], parameters)


def _service_accounts(project: Project, _now: float, parameters: dict[str, str]) -> Item:
    account = project.service_account
    item = {
        "object": "organization.project.service_account",
        "id": account.id,
        "name": account.name,
        "role": "member",
        "created_at": account.created_at,
    }
    return _listed([item], parameters)


def _rate_limits(_project: Project, _now: float, parameters: dict[str, str]) -> Item:
    items = [
        {
            "object": "project.rate_limit",
            "id": f"rl-{model}",
            "model": model,
            "max_requests_per_1_minute": requests,
            "max_tokens_per_1_minute": tokens,
        }
        for model, requests, tokens in (("gpt-5.4", 10_000, 4_000_000), ("gpt-4o-mini", 30_000, 150_000_000))
    ]
    return _listed(items, parameters)


def _spend_limit(kind: str, cents: int) -> Item:
    enforcement = {"status": "inactive"}
    return {
        "object": kind,
        "threshold_amount": cents,
        "currency": "USD",
        "interval": "month",
        "enforcement": enforcement,
    }


def _project_spend_limit(project: Project, _now: float, _parameters: dict[str, str]) -> Item:
    if not project.stored_bytes:
        raise ApiError(404, "No spend limit is configured for this project.", code="not_found")
    return _spend_limit("project.spend_limit", 200_000)


_OF_A_PROJECT: Final[dict[str, Callable[[Project, float, dict[str, str]], Item]]] = {
    "api_keys": _api_keys,
    "service_accounts": _service_accounts,
    "rate_limits": _rate_limits,
    "spend_limit": _project_spend_limit,
}
