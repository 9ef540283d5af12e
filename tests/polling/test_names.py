"""Which name a posting goes under: the one that is known by then, and a name once used stays."""

import threading

from exporter.ledger.store import DirectoryEntry
from exporter.openai_api.endpoints import ENDPOINTS
from tests.polling.conftest import Start
from tests.polling.living import ARCHIVED, BEGAN, HOUR, MINUTE, RENAMED, Living, Organization


def named_by_their_id(living: Living) -> set[str]:
    return {
        name.family
        for name in living.ledger.book.counters
        for labels in [dict(name.labels)]
        if labels["project_id"] and labels["project_id"] == labels["project"]
    }


def test_a_new_project_s_first_series_has_its_name_without_waiting_for_the_directory_interval(
    start: Start, organization: Organization
) -> None:
    living = start("polling: {directory_interval: 1d}")
    with organization.unlisted():
        living.poller.poll("projects")
    living.clock.advance(MINUTE)
    living.poll_all()
    assert living.ledger.book.counters
    assert not named_by_their_id(living)
    # One more read, and not one per API.
    assert living.requests("projects") == 2


def test_apis_that_meet_a_new_project_at_the_same_moment_all_wait_for_its_name(
    start: Start, organization: Organization
) -> None:
    living = start("")
    with organization.unlisted():
        living.poller.poll("projects")
    living.clock.advance(MINUTE)
    organization.set_faults(prefix="/v1/organization/projects", slow_seconds=0.3)
    polls = [threading.Thread(target=living.poller.poll, args=(api,)) for api in ENDPOINTS]
    for poll in polls:
        poll.start()
    for poll in polls:
        poll.join()
    assert all(living.success(api) == 1 for api in ENDPOINTS)
    assert not named_by_their_id(living)


def test_ids_that_stay_unknown_make_the_directory_be_read_ever_less_often(
    start: Start, organization: Organization
) -> None:
    living = start("polling: {usage_interval: 10s, costs_interval: 10s, directory_interval: 1d}")
    with organization.unlisted():
        living.poller.poll_due()
        for _ in range(30):
            living.pass_time(10)
    # At once, and after about one and two minutes more.
    assert 2 <= living.requests("projects") <= 4
    living.assert_exact()


def test_a_clock_set_back_does_not_keep_names_unknown(start: Start, organization: Organization) -> None:
    living = start("polling: {directory_interval: 1d}")
    living.clock.advance(HOUR)
    with organization.unlisted():
        living.poller.poll("projects")
    living.clock.set(BEGAN)
    living.poll_all()
    assert not named_by_their_id(living)


def test_counting_does_not_wait_for_a_directory_that_is_down(start: Start, organization: Organization) -> None:
    organization.set_faults(status=[{"prefix": "/v1/organization/projects", "status": 503}])
    living = start("")
    living.poller.poll_due()
    asked = living.requests("projects")
    living.clock.advance(MINUTE)
    living.poll_all()
    assert living.requests("projects") == asked
    living.assert_exact()


def test_a_renamed_project_s_new_series_start_at_0_and_its_old_ones_stay(start: Start) -> None:
    living = start("polling: {directory_interval: 10m}")
    living.poller.poll_due()

    def tokens_of(project: str) -> float | None:
        values = [v for labels, v in living.samples("openai_usage_tokens_total") if labels["project"] == project]
        return sum(values) if values else None

    living.pass_time(RENAMED - MINUTE - BEGAN)
    assert tokens_of("employee-copilot") is None
    seen = []
    for _ in range(20):
        living.pass_time(MINUTE)
        seen.append((tokens_of("internal-tools"), tokens_of("employee-copilot")))
    old, new = zip(*seen, strict=True)
    assert old[-1] == old[-5] > 0
    first = next(value for value in new if value is not None)
    assert first == 0
    assert new[-1] > 0
    living.pass_time(HOUR)
    living.pass_time(5 * MINUTE)
    assert tokens_of("internal-tools") == old[-1]
    living.assert_exact()


