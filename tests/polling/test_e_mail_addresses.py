"""E-mail addresses are personal data: they are on no page, in no log and in no state, unless they are switched on."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.logs import JsonFormatter, LogfmtFormatter
from exporter.service import Options, Service
from exporter.web.messages import Request
from tests.polling.living import HOUR, Organization

ADDRESS = "@acme.test"
# Everything that has to do with people, but for their addresses.
PEOPLE = """
labels: {user: true, api_key: true}
workflows: [{workflow: ada, match: {user: "Ada .*"}}, {workflow: others, match: {user: ".+"}}]
"""
WITH_ADDRESSES = f"{PEOPLE}directory: {{user_emails: true, api_keys: true}}"
WITHOUT = f"{PEOPLE}directory: {{user_emails: false, api_keys: true}}"


class Running:
    """A service whose clock, file and folder the test knows."""

    def __init__(self, organization: Organization, folder: Path) -> None:
        self.organization = organization
        self._file = folder / "exporter.yml"
        self.state = folder / "state"
        self.start(WITHOUT)

    def start(self, configuration: str) -> None:
        self._file.write_text(configuration, encoding="utf-8")
        simulator = self.organization.simulator
        environment = {"OPENAI_BASE_URL": simulator.base_url, "OPENAI_ADMIN_KEY": simulator.admin_key}
        options = Options(self._file, self.state, "127.0.0.1", 0, environment=environment)
        self.service = Service(options, clock=self.organization.clock)

    def reload(self, configuration: str) -> None:
        self._file.write_text(configuration, encoding="utf-8")
        asyncio.run(self.service.reload())

    def poll(self) -> None:
        for api in ("projects", "users", "api_keys", "usage/completions", "costs"):
            self.service.poller.poll(api)
            assert self.service.poller.health.apis[api].success

    def pages(self) -> dict[str, str]:
        """Return every page there is, the metrics in both formats."""
        paths = ("/", "/metrics", "/config", "/-/ready", "/-/healthy", "/nowhere")
        in_openmetrics = self._page("/metrics", {"accept": "application/openmetrics-text;version=1.0.0"})
        return {path: self._page(path, {}) for path in paths} | {"/metrics in OpenMetrics": in_openmetrics}

    def lines_with_addresses(self) -> dict[str, list[str]]:
        """Return the lines that hold an address, by page."""
        found = {name: [line for line in page.splitlines() if ADDRESS in line] for name, page in self.pages().items()}
        return {name: lines for name, lines in found.items() if lines}

    def state_holds_an_address(self) -> bool:
        files = [path for path in self.state.iterdir() if path.stat().st_size]
        assert any(b"Ada Abel" in path.read_bytes() for path in files)
        return any(ADDRESS.encode() in path.read_bytes() for path in files)

    def _page(self, path: str, headers: dict[str, str]) -> str:
        response = asyncio.run(self.service._application(Request("GET", path, "", headers)))
        assert isinstance(response.body, tuple | list)
        return b"".join(response.body).decode()


@pytest.fixture
def running(small: Organization, tmp_path: Path) -> Iterator[Running]:
    running = Running(small, tmp_path)
    yield running
    running.service.close()


@pytest.fixture(autouse=True)
def all_that_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a test does, no log line may hold an address, in either format."""
    caplog.set_level(logging.DEBUG)
    yield
    assert caplog.get_records("call")
    for record in caplog.get_records("call"):
        assert ADDRESS not in repr(vars(record))
        assert ADDRESS not in JsonFormatter().format(record) + LogfmtFormatter().format(record)


def test_nothing_holds_an_address_unless_it_is_switched_on(running: Running) -> None:
    running.poll()

    assert 'openai_user_info{user_id="' in running.pages()["/metrics"]
    assert 'user="Ada Abel"' in running.pages()["/metrics"]
    assert not running.lines_with_addresses()
    assert not running.state_holds_an_address()


def test_addresses_that_are_switched_on_are_in_one_family_and_never_in_the_state(running: Running) -> None:
    running.reload(WITH_ADDRESSES)
    assert not running.lines_with_addresses()
    running.poll()

    found = running.lines_with_addresses()
    assert found.keys() == {"/metrics", "/metrics in OpenMetrics"}
    for lines in found.values():
        assert len(lines) == 20
        assert all(line.startswith("openai_user_info{") for line in lines)
    assert not running.state_holds_an_address()
    running.organization.clock.advance(HOUR)
    running.reload(WITHOUT)
    # At once, before anything is read.
    assert not running.lines_with_addresses()
    assert 'user="Ada Abel",email=""' in running.pages()["/metrics"]
    running.poll()
    assert not running.lines_with_addresses()
    assert not running.state_holds_an_address()


def test_a_restart_brings_no_address_back(running: Running) -> None:
    running.reload(WITH_ADDRESSES)
    running.poll()
    running.service.close()
    running.start(WITHOUT)

    assert not running.lines_with_addresses()
    running.service.close()
    running.start(WITH_ADDRESSES)
    # Only what was read since.
    assert not running.lines_with_addresses()


def test_an_answer_about_people_that_cannot_be_read_is_not_repeated(running: Running) -> None:
    running.reload(WITH_ADDRESSES)
    running.poll()
    for fault in ("invalid_json", "wrong_shape"):
        running.organization.set_faults(prefix="/v1/organization/users", **{fault: True})
        running.organization.clock.advance(HOUR)
        running.service.poller.poll("users")
        assert not running.service.poller.health.apis["users"].success

    assert running.lines_with_addresses().keys() == {"/metrics", "/metrics in OpenMetrics"}
