"""Another setting is used from the next poll on; what was read under the old one is dropped, and nothing is lost."""

import asyncio
import threading
from pathlib import Path

import pytest

from exporter.openai_api.endpoints import ENDPOINTS
from exporter.service import Options, Service
from exporter.web.application import ReloadFailed
from tests.polling.conftest import Start
from tests.polling.living import HOUR, MINUTE, Organization
from tests.polling.patience import wait_until


def test_another_interval_counts_from_the_reload(start: Start) -> None:
    living = start("polling: {usage_interval: 1h}")
    living.poller.poll_due()
    living.pass_time(29 * MINUTE)
    assert living.requests("usage/completions") == 1
    living.reload("polling: {usage_interval: 2m}")
    living.poller.poll_due()
    assert living.requests("usage/completions") == 2
    living.pass_time(MINUTE - 1)
    assert living.requests("usage/completions") == 2
    living.pass_time(MINUTE + 1)
    assert living.requests("usage/completions") == 3


def test_the_same_setting_again_polls_nothing_again(start: Start) -> None:
    living = start("")
    living.poller.poll_due()
    asked = living.requests()
    for _ in range(5):
        living.reload("")
        living.poller.poll_due()
    assert living.requests() == asked


def test_labels_switched_on_and_off_lose_nothing_and_count_nothing_twice(start_small: Start) -> None:
    living = start_small("")
    for configuration in ("", "labels: {api_key: true, batch: true}", "labels: {user: true}", ""):
        living.reload(configuration)
        living.poller.poll_due()
        living.clock.advance(2 * HOUR)
        living.assert_exact()


def test_a_label_switched_off_leaves_no_metric_about_it_behind(start: Start) -> None:
    living = start("labels: {api_key: true}")
    living.poller.poll_due()
    assert living.success("api_keys") == 1
    assert living.value("openai_exporter_grouping_enabled", api="costs", dimension="api_key_id") == 1
    living.reload("")
    living.poller.poll_due()
    assert living.poller.why_not_ready() is None
    for name in ("poll_success", "poll_last_success_timestamp_seconds", "poll_duration_seconds"):
        assert living.value(f"openai_exporter_{name}", api="api_keys") is None
    groupings = living.samples("openai_exporter_grouping_enabled")
    assert groupings
    assert not any(labels["dimension"] == "api_key_id" for labels, _ in groupings)


