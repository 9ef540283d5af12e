"""An organization of a few rows that a test changes as it goes, and an exporter of it: a poll takes milliseconds."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, cast

from exporter.configuration.loading import parse_configuration
from exporter.days import day_of
from exporter.ledger.ledger import Ledger
from exporter.ledger.store import Store
from exporter.metrics.self_metrics import SelfMetrics
from exporter.openai_api.admin_key import AdminKey
from exporter.openai_api.connection import Connection, Query, Reply, RequestObserver
from exporter.openai_api.endpoints import ENDPOINTS, Endpoint
from exporter.openai_api.errors import RequestRefused, Unreachable
from exporter.polling.poller import Poller, Setting
from exporter.simulator.clock import SettableClock
from tests.openai_api.stand_ins import DAY, bucket, page

BEGAN = 1_793_264_400
"""2026-10-29 09:00 UTC."""
COMPLETIONS = "usage/completions"

# No name here needs to be escaped.
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class Used(NamedTuple):
    """Input tokens of the open day."""

    tokens: int
    key: str | None = "key_1"
    model: str = "gpt-5"
    project: str | None = "proj_a"
    user: str | None = None


class Spent(NamedTuple):
    """US dollars of each day, and the tokens they bought."""

    usd: str
    line_item: str = "gpt-5, input"
    key: str | None = "key_1"
    quantity: int | None = 100
    project: str | None = "proj_a"


@dataclass
class ScriptedOrganization:
    """What the API says: names by id, keys with their project, people with their address, and rows.

    Attributes:
        down: APIs that do not answer.
        requests: how many there were by API.
        before_answer: is called with the API of each request.
        observer: is told of each, as it is by a connection.
    """

    clock: SettableClock
    projects: dict[str, str] = field(default_factory=lambda: {"proj_a": "core"})
    keys: dict[str, tuple[str, str]] = field(default_factory=lambda: {"key_1": ("proj_a", "search-1")})
    people: dict[str, tuple[str, str]] = field(default_factory=dict)
    spend_limits: dict[str, int] = field(default_factory=dict)
    used: list[Used] = field(default_factory=list)
    spent: list[Spent] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    requests: Counter[str] = field(default_factory=Counter)
    before_answer: Callable[[str], None] = field(default=lambda _: None)
    observer: RequestObserver | None = None

    def get(self, path: str, params: Query, api: str) -> Reply:
        """Answer as a connection would."""
        self.requests[api] += 1
        if self.observer is not None:
            self.observer.answered(api, "200", 0.0)
        self.before_answer(api)
        if api in self.down:
            raise Unreachable(api, "no answer")
        endpoint = ENDPOINTS.get(api)
        answer = self._listed(path, api) if endpoint is None else self._page(endpoint, params)
        return Reply([json.dumps(answer).encode()], int(self.clock()))

    def _listed(self, path: str, api: str) -> object:
        match path.removeprefix("/organization/").split("/"):
            case ["projects"]:
                return _list({"id": key, "name": name, "status": "active"} for key, name in self.projects.items())
            case ["projects", project, "api_keys"]:
                return _list(
                    {"id": key, "name": name, "owner": {"type": "service_account"}}
                    for key, (owner, name) in self.keys.items()
                    if owner == project
                )
            case ["projects", project, "rate_limits"]:
                return _list([{"id": f"rl-{project}", "model": "gpt-5", "max_tokens_per_1_minute": 500}])
            case ["users"]:
                return _list({"id": key, "name": name, "email": email} for key, (name, email) in self.people.items())
            case [*_, "spend_limit"]:
                return self._spend_limit(path, api)
        raise AssertionError(path)

    def _spend_limit(self, path: str, api: str) -> object:
        project = path.split("/")[3] if "projects" in path else ""
        if project not in self.spend_limits:
            raise RequestRefused(api, 404, "there is none")
        return {
            "object": "project.spend_limit" if project else "organization.spend_limit",
            "threshold_amount": self.spend_limits[project] * 100,
            "currency": "USD",
            "interval": "month",
            "enforcement": {"status": "inactive"},
        }

    def _page(self, endpoint: Endpoint, params: Query) -> object:
        query = dict(params)
        grouping = {value for name, value in params if name == "group_by[]"}
        today = day_of(self.clock())
        start, end = int(query["start_time"]), min(int(query["end_time"]), today + DAY)
        first = int(query.get("page", start))
        last = min(end, first + int(query["limit"]) * DAY)
        buckets = [
            bucket(0, *self._rows(endpoint, grouping, day == today), start=day) for day in range(first, last, DAY)
        ]
        return page(buckets, str(last) if last < end else None)

    def _rows(self, endpoint: Endpoint, grouping: set[str], is_today: bool) -> list[dict[str, object]]:  # noqa: FBT001 - which day it is
        rows: list[dict[str, object]] = []
        if endpoint.api == COMPLETIONS and is_today:
            rows = [
                {
                    "input_tokens": each.tokens,
                    "output_tokens": 0,
                    "num_model_requests": 1,
                    "project_id": each.project,
                    "api_key_id": each.key,
                    "user_id": each.user,
                    "model": each.model,
                    "service_tier": "default",
                }
                for each in self.used
            ]
        elif endpoint.api == "costs":
            rows = [
                {
                    "amount": {"value": each.usd, "currency": "usd"},
                    "quantity": each.quantity,
                    "quantity_unit": "tokens",
                    "project_id": each.project,
                    "api_key_id": each.key,
                    "line_item": each.line_item,
                }
                for each in self.spent
            ]
        counted = {*endpoint.measures, "input_tokens", "output_tokens", "num_model_requests", "amount"}
        counted |= {"quantity", "quantity_unit"}
        return [
            {"object": endpoint.result_object}
            | {name: value for name, value in row.items() if name in counted or name in grouping}
            for row in rows
        ]


def _list(entries: Iterable[dict[str, object]]) -> dict[str, object]:
    data = list(entries)
    last = data[-1]["id"] if data else None
    return {"object": "list", "data": data, "first_id": None, "last_id": last, "has_more": False}


class Exporter:
    """One exporter process after another on the same state."""

    def __init__(self, folder: Path, configuration: str = "") -> None:
        self.clock = SettableClock(BEGAN)
        self.organization = ScriptedOrganization(self.clock)
        self._folder = folder
        self._store = Store.open(folder)
        self._configuration = configuration
        self._start()

    def close(self) -> None:
        self._store.close()

    def restart(self) -> None:
        self._store.close()
        self._store = Store.open(self._folder)
        self._start()

    def reload(self, configuration: str) -> None:
        self._configuration = configuration
        self.poller.reconfigure(self._setting())

    def pass_time(self, seconds: float = 0) -> None:
        """Let time pass, then poll what is due."""
        self.clock.advance(seconds)
        self.poller.poll_due()

    def counted(self, label: str = "workflow", family: str = "openai_usage_tokens_total") -> dict[str, int]:
        """Return what counters come to by one of their labels, series that stand at 0 included."""
        sums: dict[str, int] = {}
        for name, counter in self.ledger.book.counters.items():
            if name.family == family:
                value = dict(name.labels)[label]
                sums[value] = sums.get(value, 0) + int(counter.value)
        return sums

    def gauge(self, family: str, label: str, **labels: str) -> dict[str, float]:
        """Return what a gauge comes to by one of its labels, of the series that have the others."""
        sums: dict[str, float] = {}
        for line in self.page().splitlines():
            if line.startswith(f"{family}{{"):
                text, _, value = line.partition("{")[2].rpartition("} ")
                found = dict(_LABEL.findall(text))
                if found.items() >= labels.items():
                    sums[found[label]] = sums.get(found[label], 0) + float(value)
        return sums

    def page(self) -> str:
        return b"".join(self.poller.pages.page(openmetrics=False, gzip=False)).decode()

    def _setting(self) -> Setting:
        return Setting(parse_configuration(self._configuration, "test"), lambda: AdminKey("sk-admin-test"))

    def _start(self) -> None:
        self.ledger = Ledger(self._store, 1000)
        # All that a poller asks of a connection is to get something.
        connection = cast("Connection", self.organization)
        self_metrics = SelfMetrics()
        self.organization.observer = self_metrics
        self.poller = Poller(
            self._setting(), self.ledger, connection, self_metrics, clock=self.clock, steady=self.clock
        )
