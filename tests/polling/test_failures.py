"""What a failed poll changes: its health metrics, a line in the log, and nothing else."""

import logging
from collections import Counter

import pytest

from exporter.openai_api.endpoints import ENDPOINTS
from tests.polling.conftest import Start
from tests.polling.living import BEGAN, DAY, HOUR, MINUTE, Living, Organization

DOWN = [{"prefix": "/v1/", "status": 503}]


def told(caplog: pytest.LogCaptureFixture, message: str) -> Counter[str]:
    return Counter(record.__dict__["api"] for record in caplog.records if record.message == message)


def test_a_failed_poll_changes_nothing_but_health_metrics(start: Start, organization: Organization) -> None:
    living = start("")
    living.poller.poll_due()
    before = living.counters()
    organization.set_faults(status=DOWN)
    living.pass_time(HOUR)
    assert living.counters() == before
    assert living.value("openai_up") == 0
    for api in (*ENDPOINTS, "projects"):
        assert living.success(api) == 0
        succeeded_at = living.value("openai_exporter_poll_last_success_timestamp_seconds", api=api)
        assert succeeded_at == living.clock() - HOUR
    assert living.value("openai_exporter_auth_failed") == 0


def test_the_poll_after_an_outage_of_days_covers_all_that_was_missed(start: Start, organization: Organization) -> None:
    # The month turns meanwhile.
    organization.clock.set(BEGAN - 3 * DAY)
    living = start("")
    living.poller.poll_due()
    organization.set_faults(status=DOWN)
    for _ in range(10):
        living.pass_time(DAY / 2)
    organization.set_faults()
    living.pass_time(15 * MINUTE)
    assert living.value("openai_up") == 0
    living.pass_time(15 * MINUTE)
    assert living.value("openai_up") == 1
    living.assert_exact()


@pytest.mark.parametrize("faults", [{"invalid_json": True}, {"wrong_shape": True}, {"cut_probability": 1.0}])
def test_an_answer_that_cannot_be_believed_changes_nothing(
    start: Start, organization: Organization, faults: dict[str, object]
) -> None:
    living = start("")
    living.poller.poll_due()
    before = living.counters()
    organization.set_faults(**faults)
    living.pass_time(HOUR)
    assert living.counters() == before
    assert living.value("openai_up") == 0
    organization.set_faults()
    living.pass_time(HOUR)
    assert living.value("openai_up") == 1
    living.assert_exact()


def test_a_long_interval_is_not_waited_for_after_a_failure(start: Start, organization: Organization) -> None:
    living = start("polling: {costs_interval: 6h}")
    living.poller.poll_due()
    organization.set_faults(status=DOWN)
    living.pass_time(6 * HOUR)
    asked = living.requests("costs")
    living.pass_time(29)
    assert living.requests("costs") == asked
    organization.set_faults()
    living.pass_time(1)
    assert living.requests("costs") == asked + 1
    assert living.success("costs") == 1
    living.pass_time(HOUR)
    assert living.requests("costs") == asked + 1


def test_thirty_failed_polls_give_a_handful_of_lines_and_the_recovery_one(
    start: Start, organization: Organization, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "exporter.polling")
    living = start("")
    living.poller.poll_due()
    caplog.clear()
    # Every answer is an error, and each time another one.
    organization.set_faults(error_rate=1.0)
    for _ in range(30):
        living.pass_time(MINUTE)
    assert living.value("openai_up") == 0
    failed = told(caplog, "poll failed")
    assert failed["usage/completions"] >= 1
    assert max(failed.values()) <= 4
    caplog.clear()
    organization.set_faults()
    for _ in range(30):
        living.pass_time(MINUTE)
    assert living.value("openai_up") == 1
    assert set(told(caplog, "polls succeed again").values()) == {1}
    assert not told(caplog, "poll failed")
    recovered = next(record for record in caplog.records if record.__dict__["api"] == "usage/completions")
    assert recovered.__dict__["failed_polls"] == 30
    assert recovered.__dict__["down_seconds"] == 30 * MINUTE


