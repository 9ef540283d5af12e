"""`make stack`: the whole stack comes up from nothing on this machine, and stops leaving nothing behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from deploy.local.stack import main
from exporter.simulator.history.moments import Watch
from exporter.simulator.model_calls import is_traced, model_calls
from exporter.simulator.server import Simulator
from tests.prometheus_tools import program

pytestmark = pytest.mark.timeout(600)

ROOT: Final = Path(__file__).parents[2]
DAYS: Final = 1
MINUTES: Final = 2
NAMES: Final = ("exporter", "simulator", "trace-gateway", "prometheus", "alertmanager")
HOUR: Final = 3_600
LONGER_THAN_ALL: Final = f"{DAYS + 2}d"
# Groups of rules build on each other, and run every two minutes at most.
_PATIENCE_SECONDS: Final = 120


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack.

    Attributes:
        process: what `make stack` starts.
        addresses: HOST:PORT by name.
        temporary: the only folder that it may write to.
        output: what it has told so far.
        began: Unix seconds, before it was started.
        client: for all that is asked; making one takes longer than an answer.
    """

    process: "subprocess.Popen[str]"
    addresses: dict[str, str]
    temporary: Path
    output: list[str]
    began: int
    client: httpx.Client

    def get(self, name: str, path: str, **parameters: str) -> Any:  # noqa: ANN401 - JSON of any shape
        answer = self.client.get(f"http://{self.addresses[name]}{path}", params=parameters)
        answer.raise_for_status()
        return answer.json()

    def values(self, expression: str) -> list[float]:
        found = self.get("prometheus", "/api/v1/query", query=expression)["data"]["result"]
        return [float(series["value"][1]) for series in found]

    def moments(self, name: str) -> set[int]:
        """Return when there are samples of that name."""
        found = self.get("prometheus", "/api/v1/query", query=f"{name}[{LONGER_THAN_ALL}]")["data"]["result"]
        return {int(at) for each in found for at, _ in each["values"]}

    def wait_for(self, expression: str) -> list[float]:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not (values := self.values(expression)):
            assert time.monotonic() < deadline, expression
            # Foreign processes on real time: there is no clock of ours that could be set.
            time.sleep(1)
        return values


@pytest.fixture(scope="module")
def looks(stack: Stack) -> list[int]:
    """When the history was looked at, in order: what its last days and minutes are to hold, and nothing else."""
    seen = stack.moments("openai_up")
    # It ends when the stack has begun, which only the stack knows.
    for end in range(stack.began, int(time.time()) + 1):
        expected = {at for run in Watch(DAYS, DAYS, MINUTES).runs(end) for at in run.moments()}
        if {at for at in seen if at < end} == expected:
            return sorted(expected)
    pytest.fail(f"the history was looked at otherwise: {sorted(seen)}")


