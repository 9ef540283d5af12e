from fractions import Fraction
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.exact import Amount, total
from exporter.ledger.counters import OTHER, Counter, CounterBook, SeriesName

WAIT = 60.0


def series(project: str, model: str = "m", token_type: str = "input") -> SeriesName:  # noqa: S107 - tokens of models
    labels = {"project_id": project, "project": project.upper(), "model": model, "token_type": token_type}
    return SeriesName("tokens_total", tuple(labels.items()))


def post(book: CounterBook, postings: dict[SeriesName, Amount], now: float = 0.0) -> dict[str, int]:
    """Post, and return how many series of each family were folded."""
    changes = book.plan(postings)
    book.accept(changes, now)
    return dict(changes.overflowed)


def values(book: CounterBook) -> dict[SeriesName, Amount]:
    return {name: counter.value for name, counter in book.counters.items()}


A, B, C, D = (series(project) for project in ("a", "b", "c", "d"))
REST = A.folded()


def test_postings_add_up() -> None:
    book = CounterBook({}, limit=10)

    post(book, {A: 5})
    post(book, {A: 7, B: 0})

    assert values(book) == {A: 12, B: 0}


def test_a_plan_changes_nothing_until_it_is_accepted() -> None:
    book = CounterBook({A: Counter(5, shown=True)}, limit=1)

    book.plan({A: 1, B: 2})

    assert values(book) == {A: 5}
    assert book.series_per_family() == {"tokens_total": 1}
    assert book.ripe(now=1e9, wait=0) == ()


# New series stand at 0 first.


def test_a_new_series_stands_at_zero_until_it_is_ripe() -> None:
    book = CounterBook({}, limit=10)
    post(book, {A: 5}, now=1000)

    assert not book.counters[A].shown
    assert book.ripe(1000 + WAIT - 0.1, WAIT) == ()
    assert book.ripe(1000 + WAIT, WAIT) == (A,)


def test_growth_while_a_series_waits_neither_prolongs_the_wait_nor_shows_it() -> None:
    book = CounterBook({}, limit=10)
    post(book, {A: 5}, now=1000)
    post(book, {A: 5}, now=1050)

    assert book.counters[A] == Counter(10, shown=False)
    assert book.ripe(1060, WAIT) == (A,)


def test_a_shown_series_is_never_hidden_or_ripe_again() -> None:
    book = CounterBook({}, limit=10)
    post(book, {A: 5}, now=1000)
    book.show(book.ripe(1060, WAIT))
    post(book, {A: 1}, now=1061)

    assert book.counters[A] == Counter(6, shown=True)
    assert book.ripe(5000, WAIT) == ()


def test_after_a_restart_the_wait_begins_anew_for_series_not_yet_shown() -> None:
    before = CounterBook({}, limit=10)
    post(before, {A: 5, B: 5}, now=1000)
    before.show([B])

    book = CounterBook(before.counters, limit=10)

    # Nobody can have scraped this process before it looked at the clock for the first time.
    assert book.ripe(5000, WAIT) == ()
    assert book.ripe(5000 + WAIT - 1, WAIT) == ()
    assert book.ripe(5000 + WAIT, WAIT) == (A,)
    assert book.counters[B].shown


def test_a_clock_set_back_makes_the_wait_begin_anew() -> None:
    book = CounterBook({}, limit=10)
    post(book, {A: 5}, now=1000)

    assert book.ripe(400, WAIT) == ()
    assert book.ripe(400 + WAIT - 1, WAIT) == ()
    assert book.ripe(400 + WAIT, WAIT) == (A,)


# The limit.


def test_over_the_limit_the_largest_amounts_keep_their_names() -> None:
    book = CounterBook({}, limit=2)

    overflowed = post(book, {A: 1, B: 30, C: 20, D: 4})

    assert values(book) == {B: 30, C: 20, REST: 5}
    assert overflowed == {"tokens_total": 2}


