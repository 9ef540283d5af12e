from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from exporter.attribution import Attribution
from exporter.days import SECONDS_PER_DAY, day_of
from exporter.ledger.counters import Counter, SeriesName
from exporter.ledger.ledger import Applied, Ledger
from exporter.ledger.settlement import settle
from exporter.ledger.store import DirectoryEntry, StateError, Store
from exporter.ledger.window import read_window
from exporter.openai_api.answer import Answer, RowKey, RowValues
from exporter.openai_api.endpoints import COSTS, ENDPOINTS
from tests.ledger.simulated_states import NaiveApi, NaiveLedger, counter_sums, held_sums

PROFILE = settings(
    max_examples=120,
    stateful_step_count=35,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

COMPLETIONS = ENDPOINTS["usage/completions"]
VECTOR_STORES = ENDPOINTS["usage/vector_stores"]
POLLED = (COSTS, COMPLETIONS, VECTOR_STORES)
GROUPINGS = {
    "costs": (("project_id", "line_item"), ("project_id", "line_item", "api_key_id"), ("project_id",), ("line_item",)),
    "usage/completions": (
        ("project_id", "model"),
        ("project_id", "api_key_id", "model"),
        ("user_id", "api_key_id", "model"),
        ("project_id",),
        (),
    ),
    "usage/vector_stores": (("project_id",),),
}
# Two hours before the end of a month, so that a midnight and a month's turn are near.
BEGINNING = int(datetime(2026, 10, 31, 22, tzinfo=UTC).timestamp())

PROJECTS = st.sampled_from([None, "proj_a", "proj_b"])
API_KEYS = st.sampled_from([None, "key_a", "key_b", "key_c"])
COUNTS = st.integers(min_value=0, max_value=1000)


def _completions_values(text: int, cached: int, requests: int) -> RowValues:
    given_values = {"input_text_tokens": text, "input_cached_text_tokens": cached, "num_model_requests": requests}
    return tuple(given_values.get(measure, 0) for measure in COMPLETIONS.measures)


ROWS = {
    "costs": st.tuples(
        st.builds(
            lambda project, item, api_key, currency: (project, None, item, api_key, None, currency),
            PROJECTS,
            st.sampled_from([None, "gpt-5, input", "Vector storage"]),
            API_KEYS,
            st.sampled_from(["usd", "usd", "eur"]),
        ),
        st.tuples(
            st.one_of(
                st.decimals(min_value=-2, max_value=9, places=36),
                st.decimals(min_value=-2, max_value=9, places=2),
                st.sampled_from([Decimal("0.1"), Decimal("1E-60"), Decimal("1E+2")]),
            )
        ),
    ),
    "usage/completions": st.tuples(
        st.builds(
            lambda project, api_key, model: (project, "user-1", api_key, model, None, None, None),
            PROJECTS,
            API_KEYS,
            st.sampled_from(["m", "n", None]),
        ),
        st.builds(_completions_values, COUNTS, COUNTS, COUNTS),
    ),
    "usage/vector_stores": st.tuples(st.tuples(PROJECTS), st.tuples(COUNTS)),
}
APIS = st.sampled_from(["costs", "costs", "usage/completions", "usage/completions", "usage/vector_stores"])
DAYS_BACK = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4, 5, 40])
ORDERS = st.integers(min_value=0, max_value=2**32).map(Random)


