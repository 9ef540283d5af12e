"""How long the buckets of a read are."""

from typing import Final, NamedTuple

from exporter.days import SECONDS_PER_DAY


class BucketWidth(NamedTuple):
    """A width the API knows.

    Attributes:
        name: what `bucket_width` says.
        seconds: of one bucket; buckets begin at its multiples.
        per_page: how many the API gives on one page at most.
    """

    name: str
    seconds: int
    per_page: int

    def start_of(self, moment: int) -> int:
        """Return where the bucket begins that holds a moment, Unix seconds."""
        return moment - moment % self.seconds


# 31 is the most that usage allows for days, and what costs was once seen to clamp its 180 to.
DAILY: Final = BucketWidth("1d", SECONDS_PER_DAY, 31)
HOURLY: Final = BucketWidth("1h", 3_600, 168)
"""Usage only: costs know nothing finer than days."""
