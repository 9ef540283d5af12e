"""What a Prometheus stores against the state: by answers made up here, and with a real exporter and Prometheus."""

import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from exporter.audit.asking import AuditError
from exporter.audit.in_prometheus import StoredSeries, Values, checked_url
from exporter.command_line import main
from exporter.ledger.counters import SeriesName
from exporter.ledger.store import STATE_FILE
from exporter.simulator.server import RunningSimulator, running_simulator
from tests.end_to_end.prometheus_server import PrometheusServer, prometheus
from tests.end_to_end.test_serving import PATIENCE_SECONDS, run, serving

IMAGES = "openai_usage_images_total"
COST = "openai_cost_usd_total"
COST_TODAY = "openai_cost_day_usd"


def named(family: str, **labels: str) -> SeriesName:
    return SeriesName(family, tuple(sorted(labels.items())))


A, B = named(IMAGES, project="a"), named(IMAGES, project="b")


class Prometheus:
    """Answers queries by family with what a test says it stores."""

    def __init__(self, stored: Values, **target: str) -> None:
        self.stored = stored
        self.targets = [target or {"instance": "one"}]
        self.asked: list[str] = []

    def series(self, selector: str = "") -> StoredSeries:
        client = httpx.Client(transport=httpx.MockTransport(self._answer))
        return StoredSeries("http://user:secret@prometheus.example/prefix/", selector, client)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/prefix/api/v1/query"
        query = request.url.params["query"]
        self.asked.append(query)
        result = [
            {"metric": dict(name.labels) | target | {"__name__": name.family}, "value": [1.0, repr(value)]}
            for name, value in self.stored.items()
            for target in self.targets
            if query.startswith(f"{name.family}{{")
        ]
        return httpx.Response(200, json={"status": "success", "data": {"resultType": "vector", "result": result}})


def test_equal_series_are_settled_at_once() -> None:
    there = Prometheus({A: 0.1 + 0.2, B: 0.0})
    series = there.series('job="openai"')
    series.look({A: 0.1 + 0.2, B: 0.0})

    assert series.is_settled
    assert series.result().differing == {}
    assert [(each.name, each.series) for each in series.result().sums] == [(IMAGES, (2, 2))]
    assert f'{IMAGES}{{job="openai"}}' in there.asked
    assert "secret" not in series.url


def test_a_value_that_the_state_showed_at_an_earlier_look_is_right_and_any_other_is_not() -> None:
    there = Prometheus({A: 1.0, B: 1.0})
    series = there.series()
    series.look({A: 2.0, B: 2.0})
    assert series.open_series == 2

    # A is scraped as it was, B is something else, and both have grown.
    there.stored = {A: 2.0, B: 2.5}
    series.look({A: 3.0, B: 3.0})

    found = series.result()
    assert (dict(found.differing), found.late) == ({B: (3.0, 2.5)}, 1)


@pytest.mark.parametrize(("state", "stored"), [({A: 1.0, B: 1.0}, {A: 1.0}), ({A: 1.0}, {A: 1.0, B: 1.0})])
def test_a_series_that_one_side_lacks_is_a_difference(state: Values, stored: Values) -> None:
    series = Prometheus(stored).series()
    series.look(state)
    series.look(state)
    assert dict(series.result().differing) == {B: (state.get(B), stored.get(B))}


def test_a_period_has_a_sum_of_its_own() -> None:
    values = {named(COST_TODAY, day="today"): 1.0, named(COST_TODAY, day="yesterday"): 2.0}
    series = Prometheus(values).series()
    series.look(values)
    assert [(each.name, each.sums) for each in series.result().sums] == [
        (f'{COST_TODAY}{{day="today"}}', (1.0, 1.0)),
        (f'{COST_TODAY}{{day="yesterday"}}', (2.0, 2.0)),
    ]


def test_a_prometheus_without_the_exporter_is_a_problem_and_no_difference() -> None:
    series = Prometheus({}).series('job="x"')
    series.look({A: 1.0})
    assert not series.is_settled
    [problem] = series.problems
    assert 'has no series of this exporter now with job="x"' in problem
    assert series.result().differing == {}


def test_two_exporters_have_to_be_told_apart() -> None:
    there = Prometheus({A: 1.0})
    there.targets = [{"instance": "one"}, {"instance": "two"}]
    with pytest.raises(AuditError, match=r'\(instance="one"; instance="two"\)\. Name one with --prometheus\.selector'):
        there.series().look({A: 1.0})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(200, text="<html>"), "no Prometheus"),
        (httpx.Response(200, json=[]), "no Prometheus"),
        (httpx.Response(400, json={"status": "error", "error": "parse error"}), "refused .*: parse error"),
    ],
)
def test_what_is_no_prometheus_ends_the_audit(answer: httpx.Response, said: str) -> None:
    client = httpx.Client(transport=httpx.MockTransport(lambda _request: answer))
    with pytest.raises(AuditError, match=said):
        StoredSeries("http://prometheus.example", "", client).look({A: 1.0})


