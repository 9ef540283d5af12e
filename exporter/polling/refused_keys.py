"""Which admin key each API refused: it is never sent there again, until it changes or somebody reloads."""

from collections.abc import Set as AbstractSet

from exporter.openai_api.admin_key import AdminKey
from exporter.openai_api.errors import KeyRefused


class RefusedKeys:
    """The newest refusal of each API. The poller's lock guards it."""

    def __init__(self) -> None:
        self._refusals: dict[str, tuple[AdminKey, KeyRefused]] = {}

    @property
    def apis(self) -> AbstractSet[str]:
        """The APIs that refused a key."""
        return self._refusals.keys()

    def refusal(self, api: str, key: AdminKey | None) -> KeyRefused | None:
        """Return how the API refused this very key; None where it may be asked. A key that cannot be read is none."""
        refused_key, refusal = self._refusals.get(api, (None, None))
        return refusal if key is not None and key == refused_key else None

    def remember(self, api: str, key: AdminKey, refusal: KeyRefused) -> None:
        """Take note of a refusal."""
        self._refusals[api] = key, refusal

    def forget(self, api: str) -> None:
        """Take note that the API was asked and did not refuse the key."""
        self._refusals.pop(api, None)

    def clear(self) -> None:
        """Ask everywhere again."""
        self._refusals.clear()
