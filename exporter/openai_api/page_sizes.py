"""How many buckets to ask for at once: as many as the API allows, and no more than make an answer of bounded size."""

from typing import Final

from exporter.openai_api.bucket_widths import BucketWidth

# A larger answer takes memory many times over while it is read, and scrapes wait for each step that reads it in one go.
_WISHED_BYTES: Final = 16 * 1024 * 1024


class PageSizes:
    """Remembers, for each API and width, what the API allows and how large its buckets were the last time."""

    def __init__(self) -> None:
        # By API and the width's name: who asks for fewer hours a page than there may be asks for the same hours.
        self._allowed: dict[tuple[str, str], int] = {}
        self._fitting: dict[tuple[str, str], int] = {}

    def limit(self, api: str, width: BucketWidth) -> int:
        """Return how many buckets to ask for, at least one."""
        key = api, width.name
        return min([width.per_page, *(known[key] for known in (self._allowed, self._fitting) if key in known)])

    def allow(self, api: str, width: BucketWidth, limit: int) -> None:
        """Take note that the API allows no more than this."""
        self._allowed[api, width.name] = limit

    def be_smallest(self, api: str, width: BucketWidth) -> None:
        """Ask for one bucket at a time until they have been measured."""
        self._fitting[api, width.name] = 1

    def measure(self, api: str, width: BucketWidth, bytes_per_bucket: float) -> None:
        """Take note of how large buckets are, however many are asked for."""
        self._fitting[api, width.name] = max(1, int(_WISHED_BYTES / max(1.0, bytes_per_bucket)))
