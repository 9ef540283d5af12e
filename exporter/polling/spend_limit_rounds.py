"""Which projects are asked for a spend limit at each read: most have none, and 1,000 projects are 1,000 requests."""

import math
from collections.abc import Collection, Sequence
from typing import Final

from exporter.openai_api.projects import Project

# What is not there is looked for again within this time.
_ROUND_SECONDS: Final = 6 * 3600.0
# So few cost little: they are asked each time.
_FEW: Final = 50
# Of an hour's requests a read takes this share at most; what it does not come to is first the next time.
_SHARE_OF_BUDGET: Final = 1 / 4


class SpendLimitRounds:
    """Remembers in which order projects were asked. The poller's lock guards it."""

    def __init__(self) -> None:
        # By id, those asked longest ago first. No dates: a clock that is set back would keep the others waiting.
        self._asked: dict[str, None] = {}

    def due(
        self, projects: Sequence[Project], limited: Collection[str], interval: float, requests_per_hour: int | None
    ) -> tuple[Project, ...]:
        """Return the active projects to ask: those with a limit, new ones, and some of those that had none.

        Args:
            projects: of the organization.
            limited: ids of those known to have a limit.
            interval: seconds between reads.
            requests_per_hour: the budget; None if there is none.
        """
        active = [project for project in projects if project.status != "archived"]
        always = [project for project in active if project.id in limited]
        others = [project for project in active if project.id not in limited]
        new = sum(project.id not in self._asked for project in others)
        most = max(_FEW, new, math.ceil(len(others) * interval / _ROUND_SECONDS))
        if requests_per_hour is not None:
            most = min(most, max(1, int(requests_per_hour * _SHARE_OF_BUDGET) - len(always)))
        places = {project_id: place for place, project_id in enumerate(tuple(self._asked))}
        longest_ago = sorted(others, key=lambda project: places.get(project.id, -1))
        return (*always, *longest_ago[:most])

    def were_asked(self, projects: Collection[Project]) -> None:
        """Take note that these were asked."""
        for project in projects:
            self._asked.pop(project.id, None)
            self._asked[project.id] = None

    def forget(self) -> None:
        """Ask all again."""
        self._asked.clear()
