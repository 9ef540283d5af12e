"""The file of `--web.config.file`, in the format of Prometheus' exporter-toolkit; what cannot be done is refused."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictStr, ValidationError

from exporter.configuration.loading import ConfigurationError, yaml_document

TLS_1_2_SUITES: Final = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
"""The toolkit's names of cipher suites, and OpenSSL's."""

CURVES: Final = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
"""The toolkit's names of curves, and OpenSSL's."""

REQUIRED_AND_VERIFIED: Final = "RequireAndVerifyClientCert"
VERIFIED_IF_GIVEN: Final = "VerifyClientCertIfGiven"
NO_CLIENT_CERTIFICATE: Final = "NoClientCert"

_UNVERIFIED: Final = ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert")
_TLS_1_3_SUITES: Final = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")

# The cost is the binary logarithm of the rounds; one check at 16 takes seconds.
_HIGHEST_COST: Final = 16
_BCRYPT: Final = r"^\$2[aby]\$(?:0[4-9]|1[0-6])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}$"
_HEADER_VALUE: Final = r"^[!-~](?:[ -~]*[!-~])?$"


def _known_client_auth(value: object) -> object:
    if value in _UNVERIFIED:
        raise ValueError(
            "certificates that nobody verifies are not supported, they prove nothing: "
            f"use {REQUIRED_AND_VERIFIED} or {VERIFIED_IF_GIVEN}"
        )
    return value


def _known_version(value: object) -> object:
    if value in ("TLS10", "TLS11"):
        raise ValueError("TLS 1.0 and 1.1 are broken and not supported: TLS12 or TLS13")
    return value


def _known_suite(value: object) -> object:
    if value in _TLS_1_3_SUITES:
        raise ValueError("the suites of TLS 1.3 are always on and cannot be chosen: leave it out")
    if not isinstance(value, str) or value not in TLS_1_2_SUITES:
        raise ValueError(f"this suite is not supported; known here: {', '.join(TLS_1_2_SUITES)}")
    return value


def _known_curve(value: object) -> object:
    if not isinstance(value, str) or value not in CURVES:
        raise ValueError(f"this curve is not supported; known here: {', '.join(CURVES)}")
    return value


def _refuse_http2(value: object) -> object:
    if value is True:
        raise ValueError("this server speaks HTTP/1.1 alone: false, or leave it out")
    return value


def _refuse_rate_limit(value: object) -> object:
    if value is not None:
        raise ValueError("limiting the rate is not supported: leave it out (connections and requests are bounded)")
    return value


class _Section(BaseModel):
    # What is given may be a secret in the wrong place, so no error may hold it.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


_Text = Annotated[StrictStr, Field(min_length=1)]
_Version = Annotated[Literal["TLS12", "TLS13"], BeforeValidator(_known_version)]
_HeaderValue = Annotated[StrictStr, Field(pattern=_HEADER_VALUE)]


class TlsServer(_Section):
    """`tls_server_config`; relative paths are relative to the file's folder."""

    cert: _Text | None = None
    key: _Text | None = Field(default=None, repr=False)
    client_ca: _Text | None = None
    cert_file: _Text | None = None
    key_file: _Text | None = None
    client_ca_file: _Text | None = None
    client_auth_type: Annotated[
        Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"],
        BeforeValidator(_known_client_auth),
    ] = NO_CLIENT_CERTIFICATE
    client_allowed_sans: Annotated[Sequence[_Text], Field(min_length=1)] | None = None
    min_version: _Version = "TLS12"
    max_version: _Version = "TLS13"
    cipher_suites: Sequence[Annotated[StrictStr, BeforeValidator(_known_suite)]] = ()
    prefer_server_cipher_suites: StrictBool = True
    curve_preferences: Sequence[Annotated[StrictStr, BeforeValidator(_known_curve)]] = ()


class Headers(_Section):
    """`http_server_config.headers`, sent with every answer of the pages."""

    content_security_policy: _HeaderValue | None = Field(default=None, alias="Content-Security-Policy")
    x_frame_options: Literal["deny", "sameorigin"] | None = Field(default=None, alias="X-Frame-Options")
    x_content_type_options: Literal["nosniff"] | None = Field(default=None, alias="X-Content-Type-Options")
    x_xss_protection: _HeaderValue | None = Field(default=None, alias="X-XSS-Protection")
    strict_transport_security: _HeaderValue | None = Field(default=None, alias="Strict-Transport-Security")


class HttpServerSection(_Section):
    """`http_server_config`."""

    http2: Annotated[StrictBool | None, BeforeValidator(_refuse_http2)] = None
    headers: Headers | None = None