class TestApiKeys:
    configuration = "labels: {api_key: true}"

    def test_have_their_names_from_the_directory_except_for_archived_projects(
        self, start: Start, organization: Organization
    ) -> None:
        # What was used in the days before is on the page too.
        organization.clock.set(ARCHIVED + HOUR)
        living = start(self.configuration)
        living.poller.poll_due()
        living.pass_time(HOUR)
        projects = organization.simulator.simulator.organization.projects
        named = {
            key.id: key.id if project.is_archived(living.clock()) else key.name
            for project in projects
            for key in project.keys
        }
        shown = {labels["api_key_id"]: labels["api_key"] for labels, _ in living.samples("openai_usage_requests_total")}
        # Some rows have no key.
        assert shown == {"": "", **named}
        assert {project.first_name for project in projects if project.is_archived(living.clock())} == {
            "summer-campaign"
        }
        assert living.success("api_keys") == 1
        answers = [labels for labels, _ in living.samples("openai_exporter_http_requests_total")]
        # A project without a spend limit answers 404.
        assert not any(labels["code"] != "200" for labels in answers if labels["api"] != "spend_limits")

    def test_a_deleted_key_keeps_its_id(self, start: Start, organization: Organization) -> None:
        projects = organization.simulator.simulator.organization.projects
        core = next(project for project in projects if project.first_name == "core")
        keys = core.keys
        object.__setattr__(core, "keys", keys[1:])
        try:
            living = start(self.configuration)
            living.poller.poll_due()
        finally:
            object.__setattr__(core, "keys", keys)
        shown = {labels["api_key_id"]: labels["api_key"] for labels, _ in living.samples("openai_usage_requests_total")}
        assert shown[keys[0].id] == keys[0].id
        assert shown[keys[1].id] == keys[1].name

    def test_a_key_that_is_deleted_later_keeps_its_name(self, start: Start, organization: Organization) -> None:
        living = start(self.configuration)
        living.poller.poll_due()
        with organization.unlisted("core"):
            living.pass_time(HOUR)
        assert living.success("api_keys") == 1
        names = {labels["api_key"] for labels, _ in living.samples("openai_usage_requests_total")}
        assert "search-index-1" in names
        assert not any(name.startswith("key_") for name in names)

    def test_a_project_the_organization_no_longer_has_hides_no_names(self, start: Start) -> None:
        living = start(self.configuration)
        living.ledger.learn_names("projects", {"proj_gone": DirectoryEntry("gone", "active")})
        living.poller.poll_due()
        assert living.success("api_keys") == 1
        assert living.value("openai_up") == 1


def test_telling_batches_apart_changes_no_sum(start_small: Start) -> None:
    living = start_small("labels: {batch: true}")
    living.poller.poll_due()
    living.pass_time(3 * HOUR)
    requests = [labels for labels, _ in living.samples("openai_usage_requests_total")]
    assert {labels["batch"] for labels in requests if labels["operation"] == "completions"} == {"false", "true"}
    living.assert_exact()


def test_telling_vector_stores_apart_changes_no_sum(start: Start) -> None:
    living = start("labels: {vector_store: true}")
    living.poller.poll_due()
    living.pass_time(3 * HOUR)
    assert living.samples("openai_usage_file_search_calls_total")
    living.assert_exact()


def test_opt_in_labels_are_exactly_where_the_endpoint_knows_the_dimension(start: Start) -> None:
    living = start(
        "labels: {api_key: true, user: true, batch: true, service_tier: true, api_source: true, vector_store: true}"
    )
    living.poller.poll_due()
    living.pass_time(3 * HOUR)
    living.assert_exact()
    every_model = {"api_key_id", "api_key", "user_id"}
    every_call = every_model | {"batch", "service_tier", "api_source"}
    expected = {
        ("openai_usage_tokens_total", "completions"): every_call,
        ("openai_usage_tokens_total", "embeddings"): every_model,
        ("openai_usage_requests_total", "completions"): every_call,
        ("openai_usage_requests_total", "images"): every_model,
        ("openai_usage_images_total", None): every_model,
        ("openai_usage_code_interpreter_sessions_total", None): set(),
        ("openai_usage_file_search_calls_total", None): every_model | {"vector_store_id"},
        ("openai_usage_web_search_calls_total", None): every_model | {"api_source"},
        ("openai_cost_usd_total", None): every_model | {"api_source"},
        ("openai_cost_day_usd", None): every_model | {"api_source"},
        ("openai_usage_day_tokens", "completions"): every_call,
        ("openai_usage_vector_store_bytes", None): set(),
    }
    opt_in = every_call | {"vector_store_id"}
    for (family, operation), labels in expected.items():
        found = [each for each, _ in living.samples(family) if operation in {None, each.get("operation")}]
        assert found, family
        assert {frozenset(each.keys() & opt_in) for each in found} == {frozenset(labels)}, family
