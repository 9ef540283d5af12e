"""Which ids still wait for a name, and when the list that may hold it is worth reading again. Pure."""

from collections import Counter
from collections.abc import Collection
from typing import Final

from exporter.openai_api.answer import Answer
from exporter.polling.directories import NAME_DIMENSIONS, PROJECTS, ids_in

# Every project has a name, sooner or later, so its list is read again for it, but not more often than this. A key or a
# user that a whole list does not hold is deleted and has none any more: no second read is lost on it.
_PROJECTS_PAUSE_SECONDS: Final = 60.0
# For one that stays away it is read ever less often: a project may be gone, and its list may be many requests long.
_LONGEST_PAUSE_SECONDS: Final = 1800.0


class MissingNames:
    """Remembers what the lists were asked for in vain.

    Attributes:
        reads: how often each list was read.
    """

    def __init__(self) -> None:
        self.reads: Counter[str] = Counter()
        self._projects_read_at = float("-inf")
        self._nameless: dict[str, frozenset[str]] = {}
        # Of projects that stay unknown: when the list was read in vain, Unix seconds, and for how long that holds.
        self._in_vain: dict[str, tuple[float, float]] = {}

    def of(self, api: str, answer: Answer, known: Collection[str], now: float) -> frozenset[str]:
        """Return the ids in an answer that the list `api` may name at `now`; `known` have their names already."""
        unknown = frozenset(
            identifier for identifier in ids_in(answer, NAME_DIMENSIONS[api]) if identifier not in known
        )
        if api == PROJECTS:
            return frozenset(identifier for identifier in unknown if not self._is_paused(identifier, now))
        return unknown - self._nameless.get(api, frozenset())

    def _is_paused(self, project_id: str, now: float) -> bool:
        read_at, pause = self._in_vain.get(project_id, (now, 0.0))
        return 0 <= now - read_at < pause

    def may_be_read(self, api: str, now: float) -> bool:
        """Tell whether the list may be read for missing names at this moment, also after the clock was set back."""
        return api != PROJECTS or not 0 <= now - self._projects_read_at < _PROJECTS_PAUSE_SECONDS

    def was_read(self, api: str, now: float) -> None:
        """Take note that the list was read, whatever for."""
        self.reads[api] += 1
        if api == PROJECTS:
            self._projects_read_at = now

    def stay_missing(self, api: str, ids: frozenset[str], now: float) -> None:
        """Take note that the whole list, read at `now`, after these ids were met, does not hold them."""
        if api != PROJECTS:
            self._nameless[api] = self._nameless.get(api, frozenset()) | ids
            return
        for identifier in ids:
            _, before = self._in_vain.get(identifier, (now, _PROJECTS_PAUSE_SECONDS / 2))
            self._in_vain[identifier] = now, min(2 * before, _LONGEST_PAUSE_SECONDS)

    def forget(self) -> None:
        """Ask for all of them again: the lists may be read in another way now."""
        self._nameless.clear()
        self._in_vain.clear()
