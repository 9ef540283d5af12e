"""Who is who in the organization: projects, their API keys, and users, without personal data."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from exporter.openai_api.connection import Query
from exporter.openai_api.errors import BadAnswer
from exporter.openai_api.pages import NotAPageError, field_path, parse_json
from exporter.openai_api.reading import Api

_log = logging.getLogger(__name__)

_ENTRIES_PER_PAGE: Final = 100
_MOST_PAGES: Final = 1000


@dataclass(frozen=True, slots=True)
class Project:
    """A project.

    Attributes:
        id: such as proj_abc.
        name: the id, if it has none.
        status: `active` or `archived`.
    """

    id: str
    name: str
    status: str


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key of a project, without its value.

    Attributes:
        id: such as key_abc.
        name: the id, if it has none.
        project_id: the project it belongs to.
        owner_type: `user`, `service_account`, or "" where the API does not say.
        created_at: Unix seconds.
        last_used_at: Unix seconds, None if it never was.
        expires_at: Unix seconds, None if it does not.
    """

    id: str
    name: str
    project_id: str
    owner_type: str
    created_at: int | None
    last_used_at: int | None
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class User:
    """A member of the organization, without e-mail address.

    Attributes:
        id: such as user-abc.
        name: the id, if there is no name or it is the e-mail address.
    """

    id: str
    name: str


class _Entry(BaseModel):
    # Input stays out of what pydantic says: it may be an e-mail address.
    model_config = ConfigDict(hide_input_in_errors=True)

    id: str = Field(min_length=1)


class _List(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    data: list[Any]
    has_more: bool = Field(strict=True)
    last_id: str | None = None


class _Project(_Entry):
    name: str | None = None
    status: str | None = None
    archived_at: int | None = None


class _Owner(BaseModel):
    type: str | None = None


class _ApiKey(_Entry):
    name: str | None = None
    owner: _Owner | None = None
    created_at: int | None = None
    last_used_at: int | None = None
    expires_at: int | None = None


class _UserDetails(BaseModel):
    name: str | None = None
    email: str | None = None


class _User(_UserDetails, _Entry):
    user: _UserDetails | None = None


_EntryType = TypeVar("_EntryType", bound=_Entry)


class Directory:
    """Reads the organization's lists, each whole or not at all."""

    def __init__(self, connection: Api) -> None:
        """Read through this connection."""
        self._connection = connection

    def projects(self) -> tuple[Project, ...]:
        """Every project, archived ones too.

        Raises:
            OpenAIError: nothing was read.
        """
        query = (("include_archived", "true"),)
        return tuple(
            Project(
                id=entry.id,
                name=entry.name or entry.id,
                status=entry.status or ("active" if entry.archived_at is None else "archived"),
            )
            for entry in self._entries("/organization/projects", query, "projects", _Project)
        )

    def api_keys(self, project_id: str) -> tuple[ApiKey, ...]:
        """Every API key of a project. The API refuses this for archived projects.

        Raises:
            OpenAIError: nothing was read.
        """
        # The library would resolve dots in a path: no id may lead elsewhere.
        project = quote(project_id, safe="").replace(".", "%2E")
        return tuple(
            ApiKey(
                id=entry.id,
                name=entry.name or entry.id,
                project_id=project_id,
                owner_type=(entry.owner and entry.owner.type) or "",
                created_at=entry.created_at,
                last_used_at=entry.last_used_at,
                expires_at=entry.expires_at,
            )
            for entry in self._entries(f"/organization/projects/{project}/api_keys", (), "api_keys", _ApiKey)
        )

    def users(self) -> tuple[User, ...]:
        """Every user.

        Raises:
            OpenAIError: nothing was read.
        """
        return tuple(
            User(id=entry.id, name=_name_of(entry))
            for entry in self._entries("/organization/users", (), "users", _User)
        )

    def _entries(self, path: str, query: Query, api: str, model: type[_EntryType]) -> Iterator[_EntryType]:
        found: dict[str, _EntryType] = {}
        after: str | None = None
        for _ in range(_MOST_PAGES):
            params = (*query, ("limit", str(_ENTRIES_PER_PAGE)), *((("after", after),) if after else ()))
            page = _parse_list(self._connection.get(path, params, api).body, api)
            known = len(found)
            for entry in _valid_entries(page.data, api, model):
                found.setdefault(entry.id, entry)
            if not page.has_more or not page.data:
                return iter(found.values())
            if len(found) == known:
                raise BadAnswer(api, "a page of the list repeats what was read before")
            # Not every server fills in last_id, but the last entry is the same thing.
            after = page.last_id or list(found)[-1]
        raise BadAnswer(api, f"the list has more than {_MOST_PAGES} pages")


def _parse_list(body: bytes, api: str) -> _List:
    try:
        return _List.model_validate(parse_json(body))
    except NotAPageError as flaw:
        what_came = str(flaw)
    except ValidationError as error:
        what_came = f"the answer has an unexpected shape at {field_path(error) or 'its top'}"
    raise BadAnswer(api, what_came)


def _valid_entries(entries: list[Any], api: str, model: type[_EntryType]) -> Iterator[_EntryType]:
    skipped = 0
    where = ""
    for index, entry in enumerate(entries):
        try:
            yield model.model_validate(entry)
        except ValidationError as error:
            skipped += 1
            where = where or f"data.{index}.{field_path(error)}"
    if skipped:
        _log.warning(
            "entries of a list could not be read, their ids stand in for names",
            extra={"api": api, "entries": skipped, "field": where},
        )


def _name_of(entry: _User) -> str:
    nested = entry.user or _UserDetails()
    addresses = {address for address in (entry.email, nested.email) if address}
    return next((name for name in (entry.name, nested.name) if name and name not in addresses), entry.id)
