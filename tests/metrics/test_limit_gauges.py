from collections.abc import Iterable
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from exporter.ledger.counters import SeriesName
from exporter.ledger.store import DirectoryEntry
from exporter.metrics.catalogue import (
    API_KEY_EXPIRES,
    API_KEY_INFO,
    API_KEY_LAST_USED,
    FAMILIES,
    RATE_LIMIT_REQUESTS,
    RATE_LIMIT_TOKENS,
    SPEND_LIMIT,
    SPEND_LIMIT_ENFORCING,
    USER_INFO,
    Family,
)
from exporter.metrics.event_gauges import Gauges
from exporter.metrics.limit_gauges import (
    api_key_gauges,
    rate_limit_gauges,
    reading_gauges,
    spend_limit_gauges,
    user_gauges,
)
from exporter.metrics.rendering import render_samples
from exporter.openai_api.directory import ApiKey, User
from exporter.openai_api.limits import RateLimit, SpendLimit
from exporter.openai_api.readings import Readings

PROJECTS = {"proj_a": DirectoryEntry("core", "active"), "proj_b": DirectoryEntry("core", "active")}


def key(identifier: str = "key_a", **fields: object) -> ApiKey:
    plain: dict[str, object] = {
        "id": identifier,
        "name": "search",
        "project_id": "proj_a",
        "owner_type": "user",
        "created_at": 1,
        "last_used_at": None,
        "expires_at": None,
    }
    return ApiKey(**{**plain, **fields})  # type: ignore[arg-type]  # spelled by name


def shown(gauges: Gauges, family: Family) -> dict[tuple[str, ...], object]:
    """Values by label values."""
    assert all(tuple(name for name, _ in series.labels) == family.labels for series in gauges[family])
    return {tuple(value for _, value in series.labels): value for series, value in gauges[family].items()}


def test_spend_limits_are_by_project_and_the_organization_has_no_project() -> None:
    gauges = spend_limit_gauges(
        [
            SpendLimit("", Decimal(15_000), enforcing=False),
            SpendLimit("proj_a", Decimal("0.01"), enforcing=True),
            SpendLimit("proj_new", Decimal(5), enforcing=False),
        ],
        PROJECTS,
    )
    assert shown(gauges, SPEND_LIMIT) == {
        ("", ""): Decimal(15_000),
        ("proj_a", "core"): Decimal("0.01"),
        ("proj_new", "proj_new"): Decimal(5),
    }
    assert shown(gauges, SPEND_LIMIT_ENFORCING) == {("", ""): 0, ("proj_a", "core"): 1, ("proj_new", "proj_new"): 0}


def test_projects_of_one_name_keep_their_own_limits() -> None:
    limits = [SpendLimit("proj_a", Decimal(1), enforcing=False), SpendLimit("proj_b", Decimal(2), enforcing=True)]
    assert shown(spend_limit_gauges(limits, PROJECTS), SPEND_LIMIT) == {
        ("proj_a", "core"): Decimal(1),
        ("proj_b", "core"): Decimal(2),
    }


def test_of_two_limits_of_one_project_the_lower_one_holds_and_enforcing_is_not_hidden() -> None:
    limits = [SpendLimit("proj_a", Decimal(9), enforcing=True), SpendLimit("proj_a", Decimal(2), enforcing=False)]
    for order in (limits, limits[::-1]):
        gauges = spend_limit_gauges(order, PROJECTS)
        assert shown(gauges, SPEND_LIMIT) == {("proj_a", "core"): Decimal(2)}
        assert shown(gauges, SPEND_LIMIT_ENFORCING) == {("proj_a", "core"): 1}


def test_rate_limits_are_by_project_and_model_as_far_as_the_api_gave_them() -> None:
    gauges = rate_limit_gauges(
        [
            RateLimit("proj_a", "gpt-5", 4_000_000, 10_000),
            RateLimit("proj_a", "tts-1", None, 500),
            RateLimit("proj_b", "gpt-5", 0, None),
        ],
        PROJECTS,
    )
    assert shown(gauges, RATE_LIMIT_TOKENS) == {
        ("proj_a", "core", "gpt-5"): 4_000_000,
        ("proj_b", "core", "gpt-5"): 0,
    }
    assert shown(gauges, RATE_LIMIT_REQUESTS) == {
        ("proj_a", "core", "gpt-5"): 10_000,
        ("proj_a", "core", "tts-1"): 500,
    }


