"""Makes what OpenSSL needs out of `tls_server_config` and of the certificates and keys that it names."""

import os
import ssl
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from exporter.configuration.loading import ConfigurationError
from exporter.web.web_configuration import (
    CURVES,
    NO_CLIENT_CERTIFICATE,
    REQUIRED_AND_VERIFIED,
    TLS_1_2_SUITES,
    TlsServer,
)

_VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """Certificates and keys as PEM.

    Attributes:
        certificate: the server's, with what leads to its authority.
        key: the server's private key.
        client_authorities: who may vouch for clients, None where nobody is asked.
    """

    certificate: bytes
    key: bytes = field(repr=False)
    client_authorities: bytes | None


def read_material(tls: TlsServer, source: Path) -> TlsMaterial:
    """Read the files that the section names.

    Raises:
        ConfigurationError: naming each that cannot be read.
    """
    mistakes: list[str] = []

    def read(key: str, inline: str | None, file: str | None) -> bytes | None:
        if file is None:
            return None if inline is None else inline.encode()
        try:
            return (source.parent / file).read_bytes()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "this is no path"
            mistakes.append(f"tls_server_config.{key}: {source.parent / file} cannot be read: {reason}")
            return None

    certificate = read("cert_file", tls.cert, tls.cert_file)
    key = read("key_file", tls.key, tls.key_file)
    authorities = read("client_ca_file", tls.client_ca, tls.client_ca_file)
    if mistakes:
        raise ConfigurationError(str(source), mistakes)
    return TlsMaterial(certificate or b"", key or b"", authorities)


def tls_context(tls: TlsServer, material: TlsMaterial, source: Path) -> ssl.SSLContext:
    """Make the server's side of TLS.

    Raises:
        ConfigurationError: a certificate or a key is none, or they do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version]
    context.maximum_version = _VERSIONS[tls.max_version]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if tls.prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    mistakes: list[str] = []
    try:
        if tls.cipher_suites:
            context.set_ciphers(":".join(TLS_1_2_SUITES[suite] for suite in tls.cipher_suites))
        for curve in tls.curve_preferences:
            context.set_ecdh_curve(CURVES[curve])
    except (ssl.SSLError, ValueError):
        mistakes.append("cipher_suites, curve_preferences: this system's OpenSSL does not have them")
    try:
        _load_certificate(context, material)
    except (OSError, ValueError) as error:
        mistakes.append(f"cert_file, key_file: the certificate and its key cannot be used: {_reason(error)}")
    if material.client_authorities is not None:
        try:
            context.load_verify_locations(cadata=material.client_authorities.decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            mistakes.append(f"client_ca_file: it holds no certificate that can be used: {_reason(error)}")
        # As in the toolkit, any certificate in the file is trusted, also one that another has signed.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if tls.client_auth_type != NO_CLIENT_CERTIFICATE:
        required = tls.client_auth_type == REQUIRED_AND_VERIFIED
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    if mistakes:
        raise ConfigurationError(str(source), [f"tls_server_config.{mistake}" for mistake in mistakes])
    return context


def names_of(certificate: Mapping[str, Any]) -> set[str]:
    """Return the alternative names of a verified certificate: hosts, e-mail addresses, URIs and IP addresses."""
    names: set[str] = set()
    for kind, name in certificate.get("subjectAltName", ()):
        if kind == "IP Address":
            names.add(str(ip_address(name.strip())))
        elif kind in {"DNS", "email", "URI"}:
            names.add(name)
    return names


def allows(certificate: Mapping[str, Any] | None, allowed: Sequence[str] | None) -> bool:
    """Tell whether one of the certificate's names is among the allowed ones; None allows every certificate."""
    return allowed is None or not names_of(certificate or {}).isdisjoint(allowed)


def _load_certificate(context: ssl.SSLContext, material: TlsMaterial) -> None:
    def refuse_passphrase() -> str:
        # Otherwise OpenSSL would ask on the terminal, and wait.
        raise ValueError("the key is encrypted, it must be without a passphrase")

    with _as_file(material.certificate) as certificate, _as_file(material.key) as key:
        context.load_cert_chain(certificate, key, password=refuse_passphrase)


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """Give bytes a path, since OpenSSL reads these from files only; on Linux without any disk seeing them."""
    make: Callable[[str], int] | None = getattr(os, "memfd_create", None)
    if make is None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name
        return
    with os.fdopen(make("pem"), "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def _reason(error: Exception) -> str:
    # Some of OpenSSL's reasons hold nothing but an empty path.
    if isinstance(error, ssl.SSLError):
        return (error.reason or "this is not PEM").replace("_", " ").lower()
    return "this is not PEM" if isinstance(error, UnicodeError) else str(error)
