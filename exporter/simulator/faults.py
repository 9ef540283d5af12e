"""What goes wrong at the simulated API, as `POST /_simulator/faults` sets it."""

import random
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Status = Annotated[int, Field(ge=400, le=599)]


class _Setting(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Burst(_Setting):
    """The next `count` requests are answered 429, with or without Retry-After (seconds)."""

    count: int = Field(ge=0)
    retry_after: int | None = Field(default=None, ge=0)


class PathStatus(_Setting):
    """All requests whose path begins with `prefix` are answered with `status`."""

    prefix: str
    status: Status


class Faults(_Setting):
    """All settings; nothing goes wrong by default.

    Attributes:
        prefix: only requests whose path begins with this are affected by any setting but `status`.
        error_rate: how likely a request is answered 429, 500, 502 or 503.
        burst_429: the next so many requests are answered 429.
        status: paths that are answered with an error.
        revoked: every key is answered 401.
        missing_scopes: scopes the key lacks: `api.usage.read`, `api.management.read`.
        refuse_groupings: dimensions refused with 400, by api.
        absent_endpoints: apis that are answered 404, such as `usage/decisions`.
        slow_seconds: wait before each answer.
        cut_probability: how likely an answer ends in the middle.
        invalid_json: bodies are no JSON.
        wrong_shape: bodies are JSON of another shape.
        endless_pages: costs goes on with pages behind the last bucket for ever.
        repeated_cursor: `next_page` is for ever the cursor of the second page.
        null_cursor_with_has_more: `has_more` is true and `next_page` null on every page.
        clamp_costs_limit_to: costs silently gives at most so many buckets per page.
    """

    prefix: str = "/v1/"
    error_rate: float = Field(default=0.0, ge=0, le=1)
    burst_429: Burst | None = None
    status: list[PathStatus] = []
    revoked: bool = False
    missing_scopes: list[str] = []
    refuse_groupings: dict[str, list[str]] = {}
    absent_endpoints: list[str] = []
    slow_seconds: float = Field(default=0.0, ge=0)
    cut_probability: float = Field(default=0.0, ge=0, le=1)
    invalid_json: bool = False
    wrong_shape: bool = False
    endless_pages: bool = False
    repeated_cursor: bool = False
    null_cursor_with_has_more: bool = False
    clamp_costs_limit_to: int | None = Field(default=None, ge=1)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What shall go wrong with one request.

    Attributes:
        status: answer with this error, None for none.
        retry_after: the Retry-After header of a 429, None for none.
        cut: end the answer in the middle.
    """

    status: int | None = None
    retry_after: int | None = None
    cut: bool = False


class FaultDice:
    """Decides per request. The dice know the seed and how many requests there were, nothing of the data."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._thrown = 0
        self._left_in_burst = 0
        self.faults = Faults()

    def set(self, faults: Faults) -> None:
        """Replace all settings; a burst begins anew."""
        self.faults = faults
        self._left_in_burst = faults.burst_429.count if faults.burst_429 else 0

    def throw(self, path: str) -> Verdict:
        """The verdict on the next request."""
        self._thrown += 1
        faults = self.faults
        for each in faults.status:
            if path.startswith(each.prefix):
                return Verdict(status=each.status)
        if not path.startswith(faults.prefix):
            return Verdict()
        if self._left_in_burst and faults.burst_429:
            self._left_in_burst -= 1
            return Verdict(status=429, retry_after=faults.burst_429.retry_after)
        chance = random.Random(f"{self._seed}/request/{self._thrown}")  # noqa: S311 - deterministic by intent, no secret
        if chance.random() < faults.error_rate:
            return Verdict(status=chance.choice((429, 500, 502, 503)))
        return Verdict(cut=chance.random() < faults.cut_probability)
