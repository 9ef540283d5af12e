"""Looks for a secret, and for any piece of it, in everything that was shown or written."""

import base64
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PIECE: Final = 12
"""So many characters in a row are no accident."""

_GZIP: Final = b"\x1f\x8b"


@dataclass(slots=True)
class Evidence:
    """What a run showed, by where it was seen."""

    seen: dict[str, bytes] = field(default_factory=dict)

    def add(self, place: str, content: bytes | str) -> None:
        """Keep what was seen at a place; gzip is opened."""
        content = content.encode() if isinstance(content, str) else content
        if content.startswith(_GZIP):
            content = zlib.decompress(content, wbits=31)
        self.seen[place] = self.seen.get(place, b"") + content

    def add_folder(self, folder: Path, *, but: tuple[Path, ...] = ()) -> None:
        """Keep every file below a folder, but for those that hold the secret on purpose."""
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file not in but:
                self.add(str(file), file.read_bytes())

    def places_with(self, *secrets: str) -> list[str]:
        """Name each place that holds one of the secrets or a piece of it, with what stands around the first one."""
        pieces = list(_pieces(*secrets))
        found = []
        for place, content in self.seen.items():
            starts = [start for piece in pieces if (start := content.find(piece)) >= 0]
            if starts:
                found.append(f"{place}: {content[max(0, min(starts) - 40) : min(starts) + 40]!r}")
        return found


def _pieces(*secrets: str) -> Iterator[bytes]:
    for secret in secrets:
        encoded = secret.encode()
        for start in range(max(1, len(encoded) - PIECE + 1)):
            yield encoded[start : start + PIECE]
        yield encoded.hex().encode()
        # As a header of Basic authentication would carry it, whatever stands before it.
        for shift in range(3):
            yield base64.b64encode(b"." * shift + encoded)[4:-4]
