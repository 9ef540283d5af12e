"""OpenAI's own limits as gauges, and that an organization without them is as healthy as any."""

import pytest

from exporter.simulator.limits import ORGANIZATION_SPEND_LIMIT_USD, PROJECT_SPEND_LIMITS_USD
from tests.polling.conftest import Start, StartScripted
from tests.polling.living import DAY, MINUTE, Living, Organization
from tests.polling.small_organization import BEGAN

API = "spend_limits"


def spend_limits(living: Living, what: str = "usd") -> dict[str, float]:
    """Return a gauge by project name, empty for the organization; each project has its own id."""
    samples = living.samples(f"openai_spend_limit_{what}")
    names = {id_: entry.name for id_, entry in living.ledger.directory["projects"].items()} | {"": ""}
    assert all(labels["project"] == names[labels["project_id"]] for labels, _ in samples)
    assert len({labels["project_id"] for labels, _ in samples}) == len(samples)
    return {labels["project"]: value for labels, value in samples}


def read_limits(living: Living) -> None:
    living.poller.poll("projects")
    living.poller.poll(API)


def test_limits_are_those_of_the_organization_and_of_its_projects_and_unset_ones_are_absent(start_small: Start) -> None:
    living = start_small("")
    read_limits(living)

    assert spend_limits(living) == {
        "": ORGANIZATION_SPEND_LIMIT_USD,
        "data-science": PROJECT_SPEND_LIMITS_USD["data-science"],
        "research-agents": PROJECT_SPEND_LIMITS_USD["research-agents"],
    }
    assert spend_limits(living, "enforcing") == {"": 0, "data-science": 0, "research-agents": 0}
    assert living.value("openai_exporter_poll_success", api=API) == 1


def test_a_limit_is_enforced_from_the_day_the_bill_reaches_it(start_small: Start, small: Organization) -> None:
    living = start_small("")
    small.clock.set(BEGAN + 24 * DAY)
    read_limits(living)

    assert spend_limits(living, "enforcing") == {"": 0, "data-science": 0, "research-agents": 1}


def test_a_renamed_project_s_limit_has_its_new_name_and_no_other(start_scripted: StartScripted) -> None:
    exporter = start_scripted("")
    exporter.organization.spend_limits = {"": 500, "proj_a": 20}
    exporter.pass_time()
    exporter.organization.projects["proj_a"] = "renamed"
    exporter.pass_time(30 * MINUTE)

    assert exporter.gauge("openai_spend_limit_usd", "project") == {"": 500, "renamed": 20}


@pytest.mark.parametrize("status", [403, 400, 404, 405])
@pytest.mark.parametrize("where", ["spend_limit", "projects/"])
def test_limits_that_are_refused_are_no_failure_of_the_exporter(
    start_small: Start, small: Organization, status: int, where: str
) -> None:
    small.set_faults(status=[{"prefix": f"/v1/organization/{where}", "status": status}])
    living = start_small("polling: {directory_interval: 1h}")
    living.poller.poll_due()

    assert living.value("openai_up") == 1
    assert living.value("openai_exporter_auth_failed") == 0
    assert living.success(API) in {None, 1}
    assert living.poller.why_not_ready() is None
    # A limit that is not set is answered 404 too: it takes nothing from the others.
    others = {"data-science", "research-agents"} if where == "spend_limit" else {""}
    assert spend_limits(living).keys() == (others if status == 404 else set())


def test_a_reload_asks_again_for_limits_that_the_key_was_not_good_for(start_small: Start, small: Organization) -> None:
    small.set_faults(status=[{"prefix": "/v1/organization/spend_limit", "status": 403}])
    living = start_small("")
    living.poller.poll_due()
    assert spend_limits(living) == {}
    small.set_faults()
    living.pass_time(30 * MINUTE)
    assert spend_limits(living) == {}
    living.reload("")
    living.pass_time(1)

    assert spend_limits(living)[""] == ORGANIZATION_SPEND_LIMIT_USD


def test_limits_that_are_no_longer_to_be_had_are_no_longer_shown(start_small: Start, small: Organization) -> None:
    living = start_small("")
    read_limits(living)
    assert spend_limits(living)
    small.set_faults(status=[{"prefix": "/v1/organization/spend_limit", "status": 503}])
    living.poller.poll(API)
    # What cannot be read for a while stays.
    assert spend_limits(living)
    small.set_faults(status=[{"prefix": "/v1/organization/spend_limit", "status": 403}])
    living.poller.poll(API)

    assert not spend_limits(living)
    assert not spend_limits(living, "enforcing")
    small.set_faults()
    living.poller.poll(API)
    assert spend_limits(living)


def test_a_key_refused_for_everything_is_told_as_such_and_not_as_a_limit_that_is_not_there(
    start_small: Start, small: Organization
) -> None:
    small.set_faults(missing_scopes=["api.management.read"])
    living = start_small("")
    for api in ("projects", API, "costs"):
        living.poller.poll(api)

    assert living.value("openai_exporter_auth_failed") == 1
    assert living.success(API) == 0
    assert living.success("projects") == 0
