"""What deploy/README.md says about security, many organizations, high availability, storage and size."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from exporter.configuration.loading import parse_configuration
from exporter.metrics.catalogue import FAMILIES
from exporter.simulator.clock import SettableClock
from exporter.simulator.server import RunningSimulator, running_simulator
from tests.deploy.rule_files import ADAPTERS, RULES, rules
from tests.deploy.test_rules import promtool
from tests.end_to_end.simulated_days import MINUTE, start_exporter
from tests.sizing.measure import HEADER, SIZES, measure, row

DEPLOY = Path(__file__).parents[2] / "deploy"
GROWTH = DEPLOY / "growth"
README = (DEPLOY / "README.md").read_text(encoding="utf-8")
BEGAN = 1_793_264_400


def test_every_folder_is_in_the_index_and_every_link_leads_somewhere() -> None:
    folders = {folder.name for folder in DEPLOY.iterdir() if folder.is_dir() and folder.name != "__pycache__"}
    assert folders <= set(re.findall(r"^\| `([a-z]+)/` \|", README, re.MULTILINE))
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README)
    assert len(links) > 5
    assert [link for link in links if not link.startswith("http") and not (DEPLOY / link).exists()] == []


def test_the_figures_of_two_exporters_are_as_told() -> None:
    assert "SUCCESS" in promtool("test", "rules", "two-exporters.yml", folder=GROWTH)


@pytest.mark.parametrize("file", sorted(GROWTH.glob("prometheus-*.yml")), ids=lambda file: file.stem)
def test_promtool_accepts_the_examples(file: Path) -> None:
    assert "SUCCESS" in promtool("check", "config", file.name, folder=GROWTH)


def test_the_example_of_one_organization_loads_every_rule() -> None:
    output = promtool("check", "config", "prometheus-one-organization.yml", folder=GROWTH)
    for file in RULES:
        assert f"rules/{file.name}" in output


def test_remote_write_takes_everything_of_the_exporter_the_traces_and_the_rules_and_nothing_else() -> None:
    whole = yaml.safe_load((GROWTH / "prometheus-one-organization.yml").read_text(encoding="utf-8"))["remote_write"]
    [short] = [text for text in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if text.startswith("remote_write")]
    # Prometheus' expressions, too, must match as a whole.
    [[kept]] = [written["write_relabel_configs"] for written in whole]
    assert kept == yaml.safe_load(short)["remote_write"][0]["write_relabel_configs"][0]
    assert (kept["source_labels"], kept["action"]) == (["__name__"], "keep")
    recorded = {rule.name for rule in rules(*RULES, *ADAPTERS) if not rule.is_alert}
    assert len(recorded) > 100
    for name in {family.name for family in FAMILIES} | recorded | {"aitracer_trace_cost_usd_total"}:
        assert re.fullmatch(kept["regex"], name), name
    for name in ("up", "process_resident_memory_bytes", "prometheus_build_info", "node_openai", "ALERTS"):
        assert not re.fullmatch(kept["regex"], name), name


def test_an_alert_of_both_replicas_is_one_alert() -> None:
    example = yaml.safe_load((GROWTH / "prometheus-one-organization.yml").read_text(encoding="utf-8"))
    dropped = {each["regex"] for each in example["alerting"]["alert_relabel_configs"] if each["action"] == "labeldrop"}
    assert example["global"]["external_labels"].keys() - dropped == {"organization"}


def test_the_configuration_of_an_organization_is_a_good_one() -> None:
    [text] = [text for text in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "admin_key_file" in text]
    assert parse_configuration(text, "README").openai.admin_key_file == Path("/etc/openai/acme.key")


@pytest.fixture(scope="module")
def simulator() -> Iterator[tuple[SettableClock, RunningSimulator]]:
    clock = SettableClock(BEGAN)
    with running_simulator(clock=clock) as running:
        yield clock, running


def test_an_exporter_asks_as_often_as_told(tmp_path: Path, simulator: tuple[SettableClock, RunningSimulator]) -> None:
    clock, running = simulator
    exporter = start_exporter(
        running.base_url, running.admin_key, tmp_path / "state", clock, parse_configuration("", "defaults")
    )

    def requests() -> dict[str, float]:
        page = b"".join(exporter.poller.pages.page(openmetrics=False, gzip=False)).decode()
        found = re.findall(r'^openai_exporter_http_requests_total\{api="(.+?)".*\} (\S+)$', page, re.MULTILINE)
        return {api: float(value) for api, value in found}

    try:
        exporter.poller.poll_due()
        before = requests()
        for _ in range(30):
            clock.advance(MINUTE)
            exporter.poller.poll_due()
        asked = {api: count - before[api] for api, count in requests().items()}
    finally:
        exporter.close()
    [told] = re.findall(r"\*\*Requests\*\*: at most (\d+) an hour for (\w+) active projects", README)
    # Here all is in use: hardly anything is left alone for a minute.
    assert 0.9 * float(told[0]) < 2 * sum(asked.values()) <= float(told[0])
    assert (asked["usage/completions"], asked["costs"], asked["projects"]) == (30, 2, 1)
    assert (asked["spend_limits"], told[1]) == (7, "six")
    assert sum(api.startswith("usage/") for api in asked) == 11


def test_the_table_of_sizes_is_what_the_script_prints() -> None:
    lines = README.splitlines()
    begin = lines.index(HEADER)
    told = lines[begin + 2 : begin + 2 + len(SIZES)]
    cells = [re.findall(r"[^|]+", line) for line in told]
    assert [len(each) for each in cells] == [HEADER.count("|") - 1] * len(SIZES)
    for (series, *_), size in zip(cells, SIZES, strict=True):
        assert abs(int(series.strip().replace(",", "")) - size) < 0.06 * size


def test_the_script_measures_an_exporter_that_works() -> None:
    size = measure(300, polls=2, poll_seconds=1)
    assert 250 < size.series < 400
    assert size.plain > 100 * size.series
    assert 0 < size.compressed < size.plain / 3
    assert 0 < size.memory <= size.most_memory
    assert size.state > 0
    assert row(size).count("|") == HEADER.count("|")
