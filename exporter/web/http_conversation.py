"""One connection's conversation: h11 reads the requests, the handler answers, slice by slice as the client takes it."""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import replace
from email.utils import formatdate
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

import h11

from exporter.web.large_answers import LARGE_ANSWER_BYTES, LargeAnswers
from exporter.web.limits import Limits
from exporter.web.messages import Handler, RawHead, Request, RequestEndedError, Response, WantsStream
from exporter.web.places import Client, Places
from exporter.web.plain_channel import Writer, reset_on_close, rest, taken_bytes
from exporter.web.tls_channel import READ_BYTES, Reader

_log = logging.getLogger(__name__)

_FAREWELL_SECONDS: Final = 2.0
_CAN_STILL_ANSWER: Final = (h11.IDLE, h11.SEND_RESPONSE)

Body = Sequence[bytes] | AsyncIterator[bytes]

_Outgoing = h11.Response | h11.InformationalResponse | h11.Data | h11.EndOfMessage


class ClientGoneError(RequestEndedError):
    """The client went away, or cannot be spoken with any longer."""


class AnswerNotTakenError(ClientGoneError):
    """The client went away amid its answer, or took too long to take it."""


class _RefusedError(RequestEndedError):
    """The request cannot reach the handler; the reason goes to the client."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Conversation:
    """Requests and answers on one open connection, one after the other."""

    def __init__(  # noqa: PLR0913 - each is a collaborator of its own, given once by the server
        self,
        reader: Reader,
        writer: Writer,
        *,
        handler: Handler,
        limits: Limits,
        places: Places,
        large_answers: LargeAnswers,
        client: Client,
        stopping: Callable[[], bool],
        wants_stream: WantsStream,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._handler = handler
        self._limits = limits
        self._places = places
        self._large_answers = large_answers
        self._client = client
        self._stopping = stopping
        self._wants_stream = wants_stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
        # Of the request that is being answered, as h11 knows it: "head" is another method than HEAD.
        self._method = b""
        # Whether a thread sent the answer; meanwhile nothing was read.
        self._is_unread = False
        # Flushing waits until the client's kernel has room for everything, not just for most of it.
        writer.transport.set_write_buffer_limits(high=0)

    async def carry_on(self) -> None:
        """Answer requests until the conversation ends; ConnectionAbortedError asks to cut it where it stands."""
        patience = self._limits.head_timeout
        while await self._exchange(patience):
            patience = self._limits.idle_timeout
            # A client that sends many requests at once must not keep the loop from the others.
            await asyncio.sleep(0)

    async def _exchange(self, patience: float) -> bool:
        """Answer one request; False if there is none, or the connection can carry no other after it."""
        self._method = b""
        self._is_unread = False
        try:
            request = await self._read_request(patience)
        except _RefusedError as refusal:
            await self._refuse(refusal)
            return False
        return request is not None and await self._answer_request(request)

    async def _answer_request(self, request: Request) -> bool:
        if not self._places.begin_answer(self._client):
            await self._refuse(_RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "Too many requests at once."))
            return False
        try:
            head, body = await self._ask_the_handler(request)
        except _RefusedError as refusal:
            await self._refuse(refusal)
            return False
        await self._answer(head, body)
        if self._still_sends():
            await self._part()
            return False
        self._places.wait(self._client)
        if self._stopping() or self._http.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
            if self._is_unread:
                await self._part()
            return False
        self._http.start_next_cycle()
        return True

    async def _read_request(self, patience: float) -> Request | None:
        """Read one request, whole unless its body is to come later.

        Returns:
            None if the client has gone, or sends nothing for as long as the patience lasts.
        """
        if not self._http.trailing_data[0]:
            try:
                async with asyncio.timeout(patience):
                    if not await self._receive():
                        return None
            except TimeoutError:
                return None
        try:
            async with asyncio.timeout(self._limits.head_timeout):
                return await self._read_whole()
        except h11.RemoteProtocolError as error:
            raise _RefusedError(error.error_status_hint, "The request could not be read.") from error
        except TimeoutError as error:
            raise _RefusedError(HTTPStatus.REQUEST_TIMEOUT, "The request took too long.") from error

    async def _read_whole(self) -> Request | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                await self._receive()
            elif isinstance(event, h11.Request):
                head = event
                self._method = head.method
                if head.method == b"CONNECT":
                    # Any 2xx answer would turn the connection into a tunnel.
                    raise _RefusedError(HTTPStatus.NOT_IMPLEMENTED, "This server is no proxy.")
                request = _request(head, b"")
                if self._wants_stream(request):
                    return replace(request, head=_raw_head(head), content=self._body_as_it_comes())
                self._check_announced_length(head)
            elif isinstance(event, h11.Data):
                body += event.data
                self._check_length(len(body))
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return _request(head, bytes(body))
            else:
                return None

    async def _receive(self) -> bool:
        """Give h11 what the client sent next; False at the end."""
        if self._http.they_are_waiting_for_100_continue:
            await self._send(h11.InformationalResponse(status_code=HTTPStatus.CONTINUE, headers=[], reason=b"Continue"))
        try:
            data = await self._reader.read(READ_BYTES)
        except OSError as error:
            raise ClientGoneError from error
        self._http.receive_data(data)
        return bool(data)

    async def _body_as_it_comes(self) -> AsyncGenerator[bytes, None]:
        received = 0
        waited = 0.0
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise _RefusedError(error.error_status_hint, "The body could not be read.") from error
            if event is h11.NEED_DATA:
                # What the handler does meanwhile is not the client's time.
                waited += await self._wait_for_more(received, waited)
            elif isinstance(event, h11.Data):
                received += len(event.data)
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                raise ClientGoneError

    async def _wait_for_more(self, received: int, waited: float) -> float:
        """Receive more of a body; return the seconds that it took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        left = self._limits.body_timeout + received / self._limits.body_bytes_per_second - waited
        self._places.stall(self._client)
        try:
            async with asyncio.timeout(min(left, self._limits.body_timeout)):
                await self._receive()
        except TimeoutError as error:
            raise _RefusedError(HTTPStatus.REQUEST_TIMEOUT, "The body took too long.") from error
        finally:
            self._places.flow(self._client)
        return loop.time() - began

    def _still_sends(self) -> bool:
        """Tell whether there is more of the request, after the handler has read what it wanted of it."""
        try:
            while self._http.their_state is h11.SEND_BODY and self._http.next_event() is not h11.NEED_DATA:
                pass
        except h11.RemoteProtocolError:
            return True
        return self._http.their_state is h11.SEND_BODY

    def _check_announced_length(self, head: h11.Request) -> None:
        for name, value in head.headers:
            if name == b"content-length":
                self._check_length(int(value))

    def _check_length(self, length: int) -> None:
        if length > self._limits.body_bytes:
            raise _RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The body is larger than the {self._limits.body_bytes} bytes allowed.",
            )

    async def _refuse(self, refusal: _RefusedError) -> None:
        """Say why the request is not answered."""
        if self._http.our_state not in _CAN_STILL_ANSWER:
            return
        head, body = _plain(refusal.status, refusal.reason, close=True)
        await self._answer(head, body)
        await self._part()

    async def _part(self) -> None:
        """Wait a moment: closing on a client that still sends would destroy the answer on its way."""
        try:
            self._writer.write_eof()
            async with asyncio.timeout(_FAREWELL_SECONDS):
                while await self._reader.read(READ_BYTES):
                    pass
        except OSError as error:
            raise ClientGoneError from error

    async def _ask_the_handler(self, request: Request) -> tuple[h11.Response, Body]:
        try:
            response = await self._handler(request)
            try:
                # A streamed answer may yet read the rest of the request.
                streamed = isinstance(response.body, AsyncIterator)
                unread = self._http.their_state is h11.SEND_BODY if streamed else self._still_sends()
                return _response_head(response, close=self._stopping() or unread), response.body
            except BaseException:
                await _close(response.body)
                raise
        except RequestEndedError:
            raise
        except Exception:  # noqa: BLE001 - whatever goes wrong in a page is told to the log, and only there
            _log.exception("a page failed", extra={"method": request.method, "path": request.path})
            return _plain(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal server error.", close=True)

    async def _answer(self, head: h11.Response, body: Body) -> None:
        has_body = self._method != b"HEAD" and head.status_code not in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
        try:
            if isinstance(body, AsyncIterator):
                await self._send(head)
                if has_body:
                    async for chunk in body:
                        await self._send(h11.Data(data=chunk))
                await self._send(h11.EndOfMessage())
            else:
                chunks = [h11.Data(data=chunk) for chunk in body] if has_body else []
                try:
                    async with asyncio.timeout(self._limits.answer_timeout):
                        # Without a length its end could be taken for the whole's.
                        may_be_large = _has_length(head)
                        await self._send(head, *chunks, h11.EndOfMessage(), patient=True, may_be_large=may_be_large)
                except TimeoutError as error:
                    raise AnswerNotTakenError from error
        except _RefusedError as refusal:
            self._show_that_it_is_cut(head)
            # It is too late to say so.
            raise ClientGoneError from refusal
        except BaseException:
            self._show_that_it_is_cut(head)
            raise
        finally:
            await _close(body)

    def _show_that_it_is_cut(self, head: h11.Response) -> None:
        """Reset a connection whose end is the answer's: nothing else tells this end from the right one."""
        if self._http.their_http_version == b"1.0" and not _has_length(head):
            reset_on_close(self._writer.transport.get_extra_info("socket"))

    async def _send(self, *events: _Outgoing, patient: bool = False, may_be_large: bool = False) -> None:
        """Write events and wait until they are handed over whole; `patient` as for `_taken`."""
        pieces: list[memoryview] = []
        for event in events:
            spelled = self._http.send_with_data_passthrough(event) or ()
            pieces += [memoryview(piece) for piece in spelled if piece]
        is_large = may_be_large and sum(map(len, pieces)) >= LARGE_ANSWER_BYTES
        if not (is_large and await self._send_as_large(pieces)):
            await self._hand_over(pieces, patient=patient)

    async def _send_as_large(self, pieces: Sequence[memoryview]) -> bool:
        """Let a thread send the pieces; False, and nothing is sent, if none can be had."""
        if self._writer.transport.is_closing():
            raise ClientGoneError
        try:
            # What TLS had to say meanwhile comes first.
            await self._taken(patient=True)
            sent = await self._large_answers.send(self._writer, pieces, patience=self._limits.write_timeout)
        except OSError as error:
            raise AnswerNotTakenError from error
        self._is_unread = sent
        return sent

    async def _hand_over(self, pieces: Sequence[memoryview], *, patient: bool) -> None:
        left = pieces
        while left:
            if self._writer.transport.is_closing():
                raise ClientGoneError
            try:
                count = self._writer.hand_over(left)
                await self._taken(patient=patient)
            except OSError as error:
                raise AnswerNotTakenError from error
            left = rest(left, count)

    async def _taken(self, *, patient: bool) -> None:
        """Wait until the client has taken what was handed over.

        Args:
            patient: wait on while the client takes something. There is another bound for the whole answer.
        """
        transport = self._writer.transport
        if transport.get_write_buffer_size() == 0:
            return
        self._places.stall(self._client)
        taken = taken_bytes(transport.get_extra_info("socket"))
        try:
            while True:
                try:
                    async with asyncio.timeout(self._limits.write_timeout):
                        await self._writer.drain()
                        return
                except TimeoutError:
                    before, taken = taken, taken_bytes(transport.get_extra_info("socket"))
                    if not patient or before is None or taken is None or taken <= before:
                        raise
        finally:
            self._places.flow(self._client)


def _has_length(head: h11.Response) -> bool:
    return any(name == b"content-length" for name, _ in head.headers)


async def _close(body: Body) -> None:
    close = getattr(body, "aclose", None)
    if close is not None:
        await close()


def _origin_form(target: bytes) -> bytes:
    if target.startswith(b"/") or b"://" not in target.partition(b"?")[0]:
        return target
    # The absolute form, which a proxy sends: what stands behind the host is path and query.
    behind_scheme = target.partition(b"://")[2]
    host = re.split(rb"[/?]", behind_scheme, maxsplit=1)[0]
    rest = behind_scheme[len(host) :]
    return rest if rest.startswith(b"/") else b"/" + rest


def _raw_head(head: h11.Request) -> RawHead:
    return RawHead(head.method, _origin_form(head.target), head.headers.raw_items(), head.http_version)


def _request(head: h11.Request, body: bytes) -> Request:
    path, _, query = _origin_form(head.target).decode("ascii").partition("?")
    headers: dict[str, str] = {}
    for raw_name, raw_value in head.headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Request(
        method=head.method.decode("ascii").upper(), path=unquote(path), query=query, headers=headers, body=body
    )


def _response_head(response: Response, *, close: bool) -> h11.Response:
    reason = _reason_phrase(response.status) if response.reason is None else response.reason
    if response.raw_headers is not None:
        closing = [(b"Connection", b"close")] if close else []
        return h11.Response(status_code=response.status, headers=[*response.raw_headers, *closing], reason=reason)
    headers = {name.lower(): value for name, value in response.headers.items()}
    if response.content_type is not None:
        headers.setdefault("content-type", response.content_type)
    headers.setdefault("date", formatdate(usegmt=True))
    if close:
        headers["connection"] = "close"
    has_no_length = response.status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
    if not isinstance(response.body, AsyncIterator) and not has_no_length:
        headers.setdefault("content-length", str(sum(map(len, response.body))))
    return h11.Response(
        status_code=response.status,
        headers=list(headers.items()),
        reason=reason,
    )


def _reason_phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b""


def _plain(status: int, text: str, *, close: bool) -> tuple[h11.Response, Body]:
    response = Response(status, (f"{text}\n".encode(),), headers={"X-Content-Type-Options": "nosniff"})
    return _response_head(response, close=close), response.body
