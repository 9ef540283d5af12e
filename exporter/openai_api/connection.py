"""One HTTP connection pool to the API: a GET is answered whole, retried within bounds, or fails with a clear error."""

import logging
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final, Protocol, Self

import httpx
import tenacity

from exporter.openai_api.admin_key import AdminKey
from exporter.openai_api.errors import (
    AnswerTooLarge,
    BadAnswer,
    KeyRefused,
    OpenAIError,
    RequestRefused,
    Unreachable,
    quoted,
)
from exporter.openai_api.headers import http_date, retry_after
from exporter.openai_api.refusal import Refusal, parse_refusal

_log = logging.getLogger(__name__)

Query = tuple[tuple[str, str], ...]

_PIECE_BYTES: Final = 262_144
_ERROR_BODY_BYTES: Final = 65_536
_LAST_PORT: Final = 65_535
_KEY_REFUSED: Final = frozenset({401, 403})
_PASSING: Final = frozenset({408, 429})
# 0.5 to 1, 1 to 1.5, 2 to 2.5, 4 to 4.5 seconds.
_BACKOFF: Final = tenacity.wait_exponential_jitter(multiplier=0.5, jitter=0.5)
# Keeps several exporters from asking in step when all were told the same wait.
_JITTER: Final = tenacity.wait_random(0, 0.5)
# A simulated organization on this machine is never behind a proxy.
_NEVER_PROXIED: Final = ("all://localhost", "all://127.0.0.1", "all://[::1]")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long and how much, in seconds and bytes.

    Attributes:
        connect: for a connection, TLS included.
        read: for the next bytes of an answer.
        write: for sending.
        pool: for a free connection of the pool.
        request: for one attempt as a whole.
        total: for all attempts and waits of one call.
        attempts: requests per call at most.
        retry_after: the longest wait the API may ask for before the call is given up.
        body: size of an answer, decompressed.
    """

    connect: float = 10.0
    read: float = 60.0
    write: float = 10.0
    pool: float = 10.0
    request: float = 120.0
    total: float = 240.0
    attempts: int = 5
    retry_after: float = 60.0
    body: int = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer with status 200.

    Attributes:
        body: decompressed, in pieces.
        answered_at: Unix seconds by the API's clock, or by ours if it sent none.
    """

    body: Sequence[bytes]
    answered_at: int


class RequestObserver(Protocol):
    """Is told of every HTTP attempt; `code` is the status as text, or "error" where no whole answer came."""

    def answered(self, api: str, code: str, seconds: float) -> None:
        """Take note of one attempt and how long it took."""

    def retried(self, api: str, code: str) -> None:
        """Take note that a further attempt starts because one ended with `code`."""


@dataclass(frozen=True, slots=True)
class _Fault:
    """An attempt that a later one may better."""

    code: str
    what_came: str
    retry_after: float | None = None


_Outcome = Reply | _Fault | OpenAIError


class _Bearer(httpx.Auth):
    """Sets the header at the last moment, so that no frame or object of ours holds the bare key."""

    def __init__(self, key: AdminKey) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._key.reveal()}"
        yield request