def test_another_kind_of_failure_is_told_at_once(
    start: Start, organization: Organization, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "exporter.polling")
    living = start("")
    organization.set_faults(status=DOWN)
    living.poller.poll("costs")
    organization.set_faults(revoked=True)
    living.poller.poll("costs")
    assert [record.message for record in caplog.records] == ["poll failed", "poll failed"]
    assert "refused the admin key" in caplog.records[1].__dict__["problem"]


def test_a_failure_that_stays_is_told_again_every_hour(
    start: Start, organization: Organization, caplog: pytest.LogCaptureFixture
) -> None:
    living = start("")
    organization.set_faults(status=DOWN)
    for _ in range(3 * 60 + 1):
        living.poller.poll("usage/completions")
        living.clock.advance(MINUTE)
    assert told(caplog, "poll failed") == {"usage/completions": 4}


def test_an_unexpected_exception_in_one_api_stops_no_other(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    living = start("")
    read = living.poller._reader.read

    def read_all_but_embeddings(endpoint: object, *window: object, **more: object) -> object:
        if endpoint is ENDPOINTS["usage/embeddings"]:
            raise ZeroDivisionError("a fault of ours")
        return read(endpoint, *window, **more)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(living.poller._reader, "read", read_all_but_embeddings)
    living.poller.poll_due()
    assert living.success("usage/embeddings") == 0
    assert {api for api in ENDPOINTS if living.success(api) == 1} == ENDPOINTS.keys() - {"usage/embeddings"}
    assert living.value("openai_up") == 0
    [unexpected] = [record for record in caplog.records if record.message == "poll failed unexpectedly"]
    assert unexpected.exc_info is not None
    monkeypatch.undo()
    living.pass_time(30)
    assert living.value("openai_up") == 1


class TestAnEndpointTheOrganizationDoesNotHave:
    api = "usage/decisions"

    def absent(self, start: Start, organization: Organization) -> Living:
        organization.set_faults(absent_endpoints=[self.api])
        living = start("")
        living.poller.poll_due()
        return living

    def test_is_no_failure_and_has_no_success_either(self, start: Start, organization: Organization) -> None:
        living = self.absent(start, organization)
        assert living.value("openai_up") == 1
        assert living.success(self.api) is None
        assert living.poller.why_not_ready() is None

    def test_is_asked_again_after_six_hours_and_then_at_its_own_pace(
        self, start: Start, organization: Organization, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "exporter.polling")
        living = self.absent(start, organization)
        for _ in range(5):
            living.pass_time(HOUR)
        assert living.requests(self.api) == 1
        living.pass_time(HOUR)
        assert living.requests(self.api) == 2
        assert told(caplog, "endpoint not offered")[self.api] == 1
        organization.set_faults()
        living.pass_time(6 * HOUR)
        assert living.success(self.api) == 1
        asked = living.requests(self.api)
        living.pass_time(MINUTE)
        living.pass_time(MINUTE)
        assert living.requests(self.api) == asked + 2

    def test_takes_the_metrics_of_earlier_polls_with_it(self, start: Start, organization: Organization) -> None:
        living = start("")
        living.poller.poll_due()
        organization.set_faults(status=DOWN)
        living.pass_time(MINUTE)
        assert living.success(self.api) == 0
        organization.set_faults(absent_endpoints=[self.api])
        living.pass_time(HOUR)
        assert living.value("openai_up") == 1
        assert living.success(self.api) is None
        assert living.value("openai_exporter_poll_last_success_timestamp_seconds", api=self.api) is None

    def test_may_go_and_come_back_with_nothing_lost(self, start: Start, organization: Organization) -> None:
        living = start("")
        living.poller.poll_due()
        organization.set_faults(absent_endpoints=[self.api])
        for _ in range(10):
            living.pass_time(HOUR)
        organization.set_faults()
        living.pass_time(6 * HOUR)
        living.assert_exact()