class WebConfiguration(_Section):
    """The whole file; an empty one asks for plain HTTP without a password."""

    tls_server_config: TlsServer | None = None
    http_server_config: HttpServerSection | None = None
    basic_auth_users: Mapping[StrictStr, Annotated[StrictStr, Field(pattern=_BCRYPT, repr=False)]] | None = Field(
        default=None, repr=False
    )
    rate_limit: Annotated[None, BeforeValidator(_refuse_rate_limit)] = None

    @property
    def users(self) -> Mapping[str, str]:
        """The bcrypt hash of each user's password."""
        return self.basic_auth_users or {}

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers to send with every answer."""
        section = self.http_server_config
        if section is None or section.headers is None:
            return {}
        return section.headers.model_dump(by_alias=True, exclude_none=True)


def parse_web_configuration(content: bytes, source: Path) -> WebConfiguration:
    """Read a web configuration; `source` names it in errors, which show nothing of what it holds.

    Raises:
        ConfigurationError: with every mistake.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(str(source), ["the file cannot be read: it is not UTF-8"]) from None
    document = yaml_document(text, str(source))
    if document is None:
        return WebConfiguration()
    if not isinstance(document, dict):
        raise ConfigurationError(str(source), ["the document must be a mapping of sections such as tls_server_config"])
    try:
        configuration = WebConfiguration.model_validate(document)
    except ValidationError as error:
        mistakes = [_explain(mistake) for mistake in error.errors(include_input=False, include_url=False)]
        raise ConfigurationError(str(source), mistakes) from None
    mistakes = [*_tls_contradictions(configuration.tls_server_config), *_user_mistakes(configuration.users)]
    if mistakes:
        raise ConfigurationError(str(source), mistakes)
    return configuration


def _tls_contradictions(tls: TlsServer | None) -> list[str]:
    if tls is None:
        return []
    mistakes = [
        f"{name}_file: give it or {name}, not both"
        for name, inline, file in (
            ("cert", tls.cert, tls.cert_file),
            ("key", tls.key, tls.key_file),
            ("client_ca", tls.client_ca, tls.client_ca_file),
        )
        if inline is not None and file is not None
    ]
    if tls.cert is None and tls.cert_file is None:
        mistakes.append("cert_file: is missing, and so is cert; for plain HTTP leave the whole section out")
    if tls.key is None and tls.key_file is None:
        mistakes.append("key_file: is missing, and so is key")
    has_authority = tls.client_ca is not None or tls.client_ca_file is not None
    if has_authority and tls.client_auth_type == NO_CLIENT_CERTIFICATE:
        mistakes.append(f"client_auth_type: is needed beside a client CA, such as {REQUIRED_AND_VERIFIED}")
    if not has_authority and tls.client_auth_type != NO_CLIENT_CERTIFICATE:
        mistakes.append("client_ca_file: is needed for this client_auth_type, to verify certificates with")
    if tls.client_allowed_sans is not None and tls.client_auth_type != REQUIRED_AND_VERIFIED:
        mistakes.append(f"client_allowed_sans: needs client_auth_type: {REQUIRED_AND_VERIFIED}")
    if tls.min_version > tls.max_version:
        mistakes.append("min_version: is above max_version")
    elif tls.min_version == "TLS13" and tls.cipher_suites:
        mistakes.append("cipher_suites: are those of TLS 1.2, which min_version leaves out")
    if len(tls.curve_preferences) > 1:
        mistakes.append("curve_preferences: Python's ssl takes one curve only; leave it out for all of them")
    return [f"tls_server_config.{mistake}" for mistake in mistakes]


def _user_mistakes(users: Mapping[str, str]) -> list[str]:
    # What stands before the first colon is the user to every client.
    colon = ["basic_auth_users: a user's name cannot hold a colon"] if any(":" in name for name in users) else []
    # Half a character could not even be compared with what a client sends.
    printable = all(name.isprintable() for name in users)
    return colon if printable else [*colon, "basic_auth_users: a user's name cannot hold control characters"]


def _explain(mistake: Mapping[str, Any]) -> str:
    parts = [str(part) for part in mistake["loc"] if part != "[key]"]
    place = ".".join(parts)
    if mistake["type"] == "extra_forbidden":
        known: Sequence[str] = [
            field.alias or name for name, field in _section(parts[:-1]).model_fields.items() if name != "rate_limit"
        ]
        return f"{place}: this key is not supported; known here: {', '.join(known)}"
    if mistake["type"] == "string_pattern_mismatch":
        if parts[0] == "basic_auth_users":
            return f"{place}: this is no bcrypt hash ($2y$10$…) with a cost of 4 to {_HIGHEST_COST}"
        return f"{place}: a header's value is printable ASCII; leave the key out for none"
    message = str(mistake["msg"]).removeprefix("Value error, ")
    return f"{place}: {message[0].lower()}{message[1:]}"


def _section(parts: Sequence[str]) -> type[_Section]:
    sections: Mapping[tuple[str, ...], type[_Section]] = {
        ("tls_server_config",): TlsServer,
        ("http_server_config",): HttpServerSection,
        ("http_server_config", "headers"): Headers,
    }
    return sections.get(tuple(parts), WebConfiguration)
