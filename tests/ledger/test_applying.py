from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from exporter.attribution import Attribution
from exporter.ledger.ledger import Applied, Ledger
from exporter.ledger.store import DirectoryEntry, Store
from exporter.openai_api.answer import Answer
from tests.ledger.examples import BY_KEY, EMBEDDINGS, answer, cost, day, embedding, money, tokens

M = embedding("m")
SAME_ROWS = {0: {M: tokens(5)}}
MUCH_LATER = day(10)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as store:
        yield store


def apply(ledger: Ledger, news: Answer) -> Applied:
    names = Attribution(ledger.directory["projects"])
    return ledger.apply(news, names.counter_series, now=news.answered_at, revision_days=3)


def by_project(ledger: Ledger, family: str = "openai_usage_tokens_total") -> dict[str, object]:
    """Return the counters of a family by project name."""
    return {
        dict(name.labels)["project"]: counter.value
        for name, counter in ledger.book.counters.items()
        if name.family == family
    }


def test_a_renamed_project_posts_under_its_new_name_and_the_old_series_stays(store: Store) -> None:
    ledger = Ledger(store, 10)
    ledger.learn_names("projects", {"proj_a": DirectoryEntry("before")})
    apply(ledger, answer({}, window=(-3, 0)))
    apply(ledger, answer({0: {M: tokens(5)}}, window=(-3, 0)))
    ledger.learn_names("projects", {"proj_a": DirectoryEntry("after")})
    assert by_project(ledger) == {"before": 5}

    apply(ledger, answer({0: {M: tokens(7)}}, window=(-3, 0)))

    assert by_project(ledger) == {"before": 5, "after": 2}


def test_a_fall_under_a_new_name_lets_no_series_fall(store: Store) -> None:
    ledger = Ledger(store, 10)
    apply(ledger, answer({}, window=(-3, 0)))
    apply(ledger, answer({0: {M: tokens(5)}}, window=(-3, 0)))
    ledger.learn_names("projects", {"proj_a": DirectoryEntry("after")})
    apply(ledger, answer({0: {M: tokens(2)}}, window=(-3, 0)))
    apply(ledger, answer({0: {M: tokens(9)}}, window=(-3, 0)))

    # 5 posted before, 3 of them held back, 7 have come since: 4 are left to post.
    assert by_project(ledger) == {"proj_a": 5, "after": 4}


def test_what_the_zero_line_holds_has_its_series_at_zero_credits_too(store: Store) -> None:
    ledger = Ledger(store, 10)
    rows = {cost("gpt-5, input"): money("3"), cost("Promotional credit", None): money("-5")}

    apply(ledger, answer({0: rows}, api="costs", window=(-3, 0)))

    assert by_project(ledger, "openai_cost_usd_total") == {"proj_a": 0, "(none)": 0}
    assert not any(counter.shown for counter in ledger.book.counters.values())


def test_a_row_of_nothing_but_zeros_in_a_measure_makes_no_series_of_it(store: Store) -> None:
    ledger = Ledger(store, 10)

    apply(ledger, answer({0: {M: (5, 0)}}, window=(-3, 0)))

    assert {name.family for name in ledger.book.counters} == {"openai_usage_tokens_total"}


@pytest.mark.parametrize(
    "news",
    [
        pytest.param(answer(SAME_ROWS, window=(-3, 1)), id="a day has passed"),
        pytest.param(answer(SAME_ROWS, window=(-5, 0)), id="the window is wider"),
        pytest.param(answer({}, window=(-3, 0), grouping=BY_KEY), id="the grain is another"),
    ],
)
def test_what_an_answer_without_new_values_tells_is_remembered_too(tmp_path: Path, news: Answer) -> None:
    first = answer({} if news.grouping == BY_KEY else SAME_ROWS, window=(-3, 0))
    with Store.open(tmp_path) as store:
        ledger = Ledger(store, 10)
        apply(ledger, first)
        before = ledger.accounts[EMBEDDINGS.api]

        applied = ledger.apply(news, lambda *_: (None, None), now=news.answered_at, revision_days=5)

        assert applied.committed
        assert ledger.accounts[EMBEDDINGS.api] != before
    with Store.open(tmp_path) as store:
        assert Ledger(store, 10).accounts == ledger.accounts


def test_a_clock_that_stands_still_or_runs_back_commits_nothing_without_news(store: Store) -> None:
    ledger = Ledger(store, 10)
    apply(ledger, answer(SAME_ROWS, window=(-3, 0)))
    again: Sequence[Answer] = [
        answer(SAME_ROWS, window=(-3, 0)),
        answer({-9: {M: tokens(7)}}, window=(-10, -7)),
        answer({-9: {M: tokens(7)}}, window=(-10, -7)),
    ]

    assert [apply(ledger, news).committed for news in again] == [False, False, False]
    assert ledger.committed_at == answer(SAME_ROWS, window=(-3, 0)).answered_at


def test_series_that_were_shown_at_zero_long_enough_are_told_once(store: Store) -> None:
    ledger = Ledger(store, 10)
    apply(ledger, answer({}, window=(-3, 0)))
    apply(ledger, answer(SAME_ROWS, window=(-3, 0)))

    assert ledger.show_ripe_series(now=MUCH_LATER, wait=60)
    assert not ledger.show_ripe_series(now=MUCH_LATER, wait=60)
    assert ledger.committed_at == MUCH_LATER