def test_an_answer_read_under_the_old_setting_is_dropped(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    living = start("")
    living.poller.poll_due()
    living.clock.advance(HOUR)
    before = living.ledger.accounts["usage/completions"]
    # The reload comes when the answer is there and not yet applied.
    monkeypatch.setattr(living.self_metrics, "answered", lambda *_: living.reload("labels: {user: true}"))
    living.poller.poll("usage/completions")
    monkeypatch.undo()
    assert living.ledger.accounts["usage/completions"] is before
    living.poller.poll_due()
    assert "user_id" in living.ledger.accounts["usage/completions"].grouping
    living.assert_exact()


def test_a_failure_under_the_old_setting_is_not_held_against_the_new_one(
    start: Start, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    living = start("")
    organization.set_faults(revoked=True)
    monkeypatch.setattr(living.self_metrics, "answered", lambda *_: living.reload("scrape_interval: 2m"))
    living.poller.poll("costs")
    monkeypatch.undo()
    organization.set_faults()
    assert living.success("costs") is None
    living.poller.poll_due()
    assert living.value("openai_up") == 1


def test_a_smaller_series_limit_folds_new_series_and_keeps_every_sum(start: Start) -> None:
    living = start("")
    living.poller.poll_due()
    living.reload("limits: {series_per_family: 1}")
    living.pass_time(2 * HOUR)
    living.assert_exact()


def test_names_come_first_after_a_reload_too(start: Start, organization: Organization) -> None:
    living = start("")
    living.poller.poll_due()
    # What has grown meanwhile is to be posted after the reload, and not before.
    living.clock.advance(HOUR)
    down = [{"prefix": f"/v1/organization/{path}", "status": 503} for path in ("usage", "costs")]
    organization.set_faults(status=down)
    running = threading.Thread(target=living.poller.run)
    running.start()
    wait_until(lambda: not any(living.poller.health.apis[api].success for api in ENDPOINTS))
    organization.set_faults(prefix="/v1/organization/projects", slow_seconds=0.1)
    living.reload("labels: {api_key: true}")
    wait_until(lambda: all("api_key_id" in living.ledger.accounts[api].grouping for api in by_key()))
    living.poller.stop()
    running.join()
    names = {dict(name.labels).get("api_key", "") for name in living.ledger.book.counters}
    keys = [key for project in organization.simulator.simulator.organization.projects for key in project.keys]
    assert names == {"", *(key.name for key in keys)}


def by_key() -> list[str]:
    return [api for api, endpoint in ENDPOINTS.items() if "api_key_id" in endpoint.dimensions]


class TestTheService:
    def service(self, organization: Organization, folder: Path, configuration: str) -> Service:
        self.file = folder / "exporter.yml"
        self.file.write_text(configuration, encoding="utf-8")
        environment = {
            "OPENAI_BASE_URL": organization.simulator.base_url,
            "OPENAI_ADMIN_KEY": organization.simulator.admin_key,
        }
        options = Options(self.file, folder / "state", "127.0.0.1", 0, environment=environment)
        return Service(options, clock=organization.clock)

    def page(self, service: Service) -> list[str]:
        return b"".join(service.poller.pages.page(openmetrics=False, gzip=False)).decode().splitlines()

    def reload(self, service: Service, configuration: str) -> None:
        self.file.write_text(configuration, encoding="utf-8")
        asyncio.run(service.reload())

    @pytest.mark.parametrize(
        ("bad", "reason"),
        [
            ("polling: {usage_interval: never}", "polling.usage_interval"),
            ("labels: !!bool maybe", "not YAML"),
            ("openai: {admin_key_file: /nowhere/key}", "/nowhere/key"),
            ("openai: {base_url: 'https://other.example/v1'}", "another organization's bill"),
            ("openai: {admin_key_file: sk-admin-hunter2}", "cannot be read"),
        ],
    )
    def test_keeps_its_configuration_when_the_new_one_is_bad(
        self, organization: Organization, tmp_path: Path, bad: str, reason: str
    ) -> None:
        service = self.service(organization, tmp_path, "polling: {usage_interval: 2m}")
        try:
            service.poller.poll_due()
            began = organization.clock()
            assert "openai_exporter_config_reload_success 1.0" in self.page(service)
            organization.clock.advance(MINUTE)
            with pytest.raises(ReloadFailed) as caught:
                self.reload(service, bad)
            assert reason in str(caught.value)
            assert "hunter2" not in str(caught.value)
            page = self.page(service)
            assert "openai_exporter_config_reload_success 0.0" in page
            assert f"openai_exporter_config_reload_timestamp_seconds {began}" in [_plain(line) for line in page]
            assert service.poller.interval_by_api["usage/completions"] == 120
            assert "usage_interval: 2m" in service._application.configuration()
            assert service.poller.why_not_ready() is None
            self.reload(service, "polling: {usage_interval: 5m}")
            page = self.page(service)
            assert "openai_exporter_config_reload_success 1.0" in page
            now = organization.clock()
            assert f"openai_exporter_config_reload_timestamp_seconds {now}" in [_plain(line) for line in page]
            assert service.poller.interval_by_api["usage/completions"] == 300
            assert "usage_interval: 5m" in service._application.configuration()
        finally:
            service.close()

    def test_shows_its_configuration_without_the_key(self, organization: Organization, tmp_path: Path) -> None:
        service = self.service(organization, tmp_path, "")
        try:
            shown = service._application.configuration()
            assert organization.simulator.base_url in shown
            assert organization.simulator.admin_key not in shown
        finally:
            service.close()

    def test_gives_the_state_back_when_it_cannot_start(self, organization: Organization, tmp_path: Path) -> None:
        service = self.service(organization, tmp_path, "")
        service.close()
        again = self.service(organization, tmp_path, "")
        again.close()


def _plain(line: str) -> str:
    name, _, value = line.rpartition(" ")
    try:
        return f"{name} {int(float(value))}"
    except (ValueError, OverflowError):
        return line
