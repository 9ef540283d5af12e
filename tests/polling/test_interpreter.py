import gc
import weakref
from collections.abc import Mapping

import pytest

from exporter.polling.interpreter import LargePolls, forget_bit_by_bit


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
