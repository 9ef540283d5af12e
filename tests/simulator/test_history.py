"""A past for Prometheus: when it is looked at, how rules build on each other, and what a command leaves behind."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from exporter.command_line import main
from exporter.simulator.history.blocks import Scrape, load
from exporter.simulator.history.moments import Run, Watch
from exporter.simulator.history.programs import ProgramError, program
from exporter.simulator.history.recording import RecordingRule, in_layers, needed_for, record
from tests.deploy.rule_files import PROMETHEUS, RULES
from tests.end_to_end.prometheus_server import prometheus
from tests.prometheus_tools import program as required_program

MINUTE, HOUR, DAY = 60, 3_600, 86_400
END = 1_789_052_430
"""2026-09-10 15:00:30 UTC."""
TODAY = END // DAY * DAY


def moments(runs: list[Run]) -> list[int]:
    return sorted({at for run in runs for at in run.moments()})


def test_each_day_is_looked_at_when_rules_read_it_off() -> None:
    (run,) = Watch(days=3, hourly_days=0, minutes=0).runs(END)
    assert list(run.moments()) == [TODAY - day * DAY + 23 * HOUR + 50 * MINUTE for day in (3, 2, 1)]


def test_the_last_days_are_looked_at_each_hour_and_the_last_minutes_each_minute() -> None:
    _, hourly, minutely = Watch(days=3, hourly_days=2, minutes=5).runs(END)
    assert list(hourly.moments()) == list(range(TODAY - DAY, TODAY + 15 * HOUR + 1, HOUR))
    assert list(minutely.moments()) == [END // MINUTE * MINUTE - minute * MINUTE for minute in (5, 4, 3, 2, 1, 0)]


def test_nothing_is_looked_at_after_the_end() -> None:
    watch = Watch(days=2, hourly_days=2, minutes=3)
    for end in (END, TODAY, TODAY + 1, TODAY + 86_399):
        assert max(moments(watch.runs(end))) < end
        assert max(moments(watch.trace_runs(end))) < end


@pytest.mark.parametrize("minutes", [0, 3])
def test_whoever_goes_on_from_the_last_look_misses_nothing(minutes: int) -> None:
    watch = Watch(days=2, hourly_days=1, minutes=minutes)
    for end in (END, TODAY, TODAY + 1, TODAY + 86_399):
        assert watch.last(end) == max(*moments(watch.runs(end)), *moments(watch.trace_runs(end)))


def test_traces_are_seen_on_both_sides_of_each_midnight() -> None:
    seen = moments(Watch(days=2, hourly_days=0, minutes=0).trace_runs(END))
    for midnight in (TODAY - DAY, TODAY):
        assert {midnight - 30, midnight + 30} <= set(seen)


def test_a_target_becomes_labels_of_every_sample_and_an_up() -> None:
    page = '# HELP a_total A.\na_total{b="c {d}"} 1.5\ne 2\n'
    assert list(Scrape(7, page, 'job="j"').samples()) == [
        'up{job="j"} 1 7\n',
        'a_total{job="j",b="c {d}"} 1.5 7\n',
        'e{job="j"} 2 7\n',
    ]
    assert list(Scrape(7, page).samples()) == ['a_total{b="c {d}"} 1.5 7\n', "e 2 7\n"]


def test_rules_come_after_those_that_they_are_made_from() -> None:
    first = RecordingRule("a:b:c", "sum(x)")
    second = RecordingRule("a:b:d", "a:b:c * 2")
    third = RecordingRule("a:b:e", "a:b:d + a:b:c")
    assert in_layers([third, second, first]) == [[first], [second], [third]]


def test_a_rule_may_look_at_its_own_past_and_at_series_of_its_name_with_another_label() -> None:
    itself = RecordingRule("a:b:c", "a:b:c offset 1h or x")
    short = RecordingRule("a:b:d", "x", {"window": "short"})
    long = RecordingRule("a:b:d", 'sum_over_time(a:b:d{window="short"}[7d:1d])', {"window": "long"})
    assert in_layers([itself, long, short]) == [[itself, short], [long]]


def test_rules_that_are_made_from_each_other_are_named() -> None:
    with pytest.raises(ValueError, match="a:b:c, a:b:d"):
        in_layers([RecordingRule("a:b:c", "a:b:d"), RecordingRule("a:b:d", "a:b:c")])


def test_only_what_is_needed_for_a_series_is_kept() -> None:
    rules = [RecordingRule("a:b:c", "x"), RecordingRule("a:b:d", "a:b:c"), RecordingRule("a:b:e", "x")]
    assert [rule.name for rule in needed_for({"a:b:d"}, rules)] == ["a:b:c", "a:b:d"]


def test_a_recorded_past_is_what_prometheus_would_have_recorded(tmp_path: Path) -> None:
    required_program("promtool")
    moments_seen = range(END, END + 300, 60)
    load((f'x{{l="{label}"}} {at - END} {at}\n' for label in "ab" for at in moments_seen), tmp_path / "data")
    rules = [RecordingRule("a:b:d", "2 * a:b:c", {"kind": "double"}), RecordingRule("a:b:c", "sum(x)")]
    # The runs overlap and are not in order of time.
    record(
        tmp_path, rules, lambda _rule: [Run(END + 120, END + 240, 60), Run(END, END + 180, 60)], find=required_program
    )
    with prometheus(tmp_path) as server:
        for at in moments_seen:
            assert server.query('a:b:d{kind="double"}', at)[("__name__", "a:b:d"), ("kind", "double")] == 4 * (at - END)


def test_a_program_that_is_missing_is_named_with_the_remedy() -> None:
    with pytest.raises(ProgramError, match=r"no-such-program is not installed .*Debian"):
        program("no-such-program")


@pytest.fixture
def flags(tmp_path: Path) -> list[str]:
    required_program("prometheus")
    return [
        "simulate-history",
        f"--prometheus.data={tmp_path / 'data'}",
        f"--storage.path={tmp_path / 'state'}",
        "--days=1",
        "--minutes=0",
        "--prometheus.rules",
        *map(str, [*RULES, PROMETHEUS / "rules" / "adapters" / "aitracer.yml"]),
    ]


@pytest.mark.timeout(600)
def test_the_command_makes_blocks_and_a_state_once(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(flags) == 0
    assert capsys.readouterr().out.endswith("history: there\n")
    blocks = sorted(tmp_path.glob("data/*/meta.json"))
    assert blocks
    with closing(sqlite3.connect(f"file:{tmp_path / 'state' / 'ledger.sqlite3'}?mode=ro", uri=True)) as state:
        assert state.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    assert main(flags) == 0
    assert "is left as it is" in capsys.readouterr().out
    assert sorted(tmp_path.glob("data/*/meta.json")) == blocks


def test_a_state_that_somebody_needs_is_never_written_over(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "ledger.sqlite3").write_bytes(b"precious")
    assert main(flags) == 1
    assert "holds a state" in capsys.readouterr().err
    assert (tmp_path / "state" / "ledger.sqlite3").read_bytes() == b"precious"
    assert not list(tmp_path.glob("data/*/meta.json"))


def test_a_history_without_rules_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["simulate-history", "--prometheus.data=x"])
    assert "--prometheus.rules" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--days=0", "--days=367", "--days=x", "--minutes=1441", "--minutes=-1"])
def test_senseless_spans_are_refused(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["simulate-history", "--prometheus.data=x", flag])
    assert "is not between" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "reason"), [(None, "cannot be read"), ("groups: [", "no file"), ("a: 1", "no file")])
def test_rules_that_cannot_be_read_are_named_before_anything_is_lived_through(
    text: str | None, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rules.yml"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    places = [f"--prometheus.data={tmp_path / 'data'}", f"--storage.path={tmp_path / 'state'}"]
    assert main(["simulate-history", *places, "--prometheus.rules", str(file)]) == 1
    assert re.match(rf"openai-usage-exporter: {file} .*{reason}", capsys.readouterr().err)
    assert not (tmp_path / "data").exists()


def test_a_rule_that_prometheus_does_not_understand_is_named(tmp_path: Path) -> None:
    required_program("promtool")
    rule = RecordingRule("a:b:c", "sum(")
    with pytest.raises(ProgramError, match=r"the rule a:b:c: .*parse error"):
        record(tmp_path, [rule], lambda _rule: [Run(END, END, 1)], find=required_program)
