import logging
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trustme

from exporter.web.http_server import Limits, serving_in_thread
from exporter.web.protection import Guard, ProtectionFile
from tests.web.certificates import PASSWORD, Certificates, hashed
from tests.web.loopback import PATIENCE, Address, ask, connected, read_to_the_end, read_until, status_of, wait_for_reset
from tests.web.pages import BIG, Pages

REQUIRED = ("client_auth_type: RequireAndVerifyClientCert", "client_ca_file: clients.pem")
NOT_TAKEN_OVER = "web configuration not taken over, the old one stays"


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@contextmanager
def serving(file: Path, *, limits: Limits | None = None) -> Iterator[Address]:
    newest = ProtectionFile(file).newest
    guard = Guard(Pages(), newest)
    try:
        with serving_in_thread(guard, protection=newest, limits=limits or Limits()) as address:
            yield address
    finally:
        guard.stop()


def get(address: Address, context: ssl.SSLContext, path: str = "/") -> httpx.Response:
    """Ask on a connection of its own."""
    return httpx.get(f"https://{address[0]}:{address[1]}{path}", verify=context, timeout=PATIENCE)


def turned_away(address: Address, context: ssl.SSLContext) -> bool:
    """Tell whether the server ends the connection without an answer, as it must; with TLS 1.3 a moment late."""
    try:
        with connected(address) as plain, context.wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            return client.recv(1000) == b""
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
        return True


def serial_of(address: Address, certificates: Certificates) -> str:
    with (
        connected(address) as plain,
        certificates.client_context().wrap_socket(plain, server_hostname="localhost") as client,
    ):
        certificate = client.getpeercert()
    assert certificate is not None
    return str(certificate["serialNumber"])


def test_pages_are_served_over_tls_large_and_streamed_and_many_on_one_connection(certificates: Certificates) -> None:
    with serving(certificates.configure()) as (host, port):
        context = certificates.client_context()
        with httpx.Client(base_url=f"https://{host}:{port}", verify=context, timeout=PATIENCE) as client:
            assert client.get("/one").text == "GET|/one|||\n"
            assert client.get("/big").content == BIG
            assert client.get("/streamed").text == "one,two"
            assert client.post("/", content=b"x" * 60_000).text.count("x") == 60_000
            assert client.post("/", content=b"x" * 500_000).status_code == 413


def test_certificates_may_stand_in_the_configuration_itself(certificates: Certificates) -> None:
    _configure_inline(certificates)
    with serving(certificates.file) as address:
        assert get(address, certificates.client_context("client.test")).status_code == 200
        assert turned_away(address, certificates.client_context())


