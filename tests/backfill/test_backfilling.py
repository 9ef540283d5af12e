"""Backfills that are cut off, refused, or meet an API that is slow, poor or old."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from exporter.backfill import asking, backfilling, workshop
from exporter.backfill.samples import Samples
from exporter.backfill.workshop import BackfillError
from exporter.configuration.loading import parse_configuration
from exporter.days import day_of
from exporter.ledger.ledger import Ledger
from exporter.ledger.store import STATE_FILE, StateError, Store
from exporter.openai_api.connection import Connection, Query, Reply
from exporter.openai_api.endpoints import ENDPOINTS
from exporter.simulator import query
from tests.backfill.made import DAY, NOW, TODAY, Organization, organization

DAYS = 2


class CutOffError(Exception):
    """What ends a backfill in the middle, as a signal would."""


@pytest.fixture(scope="module")
def _organized() -> Iterator[Organization]:
    with organization() as organized:
        yield organized


@pytest.fixture
def organized(_organized: Organization) -> Iterator[Organization]:
    _organized.told.clear()
    _organized.slept.clear()
    yield _organized
    _organized.set_faults()
    _organized.clock.set(NOW)


@pytest.fixture(scope="module")
def uncut(_organized: Organization, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uncut")
    _organized.backfill(folder, DAYS)
    return folder


def state_of(folder: Path) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(folder / "state" / STATE_FILE)
    try:
        tables = ("account", "bucket", "row", "held", "counter", "origin", "directory", "billed")
        return [(table, *row) for table in tables for row in connection.execute(f"SELECT * FROM {table}")]  # noqa: S608 - fixed names
    finally:
        connection.close()


def test_the_file_is_openmetrics_to_a_parser_that_is_not_ours(uncut: Path) -> None:
    text = (uncut / "history.om").read_text(encoding="utf-8")
    families = {family.name: family for family in text_string_to_metric_families(text)}  # type: ignore[no-untyped-call]
    assert families["openai_cost_usd"].type == "counter"
    sample = families["openai_cost_usd"].samples[0]
    assert sample.labels["job"] == "openai"
    assert sample.labels["instance"] == "localhost:10185"
    assert {"openai_usage_tokens", "openai_cost_day_usd", "openai_workflow_info"} <= families.keys()


def test_only_the_history_and_the_state_are_left_and_nobody_else_may_read_them(uncut: Path) -> None:
    assert {path.name for path in uncut.iterdir()} == {"history.om", "state"}
    for file in (uncut / "state" / STATE_FILE, uncut / "history.om"):
        assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("requests", [1, 5, 12])
def test_cut_off_while_it_asks_it_goes_on_and_comes_to_the_same(
    organized: Organization, uncut: Path, tmp_path: Path, requests: int
) -> None:
    asked = []

    def cut(progress: str) -> None:
        if "asking for" in progress:
            asked.append(progress)
            if len(asked) == requests:
                raise CutOffError

    with pytest.raises(CutOffError):
        organized.backfill(tmp_path, DAYS, told=cut)
    assert not (tmp_path / "history.om").exists()
    assert not (tmp_path / "state" / STATE_FILE).exists()
    organized.backfill(tmp_path, DAYS)

    assert (tmp_path / "history.om").read_bytes() == (uncut / "history.om").read_bytes()
    assert state_of(tmp_path) == state_of(uncut)


@pytest.mark.parametrize(
    "cut_at",
    [(Ledger, "take_over", 2), (Ledger, "take_over", 25), (Samples, "add", 500), (Samples, "add", 1_500)],
    ids=["before the first day", "before a later one", "amid samples", "amid later samples"],
)
def test_cut_off_between_a_days_samples_and_its_ledger_it_makes_the_day_anew(
    organized: Organization,
    uncut: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cut_at: tuple[type, str, int],
) -> None:
    owner, step, place = cut_at
    whole = getattr(owner, step)
    calls: list[None] = []

    def cut(*arguments: object, **more: object) -> object:
        calls.append(None)
        if len(calls) == place:
            raise CutOffError
        return whole(*arguments, **more)

    with monkeypatch.context() as patched:
        patched.setattr(owner, step, cut)
        with pytest.raises(CutOffError):
            organized.backfill(tmp_path, DAYS)
    organized.backfill(tmp_path, DAYS)

    assert (tmp_path / "history.om").read_bytes() == (uncut / "history.om").read_bytes()
    assert state_of(tmp_path) == state_of(uncut)


@pytest.mark.parametrize("step", ["hand_over_state", "remove"])
def test_cut_off_at_the_very_end_it_only_puts_the_rest_in_its_place(
    organized: Organization, uncut: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def cut(*_: object) -> None:
        raise CutOffError

    with monkeypatch.context() as patched:
        patched.setattr(workshop.Workshop, step, cut)
        with pytest.raises(CutOffError):
            organized.backfill(tmp_path, DAYS)
    organized.told.clear()
    organized.backfill(tmp_path, DAYS)

    assert organized.told == []
    assert (tmp_path / "history.om").read_bytes() == (uncut / "history.om").read_bytes()
    assert state_of(tmp_path) == state_of(uncut)
    assert {path.name for path in tmp_path.iterdir()} == {"history.om", "state"}


def test_a_state_that_an_exporter_began_meanwhile_is_not_taken_for_the_one_that_was_made(
    organized: Organization, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise CutOffError

    with monkeypatch.context() as patched:
        patched.setattr(workshop.Workshop, "hand_over_state", cut)
        with pytest.raises(CutOffError):
            organized.backfill(tmp_path, DAYS)
    with Store.open(tmp_path / "state") as begun:
        begun.claim(organized.simulator.base_url)
    with pytest.raises(BackfillError, match="holds a state already"):
        organized.backfill(tmp_path, DAYS)


def test_what_was_cut_off_does_not_go_on_as_something_else(organized: Organization, tmp_path: Path) -> None:
    def cut(progress: str) -> None:
        if progress.startswith("usage/completions"):
            raise CutOffError

    with pytest.raises(CutOffError):
        organized.backfill(tmp_path, DAYS, told=cut)
    with pytest.raises(BackfillError, match=r"history\.om\.partial holds a backfill that was cut off and asked for"):
        organized.backfill(tmp_path, DAYS + 1)
    with pytest.raises(BackfillError, match="other labels"):
        organized.backfill(tmp_path, DAYS, target=())
    with pytest.raises(BackfillError, match="or another configuration of labels, workflows"):
        organized.backfill(tmp_path, DAYS, configuration=parse_configuration("labels: {user: true}", "test"))


def test_what_openai_never_answered_does_not_stand_in_the_way_of_what_was_meant(
    organized: Organization, uncut: Path, tmp_path: Path
) -> None:
    organized.set_faults(status=[{"prefix": "/v1/", "status": 404}])
    with pytest.raises(BackfillError, match="refused the request"):
        organized.backfill(tmp_path, DAYS + 1, target=(("job", "mistaken"),))
    organized.set_faults()
    organized.backfill(tmp_path, DAYS)
    assert (tmp_path / "history.om").read_bytes() == (uncut / "history.om").read_bytes()


def test_cut_off_today_and_gone_on_with_tomorrow_it_ends_where_it_was_to_end(
    organized: Organization, uncut: Path, tmp_path: Path
) -> None:
    def cut(progress: str) -> None:
        if progress.startswith("usage/images"):
            raise CutOffError

    with pytest.raises(CutOffError):
        organized.backfill(tmp_path, DAYS, ends_yesterday=True, told=cut)
    with pytest.raises(BackfillError, match="other days"):
        organized.backfill(tmp_path, DAYS, until=TODAY + DAY)
    made = organized.backfill(tmp_path, DAYS, ends_yesterday=True, until=TODAY + DAY)
    assert made.end == TODAY
    assert (tmp_path / "history.om").read_bytes() == (uncut / "history.om").read_bytes()
    assert state_of(tmp_path) == state_of(uncut)


def test_what_a_removed_state_left_behind_does_not_get_into_the_new_one(
    organized: Organization, uncut: Path, tmp_path: Path
) -> None:
    log = tmp_path / "state" / f"{STATE_FILE}-wal"
    with Store.open(tmp_path / "state") as store:
        store.claim("http://elsewhere.example/v1")
        left = log.read_bytes()
    (tmp_path / "state" / STATE_FILE).unlink()
    log.write_bytes(left)
    organized.backfill(tmp_path, DAYS)
    assert state_of(tmp_path) == state_of(uncut)


def test_a_plan_that_cannot_be_saved_is_told_with_its_path_and_what_to_do(
    organized: Organization, tmp_path: Path
) -> None:
    with pytest.raises(BackfillError, match=r"cannot use .*plan\.json\.tmp: .* run the same command again"):
        organized.backfill(tmp_path, DAYS, told=lambda _: (tmp_path / "history.om.partial/plan.json.tmp").mkdir())


def test_a_ledger_that_cannot_be_written_is_told_in_words_of_a_backfill(
    organized: Organization, tmp_path: Path
) -> None:
    def damage(_progress: str) -> None:
        with closing(sqlite3.connect(tmp_path / "history.om.partial" / STATE_FILE)) as connection:
            connection.execute("DROP TABLE IF EXISTS account")

    with pytest.raises(BackfillError, match=r"cannot write .*ledger\.sqlite3: .* run the same command again") as told:
        organized.backfill(tmp_path, DAYS, told=damage)
    assert "poll" not in str(told.value)


def test_a_state_that_is_there_is_never_touched(organized: Organization, tmp_path: Path) -> None:
    with Store.open(tmp_path / "state") as store:
        store.claim(organized.simulator.base_url)
    before = (tmp_path / "state" / STATE_FILE).read_bytes()
    with pytest.raises(BackfillError, match="holds a state already: its counters began at 0"):
        organized.backfill(tmp_path, DAYS)
    assert (tmp_path / "state" / STATE_FILE).read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"state"}


def test_no_exporter_can_begin_a_state_while_a_history_is_made(organized: Organization, tmp_path: Path) -> None:
    refused = []

    def start(_progress: str) -> None:
        with pytest.raises(StateError, match="in use by another process") as problem:
            Store.open(tmp_path / "state")
        refused.append(problem)

    organized.backfill(tmp_path, 1, told=start)
    assert refused


def test_an_output_that_is_there_is_never_overwritten(organized: Organization, tmp_path: Path) -> None:
    (tmp_path / "history.om").write_text("mine")
    with pytest.raises(BackfillError, match=r"history\.om exists already"):
        organized.backfill(tmp_path, DAYS)
    assert (tmp_path / "history.om").read_text() == "mine"


def test_days_that_the_api_no_longer_holds_are_left_out_with_a_word(
    organized: Organization, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    year_ago = day_of(TODAY - 365 * DAY)
    made = organized.backfill(tmp_path, 0, since=year_ago - 5 * DAY, until=year_ago + 2 * DAY)
    assert made.first == year_ago
    assert "OpenAI holds no older history: it begins later than asked for" in caplog.messages
    with pytest.raises(BackfillError, match="OpenAI holds nothing before 2025-11-05: there is no history"):
        organized.backfill(tmp_path / "older", 0, since=year_ago - 5 * DAY, until=year_ago - 2 * DAY)


def test_a_clock_that_runs_ahead_makes_no_history_of_a_day_that_is_not_over(
    organized: Organization, tmp_path: Path
) -> None:
    with pytest.raises(BackfillError, match="by OpenAI's clock 2026-11-05 is not over yet"):
        organized.backfill(tmp_path, 1, until=TODAY + DAY)
    assert not (tmp_path / "history.om").exists()


def test_many_refusals_for_asking_too_fast_only_make_it_wait(
    organized: Organization, uncut: Path, tmp_path: Path
) -> None:
    organized.set_faults(burst_429={"count": 12, "retry_after": 7})
    organized.backfill(tmp_path, DAYS)
    assert (tmp_path / "history.om").read_bytes() == (uncut / "history.om").read_bytes()
    assert sum(organized.slept) >= 12 * 7


def test_an_api_that_stays_away_ends_it_with_what_to_do_and_nothing_is_lost(
    organized: Organization, uncut: Path, tmp_path: Path
) -> None:
    def away(progress: str) -> None:
        if progress.startswith("usage/images"):
            organized.set_faults(status=[{"prefix": "/v1/", "status": 503}])

    with pytest.raises(BackfillError, match=r"HTTP 503.*kept in .*history\.om\.partial: run the same command again"):
        organized.backfill(tmp_path, DAYS, told=away)
    organized.set_faults()
    organized.told.clear()
    organized.backfill(tmp_path, DAYS)
    assert not any(progress.startswith("usage/completions") for progress in organized.told)
    assert (tmp_path / "history.om").read_bytes() == (uncut / "history.om").read_bytes()


def test_a_key_that_is_refused_ends_it_at_once(organized: Organization, tmp_path: Path) -> None:
    organized.set_faults(revoked=True)
    with pytest.raises(BackfillError, match="refused the admin key"):
        organized.backfill(tmp_path, DAYS)
    assert organized.slept == []


def test_an_endpoint_that_the_organization_does_not_have_has_no_history(
    organized: Organization, tmp_path: Path
) -> None:
    organized.set_faults(absent_endpoints=["usage/decisions"])
    made = organized.backfill(tmp_path, 1)
    assert made.absent == {"usage/decisions"}
    with Store.open(tmp_path / "state") as store:
        # Had it a zero line in the past, all that came since would be counted at once when it appears.
        assert store.load().accounts.keys() == ENDPOINTS.keys() - {"usage/decisions"}


def test_an_endpoint_that_goes_away_in_the_middle_is_not_taken_for_one_that_never_was(
    organized: Organization, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(progress: str) -> None:
        if progress.startswith("1 of 2 days"):
            organized.set_faults(absent_endpoints=["usage/decisions"])

    monkeypatch.setattr(backfilling, "_DAYS_AT_ONCE", 1)
    with pytest.raises(BackfillError, match="usage/decisions: OpenAI answered for the days up to 2026-11-03 and"):
        organized.backfill(tmp_path, 2, told=away)
    organized.set_faults()
    assert organized.backfill(tmp_path, 2).absent == frozenset()


def test_an_api_that_knows_no_hours_gives_the_same_days(
    organized: Organization, uncut: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(query, "_USAGE_LIMITS", {"1d": (7, 31)})
        made = organized.backfill(tmp_path, DAYS)
    assert made.absent == frozenset()
    assert state_of(tmp_path) == state_of(uncut)
    midnights = [
        [line for line in (folder / "history.om").read_text().splitlines() if _is_no_hour(line)]
        for folder in (tmp_path, uncut)
    ]
    assert midnights[0] == midnights[1]
    assert len((tmp_path / "history.om").read_text().splitlines()) == len(midnights[0])


def test_hours_of_an_organization_with_very_many_rows_are_asked_for_a_few_at_once(
    organized: Organization, uncut: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours_per_page = []
    get = Connection.get

    def watched(connection: Connection, path: str, params: Query, api: str) -> Reply:
        if ("bucket_width", "1h") in params:
            hours_per_page.append(int(dict(params)["limit"]))
        return get(connection, path, params, api)

    monkeypatch.setattr(Connection, "get", watched)
    monkeypatch.setattr(asking, "_ROWS_PER_PAGE", 300)
    organized.backfill(tmp_path, DAYS)
    assert (tmp_path / "history.om").read_bytes() == (uncut / "history.om").read_bytes()
    assert min(hours_per_page) < 24
    assert max(hours_per_page) == 168


def _is_no_hour(line: str) -> bool:
    return line.startswith("#") or "_total{" not in line or float(line.rpartition(" ")[2]) % DAY < 1
