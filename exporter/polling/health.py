"""How the polls of each API go: for the self-metrics, the landing page, and a log that tells news and nothing else."""

import logging
from dataclasses import dataclass
from typing import Final

from exporter.metrics.self_metrics import SelfMetrics

_log = logging.getLogger(__name__)

# While an API stays down its failure is told again this often.
_REMINDER_SECONDS: Final = 3600.0
# Failures of one kind may say something else each time, such as an id of the request: that is no news every minute.
_OTHER_WORDS_SECONDS: Final = 600.0


@dataclass(slots=True)
class ApiHealth:
    """One API's newest poll.

    Attributes:
        success: how it ended; None before the first one and where the organization does not have the endpoint.
        problem: why it failed.
        last_success: Unix seconds.
        data_changed: when the answer last changed, Unix seconds.
        absent: the organization does not have this endpoint.
        failing_since: when the first of the failures began, Unix seconds; None while polls succeed.
        failures: failed polls since then.
        told_at: when the newest failure was logged, Unix seconds.
        told: what was logged then: the kind of failure, and its words.
    """

    success: bool | None = None
    problem: str | None = None
    last_success: float | None = None
    data_changed: float | None = None
    absent: bool = False
    failing_since: float | None = None
    failures: int = 0
    told_at: float = 0.0
    told: tuple[type[Exception], str] | None = None


class Health:
    """The health of all enabled APIs. The poller's lock guards it."""

    def __init__(self, self_metrics: SelfMetrics) -> None:
        self._self_metrics = self_metrics
        self.apis: dict[str, ApiHealth] = {}

    def expect(self, apis: tuple[str, ...]) -> None:
        """Watch exactly these APIs from now on."""
        for api in self.apis.keys() - set(apis):
            self._forget_polls(api)
        self.apis = {api: self.apis.get(api, ApiHealth()) for api in apis}
        for api in apis:
            self._self_metrics.expect(api)
        self._tell_up()

    def succeeded(self, api: str, began: float, seconds: float) -> None:
        """Take note of a success; only the first one and a recovery are news."""
        health = self.apis[api]
        if health.failing_since is not None:
            _log.info(
                "polls succeed again",
                extra={
                    "api": api,
                    "failed_polls": health.failures,
                    # The clock may have been set back meanwhile.
                    "down_seconds": max(0, round(began - health.failing_since)),
                },
            )
        elif health.success is None:
            _log.info("first poll succeeded", extra={"api": api, "seconds": round(seconds, 3)})
        health.success, health.problem, health.absent = True, None, False
        health.failing_since, health.failures, health.told = None, 0, None
        health.last_success = began
        self._self_metrics.poll_success.labels(api).set(1)
        self._self_metrics.poll_last_success.labels(api).set(began)
        self._self_metrics.poll_duration.labels(api).set(seconds)
        self._tell_up()

    def failed(self, api: str, began: float, seconds: float, problem: Exception) -> None:
        """Take note of a failure; told when it is new, and once an hour while it lasts."""
        health = self.apis[api]
        if health.failing_since is None:
            health.failing_since = began
        health.failures += 1
        words = str(problem) or type(problem).__name__
        if _is_news(health, problem, words, began):
            _log.warning("poll failed", extra={"api": api, "failed_polls": health.failures, "problem": words})
            health.told_at, health.told = began, (type(problem), words)
        health.success, health.problem, health.absent = False, words, False
        self._self_metrics.poll_success.labels(api).set(0)
        self._self_metrics.poll_duration.labels(api).set(seconds)
        self._tell_up()

    def is_absent(self, api: str, why: str) -> None:
        """Take note that the organization does not have this endpoint: no failure, and no success either."""
        health = self.apis[api]
        if not health.absent:
            _log.info("endpoint not offered", extra={"api": api, "reason": why})
        self.apis[api] = ApiHealth(absent=True, data_changed=health.data_changed)
        self._forget_polls(api)
        self._tell_up()

    def data_changed(self, api: str, when: float) -> None:
        """Take note of when the API's answer last changed."""
        self.apis[api].data_changed = when
        self._self_metrics.data_timestamp.labels(api).set(when)

    def _forget_polls(self, api: str) -> None:
        metrics = self._self_metrics
        for gauge in (metrics.poll_success, metrics.poll_last_success, metrics.poll_duration):
            gauge.remove(api)

    def _tell_up(self) -> None:
        present = [health for health in self.apis.values() if not health.absent]
        self._self_metrics.up.set(all(health.success for health in present))


def _is_news(health: ApiHealth, problem: Exception, words: str, now: float) -> bool:
    if health.told is None or health.told[0] is not type(problem):
        return True
    # Also when the clock was set back, so that it silences nothing.
    return not 0 <= now - health.told_at < (_REMINDER_SECONDS if health.told[1] == words else _OTHER_WORDS_SECONDS)
