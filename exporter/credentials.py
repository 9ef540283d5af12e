"""Where the admin key comes from: a file, or the environment. Never a flag, never the state."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from exporter.configuration.loading import DEFAULT_BASE_URL, ConfigurationError
from exporter.configuration.sections import Configuration
from exporter.openai_api.admin_key import AdminKey
from exporter.openai_api.connection import checked_base_url
from exporter.openai_api.errors import KeyRefused
from exporter.permissions import THIS_PROCESS, Use

KEY_VARIABLE: Final = "OPENAI_ADMIN_KEY"
BASE_URL_VARIABLE: Final = "OPENAI_BASE_URL"

_PROJECT_KEY_PREFIX: Final = "sk-proj-"
_NO_KEY: Final = (
    "no admin key is configured: set OPENAI_ADMIN_KEY or openai.admin_key_file. Make one at "
    "https://platform.openai.com/settings/organization/admin-keys, "
    "or try 'openai-usage-exporter demo', which needs none"
)


def base_url(configuration: Configuration, environment: Mapping[str, str] = os.environ) -> str:
    """Return the API's base URL: the file's, else the environment's, else OpenAI's own.

    Raises:
        ConfigurationError: the environment's is none.
    """
    if configuration.openai.base_url:
        return configuration.openai.base_url
    text = environment.get(BASE_URL_VARIABLE)
    if not text:
        return DEFAULT_BASE_URL
    try:
        return checked_base_url(text)
    except ValueError as error:
        raise ConfigurationError(BASE_URL_VARIABLE, [str(error)]) from error


def admin_key_source(
    configuration: Configuration, environment: Mapping[str, str] = os.environ
) -> Callable[[], AdminKey]:
    """Return what hands out the newest key; a key file is read again at every call.

    Raises:
        ConfigurationError: there is no key, it cannot be read, or it is of a kind that never works.
    """
    path = configuration.openai.admin_key_file
    if path is None:
        text = environment.get(KEY_VARIABLE, "").strip()
        if not text:
            raise ConfigurationError(KEY_VARIABLE, [_NO_KEY])
        key = _checked(text, KEY_VARIABLE)
        return lambda: key

    def newest() -> AdminKey:
        return _checked(_read(path), str(path))

    newest()
    return newest


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        # The cause stays out: it may hold the key, where that was given as the path or is not all text.
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(str(path), [f"the admin key cannot be read: {reason}"]) from None
    THIS_PROCESS.look_at(path, Use.SECRET)
    return text


def _checked(text: str, source: str) -> AdminKey:
    if text.startswith(_PROJECT_KEY_PREFIX):
        raise ConfigurationError(
            source, ["this is a project key (sk-proj-…), which never works here: an admin key (sk-admin-…) is needed"]
        )
    try:
        return AdminKey(text)
    except KeyRefused as error:
        raise ConfigurationError(source, [str(error)]) from None
