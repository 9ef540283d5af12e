import gzip
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.attribution import Attribution
from exporter.ledger.ledger import Ledger
from exporter.ledger.store import DirectoryEntry, Store
from exporter.metrics.catalogue import FAMILIES, INFO_GAUGES, MONEY_GAUGES, Kind
from exporter.metrics.self_metrics import SelfMetrics
from exporter.metrics.snapshot import Pages, Snapshot, SnapshotBuilder
from tests.answers import MONDAY, Rows, answer
from tests.prometheus_tools import check_metrics

GOLDEN = Path(__file__).parent / "golden"
DAY = 86_400
NOON = MONDAY + DAY // 2


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger after a zero line on Monday noon, and an answer an hour later that grew, fell and brought news."""
    store = Store.open(tmp_path / "state")
    ledger = Ledger(store, series_limit=6)
    ledger.learn_names(
        "projects",
        {
            "proj_a": DirectoryEntry("Customer care", "active"),
            "proj_b": DirectoryEntry('Quoted "b" \\ with\nbreak', "archived"),
        },
    )
    attribution = attribution_of(ledger)
    care = {"project_id": "proj_a", "model": "gpt-6-astra"}
    for at, tokens, bill in ((NOON, 1000, "0.10"), (NOON + 3600, 1600, "0.0725945")):
        usage: Rows = [
            {**care, "input_text_tokens": tokens, "input_cached_text_tokens": 40, "output_text_tokens": tokens // 4},
            {"project_id": None, "model": "gpt-6-astra", "input_unspecified_tokens": 7, "num_model_requests": 1},
        ]
        usage[0]["num_model_requests"] = tokens // 100
        if at > NOON:
            usage.append(
                {"project_id": "proj_b", "model": "gpt-audio", "output_audio_tokens": 30, "num_model_requests": 2}
            )
        costs: Rows = [
            {"project_id": "proj_a", "line_item": "gpt-6-astra, input", "currency": "usd", "amount": Decimal(bill)},
            {"project_id": None, "line_item": "Vector storage", "currency": "usd", "amount": Decimal("1.5")},
            {"project_id": "proj_b", "line_item": "gpt-audio audio, output", "currency": "eur", "amount": Decimal(at)},
        ]
        storage: Rows = [{"project_id": "proj_a", "usage_bytes": at}]
        for api, rows in (("usage/completions", usage), ("costs", costs), ("usage/vector_stores", storage)):
            days = {MONDAY - DAY: rows[:1], MONDAY: rows}
            ledger.apply(answer(api, days, answered_at=at), attribution.counter_series, now=at, revision_days=3)
        ledger.show_ripe_series(now=at, wait=0)
    yield ledger
    store.close()


def attribution_of(ledger: Ledger) -> Attribution:
    return Attribution(projects=dict(ledger.directory["projects"]))


def snapshot_of(ledger: Ledger) -> Snapshot:
    return SnapshotBuilder().build(ledger, attribution_of(ledger), NOON + 3600)


@pytest.mark.parametrize("file_name", ["page.txt", "page.openmetrics.txt"])
def test_the_page_is_the_golden_page(ledger: Ledger, file_name: str, update_golden: bool) -> None:  # noqa: FBT001 - a fixture
    snapshot = snapshot_of(ledger)
    page = snapshot.text.plain if file_name == "page.txt" else snapshot.openmetrics.plain + b"# EOF\n"
    golden = GOLDEN / file_name
    if update_golden:
        golden.parent.mkdir(exist_ok=True)
        golden.write_bytes(page)
    assert page.decode() == golden.read_text(encoding="utf-8")


def test_promtool_accepts_the_golden_page() -> None:
    status, remarks = check_metrics((GOLDEN / "page.txt").read_bytes())
    assert (status, remarks) == (0, "")


def test_both_formats_parse_and_say_the_same(ledger: Ledger) -> None:
    snapshot = snapshot_of(ledger)
    text = {
        (s.name, *sorted(s.labels.items())): s.value
        for f in parse_text(snapshot.text.plain.decode())
        for s in f.samples
    }
    openmetrics = {
        (s.name, *sorted(s.labels.items())): s.value
        for f in parse_openmetrics(snapshot.openmetrics.plain.decode() + "# EOF\n")  # type: ignore[no-untyped-call]  # the library's gap
        for s in f.samples
    }
    assert text == openmetrics
    assert len(text) > 30


def test_hostile_names_come_back_unharmed_from_the_page(ledger: Ledger) -> None:
    families = parse_text(snapshot_of(ledger).text.plain.decode())
    names = {s.labels["project"] for f in families if f.name == "openai_project_info" for s in f.samples}
    assert 'Quoted "b" \\ with\nbreak' in names


@pytest.mark.parametrize("openmetrics", [False, True])
def test_compressed_and_plain_pages_are_the_same_for_strict_and_simple_readers(
    ledger: Ledger, *, openmetrics: bool
) -> None:
    pages = Pages(snapshot_of(ledger), lambda chosen: b"# end, openmetrics\n" if chosen else b"# end\n")
    plain = b"".join(pages.page(openmetrics=openmetrics, gzip=False))
    compressed = b"".join(pages.page(openmetrics=openmetrics, gzip=True))
    assert gzip.decompress(compressed) == plain
    # httpx stops at the end of the first gzip member: the page must be one.
    assert httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=compressed).content == plain
    assert plain.endswith(b"# end, openmetrics\n" if openmetrics else b"# end\n")
    assert b"".join(pages.page(openmetrics=openmetrics, gzip=True)) == compressed


def test_a_full_family_folds_new_series_and_its_gauges_alike_so_that_sums_stay_exact(ledger: Ledger) -> None:
    at = NOON + 7200
    attribution = attribution_of(ledger)
    rows: Rows = [
        {"project_id": f"proj_{n}", "model": "gpt-6-astra", "output_text_tokens": 10 + n, "num_model_requests": 1}
        for n in range(20)
    ]
    days = {MONDAY: rows}
    grown = answer("usage/completions", days, answered_at=at)
    ledger.apply(grown, attribution.counter_series, now=at, revision_days=3)
    ledger.show_ripe_series(now=at, wait=0)
    ledger.show_ripe_series(now=at, wait=0)
    samples = [
        sample
        for family in parse_text(SnapshotBuilder().build(ledger, attribution, at).text.plain.decode())
        for sample in family.samples
        if sample.labels.get("token_type") == "output" and sample.labels.get("modality") == "text"
    ]
    today = [s for s in samples if s.name == "openai_usage_day_tokens" and s.labels["day"] == "today"]
    assert sum(sample.value for sample in today) == sum(10 + n for n in range(20))
    folded = [sample for sample in samples if sample.labels["project"] == "(other)"]
    assert {sample.labels["model"] for sample in folded} == {"(other)"}
    assert {sample.name for sample in folded} == {"openai_usage_tokens_total", "openai_usage_day_tokens"}


def test_every_family_of_the_catalogue_has_the_shape_that_prometheus_and_the_contract_want() -> None:
    owned_by_the_operator = {"endpoint", "service", "job", "instance", "namespace", "pod", "container"}
    for family in FAMILIES:
        assert re.fullmatch(r"openai_[a-z_]+", family.name)
        assert (family.kind is Kind.COUNTER) == family.name.endswith("_total"), family.name
        assert not owned_by_the_operator & set(family.labels), family.name
        assert family.help.endswith("."), family.name
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


def test_self_metrics_expose_every_exporter_family_and_nothing_unknown(ledger: Ledger) -> None:
    metrics = SelfMetrics()
    metrics.expect("costs")
    metrics.answered("costs", "200", 0.1)
    metrics.retried("costs", "429")
    for family in (metrics.poll_success, metrics.poll_last_success, metrics.poll_duration, metrics.data_timestamp):
        family.labels("costs").set(1)
    metrics.grouping_enabled.labels("costs", "line_item").set(1)
    metrics.rows_rejected.labels("costs", "invalid_value").inc()
    metrics.series_overflow.labels("openai_cost_usd_total").inc()
    page = snapshot_of(ledger).text.plain + metrics.render(False)  # noqa: FBT003 - the text format
    declared = set(re.findall(r"^# TYPE (\S+) ", page.decode(), re.MULTILINE))
    known = {family.name for family in FAMILIES}
    own = {name for name in declared if not name.startswith("process_")}
    euro = {"openai_cost_eur_total", "openai_cost_day_eur", "openai_cost_month_eur"}
    not_in_this_ledger = {name for name in known if name.startswith("openai_usage_")}
    not_in_this_ledger |= {family.name for family in (*MONEY_GAUGES, *INFO_GAUGES)}
    assert own <= known | euro
    assert known - own <= not_in_this_ledger
