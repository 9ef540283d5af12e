"""What is asked of each project by itself, and what it means when one of them is gone by then."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import quote

from exporter.openai_api.errors import RequestRefused

_log = logging.getLogger(__name__)

# How the API answers for a project that was archived, and for one that is no longer there.
_STATUS_OF_A_GONE_PROJECT: Final = frozenset({400, 404})
# A refusal of these is about the request, not the project: such as a cursor whose entry was deleted between two pages.
_PARAMETERS_OF_A_LIST: Final = frozenset({"after", "limit"})

_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class Project:
    """A project.

    Attributes:
        id: such as proj_abc.
        name: the id, if it has none or one that holds an e-mail address.
        status: `active` or `archived`.
    """

    id: str
    name: str
    status: str


def project_path(project_id: str) -> str:
    """Return where a project is, below the base URL. No id leads elsewhere."""
    # The library would resolve dots in a path.
    return f"/organization/projects/{quote(project_id, safe='').replace('.', '%2E')}"


def read_each_active(
    projects: Iterable[Project], read: Callable[[str], Iterable[_Read]], api: str
) -> tuple[_Read, ...]:
    """Ask for something of each active project, and return all of it together.

    A project that was archived or deleted since the list was read is left out.

    Args:
        projects: archived ones are not asked for.
        read: takes a project's id.
        api: what the label `api` says.

    Raises:
        OpenAIError: nothing was read; RequestRefused too where it met every single project, for then it is the
            question that the API refuses.
    """
    found: list[_Read] = []
    refusals: list[RequestRefused] = []
    active = [project for project in projects if project.status != "archived"]
    for project in active:
        try:
            found.extend(read(project.id))
        except RequestRefused as refusal:
            if refusal.status not in _STATUS_OF_A_GONE_PROJECT or refusal.param in _PARAMETERS_OF_A_LIST:
                raise
            refusals.append(refusal)
            _log.info(
                "a project is left out, it was archived or deleted meanwhile",
                extra={"api": api, "project_id": project.id, "code": refusal.status, "reason": str(refusal)},
            )
    if refusals and len(refusals) == len(active):
        raise refusals[0]
    return tuple(found)
