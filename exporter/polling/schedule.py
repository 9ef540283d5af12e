"""When each API is polled next. Pure: time comes in as an argument."""

from dataclasses import dataclass
from typing import Final

from exporter.polling.spread import due_in_phase

# After a failure an API is asked again sooner than its interval, then ever later, so that a long interval does not
# mean a long gap.
_FIRST_RETRY: Final = 30.0
# What the sum of a date and a wait may be off by, in seconds, and more.
_ROUNDING: Final = 0.01


@dataclass(slots=True)
class Turn:
    """One API's place in the schedule.

    Attributes:
        interval: seconds between polls.
        due: when the next poll is due, Unix seconds.
        failures: failed polls since the last success.
        wait: the wait that ends at `due`, in seconds.
        phase: where in its wait it is polled, from 0 up to 1; None: when the wait is over.
    """

    interval: float
    due: float
    failures: int = 0
    wait: float = 0.0
    phase: float | None = None

    def is_due(self, now: float) -> bool:
        """Tell whether it is time, also after the clock was set back."""
        return now >= self.due or self.due - now > self.wait + _ROUNDING

    def succeeded(self, now: float, wait: float | None = None) -> None:
        """Wait from `now`, when the poll began: a whole interval, or `wait` seconds; less until it is in its phase."""
        self.failures = 0
        wait = self.interval if wait is None else wait
        self._wait(now, wait if self.phase is None else due_in_phase(now, wait, self.phase) - now)

    def failed(self, now: float, stretch: float = 1.0) -> None:
        """Wait half a minute after the first failure, twice as long after each further one, an interval at most.

        All of it is multiplied by `stretch`.
        """
        self._wait(now, stretch * min(self.interval, _FIRST_RETRY * 2.0 ** min(self.failures, 16)))
        self.failures += 1

    def rest(self, now: float, seconds: float) -> None:
        """Ask again after `seconds`, or after an interval if that is longer."""
        self._wait(now, max(self.interval, seconds))

    def await_key(self, now: float) -> None:
        """Look soon whether there is another key: that asks nobody."""
        self._wait(now, min(self.interval, _FIRST_RETRY))

    def postpone(self, now: float, seconds: float) -> None:
        """Look again after `seconds`: nothing was asked."""
        self._wait(now, seconds)

    def _wait(self, now: float, seconds: float) -> None:
        self.due = now + seconds
        self.wait = seconds
