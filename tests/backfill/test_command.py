"""The command `backfill` as a process: what it says, what it leaves, and how little memory it takes."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from exporter.backfill.command import _labels
from exporter.command_line import main
from exporter.credentials import BASE_URL_VARIABLE, KEY_VARIABLE
from exporter.simulator.server import RunningSimulator, running_simulator
from tests.backfill.made import ENOUGH

_PEAK = """
import pathlib, sys
from exporter.command_line import main
status = main(sys.argv[1:])
# Not the resource usage, which knows of the process before, too.
[peak] = [line.split()[1] for line in pathlib.Path("/proc/self/status").open() if line.startswith("VmHWM:")]
print("peak", peak)
sys.exit(status)
"""


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator(projects=ENOUGH) as running:
        yield running


def days_ago(number: int) -> str:
    return f"{datetime.now(UTC) - timedelta(days=number):%Y-%m-%d}"


def run(
    simulator: RunningSimulator, folder: Path, *flags: str, program: tuple[str, ...] = ("-m", "exporter")
) -> "subprocess.CompletedProcess[str]":
    folder.mkdir(exist_ok=True)
    environment = os.environ | {BASE_URL_VARIABLE: simulator.base_url, KEY_VARIABLE: simulator.admin_key}
    command = [sys.executable, *program, "backfill", "--output", str(folder / "history.om")]
    return subprocess.run(
        [*command, "--storage.path", str(folder / "state"), *flags],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


def test_it_says_what_it_made_and_what_to_do_with_it(simulator: RunningSimulator, tmp_path: Path) -> None:
    done = run(simulator, tmp_path, "--since", days_ago(1), "--prometheus.labels", 'job="openai",instance="here:1"')
    assert done.returncode == 0, done.stderr
    assert re.search(r"history\.om: \d{4}-\d\d-\d\d to \d{4}-\d\d-\d\d, \d+ counters\.", done.stdout)
    assert "promtool tsdb create-blocks-from" in done.stdout
    assert "note:" not in done.stderr
    assert '{job="openai",instance="here:1",' in (tmp_path / "history.om").read_text()

    again = run(simulator, tmp_path, "--since", days_ago(1))
    assert again.returncode == 1
    assert "history.om exists already. Name another file with --output, or remove it." in again.stderr


def test_memory_does_not_grow_with_the_days(simulator: RunningSimulator, tmp_path: Path) -> None:
    peaks = []
    for number in (7, 35):
        done = run(simulator, tmp_path / str(number), "--since", days_ago(number), program=("-c", _PEAK))
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout.rpartition("peak ")[2]))
    sizes = [(tmp_path / str(number) / "history.om").stat().st_size for number in (7, 35)]
    assert sizes[1] > 4 * sizes[0]
    # KiB. Samples have a cache, the month before is kept for gauges, and there are a few more series. All that is
    # written would be several times as much.
    assert peaks[1] - peaks[0] < 24 * 1024, peaks


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--since", "2026-02-30"], "'2026-02-30' is no day such as 2026-11-01"),
        (["--since", days_ago(0)], "--since is after --until"),
        (["--since", days_ago(3), "--until", days_ago(0)], "--until: that day is not over yet"),
        (["--since", days_ago(3), "--prometheus.labels", "job=openai"], "'job=openai' are no labels such as job="),
        (["--since", days_ago(3), "--prometheus.labels", 'project="x"'], "project: the exporter's own labels"),
        (["--since", days_ago(3), "--prometheus.labels", 'day="x"'], "day: the exporter's own labels"),
        (["--since", days_ago(3), "--prometheus.labels", 'team="x"'], "team: the exporter's own labels"),
        (["--since", days_ago(3), "--prometheus.labels", '__name__="x"'], "keeps no labels that begin with __"),
        (["--since", days_ago(3), "--output", "."], "'.' is no file such as history.om"),
        (["--since", days_ago(3), "--prometheus.labels", 'job="x" instance="y"'], "a comma is missing after job="),
    ],
    ids=[
        "no such day",
        "nothing to do",
        "an open day",
        "no quotes",
        "an own label",
        "a gauge's label",
        "an info's label",
        "an inner label",
        "no file",
        "no comma",
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(
    flags: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["backfill", "--output", str(tmp_path / "history.om"), "--storage.path", str(tmp_path / "state"), *flags]
    try:
        status: object = main(command)
    except SystemExit as refused:
        status = refused.code
    assert status == 2
    assert problem in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_hangup_that_is_ignored_stays_ignored_so_that_nohup_does_what_it_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        # It ends for want of a key, after it has looked after signals.
        command = ["backfill", "--output", str(tmp_path / "history.om"), "--storage.path", str(tmp_path / "state")]
        assert main([*command, "--since", days_ago(1)]) == 2
        assert [signal.getsignal(number) for number in numbers] == [signal.default_int_handler, signal.SIG_IGN]
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def test_labels_are_read_as_prometheus_spells_them() -> None:
    assert _labels('job="a\\"b\\\\c", instance="x:1"') == (("job", 'a"b\\c'), ("instance", "x:1"))
    assert _labels("") == ()
