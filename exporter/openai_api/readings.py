"""What was read last of the organization beside usage, costs and names. It is not kept over a restart."""

from dataclasses import dataclass

from exporter.openai_api.directory import ApiKey, User
from exporter.openai_api.limits import RateLimit, SpendLimit


@dataclass(frozen=True, slots=True)
class Readings:
    """The newest answers, as far as they are to be shown; empty before the first."""

    api_keys: tuple[ApiKey, ...] = ()
    users: tuple[User, ...] = ()
    spend_limits: tuple[SpendLimit, ...] = ()
    rate_limits: tuple[RateLimit, ...] = ()
