"""The exporter's pages: metrics for Prometheus, health for the orchestrator, the rest for people."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS_CONTENT_TYPE

from exporter.web.cross_site import comes_from_another_site
from exporter.web.landing_page import CONTENT_SECURITY_POLICY, StatusRow, landing_page
from exporter.web.messages import Request, Response
from exporter.web.negotiation import accepts_gzip, prefers_openmetrics

__all__ = ["Application", "MetricsPages", "ReloadFailed", "StatusRow"]

_READ: Final = ("GET", "HEAD")
_TRIGGER: Final = ("POST", "PUT")

_ON_EVERY_PAGE: Final = {
    # Every page says how things are now.
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class MetricsPages(Protocol):
    """The newest rendered metrics."""

    def page(self, *, openmetrics: bool, gzip: bool) -> Sequence[bytes]:
        """The page in one of the two formats, its chunks compressed or not."""


class ReloadFailed(Exception):  # noqa: N818 - it is an outcome, told to whoever asked for the reload
    """The configuration was not taken over; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """A handler for the web server.

    Attributes:
        name: what the exporter calls itself to people.
        version: of the exporter.
        metrics: the rendered pages.
        not_ready_because: the reason, None when ready.
        reload: takes over the configuration anew, or raises ReloadFailed.
        configuration: the configuration in force as YAML, secrets masked.
        status: one row per API.
        clock: Unix seconds.
    """

    name: str
    version: str
    metrics: MetricsPages
    not_ready_because: Callable[[], str | None]
    reload: Callable[[], Awaitable[None]]
    configuration: Callable[[], str]
    status: Callable[[], Sequence[StatusRow]]
    clock: Callable[[], float] = time.time

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        pages: Mapping[str, tuple[tuple[str, ...], Callable[[Request], Awaitable[Response]]]] = {
            "/": (_READ, self._landing),
            "/metrics": (_READ, self._metrics),
            "/config": (_READ, self._configuration),
            "/-/healthy": (_READ, self._healthy),
            "/-/ready": (_READ, self._ready),
            "/-/reload": (_TRIGGER, self._reload),
        }
        if request.path not in pages:
            return _text(HTTPStatus.NOT_FOUND, f"Not found. The pages here are {', '.join(pages)}.")
        methods, page = pages[request.path]
        if request.method not in methods:
            allowed = ", ".join(methods)
            return _text(HTTPStatus.METHOD_NOT_ALLOWED, f"This page allows {allowed}.", Allow=allowed)
        return await page(request)

    async def _metrics(self, request: Request) -> Response:
        openmetrics = prefers_openmetrics(request.headers.get("accept", ""))
        gzip = accepts_gzip(request.headers.get("accept-encoding", ""))
        headers = {**_ON_EVERY_PAGE, "Vary": "Accept, Accept-Encoding"}
        if gzip:
            headers["Content-Encoding"] = "gzip"
        return Response(
            HTTPStatus.OK,
            self.metrics.page(openmetrics=openmetrics, gzip=gzip),
            OPENMETRICS_CONTENT_TYPE if openmetrics else CONTENT_TYPE_PLAIN_0_0_4,
            headers,
        )

    async def _landing(self, _: Request) -> Response:
        html = landing_page(name=self.name, version=self.version, rows=self.status(), now=self.clock())
        return Response(
            HTTPStatus.OK,
            (html.encode(errors="replace"),),
            "text/html; charset=utf-8",
            {**_ON_EVERY_PAGE, "Content-Security-Policy": CONTENT_SECURITY_POLICY},
        )

    async def _configuration(self, _: Request) -> Response:
        # Browsers show plain text, and save what says it is YAML.
        return _text(HTTPStatus.OK, self.configuration())

    async def _healthy(self, _: Request) -> Response:
        return _text(HTTPStatus.OK, f"{self.name} is Healthy.")

    async def _ready(self, _: Request) -> Response:
        reason = self.not_ready_because()
        if reason is not None:
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, f"{self.name} is not Ready: {reason}")
        return _text(HTTPStatus.OK, f"{self.name} is Ready.")

    async def _reload(self, request: Request) -> Response:
        if comes_from_another_site(request.headers):
            return _text(
                HTTPStatus.FORBIDDEN,
                "The configuration was not reloaded: a browser asked for it on behalf of another site.",
            )
        try:
            await self.reload()
        except ReloadFailed as failure:
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR, f"The configuration was not reloaded: {failure}")
        return _text(HTTPStatus.OK, "The configuration was reloaded.")


def _text(status: HTTPStatus, text: str, **headers: str) -> Response:
    line_end = "" if text.endswith("\n") else "\n"
    # A lone surrogate in a name must not turn the page into an error.
    body = f"{text}{line_end}".encode(errors="replace")
    return Response(status, (body,), headers={**_ON_EVERY_PAGE, **headers})