def test_what_is_folded_keeps_the_labels_that_have_few_values() -> None:
    folded = series("a", "m", "output").folded()

    assert dict(folded.labels) == {"project_id": OTHER, "project": OTHER, "model": OTHER, "token_type": "output"}


def test_series_that_were_there_before_keep_their_names_however_many_they_are() -> None:
    book = CounterBook({A: Counter(5, shown=True), B: Counter(6, shown=True)}, limit=1)

    post(book, {A: 1, B: 1, C: 1})

    assert values(book) == {A: 6, B: 7, REST: 1}


def test_other_stands_at_zero_first_like_every_new_series() -> None:
    book = CounterBook({A: Counter(5, shown=True)}, limit=1)
    post(book, {B: 1}, now=1000)

    assert not book.counters[REST].shown
    assert book.ripe(1000 + WAIT, WAIT) == (REST,)


def test_a_raised_limit_lets_new_amounts_have_their_names_and_nothing_fall() -> None:
    book = CounterBook({}, limit=1)
    post(book, {A: 9, B: 5})
    book.limit = 10

    assert post(book, {B: 2}) == {}

    # What was counted under (other) stays there: moving it would be a fall.
    assert values(book) == {A: 9, REST: 5, B: 2}


def test_families_have_a_limit_each() -> None:
    book = CounterBook({}, limit=1)
    other_family = SeriesName("requests_total", A.labels)

    assert post(book, {A: 1, other_family: 1}) == {}


def test_a_gauge_is_folded_where_its_counter_was() -> None:
    book = CounterBook({}, limit=1)
    assert book.exposed_name(A) == A

    post(book, {A: 1, B: 1})

    assert book.exposed_name(A) == A
    assert book.exposed_name(B) == REST


def test_nothing_new_for_a_known_series_is_no_change() -> None:
    book = CounterBook({A: Counter(5, shown=True)}, limit=10)

    assert book.plan({A: 0}).totals == {}


NAMES = st.builds(series, st.sampled_from("abcdef"), st.sampled_from("mn"), st.sampled_from(["input", "output"]))
POSTINGS = st.dictionaries(NAMES, st.one_of(st.integers(0, 99), st.decimals(0, 9, places=36)), max_size=8)


@settings(max_examples=150, deadline=None, database=None)
@given(st.lists(st.tuples(POSTINGS, st.integers(min_value=1, max_value=12)), max_size=6))
def test_sums_do_not_change_with_the_limit_and_no_counter_falls(
    posted: list[tuple[dict[SeriesName, Amount], int]],
) -> None:
    narrow, wide = CounterBook({}, limit=1), CounterBook({}, limit=10**9)
    for postings, limit in posted:
        before, known = values(narrow), len([name for name in narrow.counters if name != name.folded()])
        narrow.limit = limit
        post(narrow, postings)
        post(wide, postings)

        assert all(narrow.counters[name].value >= value for name, value in before.items())
        named = [name for name in narrow.counters if name != name.folded()]
        assert len(named) <= max(known, limit)
        for token_type in ("input", "output"):
            assert _sum(narrow, token_type) == _sum(wide, token_type)
        assert narrow.series_per_family().get("tokens_total", 0) == len(narrow.counters)


@settings(max_examples=100, deadline=None, database=None)
@given(POSTINGS, st.integers(min_value=1, max_value=6), st.randoms(use_true_random=False))
def test_the_order_of_postings_changes_nothing(postings: dict[SeriesName, Amount], limit: int, order: Random) -> None:
    shuffled = list(postings.items())
    order.shuffle(shuffled)
    first, second = CounterBook({}, limit), CounterBook({}, limit)
    post(first, postings)
    post(second, dict(shuffled))

    assert first.counters == second.counters


def _sum(book: CounterBook, token_type: str) -> Fraction:
    chosen = (counter.value for name, counter in book.counters.items() if ("token_type", token_type) in name.labels)
    return Fraction(total(chosen))