class Connection:
    """GET requests to one base URL with the newest admin key. Safe to use from several threads."""

    def __init__(  # noqa: PLR0913 - a connection is where the outside comes in: each is one of its faces
        self,
        base_url: str,
        key: Callable[[], AdminKey],
        observer: RequestObserver,
        *,
        bounds: Bounds | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Open no socket yet.

        Args:
            base_url: such as https://api.openai.com/v1.
            key: asked at every request, so that a changed key is used at once.
            observer: is told of every attempt.
            bounds: other than the usual ones.
            sleep: waits between attempts; may raise to abort at shutdown, which ends the call with what it raised.
            clock: Unix seconds.
            monotonic: for deadlines.
            transport: in place of the network.

        Raises:
            ValueError: the base URL is none.
        """
        self._base_url = checked_base_url(base_url)
        self._key = key
        self._observer = observer
        self._bounds = bounds or Bounds()
        self._sleep = sleep
        self._clock = clock
        self._monotonic = monotonic
        self._client = httpx.Client(
            timeout=httpx.Timeout(
                connect=self._bounds.connect,
                read=self._bounds.read,
                write=self._bounds.write,
                pool=self._bounds.pool,
            ),
            limits=httpx.Limits(max_connections=8, max_keepalive_connections=4, keepalive_expiry=30),
            follow_redirects=False,
            headers={
                "User-Agent": f"openai-usage-exporter/{version('openai-usage-exporter')}",
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
            },
            transport=transport,
            mounts=dict.fromkeys(_NEVER_PROXIED) if transport is None else None,
        )

    def close(self) -> None:
        """Close all sockets."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, path: str, params: Query, api: str) -> Reply:
        """Ask until there is an answer, a refusal, or no more point in asking.

        Args:
            path: below the base URL, with a leading slash, percent-encoded.
            params: the query, in order.
            api: what the label `api` says.

        Raises:
            KeyRefused: 401 or 403, or no key that could be sent.
            RequestRefused: any other 4xx except 408 and 429.
            Unreachable: no answer within the bounds.
            BadAnswer: too large, or a status that means nothing here.
        """
        give_up_at = self._monotonic() + self._bounds.total
        faults: list[_Fault] = []

        def attempt() -> _Outcome:
            if faults:
                self._observer.retried(api, faults[-1].code)
            outcome = self._attempt(path, params, api, give_up_at)
            if isinstance(outcome, _Fault):
                faults.append(outcome)
            return outcome

        def is_enough(state: tenacity.RetryCallState) -> bool:
            return (
                state.attempt_number >= self._bounds.attempts or self._monotonic() + state.upcoming_sleep >= give_up_at
            )

        retrying = tenacity.Retrying(
            sleep=self._sleep,
            retry=tenacity.retry_if_result(self._is_worth_another_try),
            wait=self._wait,
            stop=is_enough,
            before_sleep=lambda state: _log_retry(api, state),
            retry_error_callback=_last_outcome,
        )
        outcome = retrying(attempt)
        if isinstance(outcome, Reply):
            return outcome
        if isinstance(outcome, OpenAIError):
            raise outcome
        raise self._gave_up(api, outcome, len(faults))

    def _is_worth_another_try(self, outcome: _Outcome) -> bool:
        return isinstance(outcome, _Fault) and (outcome.retry_after or 0) <= self._bounds.retry_after

    def _wait(self, state: tenacity.RetryCallState) -> float:
        fault = _last_outcome(state)
        wait = _BACKOFF(state)
        if isinstance(fault, _Fault) and fault.retry_after is not None:
            wait = fault.retry_after + _JITTER(state)
        return min(wait, self._bounds.retry_after)

    def _gave_up(self, api: str, fault: _Fault, tries: int) -> Unreachable:
        if self._is_worth_another_try(fault):
            return Unreachable(api, f"no answer in {tries} tries, the last time: {fault.what_came}")
        return Unreachable(
            api,
            f"{fault.what_came}, and the API asks to wait {fault.retry_after:.0f} s",
            "polling goes on at its own pace; if this stays, poll less often",
            retry_after=fault.retry_after,
        )

    def _attempt(self, path: str, params: Query, api: str, give_up_at: float) -> _Outcome:
        # No exception leaves with a cause: the frames inside the HTTP library hold the bare header.
        key = self._key()
        began = self._monotonic()
        deadline = min(began + self._bounds.request, give_up_at)
        try:
            with self._client.stream("GET", self._base_url + path, params=params, auth=_Bearer(key)) as response:
                outcome = self._read(response, api, key, deadline)
                code = "error" if isinstance(outcome, _Fault) and outcome.code == "error" else str(response.status_code)
        except httpx.RequestError as fault:
            outcome = _Fault("error", f"{_words_for(fault)}{quoted(key.remove_from(str(fault)))}")
            code = "error"
        self._observer.answered(api, code, self._monotonic() - began)
        return outcome

    def _read(self, response: httpx.Response, api: str, key: AdminKey, deadline: float) -> _Outcome:
        status = response.status_code
        now = self._clock()
        answered_at = http_date(response.headers.get("Date"))
        if answered_at is None:
            answered_at = now
        if status == httpx.codes.OK:
            return self._read_body(response, api, int(answered_at), deadline)
        if response.has_redirect_location or 300 <= status < 400:  # noqa: PLR2004 - the range is the definition
            return Unreachable(api, f"a redirect came (HTTP {status})", "set the base URL to the final address")
        refusal = self._read_refusal(response, key, deadline)
        if status in _KEY_REFUSED:
            return KeyRefused(api, status, refusal.message)
        if status in _PASSING or status >= 500:  # noqa: PLR2004 - the range is the definition
            return _Fault(
                str(status),
                f"HTTP {status}{quoted(refusal.message)}",
                retry_after(response.headers.get("Retry-After"), answered_at),
            )
        if 400 <= status < 500:  # noqa: PLR2004 - the range is the definition
            return RequestRefused(api, status, refusal.message, refusal.param, refusal.code)
        return BadAnswer(api, f"an unexpected status came (HTTP {status})")

    def _read_body(self, response: httpx.Response, api: str, answered_at: int, deadline: float) -> _Outcome:
        # Never put together: no scrape gets its turn while a large answer is copied.
        body: list[bytes] = []
        piece = bytearray()
        size = 0
        for chunk in response.iter_bytes():
            piece += chunk
            size += len(chunk)
            if len(piece) >= _PIECE_BYTES:
                body.append(bytes(piece))
                piece.clear()
            if size > self._bounds.body:
                return AnswerTooLarge(api, f"the answer is larger than {self._bounds.body} bytes")
            if self._monotonic() > deadline:
                return _Fault("error", "the answer was not complete in time")
        return Reply((*body, bytes(piece)), answered_at)

    def _read_refusal(self, response: httpx.Response, key: AdminKey, deadline: float) -> Refusal:
        body = bytearray()
        try:
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > _ERROR_BODY_BYTES or self._monotonic() > deadline:
                    break
        except httpx.RequestError:
            # The status has said what matters; the words are an extra.
            _log.debug("the body of a refusal was cut")
        refusal = parse_refusal(bytes(body[:_ERROR_BODY_BYTES]))
        return Refusal(*map(key.remove_from, (refusal.message, refusal.param, refusal.code)))


def checked_base_url(text: str) -> str:
    """Check a base URL and drop its trailing slash.

    Raises:
        ValueError: with the reason. A password in it is not repeated.
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = None
    if url is None or url.scheme not in {"http", "https"} or not url.host or (url.port or 0) > _LAST_PORT:
        raise ValueError("the base URL must look like https://api.openai.com/v1")
    if url.userinfo or url.query or url.fragment:
        raise ValueError("the base URL must not hold a user, a password, a query or a fragment")
    return text.rstrip("/")


def _words_for(fault: httpx.RequestError) -> str:
    if isinstance(fault, httpx.ConnectTimeout):
        return "no connection in time"
    if isinstance(fault, httpx.TimeoutException):
        return "no answer in time"
    if isinstance(fault, httpx.ConnectError):
        return "no connection"
    if isinstance(fault, httpx.DecodingError):
        return "the compressed answer is damaged"
    return "the connection broke"


def _last_outcome(state: tenacity.RetryCallState) -> _Outcome:
    if state.outcome is None:
        raise RuntimeError("tenacity asked about an attempt before it ended")
    outcome: _Outcome = state.outcome.result()
    return outcome


def _log_retry(api: str, state: tenacity.RetryCallState) -> None:
    outcome = _last_outcome(state)
    if isinstance(outcome, _Fault):
        _log.debug(
            "request is retried",
            extra={
                "api": api,
                "code": outcome.code,
                "attempt": state.attempt_number,
                "wait_seconds": round(state.upcoming_sleep, 3),
                "reason": outcome.what_came,
            },
        )
