"""Polls of different APIs, and of different exporters, fall into different seconds; none waits longer for it."""

from hypothesis import given
from hypothesis import strategies as st

from exporter.openai_api.endpoints import ENDPOINTS
from exporter.polling.schedule import Turn
from exporter.polling.spread import due_in_phase, phases

NOW = 1_793_264_400.125
APIS = ("projects", "spend_limits", *ENDPOINTS)

_waits = st.floats(1, 86_400)
_phases = st.floats(0, 1, exclude_max=True)
_moments = st.floats(1e9, 3e9)


def seconds_within(api: str, phase: dict[str, float], wait: float) -> float:
    """Return where in its interval an API is polled in the end."""
    turn = Turn(wait, NOW, phase=phase[api])
    for _ in range(4):
        turn.succeeded(turn.due)
    return turn.due % wait


def test_all_apis_are_polled_in_seconds_of_their_own() -> None:
    phase = phases(APIS, "here")
    seconds = sorted(seconds_within(api, phase, 60) for api in APIS)
    gaps = [later - earlier for earlier, later in zip(seconds, [*seconds[1:], seconds[0] + 60], strict=True)]
    assert all(abs(gap - 60 / len(APIS)) < 0.01 for gap in gaps)


def test_two_exporters_are_not_in_step_and_one_is_with_itself() -> None:
    assert phases(APIS, "here") == phases(APIS, "here")
    here, there = (seconds_within("costs", phases(APIS, place), 900) for place in ("here", "there"))
    assert abs(here - there) > 1


@given(_moments, _waits, _phases)
def test_no_wait_becomes_longer_or_shorter_than_half(now: float, wait: float, phase: float) -> None:
    due = due_in_phase(now, wait, phase)
    assert now + wait / 2 <= due <= now + wait


@given(_moments, _waits, _phases, st.lists(st.floats(0, 0.2), min_size=8, max_size=8))
def test_an_api_comes_into_its_phase_and_keeps_it_though_polls_begin_late(
    now: float, wait: float, phase: float, lates: list[float]
) -> None:
    before = due = now
    for late in lates:
        before, due = due, due_in_phase(due + late * wait, wait, phase)
    assert abs(due - before - wait) <= 1e-4 * wait


def test_the_first_poll_is_due_at_once_and_the_second_within_the_interval() -> None:
    for phase in phases(APIS, "here").values():
        turn = Turn(60, NOW, phase=phase)
        assert turn.is_due(NOW)
        turn.succeeded(NOW)
        assert not turn.is_due(NOW + 29)
        assert turn.is_due(NOW + 60)
