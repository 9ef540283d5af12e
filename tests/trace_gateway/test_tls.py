"""HTTPS to the upstream and from the applications, and whom passwords and client certificates hold for."""

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trustme
from prometheus_client import CollectorRegistry

from exporter.trace_gateway.gateway import Gateway, GatewayOptions
from exporter.trace_gateway.upstream import upstream_address
from tests.trace_gateway.forwarded import COUNTED_PATH, OK, Recorder, running_forwarding, scripted_upstream
from tests.trace_gateway.gateway_process import gateway_process
from tests.web.certificates import PASSWORD, Certificates, hashed
from tests.web.loopback import PATIENCE, ask, read_to_the_end, read_until, status_of

EVERYWHERE, HERE = "0.0.0.0", "127.0.0.1"  # noqa: S104 - nobody is told the port
WHOLE = f"POST {COUNTED_PATH} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer akt_secret\r\n".encode()
WHOLE += b"Content-Length: 2\r\n\r\nhi"


def server_context(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def trust(authority: trustme.CA, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "authority.pem"))


def test_an_upstream_is_trusted_for_the_authority_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    trust(authority, tmp_path, monkeypatch)
    large = b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n" + b"y" * 500_000
    body = b"x" * 500_000
    with (
        scripted_upstream(lambda _: large, server_context(authority)) as upstream,
        running_forwarding(upstream.url) as gateway,
    ):
        assert ask(gateway.address, WHOLE) == large
        request = f"PUT /x HTTP/1.1\r\nHost: g\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        assert ask(gateway.address, request + body) == large
    assert [received.body for received in upstream.received] == [b"hi", body]
    assert len(gateway.recorder.exchanges) == 1


@pytest.mark.parametrize(
    ("trusted", "name", "why"),
    [
        (False, "127.0.0.1", "the certificate is not trusted: unable to get local issuer certificate"),
        (True, "other.test", "the certificate is not trusted: IP address mismatch"),
    ],
)
def test_an_upstream_with_a_wrong_certificate_gets_nothing_and_the_log_says_why(  # noqa: PLR0913 - the cases
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    trusted: bool,
    name: str,
    why: str,
) -> None:
    authority = trustme.CA()
    trust(authority if trusted else trustme.CA(), tmp_path, monkeypatch)
    with (
        scripted_upstream(lambda _: OK, server_context(authority, name)) as upstream,
        running_forwarding(upstream.url) as gateway,
    ):
        answer = ask(gateway.address, WHOLE)
    assert status_of(answer) == 502
    assert answer.endswith(b"The upstream of this gateway did not answer: tls.\n")
    assert upstream.received == []
    assert gateway.value("upstream_errors_total", reason="tls") == 1
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage() == "the upstream failed"
    assert record.__dict__["details"].startswith(why)


