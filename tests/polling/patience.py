"""Waiting for threads that have no clock a test could set."""

import time
from collections.abc import Callable

_SECONDS = 60


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SECONDS
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
