import gzip
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.attribution import Attribution
from exporter.configuration.loading import parse_configuration
from exporter.ledger.ledger import Ledger
from exporter.ledger.store import DirectoryEntry, Store
from exporter.metrics import snapshot
from exporter.metrics.catalogue import FAMILIES, INFO_GAUGES, MONEY_GAUGES, Kind
from exporter.metrics.self_metrics import SelfMetrics
from exporter.metrics.snapshot import Body, Pages, Snapshot, SnapshotBuilder, Surroundings
from exporter.openai_api.answer import Billed, BilledItem
from exporter.openai_api.directory import ApiKey, User
from exporter.openai_api.limits import RateLimit, SpendLimit
from exporter.openai_api.readings import Readings
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


def text_of(body: Body) -> bytes:
    return b"".join(body.plain)


def test_a_page_is_the_same_in_whatever_slices_it_is_made(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = snapshot_of(ledger)
    monkeypatch.setattr(snapshot, "_SLICE", 7)
    sliced = snapshot_of(ledger)
    assert max(map(len, sliced.text.plain)) < max(map(len, whole.text.plain))
    for some, all_at_once in ((sliced.text, whole.text), (sliced.openmetrics, whole.openmetrics)):
        assert text_of(some) == text_of(all_at_once)
        assert gzip.decompress(b"".join(some.ending_with(b"end\n", gzip=True))) == text_of(all_at_once) + b"end\n"


EVERYTHING = """
labels: {user: true}
directory: {spend_limits: true, rate_limits: true, api_keys: true}
workflows:
  - workflow: bot
    team: care
    business_unit: retail
    action_group: support
    match: {project: "Customer.*", api_key: "bot-.*"}
  - {workflow: notebooks, team: data, match: {project: "Customer.*", api_key: "notebook-.*"}}
budgets:
  - {budget: everything, limit_usd: 100}
  - {budget: care, limit_usd: "0.50", match: {team: care, model: 'gpt-6-astra|"odd" \\\\d'}}
  - {budget: nothing yet, limit_usd: 1.0e-3, match: {project: nobody}}
prices: {gpt-audio: {input: 1.0e-6, audio: {output: 6.4e-5}}}
"""


def used(key: str | None, model: str, **more: object) -> dict[str, object]:
    return {"project_id": "proj_a", "api_key_id": key, "model": model, "service_tier": "default", **more}


def billed(key: str | None, line_item: str, amount: str | Decimal, **more: object) -> dict[str, object]:
    row = {"project_id": "proj_a", "api_key_id": key, "line_item": line_item}
    return {**row, "currency": "usd", "amount": Decimal(amount), **more}


@pytest.fixture
def mapped(tmp_path: Path) -> Iterator[Snapshot]:
    """All that there is beside usage and costs: workflows, prices of two sources, budgets, limits, keys and people."""
    configuration = parse_configuration(EVERYTHING, "test")
    names = {"key_bot": DirectoryEntry("bot-1"), "key_notebook": DirectoryEntry("notebook-1")}
    with Store.open(tmp_path / "mapped") as store:
        ledger = Ledger(store, series_limit=100)
        ledger.learn_names("projects", {"proj_a": DirectoryEntry("Customer care", "active")})
        ledger.learn_names("api_keys", names)
        attribution = Attribution(
            dict(ledger.directory["projects"]),
            opt_in=configuration.labels.switched_on,
            api_keys=names,
            users={"user-1": DirectoryEntry("Ada")},
            rules=configuration.workflows,
        )
        for at, tokens, bill in ((NOON, 1_000_000, "0.10"), (NOON + 3600, 1_600_000, "0.40")):
            usage: Rows = [
                used("key_bot", "gpt-6-astra", input_text_tokens=tokens),
                used("key_notebook", "gpt-6-astra", service_tier="flex", user_id="user-1", output_text_tokens=tokens),
                used("key_bot", "gpt-audio", output_audio_tokens=tokens),
                used(None, "gpt-unheard-of", input_text_tokens=tokens),
            ]
            costs: Rows = [
                billed("key_bot", "gpt-6-astra, input", bill),
                billed("key_notebook", "flex | gpt-6-astra, output", Decimal(bill) * 2, user_id="user-1"),
                billed(None, "gpt-6-astra, input", "0.25"),
                billed(None, "Vector storage", "1.5"),
            ]
            quantities = {
                BilledItem("gpt-6-astra, input", "tokens"): Billed(Decimal("0.3"), 240_000),
                BilledItem("flex | gpt-6-astra, output", "1000_tokens"): Billed(Decimal("0.2"), Decimal("3.5")),
                BilledItem("omni-moderation-latest, input", "tokens"): Billed(0, 9000),
                BilledItem("Vector storage", "gibibyte_hours"): Billed(Decimal("1.5"), Decimal("33.6")),
            }
            grouping = ("project_id", "user_id", "line_item", "api_key_id")
            for api, rows, by in (("usage/completions", usage, None), ("costs", costs, grouping)):
                days = {MONDAY - DAY: rows[:2], MONDAY: rows}
                news = answer(api, days, answered_at=at, grouping=by)
                if api == "costs":
                    news = replace(news, quantities={MONDAY - DAY: quantities, MONDAY: quantities})
                ledger.apply(news, attribution.counter_series, now=at, revision_days=3)
            ledger.show_ripe_series(now=at, wait=0)
        readings = Readings(
            api_keys=(
                ApiKey("key_bot", "bot-1", "proj_a", "service_account", 1, NOON, None),
                ApiKey("key_notebook", "notebook-1", "proj_a", "user", 1, None, NOON + 30 * DAY),
            ),
            users=(User("user-1", "Ada"),),
            spend_limits=(SpendLimit("", Decimal(15_000), False), SpendLimit("proj_a", Decimal("450.5"), True)),  # noqa: FBT003 - named by the type's fields
            rate_limits=(RateLimit("proj_a", "gpt-6-astra", 4_000_000, None),),
        )
        yield SnapshotBuilder().build(ledger, attribution, NOON + 3600, Surroundings(configuration, readings))


@pytest.mark.parametrize("name", ["page", "mapped"])
@pytest.mark.parametrize("ending", ["txt", "openmetrics.txt"])
def test_the_page_is_the_golden_page(
    ledger: Ledger,
    mapped: Snapshot,
    name: str,
    ending: str,
    update_golden: bool,  # noqa: FBT001 - a fixture
) -> None:
    snapshot = mapped if name == "mapped" else snapshot_of(ledger)
    page = text_of(snapshot.text) if ending == "txt" else text_of(snapshot.openmetrics) + b"# EOF\n"
    golden = GOLDEN / f"{name}.{ending}"
    if update_golden:
        golden.parent.mkdir(exist_ok=True)
        golden.write_bytes(page)
    assert page.decode() == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["page.txt", "mapped.txt"])
