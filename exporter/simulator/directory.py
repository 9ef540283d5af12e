"""The lists of projects, keys, service accounts, users and limits."""

import zlib
from collections.abc import Sequence
from decimal import Decimal, localcontext
from typing import Any, Final
from urllib.parse import parse_qs

from exporter.days import SECONDS_PER_DAY
from exporter.simulator.billing import EXACT
from exporter.simulator.errors import ApiError, not_found
from exporter.simulator.limits import (
    ORGANIZATION_SPEND_LIMIT_USD,
    PROJECT_SPEND_LIMITS_USD,
    MonthToDate,
    rate_limits,
    spend_limit,
)
from exporter.simulator.organization import ApiKey, Organization, Project, ServiceAccount, User

PREFIX: Final = "/v1/organization/"

_DEFAULT_LIMIT: Final = 20
_DEFAULT_LIMIT_OF_RATE_LIMITS: Final = 100
_MOST: Final = 100
_DORMANT_EVERY: Final = 19

# The keys of these projects are renewed again and again, one each week: there is always one that ends soon.
_PROJECTS_THAT_RENEW_KEYS: Final = frozenset({"evals"})
_WEEK: Final = 7 * SECONDS_PER_DAY

_OF_A_PROJECT: Final = frozenset({"api_keys", "service_accounts", "rate_limits", "spend_limit"})

Item = dict[str, Any]


def read_directory(organization: Organization, month: MonthToDate, path: str, query: str, now: float) -> Item:
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
            with localcontext(EXACT):
                spent = sum(month.spent(now).values(), Decimal(0))
            return spend_limit("organization", ORGANIZATION_SPEND_LIMIT_USD, spent)
        case ["projects", project_id, what] if what in _OF_A_PROJECT:
            return _read_of_project(_open_project(organization, project_id, now), what, month, parameters, now)
        case _:
            raise not_found("GET", path)


def _read_of_project(project: Project, what: str, month: MonthToDate, parameters: dict[str, str], now: float) -> Item:
    match what:
        case "api_keys":
            return _listed(_api_keys(project, now), parameters)
        case "service_accounts":
            return _listed([_service_account(project.service_account)], parameters)
        case "rate_limits":
            return _listed(rate_limits(project), parameters, default=_DEFAULT_LIMIT_OF_RATE_LIMITS)
        case _:
            return _project_spend_limit(project, month, now)


def _open_project(organization: Organization, project_id: str, now: float) -> Project:
    project = organization.by_id.get(project_id)
    if project is None:
        raise ApiError(404, f"No project found with id '{project_id}'.", param="project_id", code="project_not_found")
    if project.is_archived(now):
        raise ApiError(400, f"Project '{project_id}' is archived.", param="project_id", code="project_archived")
    return project


def _listed(items: Sequence[Item], parameters: dict[str, str], *, default: int = _DEFAULT_LIMIT) -> Item:
    limit_text = parameters.get("limit", str(default))
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


def _api_key(key: ApiKey, expires_at: int | None, now: float) -> Item:
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
        owner["service_account"] = _service_account(key.service_account)
    return {
        "object": "organization.project.api_key",
        "id": key.id,
        "name": key.name,
        "redacted_value": f"sk-proj-{key.id[4:7]}***{key.id[-3:]}",
        "created_at": key.created_at,
        "last_used_at": None if spread % _DORMANT_EVERY == 0 else int(now) - spread % 5_400,
        "expires_at": expires_at,
        "owner_project_access": "active",
        "owner": owner,
    }


def _api_keys(project: Project, now: float) -> list[Item]:
    keys = project.keys
    if project.first_name not in _PROJECTS_THAT_RENEW_KEYS:
        return [_api_key(key, key.expires_at, now) for key in keys]
    cycle = len(keys) * _WEEK
    return [_api_key(key, int(now) - (int(now) - place * _WEEK) % cycle + cycle, now) for place, key in enumerate(keys)]


def _service_account(account: ServiceAccount) -> Item:
    return {
        "object": "organization.project.service_account",
        "id": account.id,
        "name": account.name,
        "role": "member",
        "created_at": account.created_at,
    }


def _project_spend_limit(project: Project, month: MonthToDate, now: float) -> Item:
    limit_usd = PROJECT_SPEND_LIMITS_USD.get(project.first_name)
    if limit_usd is None:
        raise ApiError(404, "No spend limit is configured for this project.", code="not_found")
    return spend_limit("project", limit_usd, month.spent(now).get(project.id, Decimal(0)))
