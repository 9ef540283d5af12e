"""What the simulated organization and its projects may spend a month, and how fast its projects may call models."""

import zlib
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal, localcontext
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from exporter.days import SECONDS_PER_DAY, day_of, month_of
from exporter.openai_api.endpoints import COSTS
from exporter.simulator.billing import EXACT
from exporter.simulator.known import KnownDays
from exporter.simulator.organization import Project
from exporter.simulator.traffic import HOUR

ORGANIZATION_SPEND_LIMIT_USD: Final = 15_000

# By the project's first name; the others have none. The bill of research-agents passes its limit in the third week of
# a month, that of support-bot comes near its own in the last days; the others stay far below.
PROJECT_SPEND_LIMITS_USD: Final[Mapping[str, int]] = MappingProxyType(
    {
        "research-agents": 450,
        "support-bot": 1_400,
        "support-knowledge": 2_000,
        "data-science": 2_500,
        "document-intake": 2_000,
        "fraud-review": 2_000,
    }
)

_PROJECT: Final = COSTS.dimensions.index("project_id")


class MonthToDate:
    """What the bill of the current month came to when the current hour began: often asked for, worked out once."""

    def __init__(self, known: KnownDays) -> None:
        self._known = known
        self._newest: tuple[int, Mapping[str | None, Decimal]] | None = None

    def spent(self, now: float) -> Mapping[str | None, Decimal]:
        """US dollars by project id, None for what belongs to no project."""
        hour = int(now) // HOUR * HOUR
        if self._newest is None or self._newest[0] != hour:
            self._newest = hour, self._added_up(hour)
        return self._newest[1]

    def _added_up(self, hour: int) -> Mapping[str | None, Decimal]:
        spent: dict[str | None, Decimal] = defaultdict(Decimal)
        with localcontext(EXACT):
            for day in range(month_of(hour), day_of(hour) + SECONDS_PER_DAY, SECONDS_PER_DAY):
                for dimensions, (amount, _) in self._known.costs(day, hour).rows.items():
                    project_id = dimensions[_PROJECT]
                    spent[None if project_id is None else str(project_id)] += amount
        return MappingProxyType(spent)


def spend_limit(kind: str, limit_usd: int, spent: Decimal) -> dict[str, Any]:
    """A spend limit as the API tells it; enforced from the moment the bill reaches it until the month ends.

    Args:
        kind: `organization` or `project`.
        limit_usd: US dollars a month.
        spent: US dollars in the current month.
    """
    return {
        "object": f"{kind}.spend_limit",
        "threshold_amount": limit_usd * 100,
        "currency": "USD",
        "interval": "month",
        "enforcement": {"status": "enforcing" if spent >= limit_usd else "inactive"},
    }


class _RateLimit(NamedTuple):
    """Per minute, for the whole organization; tokens are 0 for models that are not paid by the token."""

    model: str
    requests: int
    tokens: int
    more: Mapping[str, int] = MappingProxyType({})


_CHAT_BATCH: Final = MappingProxyType({"batch_1_day_max_input_tokens": 15_000_000_000})

# Models are named without the date that usage gives them.
_RATE_LIMITS: Final = (
    _RateLimit("gpt-5.4", 10_000, 4_000_000, _CHAT_BATCH),
    _RateLimit("gpt-5.6-terra", 10_000, 4_000_000, _CHAT_BATCH),
    _RateLimit("gpt-5.6-sol", 5_000, 2_000_000, _CHAT_BATCH),
    _RateLimit("gpt-5", 15_000, 40_000_000, _CHAT_BATCH),
    _RateLimit("o4-mini", 30_000, 150_000_000, _CHAT_BATCH),
    _RateLimit("gpt-4o", 10_000, 30_000_000, _CHAT_BATCH),
    _RateLimit("gpt-4o-mini", 30_000, 150_000_000, _CHAT_BATCH),
    _RateLimit("gpt-audio-mini", 2_000, 800_000, MappingProxyType({"max_audio_megabytes_per_1_minute": 50})),
    _RateLimit("gpt-realtime", 2_000, 800_000, MappingProxyType({"max_requests_per_1_day": 200_000})),
    _RateLimit("gpt-image-1", 500, 800_000, MappingProxyType({"max_images_per_1_minute": 250})),
    _RateLimit("gpt-image-2", 500, 800_000, MappingProxyType({"max_images_per_1_minute": 250})),
    _RateLimit("text-embedding-3-small", 10_000, 10_000_000),
    _RateLimit("text-embedding-3-large", 10_000, 10_000_000),
    _RateLimit("omni-moderation-latest", 5_000, 500_000),
    _RateLimit("dall-e-3", 500, 0, MappingProxyType({"max_images_per_1_minute": 50})),
    _RateLimit("tts-1", 500, 0),
    _RateLimit("whisper-1", 500, 0, MappingProxyType({"max_audio_megabytes_per_1_minute": 100})),
)
# What part of the organization's limits a project may use.
_SHARES: Final = (1, 2, 5, 10)


def rate_limits(project: Project) -> list[dict[str, Any]]:
    """Every rate limit of a project as the API tells them."""
    share = _SHARES[zlib.crc32(project.id.encode()) % len(_SHARES)]
    return [
        {
            "object": "project.rate_limit",
            "id": f"rl-{limit.model}",
            "model": limit.model,
            "max_requests_per_1_minute": limit.requests // share,
            "max_tokens_per_1_minute": limit.tokens // share,
            **limit.more,
        }
        for limit in _RATE_LIMITS
    ]