def test_an_upstream_that_speaks_no_tls_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server((HERE, 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                connection.shutdown(socket.SHUT_WR)
                read_to_the_end(connection)

        refusing = threading.Thread(target=refuse)
        refusing.start()
        with running_forwarding(f"https://{HERE}:{listener.getsockname()[1]}") as gateway:
            assert status_of(ask(gateway.address, WHOLE)) == 502
        refusing.join()
    assert gateway.value("upstream_errors_total", reason="tls") == 1
    assert [record.__dict__["details"] for record in caplog.records] == ["WRONG_VERSION_NUMBER"]


@contextmanager
def tunnelling_proxy() -> Iterator[tuple[str, list[bytes]]]:
    """Connect one client to where it asks for; yields the URL, and the heads that it was sent."""
    heads: list[bytes] = []
    with socket.create_server((HERE, 0)) as listener:

        def pass_on(source: socket.socket, target: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)

        def tunnel() -> None:
            client, _ = listener.accept()
            with client:
                heads.append(read_until(client, b"\r\n\r\n"))
                host, port = heads[0].split(b" ")[1].split(b":")
                with socket.create_connection((host.decode(), int(port))) as upstream:
                    client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                    back = threading.Thread(target=pass_on, args=(upstream, client))
                    back.start()
                    pass_on(client, upstream)
                    back.join()

        tunnelling = threading.Thread(target=tunnel)
        tunnelling.start()
        yield f"http://user:word@{HERE}:{listener.getsockname()[1]}", heads
        tunnelling.join()


def test_an_upstream_behind_a_proxy_is_spoken_to_through_a_tunnel_that_sees_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    trust(authority, tmp_path, monkeypatch)
    body = b"x" * 500_000
    with (
        scripted_upstream(lambda _: OK, server_context(authority)) as upstream,
        tunnelling_proxy() as (proxy, heads),
        running_forwarding(upstream.url, proxy=proxy) as gateway,
    ):
        assert ask(gateway.address, WHOLE) == OK
        request = f"PUT /x HTTP/1.1\r\nHost: g\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        assert ask(gateway.address, request + body) == OK
    assert [received.body for received in upstream.received] == [b"hi", body]
    (head,) = heads
    assert head.startswith(b"CONNECT " + upstream.url.removeprefix("https://").encode())
    assert b"Proxy-Authorization: Basic dXNlcjp3b3Jk" in head
    assert b"akt_secret" not in head


def test_client_certificates_hold_for_everything_and_passwords_for_the_gateways_own_pages(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    file = certificates.configure(
        "client_auth_type: RequireAndVerifyClientCert",
        "client_ca_file: clients.pem",
        rest=f"basic_auth_users:\n  prometheus: '{hashed(PASSWORD)}'\n"
        "http_server_config: {headers: {X-Frame-Options: deny}}\n",
    )
    file.chmod(0o600)
    known, unknown = certificates.client_context("application.test"), certificates.client_context()
    with (
        scripted_upstream(lambda _: OK) as upstream,
        gateway_process(f"--upstream={upstream.url}", f"--web.config.file={file}") as running,
    ):
        with httpx.Client(base_url=running.url, verify=known, timeout=PATIENCE * 3) as client:
            # A password's user too, if that is what AITracer wants.
            for authorization in ("Bearer akt_secret", "Basic cHJvbWV0aGV1czp4"):
                answer = client.post(COUNTED_PATH, content=b"{}", headers={"Authorization": authorization})
                assert (answer.status_code, dict(answer.headers)) == (200, {"content-length": "2"})
                assert upstream.wait_for_one().values(b"authorization") == [authorization.encode()]
            pages = [
                client.get("/metrics", headers={"Authorization": "Bearer akt_secret"}),
                client.get("/metrics"),
                client.get("/metrics", auth=("prometheus", PASSWORD)),
            ]
        assert [(page.status_code, page.headers["x-frame-options"]) for page in pages] == [
            (401, "deny"),
            (401, "deny"),
            (200, "deny"),
        ]
        for path in (COUNTED_PATH, "/metrics"):
            with pytest.raises(httpx.TransportError), httpx.Client(verify=unknown, timeout=PATIENCE * 3) as client:
                client.post(f"{running.url}{path}", content=b"{}", auth=("prometheus", PASSWORD))
        assert len(upstream.received) == 2


OPEN_PAGES = "whoever reaches this address sees which models the applications use, and what they cost; "
PLAIN_TRACES = "prompts and the upstream's keys cross the network in plain text; "
PLAIN_PASSWORDS = "passwords cross the network in plain text; "


@pytest.mark.parametrize(
    ("listen", "telemetry", "tls", "users", "warnings"),
    [
        (EVERYWHERE, None, False, False, [OPEN_PAGES, PLAIN_TRACES]),
        (EVERYWHERE, HERE, False, False, [PLAIN_TRACES]),
        (HERE, EVERYWHERE, False, False, [OPEN_PAGES]),
        (EVERYWHERE, None, False, True, [PLAIN_PASSWORDS, PLAIN_TRACES]),
        (EVERYWHERE, None, True, False, [OPEN_PAGES]),
        (EVERYWHERE, None, True, True, []),
        (HERE, HERE, False, False, []),
    ],
)
def test_listening_beyond_loopback_without_protection_is_told(  # noqa: PLR0913 - the cases
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    *,
    listen: str,
    telemetry: str | None,
    tls: bool,
    users: bool,
    warnings: list[str],
) -> None:
    certificates = Certificates(tmp_path)
    rest = f"basic_auth_users: {{prometheus: '{hashed(PASSWORD)}'}}\n" if users else ""
    if tls:
        certificates.configure(rest=rest)
    else:
        certificates.file.write_text(rest, encoding="utf-8")
    certificates.file.chmod(0o600)
    options = GatewayOptions(
        upstream=upstream_address("http://aitracer.test"),
        listen=(listen, 0),
        telemetry=None if telemetry is None else (telemetry, 0),
        web_config_file=certificates.file,
    )

    async def run_until_it_listens() -> None:
        gateway = Gateway(options, Recorder(), CollectorRegistry())
        await gateway.run(on_listening=lambda *_: signal.raise_signal(signal.SIGTERM))

    asyncio.run(run_until_it_listens())
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == len(warnings)
    for record, warning in zip(told, warnings, strict=True):
        assert record.getMessage().startswith(warning)
        assert record.__dict__["address"] == EVERYWHERE