def test_of_two_rate_limits_of_one_model_the_lower_one_is_shown() -> None:
    limits = [RateLimit("proj_a", "gpt-5", 900, None), RateLimit("proj_a", "gpt-5", 1000, 10)]
    for order in (limits, limits[::-1]):
        gauges = rate_limit_gauges(order, PROJECTS)
        assert shown(gauges, RATE_LIMIT_TOKENS) == {("proj_a", "core", "gpt-5"): 900}
        assert shown(gauges, RATE_LIMIT_REQUESTS) == {("proj_a", "core", "gpt-5"): 10}


def test_times_of_a_key_are_absent_where_there_are_none() -> None:
    gauges = api_key_gauges([key(), key("key_b", last_used_at=20, expires_at=30, owner_type="")])
    assert shown(gauges, API_KEY_INFO) == {
        ("key_a", "search", "proj_a", "user"): 1,
        ("key_b", "search", "proj_a", ""): 1,
    }
    assert shown(gauges, API_KEY_LAST_USED) == {("key_b", "search", "proj_a"): 20}
    assert shown(gauges, API_KEY_EXPIRES) == {("key_b", "search", "proj_a"): 30}


def test_a_key_that_is_told_twice_is_one_key() -> None:
    gauges = api_key_gauges([key(name="before", expires_at=5), key(owner_type="service_account", expires_at=9)])
    assert shown(gauges, API_KEY_INFO) == {("key_a", "search", "proj_a", "service_account"): 1}
    assert shown(gauges, API_KEY_EXPIRES) == {("key_a", "search", "proj_a"): 9}


def test_users_are_by_id_and_their_address_is_there_only_if_it_was_read() -> None:
    gauges = user_gauges([User("user-1", "Ann"), User("user-2", "Ann", "ann@acme.test"), User("user-1", "Anna")])
    assert shown(gauges, USER_INFO) == {("user-1", "Anna", ""): 1, ("user-2", "Ann", "ann@acme.test"): 1}


def test_nothing_read_is_nothing_shown() -> None:
    assert not any(reading_gauges(Readings(), PROJECTS).values())


IDS = st.sampled_from(("", "proj_a", "proj_b", 'quoted "x"\n'))
TIMES = st.none() | st.integers(0, 2**33)
READINGS = st.builds(
    Readings,
    api_keys=st.lists(st.builds(ApiKey, IDS, IDS, IDS, IDS, TIMES, TIMES, TIMES)).map(tuple),
    users=st.lists(st.builds(User, IDS, IDS, IDS)).map(tuple),
    spend_limits=st.lists(st.builds(SpendLimit, IDS, st.decimals(0, 10**9, places=2), st.booleans())).map(tuple),
    rate_limits=st.lists(st.builds(RateLimit, IDS, IDS, TIMES, TIMES)).map(tuple),
)


@given(READINGS)
def test_whatever_is_read_no_series_is_there_twice_and_ids_join_to_one(readings: Readings) -> None:
    gauges = reading_gauges(readings, PROJECTS)
    assert set(gauges) <= set(FAMILIES)
    for family, series in gauges.items():
        parsed = list(text_string_to_metric_families(render_samples(series)))
        samples = [tuple(sorted(sample.labels.items())) for each in parsed for sample in each.samples]
        assert len(set(samples)) == len(samples) == len(series)
        assert all(set(dict(labels)) == set(family.labels) for labels in samples)
    assert unique(gauges[API_KEY_INFO], "api_key_id", "project_id")
    assert unique(gauges[USER_INFO], "user_id")
    assert unique(gauges[SPEND_LIMIT], "project_id")
    assert unique(gauges[RATE_LIMIT_TOKENS], "project_id", "model")
    assert {limit.project_id for limit in readings.spend_limits} == {
        dict(name.labels)["project_id"] for name in gauges[SPEND_LIMIT]
    }


def unique(series: Iterable[SeriesName], *labels: str) -> bool:
    found = [tuple(dict(name.labels)[label] for label in labels) for name in series]
    return len(set(found)) == len(found)
