"""How polls share the requests that an hour may have: bills and what is in use first, evenly."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

SECONDS_PER_HOUR: Final = 3600.0

# The schedule is made for less than there is: what is left is for retries, further pages and names of new projects.
_PLANNED: Final = 0.9
# However little there is, idle APIs and lists have this share if they need it: they are never left out for ever.
_LEAST_SHARE_OF_THE_REST: Final = 0.1
# Requests are remembered together by the half minute.
_GRAIN_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Demand:
    """What one API asks for at its own pace.

    Attributes:
        wait: seconds between its polls.
        requests: that a poll takes.
        comes_first: it carries money or is in use now.
    """

    wait: float
    requests: int
    comes_first: bool

    @property
    def per_hour(self) -> float:
        """Requests an hour."""
        return self.requests * SECONDS_PER_HOUR / self.wait


@dataclass(frozen=True, slots=True)
class Shares:
    """How an hour's requests are shared, and how many times longer each side has to wait for it.

    Attributes:
        first: requests an hour for what comes first.
        rest: for all else.
        first_stretch: 1 or more: what a wait of what comes first is multiplied by.
        rest_stretch: the same for the rest.
    """

    first: float
    rest: float
    first_stretch: float
    rest_stretch: float


def shares(demands: Iterable[Demand], budget: float) -> Shares:
    """Share a budget of requests an hour: what comes first has what it needs, the rest has what is left."""
    wanted = {True: 0.0, False: 0.0}
    for demand in demands:
        wanted[demand.comes_first] += demand.per_hour
    planned = _PLANNED * budget
    least = min(wanted[False], _LEAST_SHARE_OF_THE_REST * planned)
    if wanted[True] + least <= planned:
        first, rest = wanted[True], planned - wanted[True]
    else:
        first, rest = planned - least, least
    return Shares(
        first=first,
        rest=rest,
        first_stretch=wanted[True] / first if wanted[True] > first else 1.0,
        rest_stretch=wanted[False] / rest if wanted[False] > rest else 1.0,
    )


class SpentRequests:
    """The requests of the last hour, by API. Times are seconds of a clock that is never set."""

    def __init__(self) -> None:
        self._spent: deque[tuple[float, Counter[str]]] = deque()

    def add(self, api: str, requests: int, now: float) -> None:
        """Take note of requests that were sent."""
        self._forget(now)
        # Together under the end of their half minute: never forgotten too early.
        until = now - now % _GRAIN_SECONDS + _GRAIN_SECONDS
        if not self._spent or self._spent[-1][0] != until:
            self._spent.append((until, Counter()))
        self._spent[-1][1][api] += requests

    def within_the_hour(self, now: float) -> Counter[str]:
        """Return how many there were, by API."""
        self._forget(now)
        return sum((counts for _, counts in self._spent), Counter())

    def _forget(self, now: float) -> None:
        while self._spent and now - self._spent[0][0] >= SECONDS_PER_HOUR:
            self._spent.popleft()


def fits(api: str, demands: Mapping[str, Demand], budget: int, used: Mapping[str, int]) -> bool:
    """Tell whether a poll may begin: its requests are within the hour's budget, and take nothing from who comes first.

    Args:
        api: which is to be polled.
        demands: of all APIs.
        budget: requests an hour.
        used: by API, what was sent within the hour, and what polls under way are expected to send.
    """
    requests = demands[api].requests
    if sum(used.values()) + requests > budget:
        return False
    if demands[api].comes_first:
        return True
    of_rest = sum(count for name, count in used.items() if name not in demands or not demands[name].comes_first)
    share = budget - shares(demands.values(), budget).first
    # A read that takes more than the share of an hour has an hour to itself.
    return not of_rest or of_rest + requests <= share
