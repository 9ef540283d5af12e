"""Forwards requests to AITracer and its answers back, and hands the accepted ones that carry traces to counting."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, Final

from exporter.trace_gateway.copies import Copies, Copy
from exporter.trace_gateway.exchange import Exchange, TraceCounting
from exporter.trace_gateway.forwarding_metrics import ForwardingMetrics
from exporter.trace_gateway.hop_by_hop import headers_for_client
from exporter.trace_gateway.upstream import Answer, Upstream, UpstreamFailedError
from exporter.web.messages import RawHead, RawHeaders, Request, Response

_log = logging.getLogger(__name__)

CLIENT_GONE: Final = 499
"""Stands for the status of a request whose client left before it had one."""

# Reading more than this takes long enough to keep other requests waiting.
_READ_AT_ONCE_BYTES: Final = 32 * 1024
_SECONDS_FOR_THE_REST: Final = 30.0
# No longer does the end of an answer wait until it is counted.
_SECONDS_FOR_COUNTING: Final = 5.0
_SECONDS_BETWEEN_WARNINGS: Final = 60.0


class Forwarding:
    """A handler for the web server that forwards every request; bodies must come as streams."""

    def __init__(
        self,
        upstream: Upstream,
        counting: TraceCounting,
        metrics: ForwardingMetrics,
        *,
        copies: Copies | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._upstream = upstream
        self._counting = counting
        self._metrics = metrics
        self._copies = copies or Copies()
        self._clock = clock
        # One, so that a crowd of large bodies is unpacked one after the other.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="traces")
        self._finishing: set[asyncio.Task[None]] = set()
        self._silent_until: dict[str, float] = {}

    async def __call__(self, request: Request) -> Response:
        """Forward one request."""
        if request.head is None or request.content is None:
            raise TypeError("only requests whose bodies come as streams can be forwarded")
        self._metrics.in_flight.inc()
        watch = _Watch(self._clock)
        if not _is_target(request.head):
            self.ended(HTTPStatus.BAD_REQUEST, watch)
            return Response(HTTPStatus.BAD_REQUEST, (b"The request's target is not a path.\n",))
        copies: tuple[Copy, Copy] | None = None
        if self._counting.reads(request.method, request.path):
            copies = self._copies.begin(_announced_length(request.head.headers)), self._copies.begin()
        content = request.content if copies is None else _copied(request.content, copies[0])
        try:
            answer = await self._upstream.send(request.head, content, watch.trace)
        except UpstreamFailedError as failure:
            watch.upstream_has_answered()
            _drop(copies)
            self.upstream_failed(failure)
            self.ended(failure.status, watch)
            text = f"The upstream of this gateway did not answer: {failure.reason.replace('_', ' ')}.\n"
            return Response(failure.status, (text.encode(),))
        except BaseException:
            _drop(copies)
            self.ended(CLIENT_GONE, watch)
            raise
        watch.upstream_has_answered()
        if copies is not None and not _is_accepted(answer.status):
            _drop(copies)
            copies = None
        body = _ForwardedAnswer(self, request, answer, copies, watch)
        if _has_no_body(request, answer):
            # The client has its answer when it has the head.
            try:
                await body.look_ahead()
            except BaseException:
                await body.aclose()
                raise
        return Response(answer.status, body, raw_headers=headers_for_client(answer.headers), reason=answer.reason)

    async def finish(self) -> None:
        """Wait for answers whose clients have left, for a bounded time; afterwards nothing can be forwarded."""
        if self._finishing:
            await asyncio.wait(self._finishing, timeout=_SECONDS_FOR_THE_REST)
        for task in self._finishing:
            task.cancel()
        await asyncio.gather(*self._finishing, return_exceptions=True)
        await asyncio.to_thread(self._reader.shutdown)
        await self._upstream.close()

    def ended(self, code: int, watch: "_Watch") -> None:
        """Note the end of a request."""
        self._metrics.in_flight.dec()
        self._metrics.requests.labels(str(int(code))).inc()
        self._metrics.added_latency.observe(watch.added())

    def upstream_failed(self, failure: UpstreamFailedError) -> None:
        """Note that the upstream did not answer, or not to the end."""
        self._metrics.upstream_errors.labels(failure.reason).inc()
        now = self._clock()
        if now >= self._silent_until.get(failure.reason, 0.0):
            self._silent_until[failure.reason] = now + _SECONDS_BETWEEN_WARNINGS
            details = {"details": failure.details} if failure.details else {}
            _log.warning("the upstream failed", extra={"reason": failure.reason, **details})

    def finish_later(self, rest: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do what no client has to wait for, and what does not end when one leaves."""
        task = asyncio.get_running_loop().create_task(rest)
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)
        return task

    async def count_beside(self, exchange: Exchange) -> None:
        """Count the traces of an exchange while other requests are forwarded."""
        await asyncio.get_running_loop().run_in_executor(self._reader, self.count, exchange)

    def count(self, exchange: Exchange) -> None:
        """Count the traces of an exchange; whatever goes wrong there does not concern the client."""
        try:
            self._counting.count(exchange)
        except Exception as error:  # noqa: BLE001 - a fault of counting must not end the forwarding
            self._metrics.counting_failures.inc()
            # Nothing else of it: the message may hold a part of the body.
            _log.error("traces were not counted", extra={"fault": type(error).__name__})