class LedgerLife(RuleBasedStateMachine):
    """Everything that can happen to an exporter and its API, in any sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.apis = {endpoint.api: NaiveApi(endpoint) for endpoint in POLLED}
        self.truth = {endpoint.api: NaiveLedger(endpoint) for endpoint in POLLED}
        self.gone: dict[tuple[str, int], list[tuple[RowKey, RowValues]]] = {}
        self.grouping = {endpoint.api: GROUPINGS[endpoint.api][0] for endpoint in POLLED}
        self.api_clock = BEGINNING
        self.clock_error = 0
        self.revision_days = 3
        self.series_limit = 10_000
        self.labels: frozenset[str] = frozenset()
        self.folder = TemporaryDirectory()
        self.store = Store.open(Path(self.folder.name))
        self.ledger = Ledger(self.store, self.series_limit)
        self.counters_before: Mapping[SeriesName, Counter] = {}

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    # What happens at OpenAI.

    @initialize(error=st.sampled_from([0, 0, 0, 0, -3_000_000, 3_000_000]))
    def there_is_some_history(self, error: int) -> None:
        self.clock_error = error
        for back in (0, 1, 2, 35):
            day = self.day(back)
            self.apis["costs"].rows[day] = [
                (
                    ("proj_a", None, "gpt-5, input", "key_a", None, "usd"),
                    (Decimal("5.000000000000000000000000000000000001"),),
                )
            ]
            self.apis["usage/completions"].rows[day] = [
                (("proj_a", "user-1", "key_a", "m", None, None, None), _completions_values(100, 50, 5))
            ]

    @rule(data=st.data(), api=APIS, back=DAYS_BACK, times=st.integers(min_value=1, max_value=2))
    def rows_arrive(self, data: st.DataObject, api: str, back: int, times: int) -> None:
        rows = data.draw(st.lists(ROWS[api], min_size=1, max_size=4))
        self.apis[api].rows.setdefault(self.day(back), []).extend(rows * times)

    @rule(data=st.data(), api=APIS, back=DAYS_BACK)
    def a_row_is_revised(self, data: st.DataObject, api: str, back: int) -> None:
        rows = self.apis[api].rows.get(self.day(back))
        if rows:
            at = data.draw(st.integers(min_value=0, max_value=len(rows) - 1))
            _, values = data.draw(ROWS[api])
            rows[at] = (rows[at][0], values)

    @rule(api=APIS, back=DAYS_BACK)
    def a_days_rows_vanish_or_return(self, api: str, back: int) -> None:
        day = self.day(back)
        rows = self.apis[api].rows.pop(day, [])
        returning = self.gone.pop((api, day), None)
        if returning:
            self.apis[api].rows[day] = returning
        self.gone[api, day] = rows

    @rule(api=APIS, back=DAYS_BACK)
    def a_days_rows_move_to_another_key(self, api: str, back: int) -> None:
        rows = self.apis[api].rows.get(self.day(back), [])
        rows[:] = [(("proj_c", *key[1:]), values) for key, values in rows]

    # What happens around the exporter.

    @rule(seconds=st.sampled_from([60, 3600, 7200, SECONDS_PER_DAY, SECONDS_PER_DAY, 5 * SECONDS_PER_DAY, 2_700_000]))
    def time_passes(self, seconds: int) -> None:
        self.api_clock += seconds

    @rule(
        error=st.sampled_from([0, 0, 0, -7200, 7200, -2 * SECONDS_PER_DAY, 2 * SECONDS_PER_DAY, -3_000_000, 3_000_000])
    )
    def our_clock_steps(self, error: int) -> None:
        self.clock_error = error

    @rule(days=st.integers(min_value=1, max_value=5))
    def the_revision_window_changes(self, days: int) -> None:
        self.revision_days = days

    @rule(data=st.data(), api=APIS)
    def the_grouping_changes(self, data: st.DataObject, api: str) -> None:
        self.grouping[api] = data.draw(st.sampled_from(GROUPINGS[api]))

    @rule(labels=st.sampled_from([(), ("api_key",), ("api_key", "user")]))
    def the_labels_change(self, labels: tuple[str, ...]) -> None:
        self.labels = frozenset(labels)

    @rule(limit=st.sampled_from([1, 2, 3, 5, 10_000]))
    def the_series_limit_changes(self, limit: int) -> None:
        self.series_limit = self.ledger.book.limit = limit

    @rule(project=st.sampled_from(["proj_a", "proj_b"]), name=st.sampled_from(["Default project", "core", "search"]))
    def a_project_is_renamed(self, project: str, name: str) -> None:
        self.ledger.learn_names("projects", {project: DirectoryEntry(name, "active")})

    @rule()
    def the_exporter_restarts(self) -> None:
        self.store.close()
        self.store = Store.open(Path(self.folder.name))
        again = Ledger(self.store, self.series_limit)
        assert again.accounts == self.ledger.accounts
        assert again.book.counters == self.ledger.book.counters
        assert again.directory == self.ledger.directory
        self.ledger = again

    @rule(wait=st.sampled_from([0, 60, 120]))
    def new_series_are_shown(self, wait: int) -> None:
        self.ledger.show_ripe_series(now=self.now, wait=wait)

    # Polls.

    @rule(data=st.data(), api=APIS, back=DAYS_BACK, order=ORDERS, dated=st.booleans())
    def rows_arrive_and_are_polled(
        self, data: st.DataObject, api: str, back: int, order: Random, *, dated: bool
    ) -> None:
        self.apis[api].rows.setdefault(self.day(back), []).append(data.draw(ROWS[api]))
        self.poll(api, order, dated=dated)

    @rule(api=APIS, order=ORDERS)
    def all_is_halved_and_polled(self, api: str, order: Random) -> None:
        for day, rows in self.apis[api].rows.items():
            if day >= self.day(1):
                rows[:] = [(key, tuple(value // 2 for value in values)) for key, values in rows]
        self.poll(api, order)

    @rule(api=APIS, order=ORDERS, dated=st.booleans())
    def poll(self, api: str, order: Random, *, dated: bool = True) -> None:
        answer = self.answer(api, order, dated=dated)
        self.same_rows_in_another_order_settle_alike(answer, order)
        self.apply(answer)
        self.truth[api].apply(answer, self.apis[api], now=self.now, revision_days=self.revision_days)
        self.the_buckets_are_the_answers(answer)
        self.the_same_answer_again_changes_nothing(answer)

    @rule(api=APIS, order=ORDERS, table=st.sampled_from(["account", "row", "counter"]))
    def a_commit_fails_in_the_middle(self, api: str, order: Random, table: str) -> None:
        accounts, counters = dict(self.ledger.accounts), dict(self.ledger.book.counters)
        connection = self.store._connection
        connection.execute(
            f"CREATE TEMP TRIGGER fault BEFORE INSERT ON main.{table} BEGIN SELECT RAISE(ABORT, 'no space'); END"
        )
        try:
            answer = self.answer(api, order)
            try:
                self.apply(answer)
            except StateError:
                assert self.ledger.accounts == accounts
                assert self.ledger.book.counters == counters
            else:
                # Nothing had to be written to that table.
                self.truth[api].apply(answer, self.apis[api], now=self.now, revision_days=self.revision_days)
        finally:
            connection.execute("DROP TRIGGER fault")

    # What must hold.

    @invariant()
    def counters_less_what_is_held_back_are_the_truth(self) -> None:
        counted = counter_sums(self.ledger.book.counters)
        for api, truth in self.truth.items():
            account = self.ledger.accounts[api]
            held = held_sums(ENDPOINTS[api], account)
            assert all(value >= 0 for values in account.held.values() for value in values)
            expected = truth.counted()
            for measure in {*counted[api], *held, *expected}:
                assert counted[api][measure] - held[measure] == expected[measure], (api, measure)

    @invariant()
    def no_counter_falls_or_hides_again(self) -> None:
        counters = self.ledger.book.counters
        for name, before in self.counters_before.items():
            assert counters[name].value >= before.value, name
            assert counters[name].shown >= before.shown, name
        self.counters_before = dict(counters)

    def same_rows_in_another_order_settle_alike(self, answer: Answer, order: Random) -> None:
        endpoint, account = ENDPOINTS[answer.api], self.ledger.accounts[answer.api]
        buckets = {}
        for day in order.sample(sorted(answer.buckets), len(answer.buckets)):
            rows = list(answer.buckets[day].items())
            order.shuffle(rows)
            buckets[day] = dict(rows)
        first, second = (
            settle(endpoint, account, each, now=self.now, revision_days=self.revision_days)
            for each in (answer, replace(answer, buckets=buckets))
        )
        assert first == second

    def the_buckets_are_the_answers(self, answer: Answer) -> None:
        account = self.ledger.accounts[answer.api]
        assert account.covered_from is not None
        for day in range(max(answer.start, account.covered_from), answer.end, SECONDS_PER_DAY):
            bucket = account.buckets.get(day)
            assert (bucket.rows if bucket else {}) == answer.buckets.get(day, {})

    def the_same_answer_again_changes_nothing(self, answer: Answer) -> None:
        accounts, counters = dict(self.ledger.accounts), dict(self.ledger.book.counters)
        writes = self.store._connection.total_changes
        again = self.apply(answer)
        assert not again.committed
        assert not again.settlement.postings
        assert (again.settlement.revisions_up, again.settlement.revisions_down) == (0, 0)
        assert self.store._connection.total_changes == writes
        assert self.ledger.accounts == accounts
        assert self.ledger.book.counters == counters

    # Short words.

    @property
    def now(self) -> int:
        return self.api_clock + self.clock_error

    def day(self, back: int) -> int:
        return day_of(self.api_clock) - back * SECONDS_PER_DAY

    def answer(self, api: str, order: Random, *, dated: bool = True) -> Answer:
        start, end = read_window(ENDPOINTS[api], self.ledger.accounts[api], self.now, self.revision_days)
        return self.apis[api].answer(
            start,
            end,
            self.grouping[api],
            today=self.day(0),
            answered_at=self.api_clock if dated else self.now,
            order=order,
        )

    def apply(self, answer: Answer) -> Applied:
        names = Attribution(self.ledger.directory["projects"], self.labels)
        return self.ledger.apply(answer, names.counter_series, now=self.now, revision_days=self.revision_days)


def test_counters_less_what_is_held_back_equal_the_truth_whatever_happens() -> None:
    run_state_machine_as_test(LedgerLife, settings=PROFILE)
