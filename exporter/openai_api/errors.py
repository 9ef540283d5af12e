"""What can go wrong between the exporter and the API, each as one clear line for a log."""

import re
from typing import Final, Self

_LONGEST_QUOTE: Final = 300
_E_MAIL_ADDRESS: Final = re.compile(r"[^\s@\"'<>(),;:]{1,64}@[\w-]+(?:\.[\w-]+)+")


class OpenAIError(Exception):
    """Any failure to get an answer.

    Attributes:
        api: what was asked, as the label `api` says it.
    """

    def __init__(self, api: str, what_came: str, what_to_do: str) -> None:
        super().__init__(f"{api}: {what_came}; {what_to_do}")
        self.api = api


class KeyRefused(OpenAIError):  # noqa: N818 - named for what happened
    """401 or 403, or a text that can be no key: final until the configuration changes.

    Attributes:
        status: the HTTP status, None if the key was never sent.
        message: the API's own words, such as the missing scope.
    """

    def __init__(self, api: str, status: int | None, message: str, what_came: str | None = None) -> None:
        super().__init__(
            api,
            what_came or f"OpenAI refused the admin key (HTTP {status}){quoted(message)}",
            "configure an admin key (sk-admin-...) of this organization with the scopes api.usage.read and "
            "api.management.read",
        )
        self.status = status
        self.message = message

    @classmethod
    def before_use(cls, flaw: str) -> Self:
        """For a text that cannot be a key and is not sent."""
        return cls("admin key", None, "", what_came=f"the configured text {flaw}, so it was not sent")


class EndpointAbsent(OpenAIError):  # noqa: N818 - named for what happened
    """An endpoint that not every organization has was refused.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, api: str, status: int, message: str) -> None:
        super().__init__(
            api,
            f"OpenAI does not offer this endpoint here (HTTP {status}){quoted(message)}",
            "nothing to do, not every organization has it",
        )
        self.status = status


class Unreachable(OpenAIError):  # noqa: N818 - named for what happened
    """No usable answer after all tries: network faults, timeouts, 429, 5xx, redirects.

    Attributes:
        retry_after: seconds the API asked to wait, if it asked for more than a request may wait.
    """

    def __init__(
        self,
        api: str,
        what_came: str,
        what_to_do: str = "the next poll tries again; if this stays, check network, proxy and status.openai.com",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(api, what_came, what_to_do)
        self.retry_after = retry_after


class BadAnswer(OpenAIError):  # noqa: N818 - named for what happened
    """An answer that cannot be believed: no JSON, another shape, pages missing, too large."""

    def __init__(
        self,
        api: str,
        what_came: str,
        what_to_do: str = "nothing of it was used and the next poll tries again; if this stays, check the base URL "
        "and look for a newer release of this exporter",
    ) -> None:
        super().__init__(api, what_came, what_to_do)


class AnswerTooLarge(BadAnswer):
    """An answer of more bytes than are read; one to a smaller question may do."""


class RequestRefused(OpenAIError):  # noqa: N818 - named for what happened
    """Any other 4xx: asking the same again gives the same.

    Attributes:
        status: the HTTP status.
        message: the API's own words.
        param: the parameter the API names, or "".
        code: the API's error code, or "".
    """

    def __init__(self, api: str, status: int, message: str = "", param: str = "", code: str = "") -> None:
        super().__init__(
            api,
            f"OpenAI refused the request (HTTP {status}){quoted(message)}",
            "check the base URL and look for a newer release of this exporter",
        )
        self.status = status
        self.message = message
        self.param = param
        self.code = code


def quoted(message: str) -> str:
    """Put foreign words behind a colon, on one line, of bounded length and without e-mail addresses."""
    message = _E_MAIL_ADDRESS.sub("(e-mail address)", message[: 8 * _LONGEST_QUOTE])
    line = " ".join("".join(c if c.isprintable() else " " for c in message[: 4 * _LONGEST_QUOTE]).split())
    if not line:
        return ""
    return f': "{line[:_LONGEST_QUOTE]}{"..." if len(line) > _LONGEST_QUOTE else ""}"'