def test_a_url_has_a_scheme_and_a_host() -> None:
    assert checked_url("https://prometheus.example/x") == "https://prometheus.example/x"
    for text in ("prometheus.example:9090", "ftp://prometheus.example", "http://", "http://a:b"):
        with pytest.raises(ValueError, match=r"."):
            checked_url(text)


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator() as running:
        yield running


def wait_for_samples(server: PrometheusServer) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    # A foreign process: there is no clock of ours that could say when it has scraped.
    while not server.query("openai_cost_month_usd", time.time()) or not server.query("openai_up == 1", time.time()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def alter_counters(state: Path) -> None:
    """Change what is stored; the exporter goes on showing what it counted."""
    connection = sqlite3.connect(state / STATE_FILE)
    with connection:
        assert connection.execute("UPDATE counter SET total = total + 7, shown = 1 WHERE family = ?", (COST,)).rowcount
    connection.close()


def test_the_command_compares_a_running_exporter_with_openai_and_a_real_prometheus(
    tmp_path: Path, simulator: RunningSimulator
) -> None:
    state = ("--config.file=exporter.yml", "--storage.path=state", f"--patience={PATIENCE_SECONDS}s")
    with serving(tmp_path, simulator.base_url, simulator.admin_key) as served:
        served.wait_for(r"^openai_up 1\.0$")
        address = served.url.removeprefix("http://")
        scraping = (
            "global: {scrape_interval: 2s, scrape_timeout: 2s}\n"
            f"scrape_configs: [{{job_name: openai, static_configs: [{{targets: ['{address}']}}]}}]\n"
        )
        with prometheus(tmp_path, scraping) as server:
            wait_for_samples(server)
            there = (f"--prometheus.url={server.url}", f"--prometheus.selector=instance='{address}'")

            equal = run(tmp_path, simulator, "audit", *state, *there)

            assert equal.returncode == 0, equal.stdout + equal.stderr
            assert "No differences" in equal.stdout
            assert 'openai_cost_month_usd{month="current"}' in equal.stdout
            # Progress is for terminals.
            assert "asking" not in equal.stderr
            alter_counters(tmp_path / "state")

            deadline = time.monotonic() + PATIENCE_SECONDS
            found: list[dict[str, float]] = []
            # A scrape may fail on a busy machine, and there is then nothing to compare for a moment.
            while not found:
                assert time.monotonic() < deadline
                different = run(tmp_path, simulator, "audit", *state[:2], "--patience=0s", *there, "--format=json")
                if different.returncode == 1:
                    series = json.loads(different.stdout)["prometheus"]["series"]
                    found = [each for each in series if each["family"] == COST]
            assert any(each["state"] > (each["prometheus"] or 0) + 6.9 for each in found)
        assert served.stop() == 0
    nowhere = run(tmp_path, simulator, "audit", *state, there[0])
    assert (nowhere.returncode, nowhere.stdout) == (2, "")
    assert "gave no answer" in nowhere.stderr


@pytest.mark.parametrize(
    ("arguments", "key", "said"),
    [
        (("--storage.path=nothing",), "", "there is no state in nothing"),
        ((), " ", "no admin key is configured"),
        (("--since=2026-11-31",), "", "is no day such as 2026-11-01"),
        (("--since=2026-11-02", "--until=2026-11-01"), "", "--since is after --until"),
        (("--prometheus.url=user:secret@here",), "", "a URL such as"),
        (("--patience=soon",), "", "a duration such as 90s"),
    ],
)
def test_what_cannot_be_audited_ends_with_two(  # noqa: PLR0913 - a case, and what it is looked at with
    tmp_path: Path,
    simulator: RunningSimulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    arguments: tuple[str, ...],
    key: str,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", simulator.base_url)
    monkeypatch.setenv("OPENAI_ADMIN_KEY", key or simulator.admin_key)
    try:
        status = main(["audit", *arguments])
    except SystemExit as ended:
        status = int(ended.code or 0)
    printed = capsys.readouterr()
    assert (status, printed.out) == (2, "")
    assert said in printed.err
    assert "secret" not in printed.err
    assert list(tmp_path.iterdir()) == []
