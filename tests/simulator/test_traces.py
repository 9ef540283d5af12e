"""The counters of traced calls, and what they leave out."""

import shutil
import subprocess
from collections import defaultdict

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter.simulator.clock import SettableClock
from exporter.simulator.model_calls import is_traceable
from exporter.simulator.server import Simulator
from tests.simulator.asking import DAY, NOW, TODAY

Samples = dict[tuple[str, ...], float]
LABELS = ("workflow", "action_group", "environment", "provider", "model", "project_id")


def samples(simulator: Simulator, name: str, *labels: str) -> Samples:
    sums: Samples = defaultdict(float)
    for family in text_string_to_metric_families(simulator.trace_page().decode()):
        for sample in family.samples:
            if sample.name == name:
                assert set(LABELS) <= sample.labels.keys()
                sums[tuple(sample.labels[label] for label in labels)] += sample.value
    return sums


@pytest.fixture(scope="module")
def closed_day() -> Simulator:
    """A simulator that lived through one whole day."""
    clock = SettableClock(TODAY)
    simulator = Simulator(clock=clock)
    clock.set(TODAY + DAY - 1)
    return simulator


def test_counters_start_at_zero_exist_from_the_start_and_never_fall() -> None:
    clock = SettableClock(TODAY)
    simulator = Simulator(clock=clock)
    keys = (*LABELS, "token_type")
    before = samples(simulator, "aitracer_trace_tokens_total", *keys)
    assert set(before.values()) == {0.0}
    for _ in range(30):
        clock.advance(3600)
        after = samples(simulator, "aitracer_trace_tokens_total", *keys)
        assert after.keys() == before.keys()
        assert all(after[key] >= value for key, value in before.items())
        before = after
    assert sum(before.values()) > 0


def test_about_nine_tenths_of_the_calls_are_traced(closed_day: Simulator) -> None:
    traced = sum(
        value
        for (status,), value in samples(closed_day, "aitracer_trace_requests_total", "status").items()
        if status == "ok"
    )
    truth = closed_day.truth(TODAY, TODAY + DAY, as_of=TODAY + 3 * DAY)
    apis = ("usage/completions", "usage/decisions", "usage/embeddings")
    billed = sum(row["num_model_requests"] for api in apis for row in truth[api])
    assert 0.85 < traced / billed < 0.95


def test_one_workflow_is_not_traced_at_all(closed_day: Simulator) -> None:
    told = {workflow for (workflow,) in samples(closed_day, "aitracer_trace_requests_total", "workflow")}
    worked = {stream.workflow.workflow for stream in closed_day.organization.streams}
    assert worked - told == {"nightly-classification"}
    untraced = [s for s in closed_day.organization.streams if s.workflow.workflow == "nightly-classification"]
    assert untraced
    assert not any(is_traceable(stream) for stream in untraced)


def test_one_model_is_priced_by_an_old_list(closed_day: Simulator) -> None:
    cost = samples(closed_day, "aitracer_trace_cost_usd_total", "model")
    tokens = samples(closed_day, "aitracer_trace_tokens_total", "model", "token_type")
    truth = closed_day.truth(TODAY, TODAY + DAY, as_of=TODAY + 3 * DAY)

    def drift(model: str) -> float:
        billed = float(
            sum(
                row["amount"]
                for row in truth["costs"]
                if f"| {model}," in row["line_item"] or row["line_item"].startswith(f"{model},")
            )
        )
        used = sum(
            row["input_tokens"] + row["output_tokens"]
            for api in ("usage/completions", "usage/decisions")
            for row in truth[api]
            if row["model"] == model
        )
        traced = tokens[model, "input"] + tokens[model, "output"]
        return cost[(model,)] / traced / (billed / float(used)) - 1

    assert drift("gpt-5.6-terra") == pytest.approx(0.4, abs=0.08)
    assert drift("gpt-5.4-2026-03-05") == pytest.approx(0.0, abs=0.05)


def test_promtool_accepts_the_page() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    page = Simulator(clock=SettableClock(NOW)).trace_page()
    checked = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_counters_that_begin_in_the_middle_go_on_where_others_stopped() -> None:
    """Two processes, one after the other, have together what one has that never stopped."""
    noon, evening = TODAY + 12 * 3600, TODAY + 20 * 3600
    names = ("workflow", "model", "status")
    clock = SettableClock(TODAY)
    never_stopped = Simulator(clock=clock)
    clock.set(noon)
    before = samples(never_stopped, "aitracer_trace_requests_total", *names)
    later = Simulator(clock=clock, traces_since=noon)
    assert set(samples(later, "aitracer_trace_requests_total", *names).values()) == {0.0}
    clock.set(evening)
    together = samples(never_stopped, "aitracer_trace_requests_total", *names)
    assert {
        key: before[key] + value for key, value in samples(later, "aitracer_trace_requests_total", *names).items()
    } == (together)
    assert together != before
