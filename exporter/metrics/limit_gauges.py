"""Gauges of OpenAI's own limits, and info about API keys and users, as they were last read. Pure."""

from collections.abc import Callable, Iterable, Mapping

from exporter.exact import Amount
from exporter.ledger.counters import SeriesName
from exporter.ledger.store import DirectoryEntry
from exporter.metrics.catalogue import (
    API_KEY_EXPIRES,
    API_KEY_INFO,
    API_KEY_LAST_USED,
    RATE_LIMIT_REQUESTS,
    RATE_LIMIT_TOKENS,
    SPEND_LIMIT,
    SPEND_LIMIT_ENFORCING,
    USER_INFO,
    Family,
)
from exporter.metrics.event_gauges import Gauges
from exporter.openai_api.directory import ApiKey, User
from exporter.openai_api.limits import RateLimit, SpendLimit
from exporter.openai_api.readings import Readings

Projects = Mapping[str, DirectoryEntry]


def reading_gauges(readings: Readings, projects: Projects) -> Gauges:
    """Return all gauges of what was read last of limits, keys and users."""
    return {
        **spend_limit_gauges(readings.spend_limits, projects),
        **rate_limit_gauges(readings.rate_limits, projects),
        **api_key_gauges(readings.api_keys),
        **user_gauges(readings.users),
    }


def spend_limit_gauges(limits: Iterable[SpendLimit], projects: Projects) -> Gauges:
    """Return limits in US dollars and whether they are enforced; an empty project is the organization.

    Of two limits for one project the lower one is shown, and as enforced if one of them is.
    """
    gauges: Gauges = {SPEND_LIMIT: {}, SPEND_LIMIT_ENFORCING: {}}
    for limit in limits:
        labels = (limit.project_id, _name(projects, limit.project_id))
        _add(gauges, SPEND_LIMIT, labels, limit.limit_usd, min)
        _add(gauges, SPEND_LIMIT_ENFORCING, labels, int(limit.enforcing), max)
    return gauges


def rate_limit_gauges(limits: Iterable[RateLimit], projects: Projects) -> Gauges:
    """Return limits per minute, those the API gave. Of two for one project and model the lower one is shown."""
    gauges: Gauges = {RATE_LIMIT_TOKENS: {}, RATE_LIMIT_REQUESTS: {}}
    for limit in limits:
        labels = (limit.project_id, _name(projects, limit.project_id), limit.model)
        _add(gauges, RATE_LIMIT_TOKENS, labels, limit.tokens_per_minute, min)
        _add(gauges, RATE_LIMIT_REQUESTS, labels, limit.requests_per_minute, min)
    return gauges


def api_key_gauges(keys: Iterable[ApiKey]) -> Gauges:
    """Return who owns each key, when it was last used and when it expires, Unix seconds; absent if it never did."""
    gauges: Gauges = {API_KEY_INFO: {}, API_KEY_LAST_USED: {}, API_KEY_EXPIRES: {}}
    # A key has one name and one owner: a second series for it would break every join on its id.
    for key in {(key.project_id, key.id): key for key in keys}.values():
        labels = (key.id, key.name, key.project_id)
        _add(gauges, API_KEY_INFO, (*labels, key.owner_type), 1, max)
        _add(gauges, API_KEY_LAST_USED, labels, key.last_used_at, max)
        _add(gauges, API_KEY_EXPIRES, labels, key.expires_at, min)
    return gauges


def user_gauges(users: Iterable[User]) -> Gauges:
    """Return one series per user; `email` is empty unless addresses were asked for when users were read."""
    gauges: Gauges = {USER_INFO: {}}
    for user in {user.id: user for user in users}.values():
        _add(gauges, USER_INFO, (user.id, user.name, user.email), 1, max)
    return gauges


def _add(
    gauges: Gauges,
    family: Family,
    labels: tuple[str, ...],
    value: Amount | None,
    choose: Callable[[Amount, Amount], Amount],
) -> None:
    if value is None:
        return
    series = gauges[family]
    name = SeriesName(family.name, tuple(zip(family.labels, labels, strict=True)))
    series[name] = choose(series[name], value) if name in series else value


def _name(projects: Projects, project_id: str) -> str:
    entry = projects.get(project_id)
    return entry.name if entry else project_id
