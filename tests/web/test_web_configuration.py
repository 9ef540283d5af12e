import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from exporter.configuration.loading import ConfigurationError
from exporter.web.protection import ProtectionFile
from exporter.web.web_configuration import WebConfiguration, parse_web_configuration
from tests.web.certificates import PASSWORD, Certificates, hashed

FIXED_HASH = "$2b$04$3m.NrA0h3bF3NOQebz4Wou.GZn.5imxbJ8k4e30V6m1gG5XE51LrS"
TLS = "tls_server_config: {cert_file: a, key_file: b, "


def parse(text: str) -> WebConfiguration:
    return parse_web_configuration(text.encode(), Path("web.yml"))


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        (
            "tls_server_confg: {}",
            "tls_server_confg",
            "known here: tls_server_config, http_server_config",
        ),
        ("tls_server_config: {}", "tls_server_config.cert_file", "plain HTTP leave the whole section out"),
        ("tls_server_config: {min_version: TLS13}", "tls_server_config.cert_file", "missing"),
        ("tls_server_config: {cert_file: a}", "tls_server_config.key_file", "missing"),
        ("tls_server_config: {cert_file: '', key: x}", "tls_server_config.cert_file", "at least 1 character"),
        (TLS + "cert: x}", "tls_server_config.cert_file", "not both"),
        (TLS + "key: x}", "tls_server_config.key_file", "not both"),
        (TLS + "ca: x}", "tls_server_config.ca", "not supported; known here: cert, key"),
        (TLS + "client_auth_type: RequestClientCert}", "tls_server_config.client_auth_type", "nobody verifies"),
        (TLS + "client_auth_type: RequireAnyClientCert}", "tls_server_config.client_auth_type", "nobody verifies"),
        (TLS + "client_auth_type: RequireClientCert}", "tls_server_config.client_auth_type", "nobody verifies"),
        (TLS + "client_auth_type: Whatever}", "tls_server_config.client_auth_type", "should be 'NoClientCert'"),
        (TLS + "client_auth_type: VerifyClientCertIfGiven}", "tls_server_config.client_ca_file", "is needed"),
        (TLS + "client_auth_type: RequireAndVerifyClientCert}", "tls_server_config.client_ca_file", "is needed"),
        (TLS + "client_ca_file: c}", "tls_server_config.client_auth_type", "is needed beside a client CA"),
        (TLS + "client_allowed_sans: [a]}", "tls_server_config.client_allowed_sans", "RequireAndVerifyClientCert"),
        (
            TLS + "client_auth_type: VerifyClientCertIfGiven, client_ca_file: c, client_allowed_sans: [a]}",
            "tls_server_config.client_allowed_sans",
            "RequireAndVerifyClientCert",
        ),
        (TLS + "client_allowed_sans: []}", "tls_server_config.client_allowed_sans", "at least 1 item"),
        (TLS + "min_version: TLS10}", "tls_server_config.min_version", "broken and not supported"),
        (TLS + "max_version: TLS11}", "tls_server_config.max_version", "broken and not supported"),
        (TLS + "min_version: SSL3}", "tls_server_config.min_version", "'TLS12' or 'TLS13'"),
        (TLS + "min_version: TLS13, max_version: TLS12}", "tls_server_config.min_version", "above max_version"),
        (TLS + "cipher_suites: [TLS_AES_128_GCM_SHA256]}", "tls_server_config.cipher_suites.0", "cannot be chosen"),
        (TLS + "cipher_suites: [RC4]}", "tls_server_config.cipher_suites.0", "not supported; known here: TLS_ECDHE"),
        (
            TLS + "min_version: TLS13, cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]}",
            "tls_server_config.cipher_suites",
            "min_version leaves out",
        ),
        (TLS + "curve_preferences: [P224]}", "tls_server_config.curve_preferences.0", "known here: CurveP256"),
        (TLS + "curve_preferences: [X25519, CurveP256]}", "tls_server_config.curve_preferences", "one curve only"),
        (TLS + "prefer_server_cipher_suites: 'no'}", "tls_server_config.prefer_server_cipher_suites", "boolean"),
        ("http_server_config: {http2: true}", "http_server_config.http2", "HTTP/1.1 alone"),
        ("http_server_config: {http3: true}", "http_server_config.http3", "not supported; known here: http2, headers"),
        (
            "http_server_config: {headers: {Server: x}}",
            "http_server_config.headers.Server",
            "known here: Content-Security-Policy",
        ),
        (
            "http_server_config: {headers: {X-Frame-Options: maybe}}",
            "http_server_config.headers.X-Frame-Options",
            "'deny' or 'sameorigin'",
        ),
        (
            'http_server_config: {headers: {X-XSS-Protection: "0\\r\\nX: y"}}',
            "http_server_config.headers.X-XSS-Protection",
            "printable ASCII",
        ),
        (
            "http_server_config: {headers: {X-XSS-Protection: ''}}",
            "http_server_config.headers.X-XSS-Protection",
            "leave the key out",
        ),
        ("rate_limit: {interval: 1s, burst: 2}", "rate_limit", "not supported"),
        ("basic_auth_users: {alice: secret-word}", "basic_auth_users.alice", "no bcrypt hash"),
        (f"basic_auth_users: {{alice: '{FIXED_HASH.replace('$04$', '$31$')}'}}", "basic_auth_users.alice", "4 to 16"),
        (f"basic_auth_users: {{'a:b': '{FIXED_HASH}'}}", "basic_auth_users", "colon"),
        (f"basic_auth_users: {{1: '{FIXED_HASH}'}}", "basic_auth_users.1", "string"),
        ("basic_auth_users: [alice]", "basic_auth_users", "should be a valid dictionary"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_path_and_the_reason(text: str, place: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        parse(text)
    found = [mistake for mistake in refusal.value.mistakes if mistake.startswith(f"{place}: ") and reason in mistake]
    assert found, refusal.value.mistakes


def test_all_mistakes_are_told_at_once_and_none_shows_what_was_given() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        parse("basic_auth_users: {a: my-password}\ntls_server_config: {key: [my-key]}\nhttp_server_config: {http2: my}")
    assert len(refusal.value.mistakes) == 3
    assert "my" not in str(refusal.value)


@pytest.mark.parametrize("text", ["- a", "a", "[", "a: 1\na: 2", "\tb", "rate_limit: !!python/object:os.system x"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse(text)
    with pytest.raises(ConfigurationError):
        parse_web_configuration(b"\xff", Path("web.yml"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\n",
        "{}",
        "http_server_config: {http2: false}",
    ],
)
def test_a_file_that_asks_for_nothing_is_good(text: str) -> None:
    configuration = parse(text)
    assert (configuration.tls_server_config, configuration.users, configuration.headers) == (None, {}, {})


def test_the_prefixes_that_tools_write_are_all_bcrypt() -> None:
    for prefix in ("$2a$", "$2b$", "$2y$"):
        text = hashed(PASSWORD).replace("$2b$", prefix)
        assert parse(f"basic_auth_users: {{a: {text}}}").users == {"a": text}


def test_no_secret_is_in_what_is_printed_of_a_configuration() -> None:
    text = hashed(PASSWORD)
    shown = repr(parse(f"basic_auth_users: {{a: {text}}}\ntls_server_config: {{cert: x, key: the-key}}"))
    assert text not in shown
    assert "the-key" not in shown


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("server.pem", "cert_file: {folder}/server.pem cannot be read: No such file"),
        ("server.key", "key_file: {folder}/server.key cannot be read: No such file"),
        ("clients.pem", "client_ca_file: {folder}/clients.pem cannot be read: No such file"),
    ],
)
def test_a_file_that_is_missing_is_named(tmp_path: Path, change: str, reason: str) -> None:
    file = Certificates(tmp_path).configure(
        "client_auth_type: RequireAndVerifyClientCert", "client_ca_file: clients.pem"
    )
    (tmp_path / change).unlink()
    with pytest.raises(ConfigurationError) as refusal:
        ProtectionFile(file)
    assert refusal.value.mistakes[0].startswith("tls_server_config." + reason.format(folder=tmp_path))


@pytest.mark.parametrize("name", ["server.pem", "server.key", "clients.pem"])
@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"\xff", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    file = Certificates(tmp_path).configure(
        "client_auth_type: RequireAndVerifyClientCert", "client_ca_file: clients.pem"
    )
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"client_ca_file" if name == "clients.pem" else r"key_file: the cert"):
        ProtectionFile(file)


def test_the_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    earlier = (tmp_path / "server.key").read_bytes()
    certificates.issue()
    (tmp_path / "server.key").write_bytes(earlier)
    with pytest.raises(ConfigurationError, match="mismatch"):
        ProtectionFile(certificates.configure())


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_passphrase(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    key = serialization.load_pem_private_key((tmp_path / "server.key").read_bytes(), password=None)
    (tmp_path / "server.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    with pytest.raises(ConfigurationError, match="encrypted"):
        ProtectionFile(certificates.configure())


def told_of(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    told = [(Path(getattr(record, "file", "")).name, record.getMessage()) for record in caplog.records]
    caplog.clear()
    return told


def test_a_private_key_that_everybody_may_read_is_told_at_start_and_when_it_becomes_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = Certificates(tmp_path)
    newest = ProtectionFile(certificates.configure()).newest
    newest()
    assert told_of(caplog) == []
    (tmp_path / "server.key").chmod(0o644)
    newest()
    assert told_of(caplog) == [("server.key", "permissions are loose: everybody may read it")]
    newest()
    ProtectionFile(certificates.configure())
    assert told_of(caplog) == []


def test_a_web_configuration_that_everybody_may_read_is_told_if_it_holds_a_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = Certificates(tmp_path)
    file = certificates.configure()
    file.chmod(0o644)
    ProtectionFile(file)
    assert told_of(caplog) == []
    ProtectionFile(certificates.configure(rest=f"basic_auth_users: {{alice: '{hashed(PASSWORD)}'}}\n"))
    assert told_of(caplog) == [("web.yml", "permissions are loose: everybody may read it")]
    file.chmod(0o600)
    ProtectionFile(file)
    key = (tmp_path / "server.key").read_text(encoding="utf-8").replace("\n", "\n    ")
    file.write_text(f"tls_server_config:\n  cert_file: server.pem\n  key: |\n    {key}", encoding="utf-8")
    file.chmod(0o644)
    ProtectionFile(file)
    assert told_of(caplog) == [("web.yml", "permissions are loose: everybody may read it")]


def test_certificates_may_be_read_by_everybody_and_changed_by_nobody_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = Certificates(tmp_path).configure(
        "client_auth_type: RequireAndVerifyClientCert", "client_ca_file: clients.pem"
    )
    for name in ("server.pem", "clients.pem"):
        (tmp_path / name).chmod(0o646)
    ProtectionFile(file)
    assert told_of(caplog) == [
        (name, "permissions are loose: everybody may change it") for name in ("server.pem", "clients.pem")
    ]


def test_the_example_in_the_readme_is_a_good_web_configuration() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```yaml\n(tls_server_config:.*?)```", readme, re.DOTALL)
    configuration = parse(example)
    assert configuration.tls_server_config is not None
    assert configuration.tls_server_config.client_auth_type == "RequireAndVerifyClientCert"
    assert list(configuration.users) == ["prometheus"]
