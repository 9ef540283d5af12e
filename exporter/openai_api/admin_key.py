"""The admin key, wrapped so that it cannot be shown by accident."""

from typing import Final, NoReturn

from exporter.openai_api.errors import KeyRefused

_LONGEST_KEY: Final = 4096
# So many of a key's characters in a row are a piece of it: servers also quote keys cut short, or but for the middle.
_PIECE: Final = 12
_MASK: Final = "<admin key>"


class AdminKey:
    """An admin key that only `reveal` shows: no `repr`, no formatting, no pickle."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Take the key as configured.

        Raises:
            KeyRefused: it can be no key, so it is never sent.
        """
        # Whatever fails here must not carry the text: it may be a real key with one character too many.
        self._text = ""
        flaw = _flaw(text)
        if flaw is not None:
            text = ""
            raise KeyRefused.before_use(flaw)
        self._text = text

    def reveal(self) -> str:
        """Hand out the key itself, for the Authorization header and nothing else."""
        return self._text

    def remove_from(self, text: str) -> str:
        """Mask the key, and any piece of it of twelve characters or more, where a server echoes it."""
        length = min(_PIECE, len(self._text))
        pieces = {self._text[start : start + length] for start in range(len(self._text) - length + 1)}
        shown: list[str] = []
        masked_to = 0
        for start, character in enumerate(text):
            if text[start : start + length] in pieces:
                if start >= masked_to:
                    shown.append(_MASK)
                masked_to = start + length
            elif start >= masked_to:
                shown.append(character)
        return "".join(shown)

    def __repr__(self) -> str:
        return "AdminKey(<hidden>)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AdminKey) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("an admin key is never serialised")


def _flaw(text: str) -> str | None:
    if not text:
        return "is empty"
    if len(text) > _LONGEST_KEY:
        return f"is longer than {_LONGEST_KEY} characters"
    if not text.isascii():
        return "holds characters that are not ASCII"
    if "\n" in text or "\r" in text:
        return "holds a line break"
    if not text.isprintable() or " " in text:
        return "holds spaces or control characters"
    return None