def free_addresses() -> dict[str, str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in NAMES]
    addresses = {name: f"127.0.0.1:{each.getsockname()[1]}" for name, each in zip(NAMES, sockets, strict=True)}
    for each in sockets:
        each.close()
    return addresses


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    for name in ("prometheus", "promtool", "prometheus-alertmanager"):
        program(name)
    addresses = free_addresses()
    temporary = tmp_path_factory.mktemp("temporary")
    flags = [f"--{name}={address}" for name, address in addresses.items()]
    began = int(time.time())
    with (
        httpx.Client(timeout=30, trust_env=False) as client,
        subprocess.Popen(
            [sys.executable, "-m", "deploy.local.stack", f"--days={DAYS}", f"--minutes={MINUTES}", *flags],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        output = []
        try:
            for line in process.stdout:
                output.append(line)
                if line.startswith("Ctrl-C"):
                    break
            else:
                pytest.fail(f"the stack did not come up:\n{''.join(output)}")
            yield Stack(process, addresses, temporary, output, began, client)
        finally:
            process.terminate()


def test_make_stack_runs_this() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^stack: .*\n\t@\$\(BIN\)/python -m deploy\.local\.stack$", makefile, re.MULTILINE)


def test_it_tells_how_far_it_is_and_where_everything_listens(stack: Stack) -> None:
    told = "".join(stack.output)
    assert f"history: day 1 of {DAYS + 1}" in told
    for address in stack.addresses.values():
        assert f"http://{address}/" in told


def test_both_targets_are_up_and_under_the_names_of_the_history(stack: Stack) -> None:
    # Each is scraped for the first time within one scrape interval.
    stack.wait_for("count(timestamp(up) > time() - 15) == 2")
    targets = stack.get("prometheus", "/api/v1/targets", state="active")["data"]["activeTargets"]
    assert {(each["labels"]["job"], each["labels"]["instance"], each["health"]) for each in targets} == {
        ("openai", stack.addresses["exporter"], "up"),
        ("aitracer", stack.addresses["trace-gateway"], "up"),
    }


def test_traces_go_through_the_gateway_to_aitracer_and_are_counted_there_alone(stack: Stack) -> None:
    # The simulated organization has quiet minutes; what happened since the history's last look is sent at once.
    stack.wait_for("sum(aitracer_trace_requests_total) > 0 and on () sum(aitracer_gateway_requests_total) > 0")
    assert sum(stack.get("simulator", "/_simulator/traces")["taken"].values()) > 0
    assert b"aitracer_trace" not in stack.client.get(f"http://{stack.addresses['simulator']}/metrics").content
    assert stack.values("sum(aitracer_gateway_duplicates_total) + sum(aitracer_gateway_unreadable_bodies_total)") == [0]
    instances = stack.get("prometheus", "/api/v1/label/instance/values", **{"match[]": "aitracer_trace_requests_total"})
    # The history's series are the gateway's.
    assert instances["data"] == [stack.addresses["trace-gateway"]]


def test_where_the_gateway_goes_on_with_the_history_no_trace_is_lost_or_counts_twice(
    stack: Stack, looks: list[int]
) -> None:
    began = int(time.time())
    # An hour ago or more; soon after midnight the first look is not as old.
    look = max((at for at in looks if at <= began - HOUR), default=looks[0])

    def counted(now: int) -> float:
        query = {"query": f'aitracer_trace_requests_total{{status="ok"}}[{now - look}s]', "time": str(now)}
        total = 0.0
        for series in stack.get("prometheus", "/api/v1/query", **query)["data"]["result"]:
            values = [float(value) for _, value in series["values"]]
            # Below the value before it, a counter has begun anew.
            total += sum(after - before if after >= before else after for before, after in pairwise(values))
        return total

    def happened(now: int) -> int:
        calls = Simulator().calls_since(look).until(now)
        told = (call for identity, batch in calls if is_traced(batch) for call in model_calls(identity, batch))
        return sum(call.status == "completed" for call in told)

    before = happened(began)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (seen := counted(now := int(time.time()))) < before:
        assert time.monotonic() < deadline, (seen, before)
        # Foreign processes on real time, as above.
        time.sleep(1)
    assert seen <= happened(now)


def test_all_rules_are_loaded_and_evaluated(stack: Stack) -> None:
    stack.wait_for("ALERTS or aitracer:coverage:ratio")
    groups = stack.get("prometheus", "/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 200
    assert [rule["name"] for rule in rules if rule["health"] == "err"] == []


def test_prometheus_reaches_alertmanager(stack: Stack) -> None:
    found = stack.get("prometheus", "/api/v1/alertmanagers")["data"]
    assert [each["url"] for each in found["activeAlertmanagers"]] == [
        f"http://{stack.addresses['alertmanager']}/api/v2/alerts"
    ]
    assert found["droppedAlertmanagers"] == []


def test_there_is_a_history_that_the_live_exporter_goes_on_with(stack: Stack, looks: list[int]) -> None:
    stack.wait_for("openai_up")
    # At every look what was scraped, and what rules recorded.
    for series in ("openai_cost_usd_total", "openai:organization:cost_usd:day", "aitracer:requests:total"):
        assert set(looks) - stack.moments(series) == set(), series
    # The state went on with the history's: no counter began anew, and none fell.
    assert stack.values("openai_exporter_state_restored") == [1]
    assert stack.values(f"sum(resets(openai_cost_usd_total[{LONGER_THAN_ALL}]))") == [0]
    assert stack.values("sum(openai_cost_usd_total)")[0] > 0


def test_it_stops_when_told_to_and_leaves_nothing_behind(stack: Stack) -> None:
    assert any(stack.temporary.iterdir())
    stack.process.send_signal(signal.SIGTERM)
    assert stack.process.stdout is not None
    last = stack.process.stdout.read()
    assert stack.process.wait(timeout=60) == 0
    assert last == "stack: stopped, nothing is left\n"
    assert list(stack.temporary.iterdir()) == []
    for address in stack.addresses.values():
        host, port = address.split(":")
        # Whoever still listened would be in the way.
        socket.create_server((host, int(port))).close()


def test_an_address_in_use_is_told_with_the_remedy_before_anything_starts(tmp_path: Path) -> None:
    addresses = free_addresses()
    host, port = addresses["prometheus"].split(":")
    with socket.create_server((host, int(port))):
        done = subprocess.run(
            [sys.executable, "-m", "deploy.local.stack", *(f"--{name}={at}" for name, at in addresses.items())],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"stack: prometheus cannot listen on {addresses['prometheus']}: ")
    assert "--prometheus=HOST:PORT" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flag", ["--simulator=nonsense", "--exporter=:10185", "--prometheus=127.0.0.1:0", "--days=0"])
def test_what_makes_no_sense_is_refused_at_once(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main([flag])
    assert refused.value.code == 2
    assert flag.partition("=")[0] in capsys.readouterr().err
