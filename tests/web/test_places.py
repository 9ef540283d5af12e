import pytest

from exporter.web.limits import Limits
from exporter.web.places import Places


class Guest:
    def __init__(self) -> None:
        self.was_cut = False

    def cut(self) -> None:
        self.was_cut = True


@pytest.fixture
def guests() -> list[Guest]:
    return [Guest() for _ in range(6)]


@pytest.fixture
def places(guests: list[Guest]) -> Places:
    """Full, with all four guests waiting; two may be answered."""
    places = Places(Limits(max_connections=4, requests_in_flight=2))
    for guest in guests[:4]:
        places.enter(guest)
    return places


def cut(guests: list[Guest]) -> list[int]:
    return [number for number, guest in enumerate(guests) if guest.was_cut]


def test_the_first_to_wait_gives_way_first(places: Places, guests: list[Guest]) -> None:
    places.enter(guests[4])
    assert cut(guests) == [0]
    places.enter(guests[5])
    assert cut(guests) == [0, 1]


def test_who_leaves_makes_room(places: Places, guests: list[Guest]) -> None:
    places.leave(guests[2])
    places.enter(guests[4])
    assert cut(guests) == []


def test_who_is_being_answered_does_not_give_way_and_waits_anew_afterwards(places: Places, guests: list[Guest]) -> None:
    assert places.begin_answer(guests[0])
    places.enter(guests[4])
    assert cut(guests) == [1]
    places.wait(guests[0])
    for guest in (Guest(), Guest(), Guest()):
        places.enter(guest)
    assert cut(guests) == [1, 2, 3, 4]


def test_too_many_answers_are_refused_unless_somebody_stalls(places: Places, guests: list[Guest]) -> None:
    assert [places.begin_answer(guest) for guest in guests[:3]] == [True, True, False]
    places.stall(guests[1])
    places.stall(guests[0])
    assert places.begin_answer(guests[2])
    assert cut(guests) == [1]


def test_who_takes_what_was_sent_no_longer_stalls(places: Places, guests: list[Guest]) -> None:
    for guest in guests[:2]:
        places.begin_answer(guest)
        places.stall(guest)
    places.flow(guests[0])
    places.begin_answer(guests[2])
    assert cut(guests) == [1]


def test_the_late_end_of_who_was_cut_gives_no_place_back_twice(places: Places, guests: list[Guest]) -> None:
    places.enter(guests[4])
    places.wait(guests[0])
    places.flow(guests[0])
    places.leave(guests[0])
    places.enter(guests[5])
    assert cut(guests) == [0, 1]


def test_cutting_all_who_wait_spares_who_is_being_answered(places: Places, guests: list[Guest]) -> None:
    places.begin_answer(guests[1])
    places.cut_all_waiting()
    assert cut(guests) == [0, 2, 3]
