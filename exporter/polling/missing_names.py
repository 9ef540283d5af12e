"""Which ids still wait for a name, and when the list that may hold it is worth reading again. Pure."""

from collections.abc import Collection
from typing import Final

from exporter.openai_api.answer import Answer
from exporter.polling.directories import NAME_DIMENSIONS, PROJECTS, ids_in

# Every project has a name, sooner or later, so its list is read again for it, but not more often than this. A key or a
# user that a whole list does not hold is deleted and has none any more: no second read is lost on it.
_PROJECTS_PAUSE_SECONDS: Final = 60.0


class MissingNames:
    """Remembers what the lists were asked for in vain."""

    def __init__(self) -> None:
        self._projects_read_at = float("-inf")
        self._nameless: dict[str, frozenset[str]] = {}

    def of(self, api: str, answer: Answer, known: Collection[str]) -> frozenset[str]:
        """Return the ids in an answer that the list `api` may name; `known` have their names already."""
        unknown = frozenset(
            identifier for identifier in ids_in(answer, NAME_DIMENSIONS[api]) if identifier not in known
        )
        return unknown - self._nameless.get(api, frozenset())

    def may_be_read(self, api: str, now: float) -> bool:
        """Tell whether the list may be read for missing names at this moment, also after the clock was set back."""
        return api != PROJECTS or not 0 <= now - self._projects_read_at < _PROJECTS_PAUSE_SECONDS

    def was_read(self, api: str, now: float) -> None:
        """Take note that the list was read, whatever for."""
        if api == PROJECTS:
            self._projects_read_at = now

    def stay_missing(self, api: str, ids: frozenset[str]) -> None:
        """Take note that the whole list, read after these ids were met, does not hold them."""
        if api != PROJECTS:
            self._nameless[api] = self._nameless.get(api, frozenset()) | ids

    def forget(self) -> None:
        """Ask for all of them again: the lists may be read in another way now."""
        self._nameless.clear()
