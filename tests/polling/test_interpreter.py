import gc
import os
import sys
import threading
import weakref
from collections.abc import Mapping

import pytest

from exporter.polling.interpreter import LargePolls, forget_bit_by_bit, let_scrapes_interrupt


def test_nothing_is_collected_until_the_last_of_several_large_polls_has_ended() -> None:
    polls = LargePolls()
    try:
        with polls.uncollected():
            with polls.uncollected():
                assert not gc.isenabled()
            assert not gc.isenabled()
        assert gc.isenabled()
    finally:
        gc.unfreeze()


def test_a_large_poll_that_fails_leaves_the_collector_on() -> None:
    polls = LargePolls()
    try:
        with pytest.raises(ValueError, match="this poll"), polls.uncollected():
            raise ValueError("this poll")
        assert gc.isenabled()
    finally:
        gc.unfreeze()


def test_mappings_are_forgotten_and_what_others_still_hold_of_them_stays() -> None:
    class Value:
        """Something whose end can be noticed."""

    held: dict[int, object] = {number: Value() for number in range(1_200)}
    ended = [weakref.ref(value) for value in held.values()]
    mappings: list[Mapping[int, object]] = [held, {number: Value() for number in range(1_200)}]
    ended_too = [weakref.ref(value) for value in mappings[1].values()]
    forget_bit_by_bit(mappings)
    assert mappings == []
    assert not any(reference() for reference in ended_too)
    assert len(held) == len([reference for reference in ended if reference() is not None]) == 1_200


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness of their own on Linux only")
def test_polls_let_others_have_the_processor_first_and_nobody_else_does() -> None:
    interval = sys.getswitchinterval()
    found: list[int] = []

    def own() -> None:
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    def poll() -> None:
        let_scrapes_interrupt()
        own()
        started_by_it = threading.Thread(target=own)
        started_by_it.start()
        started_by_it.join()

    try:
        own()
        polling = threading.Thread(target=poll)
        polling.start()
        polling.join()
        own()
    finally:
        sys.setswitchinterval(interval)
    before, polls, started_by_polls, after = found
    assert before == after
    assert polls == started_by_polls == max(before, 5)
