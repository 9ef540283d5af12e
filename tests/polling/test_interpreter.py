import gc

import pytest

from exporter.polling.interpreter import LargePolls


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
