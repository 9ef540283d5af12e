"""A grouping the API refuses is given up for a day, and comes back, with every sum exact all the way."""

import pytest

from tests.polling.conftest import Start
from tests.polling.living import DAY, HOUR, Living, Organization

CASES = pytest.mark.parametrize(
    ("configuration", "api", "dimension"),
    [
        ("labels: {api_key: true}\npolling: {usage_interval: 12h, directory_interval: 1d}", "costs", "api_key_id"),
        ("", "usage/images", "size"),
    ],
)


def enabled(living: Living, api: str, dimension: str) -> float | None:
    return living.value("openai_exporter_grouping_enabled", api=api, dimension=dimension)


@CASES
def test_a_grouping_refused_from_the_start_is_regained_after_a_day(
    start: Start, organization: Organization, configuration: str, api: str, dimension: str
) -> None:
    organization.set_faults(refuse_groupings={api: [dimension]})
    living = start(configuration)
    living.poller.poll_due()
    assert enabled(living, api, dimension) == 0
    assert living.value("openai_up") == 1
    living.pass_time(4 * HOUR)
    living.assert_exact()
    organization.set_faults()
    for _ in range(3):
        living.pass_time(6 * HOUR)
    assert enabled(living, api, dimension) == 0
    living.pass_time(2 * HOUR)
    assert enabled(living, api, dimension) == 1
    living.assert_exact()
    living.pass_time(DAY)
    living.assert_exact()


@CASES
def test_a_grouping_lost_on_the_way_loses_nothing_and_counts_nothing_twice(
    start: Start, organization: Organization, configuration: str, api: str, dimension: str
) -> None:
    living = start(configuration)
    living.poller.poll_due()
    living.pass_time(2 * HOUR)
    assert enabled(living, api, dimension) == 1
    organization.set_faults(refuse_groupings={api: [dimension]})
    living.pass_time(2 * HOUR)
    assert enabled(living, api, dimension) == 0
    living.assert_exact()
    living.restart()
    living.pass_time(HOUR)
    living.assert_exact()
    for _ in range(3):
        living.pass_time(8 * HOUR)
    assert enabled(living, api, dimension) == 0
    organization.set_faults()
    living.pass_time(25 * HOUR)
    assert enabled(living, api, dimension) == 1
    living.assert_exact()


def test_a_refused_grouping_is_asked_for_once_a_day(start: Start, organization: Organization) -> None:
    organization.set_faults(refuse_groupings={"usage/images": ["size"]})
    living = start("polling: {usage_interval: 4h}")
    for _ in range(48 // 4 + 1):
        living.poller.poll("usage/images")
        living.clock.advance(4 * HOUR)
    refused = living.value("openai_exporter_http_requests_total", api="usage/images", code="400")
    assert refused == 3
