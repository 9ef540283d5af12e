"""What is read of the organization beside usage and costs: which of it, and what becomes of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from exporter.configuration.sections import Configuration
from exporter.ledger.store import DirectoryEntry
from exporter.openai_api.answer import Answer
from exporter.openai_api.directory import Directory
from exporter.openai_api.endpoints import ENDPOINTS
from exporter.openai_api.errors import EndpointAbsent, KeyRefused, RequestRefused
from exporter.openai_api.limits import SpendLimit
from exporter.openai_api.projects import Project
from exporter.openai_api.readings import Readings

PROJECTS: Final = "projects"
API_KEYS: Final = "api_keys"
USERS: Final = "users"
SPEND_LIMITS: Final = "spend_limits"
RATE_LIMITS: Final = "rate_limits"

NAME_DIMENSIONS: Final = {PROJECTS: "project_id", API_KEYS: "api_key_id", USERS: "user_id"}
"""The lists that names come from, and the dimension of rows whose ids they name; projects first."""

LISTS_BY_PROJECT: Final = frozenset({API_KEYS, SPEND_LIMITS, RATE_LIMITS})
"""The lists that take a request, or more, for each active project."""

_NOT_OFFERED: Final = (400, 403, 404, 405)


@dataclass(frozen=True, slots=True)
class Found:
    """What a read came to.

    Attributes:
        names: to be kept for ever, by id.
        update: gives the readings with what was read in its place; these are not kept over a restart.
    """

    names: Mapping[str, DirectoryEntry]
    update: Callable[[Readings], Readings]


def wanted_directories(configuration: Configuration) -> tuple[str, ...]:
    """Return the lists that labels, rules and the section `directory` need, in the order they are to be read."""
    labels, directory = configuration.labels, configuration.directory
    conditions = {name for rule in configuration.workflows for name in rule.match.conditions}
    wanted = {
        PROJECTS: True,
        API_KEYS: labels.api_key or directory.api_keys or "api_key" in conditions,
        USERS: labels.user or directory.user_emails or "user" in conditions,
        SPEND_LIMITS: directory.spend_limits,
        RATE_LIMITS: directory.rate_limits,
    }
    return tuple(api for api, is_wanted in wanted.items() if is_wanted)


def still_shown(readings: Readings, configuration: Configuration) -> Readings:
    """Return the readings without what this configuration does not show."""
    directory = configuration.directory
    users = readings.users if configuration.labels.user or directory.user_emails else ()
    return Readings(
        api_keys=readings.api_keys if directory.api_keys else (),
        users=users if directory.user_emails else tuple(replace(user, email="") for user in users),
        spend_limits=readings.spend_limits if directory.spend_limits else (),
        rate_limits=readings.rate_limits if directory.rate_limits else (),
    )


def without(api: str, readings: Readings) -> Readings:
    """Return the readings without those of an API that the organization does not, or no longer, offer."""
    nothing: dict[str, Any] = {field.name: () for field in fields(readings) if field.name == api}
    return replace(readings, **nothing)


def read_directory(
    api: str, directory: Directory, configuration: Configuration, projects: Sequence[Project] | None = None
) -> Found:
    """Read one of the lists, whole or not at all.

    Args:
        api: which.
        directory: of the organization.
        configuration: says what is wanted of it.
        projects: as they were just read; None to read them again, where the list is one of lists by project.

    Raises:
        OpenAIError: nothing was read.
    """
    if api == USERS:
        users = directory.users(with_emails=configuration.directory.user_emails)
        return Found(
            {user.id: DirectoryEntry(user.name) for user in users}, lambda readings: replace(readings, users=users)
        )
    if projects is None or api == PROJECTS:
        projects = directory.projects()
    if api == PROJECTS:
        return Found(
            {project.id: DirectoryEntry(project.name, project.status) for project in projects}, lambda same: same
        )
    if api == API_KEYS:
        keys = directory.api_keys_of(projects)
        return Found(
            {key.id: DirectoryEntry(key.name) for key in keys}, lambda readings: replace(readings, api_keys=keys)
        )
    if api == SPEND_LIMITS:
        spend_limits = _spend_limits(directory, projects)
        return Found({}, lambda readings: replace(readings, spend_limits=spend_limits))
    rate_limits = directory.rate_limits(projects)
    return Found({}, lambda readings: replace(readings, rate_limits=rate_limits))


def _spend_limits(directory: Directory, projects: Sequence[Project]) -> tuple[SpendLimit, ...]:
    try:
        return directory.spend_limits(projects)
    except (KeyRefused, RequestRefused) as refusal:
        # The key is good, or the projects would have been refused: spend limits alone are not for it, or not there.
        if refusal.status in _NOT_OFFERED:
            raise EndpointAbsent(SPEND_LIMITS, refusal.status, refusal.message) from None
        raise


def ids_in(answer: Answer, dimension: str) -> frozenset[str]:
    """Return the ids of one dimension that an answer's rows have."""
    dimensions = ENDPOINTS[answer.api].dimensions
    if dimension not in dimensions:
        return frozenset()
    position = dimensions.index(dimension)
    return frozenset(identifier for rows in answer.buckets.values() for key in rows if (identifier := key[position]))
