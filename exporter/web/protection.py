"""Who may speak to the web server, and how: read from the web configuration, again whenever something in it changes."""

import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Final

from exporter.configuration.loading import ConfigurationError
from exporter.permissions import THIS_PROCESS, Use
from exporter.web.basic_auth import BasicAuth, Verdict
from exporter.web.messages import Handler, Request, Response
from exporter.web.tls_context import TlsMaterial, read_material, tls_context
from exporter.web.web_configuration import REQUIRED_AND_VERIFIED, WebConfiguration, parse_web_configuration

_log = logging.getLogger(__name__)

_PLAIN_TEXT: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class Protection:
    """What is in force.

    Attributes:
        context: None for plain HTTP.
        requires_client_certificate: clients without a verified one are turned away.
        allowed_client_names: which names a client's certificate may have, None for any.
        users: bcrypt hash of each user's password; empty where none is asked for.
        headers: sent with every answer.
    """

    context: ssl.SSLContext | None = None
    requires_client_certificate: bool = False
    allowed_client_names: Sequence[str] | None = None
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def authenticates(self) -> bool:
        """Whether only known clients are answered."""
        return self.requires_client_certificate or bool(self.users)

    def missing_from(self, other: "Protection") -> list[str]:
        """Name what this one asks for and the other does not."""
        return [
            name
            for name, here, there in (
                ("TLS", self.context, other.context),
                ("client certificates", self.requires_client_certificate, other.requires_client_certificate),
                ("the clients' names", self.allowed_client_names, other.allowed_client_names),
                ("passwords", self.users, other.users),
            )
            if here and not there
        ]


@dataclass(frozen=True, slots=True)
class _Files:
    content: bytes
    configuration: WebConfiguration
    material: TlsMaterial | None


class ProtectionFile:
    """The newest good protection that a web configuration gave.

    Raises:
        ConfigurationError: at first; later a broken file leaves what is in force, and is told once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parsed: tuple[bytes, WebConfiguration | ConfigurationError] = (b"", WebConfiguration())
        self._in_force = self._read()
        self._protection = self._make(self._in_force)
        self._refused: _Files | None = None
        self._told: str | None = None
        self._look_at_permissions()

    def newest(self) -> Protection:
        """Return the protection in force, after another look at what the files hold: their times can deceive."""
        try:
            files = self._read()
            if files == self._in_force:
                self._told = self._refused = None
            elif files != self._refused:
                self._refused = files
                self._take_over(files)
            self._look_at_permissions()
        except ConfigurationError as error:
            if str(error) != self._told:
                _log.error("web configuration not taken over, the old one stays", extra={"problem": str(error)})
            self._told = str(error)
        return self._protection

    def _take_over(self, files: _Files) -> None:
        protection = self._make(files)
        missing = self._protection.missing_from(protection)
        if missing:
            # A file that is just being written may be empty for a moment, and must not open the doors.
            raise ConfigurationError(str(self._path), [f"{', '.join(missing)}: not given up while running; restart"])
        self._in_force, self._protection = files, protection
        self._told = self._refused = None
        _log.info("web configuration taken over", extra={"file": str(self._path)})

    def _read(self) -> _Files:
        try:
            content = self._path.read_bytes()
        except OSError as error:
            raise ConfigurationError(
                str(self._path), [f"the web configuration cannot be read: {error.strerror}"]
            ) from error
        configuration = self._parse(content)
        tls = configuration.tls_server_config
        return _Files(content, configuration, None if tls is None else read_material(tls, self._path))

    def _parse(self, content: bytes) -> WebConfiguration:
        if content != self._parsed[0]:
            try:
                self._parsed = (content, parse_web_configuration(content, self._path))
            except ConfigurationError as error:
                self._parsed = (content, error)
        if isinstance(self._parsed[1], ConfigurationError):
            raise self._parsed[1]
        return self._parsed[1]

    def _make(self, files: _Files) -> Protection:
        configuration, tls = files.configuration, files.configuration.tls_server_config
        if tls is None or files.material is None:
            return Protection(users=configuration.users, headers=configuration.headers)
        return Protection(
            context=tls_context(tls, files.material, self._path),
            requires_client_certificate=tls.client_auth_type == REQUIRED_AND_VERIFIED,
            allowed_client_names=tls.client_allowed_sans,
            users=configuration.users,
            headers=configuration.headers,
        )

    def _look_at_permissions(self) -> None:
        configuration = self._in_force.configuration
        tls = configuration.tls_server_config
        holds_secret = bool(configuration.users) or (tls is not None and tls.key is not None)
        THIS_PROCESS.look_at(self._path, Use.SECRET if holds_secret else Use.OPEN)
        if tls is None:
            return
        for name, use in ((tls.key_file, Use.SECRET), (tls.cert_file, Use.OPEN), (tls.client_ca_file, Use.OPEN)):
            if name is not None:
                THIS_PROCESS.look_at(self._path.parent / name, use)


class Guard:
    """Lets those through to the pages who may see them, and adds the configured headers to every answer."""

    def __init__(self, pages: Handler, protection: Callable[[], Protection]) -> None:
        self._pages = pages
        self._protection = protection
        self._passwords = BasicAuth()

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        protection = self._protection()
        response = await self._answer(request, protection.users)
        return replace(response, headers=_with(response.headers, protection.headers))

    def stop(self) -> None:
        """Check no password any more."""
        self._passwords.stop()

    async def _answer(self, request: Request, users: Mapping[str, str]) -> Response:
        if not users:
            return await self._pages(request)
        match await self._passwords.check(request.headers.get("authorization"), users):
            case Verdict.GRANTED:
                return await self._pages(request)
            case Verdict.DENIED:
                headers = {**_PLAIN_TEXT, "WWW-Authenticate": 'Basic realm="exporter", charset="UTF-8"'}
                return Response(HTTPStatus.UNAUTHORIZED, (b"A user and a password are needed.\n",), headers=headers)
            case Verdict.BUSY:
                headers = {**_PLAIN_TEXT, "Retry-After": "1"}
                return Response(HTTPStatus.SERVICE_UNAVAILABLE, (b"Too many passwords at once.\n",), headers=headers)


def _with(headers: Mapping[str, str], configured: Mapping[str, str]) -> dict[str, str]:
    replaced = {name.lower() for name in configured}
    return {name: value for name, value in headers.items() if name.lower() not in replaced} | dict(configured)
