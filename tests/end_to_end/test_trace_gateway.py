"""Simulated applications, trace gateway, Prometheus, the shipped rules: the comparison with the bill comes out true.

Truth is added up from what the organization did, without gateway, exporter, Prometheus or rules.
"""

from collections.abc import Callable, Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter.simulator.trace_bodies import INGESTS
from tests.end_to_end import traced_day
from tests.end_to_end.reconciled_truth import OLD_PRICE_MODEL, Book, Figure, Owner, comparison, what_happened
from tests.end_to_end.traced_day import READ_AT, TRACED_DAY, TracedDay

pytestmark = pytest.mark.timeout(600)

LEVELS: Mapping[str, Callable[[Owner], str]] = {
    "": lambda _owner: "",
    "model": lambda owner: owner.model,
    "workflow": lambda owner: owner.workflow,
}
every_cut = pytest.mark.parametrize("level", LEVELS, ids=lambda level: level or "total")
# The gateway is scraped at both midnights, so that nothing is extrapolated; floats are added up in another order. But
# Prometheus 3 leaves the first of the two out, and extrapolates over the second until the next scrape: a part of
# 86,400. One call that is lost or counted twice is a thousandth of the requests.
WITHIN = 2e-5


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> TracedDay:
    """Lived and evaluated once for all tests."""
    return traced_day.live(tmp_path_factory.mktemp("day"))


def book(day: TracedDay) -> Book:
    """Return what happened, and what was told of OpenAI beside it; another provider's calls do not belong there."""
    happened = dict(what_happened(day.simulator, [TRACED_DAY], told_by=lambda _: READ_AT))
    extras = day.extras
    traced = happened[Owner(extras.project_id, extras.workflow, extras.model)].traced
    traced["tokens"] += extras.uncosted * (extras.input_tokens + extras.output_tokens)
    traced["requests"] += extras.uncosted
    return happened


def truth(day: TracedDay, level: str, name: str) -> dict[Figure, float]:
    return {
        figure: float(value) for figure, value in comparison(book(day), LEVELS[level]).items() if figure.name == name
    }


def recorded(day: TracedDay, level: str, name: str) -> dict[Figure, float]:
    found: dict[Figure, float] = {}
    for pairs, value in day.recorded.items():
        labels = dict(pairs)
        if labels["__name__"] == f"aitracer:{level}:{name}".replace("::", ":"):
            assert labels["source"] == "aitracer"
            found[Figure(name, labels.get(level, ""), labels.get("measure") or labels.get("part") or "")] = value
    return found


def on_the_page(day: TracedDay, name: str, **labels: str) -> float:
    """The sum of the gateway's samples with these labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(day.page)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


@every_cut
def test_coverage_is_the_truth_for_dollars_tokens_and_requests(day: TracedDay, level: str) -> None:
    true = truth(day, level, "coverage:ratio")
    assert {figure.which for figure in true} == {"usd", "tokens", "requests"}
    assert recorded(day, level, "coverage:ratio") == pytest.approx(true, rel=WITHIN)


@every_cut
@pytest.mark.parametrize("name", ["billed_usd:sum", "traced_usd:sum", "untraced_usd:sum"])
def test_what_is_billed_traced_and_untraced_is_the_truth(day: TracedDay, level: str, name: str) -> None:
    true, found = truth(day, level, name), recorded(day, level, name)
    # No dollars need not be recorded.
    assert {figure for figure, usd in true.items() if usd} <= found.keys()
    assert found == pytest.approx({figure: true.get(figure, 0.0) for figure in found}, rel=WITHIN, abs=1e-9)


@every_cut
def test_prices_drift_as_in_truth(day: TracedDay, level: str) -> None:
    true, found = truth(day, level, "price_drift:ratio"), recorded(day, level, "price_drift:ratio")
    assert {figure: 1 + drift for figure, drift in found.items()} == pytest.approx(
        {figure: 1 + drift for figure, drift in true.items()}, rel=WITHIN
    )


def test_one_workflow_alone_is_not_traced_and_all_of_its_bill_is_told_as_untraced(day: TracedDay) -> None:
    coverage = recorded(day, "workflow", "coverage:ratio")
    name = "nightly-classification"
    # What belongs to no workflow has no name that traces could bear.
    assert {figure.whose for figure, ratio in coverage.items() if ratio == 0} - {"unmapped"} == {name}
    billed = recorded(day, "workflow", "billed_usd:sum")[Figure("billed_usd:sum", name, "")]
    assert billed > 0
    assert recorded(day, "workflow", "untraced_usd:sum")[Figure("untraced_usd:sum", name, "never")] == billed


def test_one_model_is_told_at_an_old_price(day: TracedDay) -> None:
    drifts = {figure.whose: drift for figure, drift in recorded(day, "model", "price_drift:ratio").items()}
    # Calls without a cost look cheap: of those of this model some have none.
    uncosted = day.extras.uncosted * (day.extras.input_tokens + day.extras.output_tokens)
    tokens = sum(float(sides.traced["tokens"]) for owner, sides in book(day).items() if owner.model == OLD_PRICE_MODEL)
    assert (1 + drifts[OLD_PRICE_MODEL]) / (1 - uncosted / tokens) == pytest.approx(1.4, rel=0.1)


def test_another_provider_s_calls_are_counted_and_are_no_part_of_the_comparison(day: TracedDay) -> None:
    elsewhere = {"provider": "mistral", "workflow": day.extras.workflow}
    assert on_the_page(day, "aitracer_trace_requests_total", **elsewhere, status="ok") == day.extras.elsewhere
    assert on_the_page(day, "aitracer_trace_cost_usd_total", **elsewhere) == day.extras.elsewhere
    models = {dict(pairs).get("model") for pairs in day.recorded}
    assert OLD_PRICE_MODEL in models
    assert "mistral-large-3" not in models


def test_calls_without_a_cost_are_told_as_such(day: TracedDay) -> None:
    assert on_the_page(day, "aitracer_trace_uncosted_requests_total", workflow=day.extras.workflow) == (
        day.extras.uncosted
    )
    assert on_the_page(day, "aitracer_trace_uncosted_requests_total") == day.extras.uncosted


def test_every_call_that_aitracer_accepted_is_counted_once_however_often_it_was_sent(day: TracedDay) -> None:
    assert day.sent.given_up == 0
    assert day.sent.retries > 20
    # Those whose answers were cut came again, and AITracer took them twice.
    again = on_the_page(day, "aitracer_gateway_duplicates_total")
    assert again > 10
    told = day.sent.model_calls + day.extras.uncosted + day.extras.elsewhere
    assert on_the_page(day, "aitracer_trace_requests_total") == told
    assert on_the_page(day, "aitracer_gateway_unreadable_bodies_total") == 0
    # Two refusals each, which the SDK did not tell of.
    extras = day.extras.uncosted + day.extras.elsewhere
    assert on_the_page(day, "aitracer_gateway_requests_total", code="429") >= 2 * extras


def test_all_three_of_aitracer_s_ingests_were_used(day: TracedDay) -> None:
    assert set(day.taken) == set(INGESTS)
    assert min(day.taken.values()) > 0
