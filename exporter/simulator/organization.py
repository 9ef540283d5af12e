"""The simulated organization: its projects, people, service accounts and keys, and what each key is used for."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from exporter.openai_api.endpoints import ENDPOINTS
from exporter.simulator import uses
from exporter.simulator.uses import Use

ORGANIZATION_ID: Final = "org-acme0simulated0organization"
ORGANIZATION_NAME: Final = "ACME"

Dimension = str | bool | None

# 2026-09-15 09:30 UTC and 2026-06-30 17:00 UTC.
RENAMED_AT: Final = 1_789_464_600
ARCHIVED_AT: Final = 1_782_838_800
_FOUNDED_AT: Final = 1_704_445_200


@dataclass(frozen=True, slots=True)
class User:
    """A member of the organization."""

    id: str
    name: str
    email: str
    role: Literal["owner", "reader"]
    added_at: int


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A project's own account, which owns keys that no person owns."""

    id: str
    name: str
    created_at: int


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A project's key; exactly one of the two owners is set.

    Attributes:
        id: as usage and costs spell it.
        name: what people called it.
        created_at: Unix seconds.
        expires_at: Unix seconds, None for never.
        user: the person who owns it.
        service_account: the service account that owns it.
    """

    id: str
    name: str
    created_at: int
    expires_at: int | None
    user: User | None
    service_account: ServiceAccount | None


@dataclass(frozen=True, slots=True)
class Project:
    """A project; name and status depend on the time."""

    id: str
    first_name: str
    created_at: int
    keys: tuple[ApiKey, ...]
    service_account: ServiceAccount
    stored_bytes: int
    later_name: str | None = None
    renamed_at: int | None = None
    archived_at: int | None = None

    def name(self, now: float) -> str:
        """What it is called at that time."""
        if self.later_name is not None and self.renamed_at is not None and now >= self.renamed_at:
            return self.later_name
        return self.first_name

    def is_archived(self, now: float) -> bool:
        """Whether it is archived at that time."""
        return self.archived_at is not None and now >= self.archived_at


@dataclass(frozen=True, slots=True)
class Workflow:
    """What AITracer would call the work behind a key."""

    workflow: str
    action_group: str
    environment: str
    traced: bool = True


@dataclass(frozen=True, slots=True)
class Stream:
    """One key's one use: the grain that everything is counted at.

    Attributes:
        api: the usage endpoint.
        dimensions: every dimension's value, in the endpoint's order.
        project_id: None for what belongs to no project.
        use: what a call takes, how many there are.
        calls: calls on an average working day.
        workflow: what AITracer would call it.
        until: Unix seconds of its end, None for no end.
    """

    api: str
    dimensions: tuple[Dimension, ...]
    project_id: str | None
    use: Use
    calls: float
    workflow: Workflow
    until: int | None = None


@dataclass(frozen=True)
class Organization:
    """Everything that does not depend on chance."""

    projects: tuple[Project, ...]
    users: tuple[User, ...]
    streams: tuple[Stream, ...]
    by_id: MappingProxyType[str, Project] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_id", MappingProxyType({project.id: project for project in self.projects}))


@dataclass(frozen=True, slots=True)
class _KeyPlan:
    name: str
    count: int
    workflow: Workflow
    uses: tuple[Use, ...]
    scale: float = 1.0
    owned_by_people: bool = False


@dataclass(frozen=True, slots=True)
class _ProjectPlan:
    name: str
    key_plans: tuple[_KeyPlan, ...]
    stored_gibibytes: int = 0
    later_name: str | None = None
    is_archived: bool = False


def _work(name: str, group: str, environment: str = "production", *, traced: bool = True) -> Workflow:
    return Workflow(name, group, environment, traced)


# How much busier the organization is than one key's plain use; makes a bill of some hundred dollars a day.
_SIZE: Final = 3.0
_DEVELOPMENT: Final = 0.04

_PLANS: Final = (
    _ProjectPlan(
        "Default project",
        (_KeyPlan("playground", 6, _work("playground", "people"), uses.PLAYGROUND, owned_by_people=True),),
    ),
    _ProjectPlan(
        "support-bot",
        (
            _KeyPlan("support-bot", 4, _work("support-bot", "support"), uses.SUPPORT),
            _KeyPlan("support-staging", 3, _work("support-bot", "support", "staging"), uses.SUPPORT, _DEVELOPMENT),
            _KeyPlan(
                "support-dev",
                4,
                _work("support-bot", "support", "development"),
                uses.SUPPORT,
                _DEVELOPMENT,
                owned_by_people=True,
            ),
        ),
    ),
    _ProjectPlan(
        "support-knowledge",
        (
            _KeyPlan("knowledge", 3, _work("support-answers", "support"), uses.KNOWLEDGE),
            _KeyPlan(
                "knowledge-dev",
                3,
                _work("support-answers", "support", "development"),
                uses.KNOWLEDGE,
                _DEVELOPMENT,
                owned_by_people=True,
            ),
        ),
        stored_gibibytes=14,
    ),
    _ProjectPlan(
        "support-voice",
        (
            _KeyPlan("voice", 4, _work("phone-agent", "support"), uses.VOICE),
            _KeyPlan(
                "voice-dev",
                3,
                _work("phone-agent", "support", "development"),
                uses.VOICE,
                _DEVELOPMENT,
                owned_by_people=True,
            ),
        ),
    ),
    _ProjectPlan(
        "core",
        (
            _KeyPlan("search-index", 4, _work("search", "discovery"), uses.SEARCH),
            _KeyPlan("search-query", 3, _work("search", "discovery"), uses.SEARCH[2:]),
            _KeyPlan("search-staging", 3, _work("search", "discovery", "staging"), uses.SEARCH, _DEVELOPMENT),
        ),
    ),
    _ProjectPlan(
        "marketing-studio",
        (_KeyPlan("studio", 8, _work("campaign-studio", "marketing"), uses.STUDIO, owned_by_people=True),),
    ),
    _ProjectPlan(
        "data-science",
        (
            _KeyPlan("batch", 3, _work("nightly-classification", "analytics", traced=False), uses.SCIENCE[:1]),
            _KeyPlan(
                "notebook",
                8,
                _work("notebooks", "analytics", "development"),
                uses.SCIENCE[1:],
                owned_by_people=True,
            ),
        ),
    ),
    _ProjectPlan(
        "internal-tools",
        (
            _KeyPlan("copilot", 4, _work("employee-copilot", "people"), uses.COPILOT),
            _KeyPlan(
                "copilot-dev",
                4,
                _work("employee-copilot", "people", "development"),
                uses.COPILOT,
                _DEVELOPMENT,
                owned_by_people=True,
            ),
        ),
        later_name="employee-copilot",
    ),
    _ProjectPlan("meeting-notes", (_KeyPlan("meetings", 5, _work("meeting-notes", "people"), uses.MEETINGS),)),
    _ProjectPlan(
        "document-intake",
        (
            _KeyPlan("intake", 4, _work("document-intake", "operations"), uses.INTAKE),
            _KeyPlan(
                "intake-dev",
                3,
                _work("document-intake", "operations", "development"),
                uses.INTAKE,
                _DEVELOPMENT,
                owned_by_people=True,
            ),
        ),
        stored_gibibytes=41,
    ),
    _ProjectPlan("research-agents", (_KeyPlan("agent", 5, _work("research-agent", "operations"), uses.AGENTS),)),
    _ProjectPlan(
        "fraud-review", (_KeyPlan("fraud", 4, _work("fraud-review", "risk"), uses.FRAUD),), stored_gibibytes=2
    ),
    _ProjectPlan("evals", (_KeyPlan("evals", 4, _work("evaluation", "analytics", "staging"), uses.EVALS),)),
    _ProjectPlan(
        "summer-campaign",
        (_KeyPlan("campaign", 4, _work("campaign-studio", "marketing"), uses.STUDIO, 0.3),),
        is_archived=True,
    ),
)

_PEOPLE: Final = (
    ("Ada", "Abel"),
    ("Bertram", "Brandt"),
    ("Chiara", "Costa"),
    ("Dmitri", "Dvorak"),
    ("Elif", "Ersoy"),
    ("Farah", "Faris"),
    ("Goran", "Grubor"),
    ("Hana", "Hayashi"),
    ("Idris", "Idowu"),
    ("Jonna", "Jokinen"),
    ("Kofi", "Kwarteng"),
    ("Lucia", "Lopez"),
    ("Milan", "Mraz"),
    ("Nadia", "Nassar"),
    ("Omar", "Okafor"),
    ("Priya", "Patel"),
    ("Quentin", "Roux"),
    ("Rosa", "Silva"),
    ("Sami", "Toivonen"),
    ("Tove", "Udal"),
)


def _identifier(prefix: str, *parts: str, length: int = 24) -> str:
    return prefix + hashlib.sha256("/".join(parts).encode()).hexdigest()[:length]


def _users() -> tuple[User, ...]:
    return tuple(
        User(
            id=_identifier("user-", first, last),
            name=f"{first} {last}",
            email=f"{first.lower()}.{last.lower()}@acme.test",
            role="owner" if index < 2 else "reader",  # noqa: PLR2004 - two founders, nothing to name
            added_at=_FOUNDED_AT + index * 1_209_600,
        )
        for index, (first, last) in enumerate(_PEOPLE)
    )


def _keys(plan: _ProjectPlan, account: ServiceAccount, users: tuple[User, ...]) -> list[tuple[ApiKey, _KeyPlan, float]]:
    keys = []
    for key_plan in plan.key_plans:
        for number in range(1, key_plan.count + 1):
            name = f"{key_plan.name}-{number}"
            key_id = _identifier("key_", plan.name, name, length=16)
            spread = int(key_id[4:10], 16)
            owner = users[spread % len(users)] if key_plan.owned_by_people else None
            key = ApiKey(
                id=key_id,
                name=name,
                created_at=_FOUNDED_AT + spread % 31_000_000,
                # Every eleventh key ends some day; none does so early enough to stop its traffic.
                expires_at=1_893_456_000 + spread if spread % 11 == 0 else None,
                user=owner,
                service_account=None if owner else account,
            )
            # The first key of a kind does most of the work.
            keys.append((key, key_plan, _SIZE * key_plan.scale / number**1.2))
    return keys


def _stream(key: ApiKey | None, project: Project | None, use: Use, calls: float, workflow: Workflow) -> Stream:
    dimensions: dict[str, Dimension] = {
        "project_id": project.id if project else None,
        "api_key_id": key.id if key else None,
        "user_id": key.user.id if key and key.user else None,
        "model": use.model or None,
        "batch": use.batch,
        "service_tier": use.service_tier,
        "api_source": use.api_source,
        "size": use.detail,
        "source": use.source,
        "context_level": use.detail,
        "vector_store_id": use.detail,
    }
    return Stream(
        api=use.api,
        dimensions=tuple(dimensions[name] for name in ENDPOINTS[use.api].dimensions),
        project_id=project.id if project else None,
        use=use,
        calls=calls,
        workflow=workflow,
        until=project.archived_at if project else None,
    )


def part_of(organization: Organization, projects: Collection[str]) -> Organization:
    """The same with these projects alone, by their first names, and with what belongs to none."""
    kept = tuple(project for project in organization.projects if project.first_name in projects)
    ids = {None, *(project.id for project in kept)}
    streams = tuple(stream for stream in organization.streams if stream.project_id in ids)
    return Organization(kept, organization.users, streams)


def build_organization(
    *, renamed_at: int = RENAMED_AT, archived_at: int = ARCHIVED_AT, size: float = 1.0
) -> Organization:
    """The organization. `renamed_at` and `archived_at` move two events of its directory, `size` multiplies calls."""
    users = _users()
    projects = []
    streams = []
    for index, plan in enumerate(_PLANS):
        created_at = _FOUNDED_AT + index * 864_000
        account = ServiceAccount(_identifier("user-sa", plan.name, length=22), f"{plan.name}-service", created_at)
        keys = _keys(plan, account, users)
        project = Project(
            id=_identifier("proj_", plan.name),
            first_name=plan.name,
            created_at=created_at,
            keys=tuple(key for key, _, _ in keys),
            service_account=account,
            stored_bytes=plan.stored_gibibytes * 2**30,
            later_name=plan.later_name,
            renamed_at=renamed_at if plan.later_name else None,
            archived_at=archived_at if plan.is_archived else None,
        )
        projects.append(project)
        streams += [
            _stream(key, project, use, use.calls * scale * size, key_plan.workflow)
            for key, key_plan, scale in keys
            for use in key_plan.uses
        ]
    # Calls with keys from before there were projects: no project, no key, no person.
    legacy = _work("legacy-scripts", "operations")
    streams += [
        _stream(None, None, use, use.calls * 2 * size, legacy) for use in (*uses.COPILOT[1:2], *uses.SEARCH[:1])
    ]
    return Organization(tuple(projects), users, tuple(streams))