def test_where_the_system_has_no_files_in_memory_the_key_is_on_disk_only_while_it_is_loaded(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delattr("os.memfd_create")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    _configure_inline(certificates)
    with serving(certificates.file) as address:
        assert get(address, certificates.client_context("client.test")).status_code == 200
    assert list(scratch.iterdir()) == []


def _configure_inline(certificates: Certificates) -> None:
    def block(name: str) -> str:
        return "|\n" + "".join(f"    {line}\n" for line in (certificates.folder / name).read_text().splitlines())

    certificates.file.write_text(
        f"tls_server_config:\n  cert: {block('server.pem')}  key: {block('server.key')}"
        f"  client_ca: {block('clients.pem')}  {REQUIRED[0]}\n",
        encoding="utf-8",
    )
    (certificates.folder / "server.key").unlink()


@pytest.mark.parametrize(
    ("lines", "welcome"),
    [
        ((), (True, True, True)),
        (("client_auth_type: NoClientCert",), (True, True, True)),
        (("client_auth_type: VerifyClientCertIfGiven", "client_ca_file: clients.pem"), (True, True, False)),
        (REQUIRED, (False, True, False)),
    ],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_each_client_auth_type_lets_in_whom_it_should(
    certificates: Certificates,
    lines: tuple[str, ...],
    welcome: tuple[bool, bool, bool],
    version: ssl.TLSVersion,
) -> None:
    without, known, unknown = welcome
    with serving(certificates.configure(*lines)) as address:
        for context, is_welcome in (
            (certificates.client_context(), without),
            (certificates.client_context("client.test"), known),
            (certificates.client_context("client.test", authority=trustme.CA()), unknown),
            # The server's own authority vouches for no client.
            (certificates.client_context("client.test", authority=certificates.authority), unknown),
        ):
            context.maximum_version = version
            if is_welcome:
                assert get(address, context).status_code == 200
            else:
                assert turned_away(address, context)


@pytest.mark.parametrize("name", ["prometheus.test", "10.1.2.3", "2001:db8::1", "scraper@prometheus.test"])
def test_only_clients_with_an_allowed_name_are_let_in(certificates: Certificates, name: str) -> None:
    with serving(certificates.configure(*REQUIRED, f"client_allowed_sans: [other.test, '{name}']")) as address:
        assert get(address, certificates.client_context(name)).status_code == 200
        assert get(address, certificates.client_context("stranger.test", name)).status_code == 200
        assert turned_away(address, certificates.client_context("stranger.test"))
        assert turned_away(address, certificates.client_context("sub.other.test", "10.1.2.4"))


def test_a_client_that_trusts_another_authority_does_not_speak_to_the_server(certificates: Certificates) -> None:
    with serving(certificates.configure()) as address:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            get(address, ssl.create_default_context())
        assert get(address, certificates.client_context()).status_code == 200


def test_plain_http_to_the_tls_port_reads_what_is_wrong(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(certificates.configure()) as address:
        answer = ask(address, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        assert status_of(answer) == 400
        assert answer.endswith(b"This port speaks HTTPS, not HTTP.\n")
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


@pytest.mark.parametrize("raw", [b"", b"\x16", b"\x16\x03\x01\x00\x05hello", b"\x16" * 5000, b"\x00" * 5000])
def test_nonsense_in_place_of_a_handshake_harms_nobody(
    certificates: Certificates, caplog: pytest.LogCaptureFixture, raw: bytes
) -> None:
    with serving(certificates.configure()) as address:
        assert b"HTTP/1.1" not in ask(address, raw)
        assert get(address, certificates.client_context()).status_code == 200
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG and record.name[:8] == "exporter"]


def test_who_does_not_finish_the_handshake_is_cut(certificates: Certificates) -> None:
    with serving(certificates.configure(), limits=Limits(head_timeout=0.2)) as address, connected(address) as client:
        client.sendall(b"\x16\x03\x01")
        assert read_to_the_end(client) == b""


def test_who_hesitates_in_the_handshake_gives_way_to_others(certificates: Certificates) -> None:
    limits = Limits(max_connections=2, requests_in_flight=1)
    with serving(certificates.configure(), limits=limits) as address, connected(address) as first:
        first.sendall(b"\x16\x03\x01")
        with connected(address):
            assert get(address, certificates.client_context()).status_code == 200
            assert read_to_the_end(first) == b""


def test_a_clients_goodbye_is_answered_and_closes_the_connection(certificates: Certificates) -> None:
    with serving(certificates.configure()) as address, connected(address) as plain:
        client = certificates.client_context().wrap_socket(plain, server_hostname="localhost")
        client.sendall(b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n")
        assert status_of(read_until(client, b"GET|/last|||\n")) == 200
        with client.unwrap() as ended:
            assert read_to_the_end(ended) == b""


def test_an_answer_that_closes_the_connection_ends_with_a_goodbye_so_that_no_cut_goes_unseen(
    certificates: Certificates,
) -> None:
    context = certificates.client_context()
    with (
        serving(certificates.configure()) as address,
        connected(address) as plain,
        context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as client,
    ):
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert read_to_the_end(client).endswith(b"GET|/|||\n")


@pytest.mark.skipif(sys.platform != "linux", reason="no other system corks a connection")
@pytest.mark.parametrize(("path", "body"), [("/", b"GET|/|||\n"), ("/big", BIG)])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_what_comes_with_the_last_request_and_after_it_costs_neither_the_answers_end_nor_the_goodbye(
    certificates: Certificates, version: ssl.TLSVersion, path: str, body: bytes
) -> None:
    context = certificates.client_context()
    context.maximum_version = version
    with (
        serving(certificates.configure()) as address,
        connected(address, receive_buffer=16 * 1024) as plain,
        context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as client,
    ):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        client.sendall(b"\r\n")
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        begun = client.recv(1)
        client.sendall(b"\r\n")
        assert (begun + read_to_the_end(client)).endswith(b"\r\n\r\n" + body)


@pytest.mark.parametrize(
    ("lines", "agreed"),
    [
        ((), {ssl.TLSVersion.TLSv1_2: True, ssl.TLSVersion.TLSv1_3: True}),
        (("min_version: TLS13",), {ssl.TLSVersion.TLSv1_2: False, ssl.TLSVersion.TLSv1_3: True}),
        (("max_version: TLS12",), {ssl.TLSVersion.TLSv1_2: True, ssl.TLSVersion.TLSv1_3: False}),
    ],
)
def test_versions_out_of_bounds_are_refused(
    certificates: Certificates, lines: tuple[str, ...], agreed: dict[ssl.TLSVersion, bool]
) -> None:
    with serving(certificates.configure(*lines)) as address:
        for version, welcome in agreed.items():
            context = certificates.client_context()
            context.minimum_version = context.maximum_version = version
            if welcome:
                assert get(address, context).status_code == 200
            else:
                with pytest.raises(httpx.ConnectError, match="ALERT_PROTOCOL_VERSION"):
                    get(address, context)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_an_old_version_is_refused_by_default(certificates: Certificates) -> None:
    context = certificates.client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with serving(certificates.configure()) as address, pytest.raises(httpx.ConnectError, match="PROTOCOL_VERSION"):
        get(address, context)


def test_cipher_suites_and_their_order_and_the_curve_are_as_configured(certificates: Certificates) -> None:
    suites = "[TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]"
    for preference, expected in ((True, "ECDHE-ECDSA-AES256-GCM-SHA384"), (False, "ECDHE-ECDSA-AES128-GCM-SHA256")):
        certificates.configure(f"cipher_suites: {suites}", f"prefer_server_cipher_suites: {str(preference).lower()}")
        with serving(certificates.file) as address:
            context = certificates.client_context()
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")
            with connected(address) as plain, context.wrap_socket(plain, server_hostname="localhost") as client:
                cipher = client.cipher()
            assert cipher is not None
            assert cipher[0] == expected
            context.set_ciphers("ECDHE-ECDSA-CHACHA20-POLY1305")
            with pytest.raises(httpx.ConnectError, match="HANDSHAKE_FAILURE"):
                get(address, context)
    with serving(certificates.configure("curve_preferences: [CurveP384]")) as address:
        context = certificates.client_context()
        assert get(address, context).status_code == 200
        context.set_ecdh_curve("X25519")
        with pytest.raises(httpx.ConnectError, match="HANDSHAKE_FAILURE"):
            get(address, context)


def test_a_new_certificate_is_shown_to_new_connections_and_the_old_ones_go_on(certificates: Certificates) -> None:
    with serving(certificates.configure()) as address, connected(address) as plain:
        before = serial_of(address, certificates)
        open_since = certificates.client_context().wrap_socket(plain, server_hostname="localhost")
        certificates.issue()
        after = serial_of(address, certificates)
        assert after != before
        open_since.sendall(b"GET /still HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_until(open_since, b"GET|/still|||\n").startswith(b"HTTP/1.1 200")
        open_since.close()


def test_a_new_authority_for_clients_holds_from_the_next_connection_on(certificates: Certificates) -> None:
    with serving(certificates.configure(*REQUIRED)) as address:
        old = certificates.client_context("client.test")
        assert get(address, old).status_code == 200
        certificates.clients_authority = trustme.CA()
        certificates.clients_authority.cert_pem.write_to_path(str(certificates.folder / "clients.pem"))
        assert turned_away(address, old)
        assert get(address, certificates.client_context("client.test")).status_code == 200


def test_a_rotation_that_is_half_done_keeps_the_old_certificate_is_told_once_and_ends_well(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(certificates.configure()) as address:
        before = serial_of(address, certificates)
        old_key = (certificates.folder / "server.key").read_bytes()
        certificates.issue()
        new_key = (certificates.folder / "server.key").read_bytes()
        (certificates.folder / "server.key").write_bytes(old_key)
        assert [serial_of(address, certificates) for _ in range(3)] == [before] * 3
        [record] = [record for record in caplog.records if record.getMessage() == NOT_TAKEN_OVER]
        assert "mismatch" in str(getattr(record, "problem", ""))
        (certificates.folder / "server.key").write_bytes(new_key)
        assert serial_of(address, certificates) != before
        (certificates.folder / "server.key").unlink()
        certificates.configure("min_version: TLS14")
        assert get(address, certificates.client_context()).status_code == 200
    assert len([record for record in caplog.records if record.getMessage() == NOT_TAKEN_OVER]) == 2


@pytest.mark.parametrize("content", ["", "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"])
def test_a_file_that_is_cut_short_opens_no_door_while_running(
    certificates: Certificates, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    certificates.configure(*REQUIRED, rest=f"basic_auth_users: {{alice: '{hashed(PASSWORD)}'}}\n")
    with serving(certificates.file) as address:
        certificates.file.write_text(content, encoding="utf-8")
        assert turned_away(address, certificates.client_context())
        assert get(address, certificates.client_context("client.test")).status_code == 401
        certificates.file.unlink()
        assert get(address, certificates.client_context("client.test")).status_code == 401
    told = [str(getattr(record, "problem", "")) for record in caplog.records if record.getMessage() == NOT_TAKEN_OVER]
    assert len(told) == 2
    assert "client certificates, passwords: not given up while running" in told[0]
    assert "cannot be read" in told[1]


def test_a_slow_reader_over_tls_is_cut_like_any_other(certificates: Certificates) -> None:
    limits = Limits(write_timeout=0.2)
    with serving(certificates.configure(), limits=limits) as address, connected(address, receive_buffer=4096) as plain:
        client = certificates.client_context().wrap_socket(plain, server_hostname="localhost")
        client.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        assert wait_for_reset(client)
        client.close()
