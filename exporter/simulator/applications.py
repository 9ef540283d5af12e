"""The organization's applications as AITracer knows them: each traced model call is sent to it, when it happens."""

import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import httpx

from exporter.simulator.aitracer import WORKSPACE_KEY
from exporter.simulator.model_calls import PassingCalls, is_traced, model_calls
from exporter.simulator.trace_bodies import Post, posts

_log = logging.getLogger(__name__)

_PATIENCE: Final = (0.4, 0.8, 1.6, 3.2)
"""Seconds before each retry, as AITracer's own clients wait."""

_AGAIN: Final = frozenset({429, 500, 502, 503, 504})
_TIMEOUT_SECONDS: Final = 30.0
_LOOK_EVERY: Final = 0.5


@dataclass(slots=True)
class Sent:
    """What came of what was to be sent.

    Attributes:
        model_calls: told in bodies that were accepted.
        retries: bodies sent once more, each time.
        given_up: model calls that were told in vain.
    """

    model_calls: int = 0
    retries: int = 0
    given_up: int = 0


class Applications:
    """Sends traces. Not safe to use from several threads."""

    def __init__(
        self,
        base_url: str,
        calls: PassingCalls,
        *,
        stopping: threading.Event | None = None,
        patience: Sequence[float] = _PATIENCE,
    ) -> None:
        """Make them ready; nothing is sent yet.

        Args:
            base_url: of AITracer, or of what stands in front of it.
            calls: what happens.
            stopping: ends waits and sending once it is set.
            patience: seconds before each retry.
        """
        self._calls = calls
        self._stopping = stopping or threading.Event()
        self._patience = patience
        self._failing = False
        self.sent = Sent()
        self._client = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {WORKSPACE_KEY}"},
            timeout=_TIMEOUT_SECONDS,
            # What is simulated is never behind a proxy.
            trust_env=False,
        )

    def send_until(self, now: float) -> None:
        """Send the traces of what has happened by now and was not sent yet, in order, each until it is accepted.

        What is not accepted after some retries is given up, as applications do, and counted.
        """
        for identity, call in self._calls.until(now):
            for post in posts(model_calls(identity, call)) if is_traced(call) else ():
                if self._stopping.is_set():
                    return
                self._send(post)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _send(self, post: Post) -> None:
        content = json.dumps(post.body).encode()
        reason = ""
        for pause in (*self._patience, None):
            try:
                answer = self._client.post(post.path, content=content, headers={"Content-Type": "application/json"})
            except httpx.TransportError as error:
                reason = str(error) or type(error).__name__
            else:
                if answer.is_success:
                    self._accepted(post)
                    return
                reason = f"status {answer.status_code}"
                if answer.status_code not in _AGAIN:
                    break
            if pause is None or self._stopping.wait(pause):
                break
            self.sent.retries += 1
        self._given_up(post, reason)

    def _accepted(self, post: Post) -> None:
        self.sent.model_calls += post.told
        if self._failing:
            self._failing = False
            _log.info("traces are accepted again")

    def _given_up(self, post: Post, reason: str) -> None:
        self.sent.given_up += post.told
        if not self._failing:
            # Once for all of a failure: there are several traces a second.
            self._failing = True
            _log.warning("traces are not accepted, and are lost", extra={"reason": reason})


@contextmanager
def sending(base_url: str, calls: PassingCalls, clock: Callable[[], float]) -> Iterator[None]:
    """Send traces as they happen, from a thread of its own, until the block ends."""
    stopping = threading.Event()
    applications = Applications(base_url, calls, stopping=stopping)

    def send() -> None:
        while not stopping.wait(_LOOK_EVERY):
            applications.send_until(clock())

    thread = threading.Thread(target=send, name="applications")
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
        applications.close()
