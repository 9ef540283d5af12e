"""The audit of real states, which an exporter made of the simulated organization, against that organization."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from exporter.audit.asking import AuditError
from exporter.audit.auditing import Outside, Wanted, audit
from exporter.audit.days import Span
from exporter.audit.findings import Findings, Verdict
from exporter.audit.report import render_json, render_text
from exporter.configuration.loading import ConfigurationError
from exporter.configuration.sections import Configuration
from exporter.credentials import BASE_URL_VARIABLE, KEY_VARIABLE
from exporter.days import SECONDS_PER_DAY, day_of
from exporter.ledger.store import STATE_FILE
from exporter.simulator.clock import SettableClock
from exporter.simulator.faults import Faults, PathStatus
from exporter.simulator.server import running_simulator
from tests.polling.living import HOUR, Living, Organization

BEGAN = 1_793_610_000
"""2026-11-02 09:00 UTC: early in a month, so that little of the bill has to be made up."""
NOW = BEGAN + 24 * HOUR
"""A midnight has passed, data of the day before came late, some were taken back."""
TODAY = day_of(NOW)


@dataclass
class Audited:
    """An organization with an exporter that has lived a while, and the state that it left."""

    living: Living
    left: Path
    clock: SettableClock
    told: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def audit(self, state: Path, asleep: Callable[[], None] = lambda: None, **wanted: object) -> Findings:
        """Audit a state; whoever waits is told that time passed, and `asleep` happens meanwhile."""

        def sleep(seconds: float) -> None:
            self.seconds += seconds
            asleep()

        simulator = self.living.organization.simulator
        environment = {BASE_URL_VARIABLE: simulator.base_url, KEY_VARIABLE: simulator.admin_key}
        outside = Outside(environment, self.told.append, self.clock, lambda: self.seconds, sleep)
        return audit(self.living.setting.configuration, Wanted(state, **wanted), outside)  # type: ignore[arg-type]

    def copy(self, folder: Path) -> Path:
        """Return a copy of the state that the exporter left, which nobody uses."""
        return Path(shutil.copytree(self.left, folder / "state"))


@pytest.fixture(scope="module")
def _lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    clock = SettableClock(BEGAN)
    folder = tmp_path_factory.mktemp("exporter")
    with running_simulator(clock=clock) as simulator:
        living = Living(Organization(clock, simulator), folder, "polling: {usage_interval: 1h, costs_interval: 1h}\n")
        living.poll_all()
        clock.set(NOW)
        living.poll_all()
        living.exporter.close()
        shutil.copytree(folder / "state", folder / "left")
        living.restart()
        try:
            yield Audited(living, folder / "left", clock)
        finally:
            living.exporter.close()


@pytest.fixture
def lived(_lived: Audited) -> Iterator[Audited]:
    """The clock and the faults are as they were; what the running exporter has learned meanwhile stays."""
    _lived.told.clear()
    yield _lived
    _lived.clock.set(NOW)
    _lived.living.organization.simulator.simulator.set_faults(Faults())


def change(state: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(state / STATE_FILE)
    try:
        changed = connection.execute(statement, values)
        assert changed.rowcount == 1
        connection.commit()
    finally:
        connection.close()


def row_of(state: Path, api: str, day: int) -> tuple[dict[str, str], dict[str, str]]:
    """Return the key and the amounts of one row that has a project."""
    connection = sqlite3.connect(state / STATE_FILE)
    try:
        [key, amounts] = connection.execute(
            "SELECT key, amounts FROM row WHERE api = ? AND day = ? AND key LIKE '%project_id%' ORDER BY key LIMIT 1",
            (api, day),
        ).fetchone()
    finally:
        connection.close()
    return json.loads(key), json.loads(amounts)


def same(key: dict[str, str]) -> str:
    return json.dumps(key)


def test_nothing_differs_after_a_life_with_late_data_revisions_and_a_midnight(lived: Audited, tmp_path: Path) -> None:
    state = lived.copy(tmp_path)
    before = {path.name: path.read_bytes() for path in state.iterdir()}

    found = lived.audit(state)

    assert {path.name: path.read_bytes() for path in state.iterdir()} == before
    assert (found.count, found.problems, found.impossible, found.looks, found.in_use) == (0, (), [], 1, False)
    assert found.verdicts == {}
    days = {(day.api, day.day) for day in found.compared if day.sums}
    for api in ("usage/completions", "costs"):
        assert {day for each, day in days if each == api} == {TODAY - back * SECONDS_PER_DAY for back in range(4)}
    text = render_text(found)
    assert "No differences (2026-10-31 to 2026-11-03)." in text
    assert ">>" not in text
    assert json.loads(render_json(found))["differences"] == 0


@pytest.mark.parametrize(
    ("api", "column", "measure"), [("costs", "amount", "usd"), ("usage/completions", "num_model_requests", "")]
)
def test_a_single_altered_row_is_found_and_named(
    lived: Audited, tmp_path: Path, api: str, column: str, measure: str
) -> None:
    state = lived.copy(tmp_path)
    day = TODAY - SECONDS_PER_DAY
    key, amounts = row_of(state, api, day)
    altered = amounts | {column: str(int(amounts[column].partition(".")[0]) + 77)}
    statement = "UPDATE row SET amounts = ? WHERE api = ? AND day = ? AND key = ?"
    change(state, statement, json.dumps(altered), api, day, same(key))

    found = lived.audit(state)

    [(figure, pair)] = found.differences.items()
    assert figure[:3] == (api, day, measure or column)
    assert {name: value for name, value in figure.group if value is not None} == {
        name: value for name, value in key.items() if name != "currency"
    }
    assert (str(pair.state), found.verdicts[figure], found.count) == (altered[column], Verdict.DIFFERENT, 1)
    # Nobody works on it: it is looked at again at once, and never waited for.
    assert (found.looks, lived.seconds) == (2, 0)
    text = " ".join(render_text(found).split())
    assert f"{api} 2026-11-02 {measure or column} of " in text
    assert key["project_id"] in text
    assert ">> 1 differences" in text
    [told] = json.loads(render_json(found))["figures"]
    assert (told["api"], told["day"], told["state"]) == (api, "2026-11-02", altered[column])


def test_a_missing_row_is_found_with_all_its_measures(lived: Audited, tmp_path: Path) -> None:
    state = lived.copy(tmp_path)
    day = TODAY - 2 * SECONDS_PER_DAY
    key, amounts = row_of(state, "usage/embeddings", day)
    change(state, "DELETE FROM row WHERE api = 'usage/embeddings' AND day = ? AND key = ?", day, same(key))

    found = lived.audit(state)

    assert {figure.measure: str(pair.openai) for figure, pair in found.differences.items()} == amounts
    assert {(figure.api, figure.day) for figure in found.differences} == {("usage/embeddings", day)}
    assert {pair.state for pair in found.differences.values()} == {0}


def test_a_row_under_another_project_is_found_though_the_sum_is_right(lived: Audited, tmp_path: Path) -> None:
    state = lived.copy(tmp_path)
    key, _ = row_of(state, "costs", TODAY)
    statement = "UPDATE row SET key = ? WHERE api = 'costs' AND day = ? AND key = ?"
    change(state, statement, same(key | {"project_id": "proj_other"}), TODAY, same(key))

    found = lived.audit(state)

    assert {dict(figure.group)["project_id"] for figure in found.differences} == {key["project_id"], "proj_other"}
    [day] = [day for day in found.compared if (day.api, day.day) == ("costs", TODAY)]
    assert day.sums["usd"].state == day.sums["usd"].openai
    assert ">>" in render_text(found)


def test_a_quantity_that_a_price_stands_on_is_compared_too(lived: Audited, tmp_path: Path) -> None:
    state = lived.copy(tmp_path)
    change(
        state,
        "UPDATE billed SET quantity = '5' WHERE day = ? AND unit = 'tokens' AND line_item = "
        "(SELECT min(line_item) FROM billed WHERE day = ? AND unit = 'tokens' AND quantity <> '5')",
        TODAY,
        TODAY,
    )

    [figure] = lived.audit(state).differences

    assert (figure.api, figure.day, figure.measure) == ("costs", TODAY, "quantity (tokens)")


def test_a_running_exporter_that_polls_meanwhile_makes_no_difference(lived: Audited) -> None:
    running = lived.living.exporter.store._directory
    lived.clock.advance(HOUR)

    found = lived.audit(running, asleep=lived.living.poll_all)

    assert found.in_use
    assert (found.count, found.looks) == (0, 3)
    assert set(found.verdicts.values()) == {Verdict.CAUGHT_UP}
    # Between the first look and the last there was a poll: counters have grown by just what the values have.
    assert {"openai_usage_tokens_total", "openai_cost_usd_total"} <= {growth.family for growth in found.growths}
    assert all(growth.holds and growth.counted == growth.told for growth in found.growths)
    assert any("looking again" in line for line in lived.told)


def test_what_is_newer_at_openai_than_the_last_poll_makes_no_difference(lived: Audited) -> None:
    running = lived.living.exporter.store._directory
    lived.clock.advance(2 * HOUR)

    def polled_and_moved_on() -> None:
        lived.living.poll_all()
        lived.clock.advance(HOUR)

    found = lived.audit(running, asleep=polled_and_moved_on)

    assert found.count == 0
    assert Verdict.BEHIND in found.verdicts.values()
    assert "newer at OpenAI than the last poll" in render_text(found)


def test_counters_that_grow_by_more_than_the_values_are_found(lived: Audited) -> None:
    running = lived.living.exporter.store._directory
    lived.clock.advance(4 * HOUR)

    def poll_and_tamper() -> None:
        lived.living.poll_all()
        change(
            running,
            "UPDATE counter SET total = total + 1 WHERE family = 'openai_usage_images_total' AND labels = "
            "(SELECT min(labels) FROM counter WHERE family = 'openai_usage_images_total')",
        )

    found = lived.audit(running, asleep=poll_and_tamper)

    [wrong] = [growth for growth in found.growths if not growth.holds]
    assert wrong.family == "openai_usage_images_total"
    assert wrong.told is not None
    assert wrong.counted == wrong.told + 1
    assert found.count == 1


def test_an_exporter_that_does_not_poll_is_waited_for_and_then_found_wanting(lived: Audited) -> None:
    running = lived.living.exporter.store._directory
    lived.clock.advance(6 * HOUR)
    began = lived.seconds

    found = lived.audit(running, patience=8.0)

    assert 8 <= lived.seconds - began < 16
    assert found.count == len(found.differences) > 10
    assert set(found.verdicts.values()) == {Verdict.DIFFERENT}


def test_a_day_that_no_poll_was_answered_for_is_a_difference(lived: Audited, tmp_path: Path) -> None:
    lived.clock.set(TODAY + SECONDS_PER_DAY + 9 * HOUR)

    found = lived.audit(lived.copy(tmp_path))

    unread = {figure.day for figure, verdict in found.verdicts.items() if verdict is Verdict.NOT_READ}
    assert unread == {TODAY + SECONDS_PER_DAY}
    assert "not read yet: the ledger was never answered for that day" in render_text(found)


def test_days_that_the_state_does_not_know_are_named_and_not_compared(lived: Audited, tmp_path: Path) -> None:
    since = TODAY - 12 * SECONDS_PER_DAY
    found = lived.audit(lived.copy(tmp_path), span=Span(since, TODAY - SECONDS_PER_DAY))

    assert found.count == 0
    # Of the bill the state keeps the month before, of usage the revision window.
    assert min(day.day for day in found.compared if day.api == "costs") == since
    text = render_text(found)
    assert "usage/completions: the state does not know 2026-10-22 to 2026-10-30." in text
    assert "costs: the state does not know" not in text
    assert max(day.day for day in found.compared) == TODAY - SECONDS_PER_DAY


def test_an_api_that_refuses_is_not_compared_and_the_rest_is(lived: Audited, tmp_path: Path) -> None:
    refused = PathStatus(prefix="/v1/organization/usage/images", status=400)
    lived.living.organization.set_faults(status=[refused], absent_endpoints=["usage/decisions"])

    found = lived.audit(lived.copy(tmp_path))

    [problem] = found.problems
    assert problem.startswith("usage/images: OpenAI refused the request (HTTP 400)")
    assert problem.endswith("; it is not compared.")
    assert found.absent == {"usage/decisions"}
    assert "usage/images" not in {day.api for day in found.compared}
    assert "costs" in {day.api for day in found.compared}


def test_a_refused_key_ends_the_audit(lived: Audited, tmp_path: Path) -> None:
    lived.living.organization.set_faults(revoked=True)
    with pytest.raises(AuditError, match="refused the admin key"):
        lived.audit(lived.copy(tmp_path))


def test_without_a_state_or_a_key_or_with_another_organizations_there_is_no_audit(
    lived: Audited, tmp_path: Path
) -> None:
    with pytest.raises(AuditError, match="there is no state in"):
        lived.audit(tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []
    state = lived.copy(tmp_path)
    change(state, "INSERT INTO origin VALUES ('https://api.example/v1')")
    with pytest.raises(AuditError, match=r"is about https://api\.example/v1, while this configuration asks"):
        lived.audit(state)
    with pytest.raises(ConfigurationError, match="no admin key"):
        audit(Configuration(), Wanted(state), Outside({}, lived.told.append))


def test_a_report_names_projects_and_obeys_no_name(lived: Audited, tmp_path: Path) -> None:
    state = lived.copy(tmp_path)
    key, _ = row_of(state, "usage/completions", TODAY)
    change(state, "DELETE FROM row WHERE api = 'usage/completions' AND day = ? AND key = ?", TODAY, same(key))
    change(state, "INSERT INTO directory VALUES ('projects', ?, 'a \x1b[31mname', 'active')", key["project_id"])

    found = lived.audit(state)
    text = render_text(found)

    assert f"project_id={key['project_id']}" in text
    assert "(a \\x1b[31mname)" in " ".join(text.split())
    assert "\x1b" not in text
