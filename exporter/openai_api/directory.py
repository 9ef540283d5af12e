"""Who is who in the organization: projects, their API keys, and users, without e-mail addresses unless asked for."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from exporter.openai_api.limits import Limits, RateLimit, SpendLimit
from exporter.openai_api.lists import Entry, Parsed, UnixSeconds, read_list
from exporter.openai_api.projects import Project, project_path, read_each_active
from exporter.openai_api.reading import Api

_E_MAIL_ADDRESS: Final = re.compile(r"(?<=[^\s@])@[\w-]+(?:\.[\w-]+)*\.[^\W\d_]{2,}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key of a project, without its value.

    Attributes:
        id: such as key_abc.
        name: the id, if it has none or one that holds an e-mail address.
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
    """A member of the organization.

    Attributes:
        id: such as user-abc.
        name: the id, if there is no name or it holds an e-mail address.
        email: the e-mail address, "" unless it was asked for. Left out where a user is shown.
    """

    id: str
    name: str
    email: str = field(default="", repr=False)


class _Project(Entry):
    name: str | None = None
    status: str | None = None
    archived_at: UnixSeconds | None = None


class _Owner(Parsed):
    type: str | None = None


class _ApiKey(Entry):
    name: str | None = None
    owner: _Owner | None = None
    created_at: UnixSeconds | None = None
    last_used_at: UnixSeconds | None = None
    expires_at: UnixSeconds | None = None


class _UserDetails(Parsed):
    name: str | None = None
    email: str | None = None


class _User(_UserDetails, Entry):
    user: _UserDetails | None = None


class Directory:
    """Reads the organization's lists and limits, each whole or not at all."""

    def __init__(self, connection: Api) -> None:
        """Read through this connection."""
        self._connection = connection
        self._limits = Limits(connection)

    def projects(self) -> tuple[Project, ...]:
        """Every project, archived ones too.

        Raises:
            OpenAIError: nothing was read.
        """
        query = (("include_archived", "true"),)
        return tuple(
            Project(
                id=entry.id,
                name=_public_name(entry.id, entry.name),
                status=entry.status or ("active" if entry.archived_at is None else "archived"),
            )
            for entry in read_list(self._connection, "/organization/projects", query, "projects", _Project)
        )

    def api_keys(self, project_id: str) -> tuple[ApiKey, ...]:
        """Every API key of a project. The API refuses this for archived projects.

        Raises:
            OpenAIError: nothing was read.
        """
        return tuple(
            ApiKey(
                id=entry.id,
                name=_public_name(entry.id, entry.name),
                project_id=project_id,
                owner_type=(entry.owner and entry.owner.type) or "",
                created_at=entry.created_at,
                # 0 is no time either: a key was not used, and does not expire, in 1970.
                last_used_at=entry.last_used_at or None,
                expires_at=entry.expires_at or None,
            )
            for entry in read_list(self._connection, f"{project_path(project_id)}/api_keys", (), "api_keys", _ApiKey)
        )

    def api_keys_of(self, projects: Iterable[Project]) -> tuple[ApiKey, ...]:
        """Every API key of all these projects that are active, one request or more each.

        Raises:
            OpenAIError: nothing was read.
        """
        return read_each_active(projects, self.api_keys, "api_keys")

    def users(self, *, with_emails: bool = False) -> tuple[User, ...]:
        """Every user, with e-mail addresses only if asked for.

        Raises:
            OpenAIError: nothing was read.
        """
        return tuple(
            _user(entry, with_email=with_emails)
            for entry in read_list(self._connection, "/organization/users", (), "users", _User)
        )

    def spend_limits(self, projects: Iterable[Project]) -> tuple[SpendLimit, ...]:
        """The spend limits there are, of the organization and of those of these projects that are active.

        Raises:
            OpenAIError: nothing was read.
        """
        return self._limits.spend_limits(projects)

    def rate_limits(self, projects: Iterable[Project]) -> tuple[RateLimit, ...]:
        """Every rate limit of all these projects that are active.

        Raises:
            OpenAIError: nothing was read.
        """
        return self._limits.rate_limits(projects)


def _user(entry: _User, *, with_email: bool) -> User:
    nested = entry.user or _UserDetails()
    addresses = [address for address in (entry.email, nested.email) if address]
    return User(
        id=entry.id,
        name=_public_name(entry.id, entry.name, nested.name, addresses=addresses),
        email=addresses[0] if addresses and with_email else "",
    )


def _public_name(identifier: str, *names: str | None, addresses: Iterable[str] = ()) -> str:
    """Return the first name that holds no e-mail address, known or by its looks, else the id."""
    known = [address.casefold() for address in addresses]
    for name in names:
        if name and not _E_MAIL_ADDRESS.search(name) and not any(address in name.casefold() for address in known):
            return name
    return identifier
