"""What was counted already is known for a while, and takes no more memory than it may."""

from exporter.trace_gateway.seen import Seen


def test_only_the_first_of_the_same_is_new() -> None:
    seen = Seen()
    assert seen.is_new("native", "r1")
    assert not seen.is_new("native", "r1")
    assert seen.is_new("otlp", "r1")


def test_to_ask_whether_it_is_known_does_not_make_it_so() -> None:
    seen = Seen()
    assert not seen.knows("a", "b")
    assert seen.is_new("a", "b")
    assert seen.knows("a", "b")
    assert not seen.knows("ab")


def test_parts_are_kept_apart() -> None:
    seen = Seen()
    assert seen.is_new("ab", "c")
    assert seen.is_new("a", "bc")


def test_the_oldest_go_first() -> None:
    seen = Seen(remembered=3)
    assert all(seen.is_new(name) for name in "abc")
    assert not seen.is_new("a")
    assert seen.is_new("d")
    assert len(seen) == 3
    assert [name for name in "bcd" if seen.is_new(name)] == []
    assert seen.is_new("a")


def test_it_never_grows_over_its_bound() -> None:
    seen = Seen(remembered=100)
    assert all(seen.is_new(str(number)) for number in range(1_000))
    assert len(seen) == 100


def test_any_text_of_json_will_do() -> None:
    seen = Seen()
    assert seen.is_new("\ud800")
    assert not seen.is_new("\ud800")