class _ForwardedAnswer(AsyncIterator[bytes]):
    """An answer on its way to the client; where it is counted, its last piece leaves when that is done."""

    def __init__(
        self,
        forwarding: Forwarding,
        request: Request,
        answer: Answer,
        copies: tuple[Copy, Copy] | None,
        watch: "_Watch",
    ) -> None:
        self._forwarding = forwarding
        self._request = request
        self._answer = answer
        self._copies = copies
        self._watch = watch
        self._ahead: bytes | None = None
        self._looked_ahead = False
        self._is_read = False
        self._is_closed = False
        self._failure: UpstreamFailedError | None = None

    async def look_ahead(self) -> None:
        """Read the next piece, if there is one, before the client asks for it."""
        if not self._looked_ahead:
            self._looked_ahead = True
            self._ahead = await self._next_piece()

    async def __anext__(self) -> bytes:
        self._watch.client_has_taken()
        await self.look_ahead()
        piece = self._ahead
        self._looked_ahead = False
        if piece is not None and self._copies is not None:
            await self.look_ahead()
        self._watch.client_takes()
        if piece is not None:
            return piece
        if self._failure is not None:
            raise ConnectionAbortedError("the upstream did not answer to the end")
        raise StopAsyncIteration

    async def aclose(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._watch.client_has_taken()
        if not self._is_read and self._copies is not None:
            # AITracer has accepted it, whether or not the client heard so.
            self._forwarding.finish_later(self._read_the_rest())
        elif not self._is_read:
            await self._answer.close()
        self._forwarding.ended(self._answer.status, self._watch)

    async def _read_the_rest(self) -> None:
        try:
            async with asyncio.timeout(_SECONDS_FOR_THE_REST):
                while not self._is_read and self._copies is not None and not self._copies[1].given_up:
                    await self._next_piece()
        except TimeoutError:
            _log.debug("an answer without a client took too long")
        finally:
            if not self._is_read:
                await self._end(whole=False)

    async def _next_piece(self) -> bytes | None:
        if self._is_read:
            return None
        began = self._watch.now()
        try:
            piece = await anext(self._answer.pieces, None)
        except UpstreamFailedError as failure:
            self._failure = failure
            self._watch.upstream_took(began)
            self._forwarding.upstream_failed(failure)
            await self._end(whole=False)
            return None
        self._watch.upstream_took(began)
        if piece is None:
            await self._end(whole=True)
        elif self._copies is not None:
            self._copies[1].add(piece)
        return piece

    async def _end(self, *, whole: bool) -> None:
        self._is_read = True
        await self._answer.close()
        if self._copies is None:
            return
        request_copy, answer_copy = self._copies
        exchange = Exchange(
            path=self._request.path,
            request_headers=self._request.headers,
            request_body=request_copy.content(),
            answer_headers=_joined(self._answer.headers),
            answer_body=answer_copy.content() if whole else None,
        )
        if _is_quickly_read(exchange):
            self._forwarding.count(exchange)
            _drop(self._copies)
        else:
            counting = self._forwarding.finish_later(self._count_beside(exchange, self._copies))
            await asyncio.wait({counting}, timeout=_SECONDS_FOR_COUNTING)

    async def _count_beside(self, exchange: Exchange, copies: tuple[Copy, Copy]) -> None:
        try:
            await self._forwarding.count_beside(exchange)
        finally:
            _drop(copies)


class _Watch:
    """How long a request is in the gateway, less what it waits for others."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.now: Final = clock
        self._began = clock()
        self._waited = 0.0
        self._sent: float | None = None
        self._handed_over: float | None = None

    async def trace(self, _: str, __: Mapping[str, Any]) -> None:
        """Note when there is a connection, or one is made: until then the request waits for a free one."""
        if self._sent is None:
            self._sent = self.now()

    def upstream_has_answered(self) -> None:
        if self._sent is not None:
            self._waited += self.now() - self._sent
        self._handed_over = self.now()

    def upstream_took(self, began: float) -> None:
        self._waited += self.now() - began

    def client_takes(self) -> None:
        self._handed_over = self.now()

    def client_has_taken(self) -> None:
        if self._handed_over is not None:
            self._waited += self.now() - self._handed_over
            self._handed_over = None

    def added(self) -> float:
        return max(0.0, self.now() - self._began - self._waited)


async def _copied(content: AsyncIterator[bytes], copy: Copy) -> AsyncIterator[bytes]:
    async for piece in content:
        copy.add(piece)
        yield piece


def _drop(copies: tuple[Copy, Copy] | None) -> None:
    for copy in copies or ():
        copy.drop()


def _is_target(head: RawHead) -> bool:
    # Anything else, put behind the upstream's name where a proxy is asked, could name another host.
    return head.target.startswith(b"/") or (head.target, head.method) == (b"*", b"OPTIONS")


def _announced_length(headers: RawHeaders) -> int | None:
    """Return the Content-Length, None where there is none; the web server lets no wrong one pass."""
    return next((int(value) for name, value in headers if name.lower() == b"content-length"), None)


def _is_quickly_read(exchange: Exchange) -> bool:
    # What is compressed may be a thousand times as long.
    if exchange.request_headers.get("content-encoding") or exchange.answer_headers.get("content-encoding"):
        return False
    return len(exchange.request_body or b"") + len(exchange.answer_body or b"") <= _READ_AT_ONCE_BYTES


def _is_accepted(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def _has_no_body(request: Request, answer: Answer) -> bool:
    return (
        request.method == "HEAD"
        or answer.status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
        or any(name.lower() == b"content-length" and value == b"0" for name, value in answer.headers)
    )


def _joined(headers: RawHeaders) -> dict[str, str]:
    joined: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("ascii").lower(), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined
