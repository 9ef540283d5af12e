"""The simulator's clock, where tests and demonstrations move it themselves."""


class SettableClock:
    """Unix seconds that only change when told."""

    def __init__(self, now: float) -> None:
        self._now = now

    def __call__(self) -> float:
        return self._now

    def now(self) -> float:
        """Unix seconds."""
        return self._now

    def set(self, now: float) -> None:
        """Jump, backwards too."""
        self._now = now

    def advance(self, seconds: float) -> None:
        """Move on."""
        self._now += seconds
