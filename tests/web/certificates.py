"""Certificates, keys and web configurations, made anew in a folder of the test's own."""

import ssl
from pathlib import Path

import bcrypt
import trustme

PASSWORD = "correct horse battery staple"


def hashed(password: str, cost: int = 4) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


class Certificates:
    """A folder with a server's certificate; the configuration in it names files by relative paths."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.clients_authority = trustme.CA()
        self.file = folder / "web.yml"
        self.clients_authority.cert_pem.write_to_path(str(folder / "clients.pem"))
        self.authority.cert_pem.write_to_path(str(folder / "authority.pem"))
        self.issue()

    def issue(self) -> None:
        """Write a new certificate for the server, of the same authority."""
        certificate = self.authority.issue_cert("127.0.0.1", "localhost")
        (self.folder / "server.pem").write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
        key = self.folder / "server.key"
        key.touch(mode=0o600)
        key.write_bytes(certificate.private_key_pem.bytes())

    def configure(self, *tls_lines: str, rest: str = "") -> Path:
        """Write a configuration with TLS and these lines more in its section."""
        lines = "".join(f"  {line}\n" for line in ("cert_file: server.pem", "key_file: server.key", *tls_lines))
        self.file.write_text(f"tls_server_config:\n{lines}{rest}", encoding="utf-8")
        return self.file

    def client_context(self, *names: str, authority: trustme.CA | None = None) -> ssl.SSLContext:
        """A client that trusts the server, with a certificate of its own if it has a name."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if names:
            (authority or self.clients_authority).issue_cert(*names).configure_cert(context)
        return context
