"""Prometheus' own judgement of the rules and the configuration, and the figures worked out by hand."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.deploy.rule_files import ADAPTERS, PROMETHEUS, RULE_TESTS, RULES, load
from tests.prometheus_tools import program


def promtool(*arguments: str, folder: Path = PROMETHEUS) -> str:
    done = subprocess.run(
        [program("promtool"), *arguments],
        cwd=folder,
        # It evaluates one rule after the other: with more processors it only collects garbage more often.
        env={**os.environ, "GOMAXPROCS": "1"},
        capture_output=True,
        check=False,
        timeout=240,
        text=True,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-4000:]
    return output


@pytest.mark.parametrize("file", [*RULES, *ADAPTERS], ids=lambda file: file.stem)
def test_promtool_accepts_the_rules(file: Path) -> None:
    assert "SUCCESS" in promtool("check", "rules", str(file))


@pytest.mark.parametrize("file", RULE_TESTS, ids=lambda file: file.stem)
def test_the_rules_give_what_was_worked_out_by_hand(file: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", str(file))


def test_every_rule_file_has_figures_to_stand_up_to() -> None:
    tested = {(PROMETHEUS / "tests" / name).resolve() for file in RULE_TESTS for name in load(file)["rule_files"]}
    assert {file.name for file in (*RULES, *ADAPTERS) if file not in tested} == set()


def test_promtool_accepts_the_configuration_and_it_loads_every_rule_file_but_no_adapter() -> None:
    output = promtool("check", "config", "prometheus.yml")
    for file in RULES:
        assert f"rules/{file.name}" in output
    assert "adapters" not in output


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda file: file.stem)
def test_the_configuration_names_every_adapter_so_that_a_user_only_uncomments_it(adapter: Path, tmp_path: Path) -> None:
    text = (PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8")
    line = f"  # - rules/adapters/{adapter.name} "
    assert text.count(line) == 1
    (tmp_path / "prometheus.yml").write_text(text.replace(line, line.replace("# ", "")), encoding="utf-8")
    (tmp_path / "rules").symlink_to(PROMETHEUS / "rules")
    assert f"adapters/{adapter.name}" in promtool("check", "config", "prometheus.yml", folder=tmp_path)


def test_a_group_is_evaluated_often_enough_for_its_series_never_to_go_stale() -> None:
    # Prometheus forgets a series that got no sample for five minutes.
    for file in (*RULES, *ADAPTERS):
        for group in load(file)["groups"]:
            assert group.get("interval", "1m") in {"1m", "2m"}, (file.name, group["name"])
