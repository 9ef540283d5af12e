"""When the past is looked at: rarely long ago, often of late. Pure."""

from dataclasses import dataclass
from typing import Final

from exporter.days import SECONDS_PER_DAY, day_of

MINUTE: Final = 60
HOUR: Final = 3_600

# Rules take a day's bill as it stands at 23:50 on the day after.
_READ_OFF: Final = SECONDS_PER_DAY - 10 * MINUTE
# Each side of a midnight, as a scrape each minute may be: increases over a UTC day need both its ends.
_BESIDE_MIDNIGHT: Final = MINUTE // 2


@dataclass(frozen=True, slots=True)
class Run:
    """Moments at equal distances.

    Attributes:
        first: Unix seconds.
        last: the same; a whole number of steps later.
        step: seconds.
    """

    first: int
    last: int
    step: int

    def moments(self) -> range:
        """All of them."""
        return range(self.first, self.last + 1, self.step)


@dataclass(frozen=True, slots=True)
class Watch:
    """How closely the past is looked at, backwards from its end.

    Attributes:
        days: looked at once a day, late.
        hourly_days: of these days, how many are also looked at each hour.
        minutes: before the end, each of which is looked at as well.
    """

    days: int
    hourly_days: int
    minutes: int

    def runs(self, end: int) -> list[Run]:
        """Return what is looked at before `end`, Unix seconds; a moment may be in two of them."""
        today = day_of(end)
        first = today - self.days * SECONDS_PER_DAY
        runs = [_run(first + _READ_OFF, end, SECONDS_PER_DAY)]
        if self.hourly_days:
            runs.append(_run(today - (self.hourly_days - 1) * SECONDS_PER_DAY, end, HOUR))
        if self.minutes:
            runs.append(_run((end // MINUTE - self.minutes) * MINUTE, end, MINUTE))
        return runs

    def last(self, end: int) -> int:
        """Return when it is looked at last: whoever goes on from there misses nothing, and repeats nothing."""
        return max(run.last for run in (*self.runs(end), *self.trace_runs(end)))

    def trace_runs(self, end: int) -> list[Run]:
        """Return when traces alone are looked at as well."""
        first = day_of(end) - self.days * SECONDS_PER_DAY
        return [
            _run(first + second, end, SECONDS_PER_DAY)
            for second in (_BESIDE_MIDNIGHT, SECONDS_PER_DAY // 2, SECONDS_PER_DAY - _BESIDE_MIDNIGHT)
        ]


def _run(first: int, end: int, step: int) -> Run:
    return Run(first, first + (end - first - 1) // step * step, step)
