"""`check-config --explain`, started as its user starts it."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.simulator.server import RunningSimulator, running_simulator
from tests.end_to_end.test_serving import PATIENCE_SECONDS, command, environment, run, serving
from tests.explanation.at_hand import Report

RULES = """
workflows:
  - {workflow: support, team: care, match: {project: "support-.*"}}
  - {workflow: search, team: platform, match: {project: cor}}
budgets: [{budget: everything, limit_usd: 12000}]
"""
EXPLAIN = ("check-config", "--config.file=rules.yml", "--storage.path=state")


@pytest.fixture(scope="module")
def organization() -> Iterator[RunningSimulator]:
    with running_simulator() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.yml").write_text(RULES, encoding="utf-8")
    return tmp_path


def of_rules(stdout: str) -> Report:
    first, _, report = stdout.partition("\n\n")
    assert first == "rules.yml: this configuration is good."
    return Report(report)


def test_it_explains_by_the_state_of_a_running_exporter_and_does_not_disturb_it(
    folder: Path, organization: RunningSimulator
) -> None:
    with serving(folder, organization.base_url, organization.admin_key) as served:
        served.wait_for(r"^openai_up 1\.0$")
        served.wait_for(r"^openai_cost_month_usd\{")
        before = sorted(path.name for path in (folder / "state").iterdir())

        ended = run(folder, organization, *EXPLAIN, "--explain")

        assert (ended.returncode, ended.stderr) == (0, "")
        told = of_rules(ended.stdout)
        assert f"the state in {folder / 'state'}, about {organization.base_url}" in told.flat("FACTS")
        assert told.by("RULES", "rule", "workflows.0")["workflow"] == "support"
        assert told.by("RULES THAT TAKE NOTHING", "rule", "workflows.1")["why"] == (
            "No project is called 'cor'. It matches only a part of core; it must match the whole, such as with .* at "
            "its ends."
        )
        assert sorted(path.name for path in (folder / "state").iterdir()) == before
        newest = float(
            re.findall(
                r"^openai_exporter_poll_last_success_timestamp_seconds\{.*costs.*\} (\S+)$", served.page(), re.MULTILINE
            )[0]
        )
        served.wait_for(rf'^openai_exporter_poll_last_success_timestamp_seconds\{{api="costs"\}} (?!{newest!r}$)')
        assert "cannot" not in served.log()
        assert served.stop() == 0
    ended = run(folder, organization, *EXPLAIN, "--explain", key=" ")
    assert ended.returncode == 0
    assert of_rules(ended.stdout).by("BUDGETS", "budget", "everything")["limit"] == "12,000.00"


def test_it_asks_the_api_and_tells_its_progress_beside_the_report(folder: Path, organization: RunningSimulator) -> None:
    ended = run(folder, organization, *EXPLAIN, "--explain.source=api")

    assert ended.returncode == 0
    assert f"the API at {organization.base_url}, asked" in of_rules(ended.stdout)["FACTS"]
    assert "reading costs from" in ended.stderr
    assert "reading" not in ended.stdout
    assert organization.admin_key not in ended.stdout + ended.stderr
    assert not (folder / "state").exists()


def test_what_cannot_be_explained_ends_with_a_status_of_its_own(folder: Path, organization: RunningSimulator) -> None:
    (folder / "bad.yml").write_text("workflows: [{workflow: a, match: {project: '('}}]", encoding="utf-8")
    for arguments, key, status, said in (
        (("--config.file=bad.yml", "--explain"), "", 2, "a regular expression is needed"),
        (("--explain",), " ", 1, "there is no state in state"),
        (("--explain.source=state",), "", 1, "Or ask the API with --explain.source=api"),
        (("--explain.source=api",), " ", 2, "no admin key is configured"),
        (("--explain.source=api",), "sk-admin-wrong", 1, "refused the admin key"),
        (("--explain.source=oracle",), "", 2, "invalid choice: 'oracle'"),
    ):
        ended = run(folder, organization, *EXPLAIN, *arguments, key=key)
        assert (ended.returncode, ended.stdout) == (status, ""), arguments
        assert said in ended.stderr
        assert "Traceback" not in ended.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["bad.yml", "rules.yml"]


def test_without_explain_it_shows_the_configuration_as_before(folder: Path, organization: RunningSimulator) -> None:
    ended = run(folder, organization, *EXPLAIN)

    assert ended.returncode == 0
    assert ended.stdout.startswith("# rules.yml: this configuration is good.\nopenai:\n")
    assert "RULES" not in ended.stdout


def test_a_reader_who_has_seen_enough_is_no_fault(folder: Path, organization: RunningSimulator) -> None:
    with subprocess.Popen(
        command(*EXPLAIN, "--explain.source=api"),
        env=environment(organization.base_url, organization.admin_key),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()
        assert process.wait(timeout=PATIENCE_SECONDS) == 0
    assert "Traceback" not in told
    assert "BrokenPipe" not in told


def test_a_terminal_that_knows_few_letters_gets_the_report_too(folder: Path, organization: RunningSimulator) -> None:
    (folder / "rules.yml").write_text("workflows: [{workflow: küche-東京}]", encoding="utf-8")
    ended = subprocess.run(
        command(*EXPLAIN, "--explain.source=api"),
        env=environment(organization.base_url, organization.admin_key) | {"PYTHONIOENCODING": "ascii"},
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )

    assert ended.returncode == 0
    assert rb"k\xfcche-\u6771\u4eac" in ended.stdout