def test_promtool_accepts_the_golden_page(name: str) -> None:
    status, remarks = check_metrics((GOLDEN / name).read_bytes())
    assert (status, remarks) == (0, "")


def test_the_golden_pages_have_every_family_that_is_not_about_the_exporter_itself(mapped: Snapshot) -> None:
    declared = set(re.findall(r"^# TYPE (\S+) ", text_of(mapped.text).decode(), re.MULTILINE))
    assert declared >= {family.name for family in (*MONEY_GAUGES, *INFO_GAUGES)} - {
        "openai_rate_limit_requests_per_minute"
    }
    assert mapped.unpriced_models == {"gpt-unheard-of"}


@pytest.mark.parametrize("name", ["page", "mapped"])
def test_both_formats_parse_and_say_the_same(ledger: Ledger, mapped: Snapshot, name: str) -> None:
    snapshot = mapped if name == "mapped" else snapshot_of(ledger)
    text = {
        (s.name, *sorted(s.labels.items())): s.value
        for f in parse_text(text_of(snapshot.text).decode())
        for s in f.samples
    }
    openmetrics = {
        (s.name, *sorted(s.labels.items())): s.value
        for f in parse_openmetrics(text_of(snapshot.openmetrics).decode() + "# EOF\n")  # type: ignore[no-untyped-call]  # the library's gap
        for s in f.samples
    }
    assert text == openmetrics
    assert len(text) > 30


def test_hostile_names_come_back_unharmed_from_the_page(ledger: Ledger) -> None:
    families = parse_text(text_of(snapshot_of(ledger).text).decode())
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
        for family in parse_text(text_of(SnapshotBuilder().build(ledger, attribution, at).text).decode())
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
    page = text_of(snapshot_of(ledger).text) + metrics.render(False)  # noqa: FBT003 - the text format
    declared = set(re.findall(r"^# TYPE (\S+) ", page.decode(), re.MULTILINE))
    known = {family.name for family in FAMILIES}
    own = {name for name in declared if not name.startswith("process_")}
    euro = {"openai_cost_eur_total", "openai_cost_day_eur", "openai_cost_month_eur"}
    not_in_this_ledger = {name for name in known if name.startswith("openai_usage_")}
    not_in_this_ledger |= {family.name for family in (*MONEY_GAUGES, *INFO_GAUGES)}
    assert own <= known | euro
    assert known - own <= not_in_this_ledger
