"""PrometheusRules and dashboards for Kubernetes are those of the other folders, whole and unchanged."""

import json
import subprocess
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.deploy.kubernetes_manifests import KUBERNETES, build, named, of_kind, written
from tests.deploy.operator_objects import RuleGroups
from tests.deploy.prometheus_rule_objects import DASHBOARDS, FOLDER, generated_files, object_name
from tests.deploy.rule_files import ADAPTERS, RULES
from tests.prometheus_tools import program

EVERY_OBJECT: Final = frozenset(object_name(rules) for rules in RULES)
# Kubernetes takes no ConfigMap of more than this, all its keys together.
LARGEST_CONFIG_MAP_BYTES: Final = 1024 * 1024


def test_the_golden_prometheus_rules_and_lists_are_made_from_what_is_there(*, update_golden: bool) -> None:
    wanted = dict(generated_files())
    if update_golden:
        for file, text in wanted.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    for file, text in wanted.items():
        assert file.read_text(encoding="utf-8") == text, file
    # And no rule file's object outlives it.
    assert {file for file in FOLDER.rglob("*.yaml") if file.is_file()} == {
        file for file in wanted if file.is_relative_to(FOLDER)
    }


@pytest.mark.parametrize("rules", [*RULES, *ADAPTERS], ids=lambda path: path.stem)
def test_a_prometheus_rule_holds_the_groups_and_comments_of_its_rule_file(rules: Path) -> None:
    objects = [(file, each) for file, each in written() if each["kind"] == "PrometheusRule"]
    [(file, found)] = [(file, each) for file, each in objects if each["metadata"]["name"] == object_name(rules)]
    source = rules.read_text(encoding="utf-8")
    assert found["spec"] == yaml.safe_load(source)
    text = file.read_text(encoding="utf-8")
    for comment in (line.strip() for line in source.splitlines() if line.strip().startswith("#")):
        assert comment in text


def promtool_checks(groups: object, file: Path) -> None:
    file.write_text(yaml.safe_dump(groups), encoding="utf-8")
    done = subprocess.run(
        [program("promtool"), "check", "rules", str(file)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_groups_of_every_prometheus_rule_as_written(tmp_path: Path) -> None:
    rules = [manifest for _, manifest in written() if manifest["kind"] == "PrometheusRule"]
    assert len(rules) == len(RULES) + len(ADAPTERS)
    for rule in rules:
        promtool_checks(rule["spec"], tmp_path / f"{rule['metadata']['name']}.yml")


@pytest.mark.parametrize("folder", ["base", "overlays/example", "overlays/organizations"])
def test_kustomize_passes_every_rule_on_as_it_is(folder: str, tmp_path: Path) -> None:
    built = {each["metadata"]["name"]: each["spec"] for each in of_kind(build(folder), "PrometheusRule")}
    assert built.keys() - {object_name(adapter) for adapter in ADAPTERS} == EVERY_OBJECT
    sources = {object_name(rules): yaml.safe_load(rules.read_text(encoding="utf-8")) for rules in (*RULES, *ADAPTERS)}
    changed = {name for name, groups in built.items() if groups != sources[name]}
    # Anchors are written out and long texts folded anew; the example changes two thresholds.
    assert changed == ({"openai-thresholds"} if folder == "overlays/example" else set())
    promtool_checks(
        {"groups": [group for groups in built.values() for group in groups["groups"]]}, tmp_path / "all.yml"
    )


def test_group_names_are_unique_as_the_operator_wants_them() -> None:
    for _, manifest in written():
        if manifest["kind"] == "PrometheusRule":
            names = [group.name for group in RuleGroups.model_validate(manifest["spec"]).groups]
            assert len(names) == len(set(names))


def test_the_example_changes_the_thresholds_it_names_and_no_others() -> None:
    own = yaml.safe_load((KUBERNETES / "overlays" / "example" / "thresholds.yaml").read_text(encoding="utf-8"))["data"]
    assert own
    found: dict[str, dict[str, str]] = {}
    for folder in ("base", "overlays/example"):
        [group] = named(build(folder), "PrometheusRule", "openai-thresholds")["spec"]["groups"]
        found[folder] = {rule["record"]: rule["expr"] for rule in group["rules"]}
    shipped, changed = found.values()
    assert changed == shipped | {f"openai:threshold:{name}": expression for name, expression in own.items()}
    assert all(shipped[f"openai:threshold:{name}"] != expression for name, expression in own.items())
    assert "thresholds" not in {each["metadata"]["name"] for each in of_kind(build("overlays/example"), "ConfigMap")}


def test_the_example_compares_with_one_source_of_traces() -> None:
    names = {rule["metadata"]["name"] for rule in of_kind(build("overlays/example"), "PrometheusRule")}
    assert names & {object_name(adapter) for adapter in ADAPTERS} == {"openai-adapter-aitracer"}


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda path: path.stem)
def test_an_adapter_is_a_folder_that_an_overlay_can_name(adapter: Path) -> None:
    [rule] = build(f"rules/adapters/{adapter.stem}")
    assert rule["metadata"]["name"] == object_name(adapter)


def test_every_dashboard_is_listed_for_a_config_map_of_its_own() -> None:
    listed = yaml.safe_load((DASHBOARDS / "kustomization.yaml").read_text(encoding="utf-8"))
    files = [each["files"] for each in listed["configMapGenerator"] or ()]
    assert files == [[file.name] for file in sorted(DASHBOARDS.glob("*.json"))]


@pytest.mark.parametrize("folder", ["base", "overlays/example", "overlays/organizations"])
def test_every_dashboard_is_in_a_config_map_that_grafana_finds(folder: str) -> None:
    found: dict[str, str] = {}
    for config_map in of_kind(build(folder), "ConfigMap"):
        if "grafana_dashboard" in config_map["metadata"]["labels"]:
            assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
            [(name, text)] = config_map["data"].items()
            assert len(text.encode()) < LARGEST_CONFIG_MAP_BYTES
            assert name not in found
            found[name] = text
    assert found.keys() == {file.name for file in DASHBOARDS.glob("*.json")}
    for name, text in found.items():
        assert json.loads(text) == json.loads((DASHBOARDS / name).read_text(encoding="utf-8"))
