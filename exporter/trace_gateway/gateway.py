"""The trace gateway put together: what it forwards, its own pages, and its life from start to clean stop."""

import asyncio
import gzip
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from exporter.service import ServiceError
from exporter.trace_gateway.exchange import TraceCounting
from exporter.trace_gateway.forwarding import Forwarding
from exporter.trace_gateway.forwarding_metrics import ForwardingMetrics
from exporter.trace_gateway.upstream import Patience, Upstream, UpstreamAddress
from exporter.web.exposure import beyond_loopback, warn_of_open_pages
from exporter.web.http_server import HttpServer, Limits
from exporter.web.messages import Request, Response
from exporter.web.negotiation import accepts_gzip
from exporter.web.protection import Guard, Protection, ProtectionFile

_log = logging.getLogger(__name__)

OWN_PAGES: Final = ("/metrics", "/-/healthy", "/-/ready")

_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_REQUESTS_AT_ONCE: Final = 256
# Servers take heads of various lengths; the upstream shall be the one that refuses.
_LIMITS: Final = Limits(
    max_connections=512,
    requests_in_flight=_REQUESTS_AT_ONCE,
    head_bytes=64 * 1024,
    write_timeout=30.0,
    stop_timeout=25.0,
)
_TELEMETRY_LIMITS: Final = Limits(max_connections=64, requests_in_flight=16)


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """What the command line decides.

    Attributes:
        upstream: where AITracer is.
        listen: host and port that applications send to.
        telemetry: host and port of the gateway's own pages; None for the same as `listen`.
        web_config_file: TLS and client certificates for both, passwords and headers for the own pages; None for plain
            HTTP without a password.
        proxy: URL of the proxy that leads to the upstream, None for none.
        patience: with the upstream.
    """

    upstream: UpstreamAddress
    listen: tuple[str, int]
    telemetry: tuple[str, int] | None = None
    web_config_file: Path | None = None
    proxy: str | None = None
    patience: Patience = field(default_factory=Patience)


class OwnPages:
    """Metrics and health of the gateway."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._rendering = asyncio.Lock()
        self.stopping = False

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        if request.path not in OWN_PAGES:
            return _text(HTTPStatus.NOT_FOUND, f"Not found. The pages here are {', '.join(OWN_PAGES)}.")
        if request.method not in {"GET", "HEAD"}:
            return _text(HTTPStatus.METHOD_NOT_ALLOWED, "This page allows GET, HEAD.", Allow="GET, HEAD")
        match request.path:
            case "/metrics":
                return await self._metrics(request)
            case "/-/ready" if self.stopping:
                return _text(HTTPStatus.SERVICE_UNAVAILABLE, "The trace gateway is not Ready: it stops.")
            case "/-/ready":
                return _text(HTTPStatus.OK, "The trace gateway is Ready.")
            case _:
                return _text(HTTPStatus.OK, "The trace gateway is Healthy.")

    async def _metrics(self, request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        headers = {**_HEADERS, "Vary": "Accept, Accept-Encoding"}
        # One page at a time, and beside the forwarding: with many series it takes a while.
        async with self._rendering:
            page = await asyncio.to_thread(encode, self._registry)
            if accepts_gzip(request.headers.get("accept-encoding", "")):
                headers["Content-Encoding"] = "gzip"
                page = await asyncio.to_thread(gzip.compress, page, 1)
        return Response(HTTPStatus.OK, (page,), content_type, headers)


class Gateway:
    """One trace gateway.

    Raises:
        ConfigurationError: the web configuration cannot be used.
        ValueError: the proxy cannot be used.
    """

    def __init__(self, options: GatewayOptions, counting: TraceCounting, registry: CollectorRegistry) -> None:
        self._options = options
        file = options.web_config_file
        self._protection = Protection if file is None else ProtectionFile(file).newest
        self._pages = OwnPages(registry)
        self._guard = Guard(self._pages, self._protection)
        # Those that read on for clients that have left have connections of their own.
        upstream = Upstream(
            options.upstream, proxy=options.proxy, connections=_REQUESTS_AT_ONCE * 5 // 4, patience=options.patience
        )
        self._forwarding = Forwarding(upstream, counting, ForwardingMetrics(registry))

    async def run(self, *, on_listening: Callable[[str, int], None] = lambda _host, _port: None) -> None:
        """Forward until SIGTERM or SIGINT.

        Raises:
            ServiceError: an address cannot be listened on.
        """
        server, telemetry = self._servers()
        started: list[HttpServer] = []
        try:
            for each, flag, address in (
                (telemetry, "--web.telemetry-address", self._options.telemetry),
                (server, "--web.listen-address", self._options.listen),
            ):
                if each is not None and address is not None:
                    await _start(each, address, flag)
                    started.append(each)
            stopping = asyncio.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, stopping.set)
            self._tell(server, telemetry)
            on_listening(*server.address)
            await stopping.wait()
            _log.info("stopping")
            self._pages.stopping = True
        finally:
            # The own pages last: what is counted now is still to be seen.
            for each in reversed(started):
                await each.stop()
                if each is server:
                    await self._forwarding.finish()
            self._guard.stop()
        _log.info("stopped")

    def _servers(self) -> tuple[HttpServer, HttpServer | None]:
        host, port = self._options.listen
        if self._options.telemetry is None:
            return HttpServer(
                self._route,
                host=host,
                port=port,
                limits=_LIMITS,
                protection=self._protection,
                wants_stream=lambda request: request.path not in OWN_PAGES,
            ), None
        own_host, own_port = self._options.telemetry
        return (
            HttpServer(
                self._forwarding,
                host=host,
                port=port,
                limits=_LIMITS,
                protection=self._protection,
                wants_stream=lambda _: True,
            ),
            HttpServer(
                self._guard, host=own_host, port=own_port, limits=_TELEMETRY_LIMITS, protection=self._protection
            ),
        )

    async def _route(self, request: Request) -> Response:
        # The Authorization of forwarded requests is AITracer's, that of the own pages is the gateway's.
        return await (self._guard if request.content is None else self._forwarding)(request)

    def _tell(self, server: HttpServer, telemetry: HttpServer | None) -> None:
        protection = self._protection()
        scheme = "https" if protection.context else "http"

        def url(of: HttpServer) -> str:
            host, port = of.address
            return f"{scheme}://{host}:{port}"

        _log.info(
            "listening",
            extra={
                "address": url(server),
                "metrics": f"{url(telemetry or server)}/metrics",
                "upstream": f"{self._options.upstream.scheme}://{self._options.upstream.netloc}",
            },
        )
        warn_of_open_pages(
            _hosts(telemetry or server), protection, what="which models the applications use, and what they cost"
        )
        outside = beyond_loopback(_hosts(server))
        if outside and protection.context is None:
            _log.warning(
                "prompts and the upstream's keys cross the network in plain text; add tls_server_config to "
                "--web.config.file, or listen on loopback behind what speaks TLS",
                extra={"address": outside},
            )


def _hosts(server: HttpServer) -> list[str]:
    return [host for host, _ in server.addresses]


async def _start(server: HttpServer, address: tuple[str, int], flag: str) -> None:
    try:
        await server.start()
    except OSError as error:
        raise ServiceError.about_address(*address, error, flag=flag) from error


def _text(status: HTTPStatus, text: str, **headers: str) -> Response:
    return Response(status, (f"{text}\n".encode(),), headers={**_HEADERS, **headers})
