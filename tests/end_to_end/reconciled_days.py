"""Days of the simulated organization as the exporter and the traces told them, and what the shipped rules make of them.

The pages of both sides are scraped as the days pass and loaded into a Prometheus, with every moment moved by whole days
so that the story ends on the last midnight. Two parts of Prometheus then do the work. The history that the rules look
back at, what stood recorded late on each day, comes from its query engine, asked at those moments. All that is compared
comes from its rule manager: the shipped files, loaded as a user loads them, evaluated at the present.
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from exporter.openai_api.endpoints import ENDPOINTS
from exporter.simulator.clock import SettableClock
from exporter.simulator.command import EXAMPLE_CONFIGURATION
from exporter.simulator.history.blocks import Scrape
from exporter.simulator.history.recording import needed_for, recording_rules
from exporter.simulator.server import Simulator, running_simulator
from tests.deploy.rule_files import PROMETHEUS
from tests.end_to_end.prometheus_history import load, record
from tests.end_to_end.prometheus_server import prometheus
from tests.polling.living import Living, Organization

MINUTE, HOUR, DAY = 60, 3_600, 86_400

FIRST_DAY = 1_788_998_400
"""2026-09-10, a Thursday: the bill has a credit. A project is renamed on the sixth day."""
CLOSED_DAYS = tuple(range(FIRST_DAY, FIRST_DAY + 7 * DAY, DAY))
READ_AFTER = 2 * DAY - 10 * MINUTE
"""The rules take a day's bill as it stands at 23:50 on the day after."""

# In the order in which they build on each other: what the windows of settled days look back at.
_PAST_RULES = ("adapters/aitracer.yml", "thresholds.yml", "days.yml", "reconciliation_days.yml")
_LOOKED_BACK_AT = ("aitracer:spelled:billed:sum", "aitracer:spelled:traced:sum", "aitracer:source:counted")

# The longest chain of groups that build on each other: sources, days, models, by model, total, allocation.
_ROUNDS = 6

Series = Mapping[tuple[tuple[str, str], ...], float]
"""Values by sorted label pairs."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What Prometheus' rule manager made of the days.

    Attributes:
        series: what is recorded about settled days.
        alerts: alerts that are pending or fire.
        rules: how many rules were evaluated.
        errors: what went wrong with which rule.
    """

    series: Series
    alerts: Series
    rules: int
    errors: Mapping[str, str]


def live(state: Path) -> tuple[Simulator, list[Scrape], list[Scrape]]:
    """Let the days pass; return the organization and the scrapes of the exporter's and of the traces' page.

    Traces are scraped half a minute from each midnight, as a scrape each minute may be, and at noon. Bill and usage are
    polled and scraped when the rules read a settled day: the gauges know nothing of what was before.
    """
    clock = SettableClock(FIRST_DAY - MINUTE // 2)
    bill: list[Scrape] = []
    traces: list[Scrape] = []
    with running_simulator(clock=clock) as simulator:
        exporter = Living(Organization(clock, simulator), state, EXAMPLE_CONFIGURATION.read_text(encoding="utf-8"))

        def scrape_traces(at: int) -> None:
            clock.set(at)
            traces.append(Scrape(at, simulator.simulator.trace_page().decode()))

        try:
            scrape_traces(FIRST_DAY - MINUTE // 2)
            for day in (*CLOSED_DAYS, CLOSED_DAYS[-1] + DAY):
                scrape_traces(day + MINUTE // 2)
                scrape_traces(day + 12 * HOUR)
                if day > FIRST_DAY:
                    clock.set(day - DAY + READ_AFTER)
                    exporter.poller.advance()
                    for api in ("projects", "api_keys", *ENDPOINTS):
                        exporter.poller.poll(api)
                    bill.append(Scrape(day - DAY + READ_AFTER, exporter.page()))
                scrape_traces(day + DAY - MINUTE // 2)
        finally:
            exporter.exporter.close()
    return simulator.simulator, bill, traces


def evaluate(folder: Path, bill: list[Scrape], traces: list[Scrape]) -> Recorded:
    """Give the scrapes to a Prometheus of today, and return what the shipped rules record."""
    later = _last_midnight() - (CLOSED_DAYS[-1] + 2 * DAY)
    load(folder, [*bill, *traces], later=later)
    past = needed_for(_LOOKED_BACK_AT, recording_rules(*(PROMETHEUS / "rules" / name for name in _PAST_RULES)))
    record(
        folder,
        [rule for rule in past if rule.labels.get("window", "closed_day") == "closed_day"],
        [scrape.at + later for scrape in (*bill, *traces)],
    )
    # The exporter's page goes on standing as it was.
    load(folder, [Scrape(int(time.time()) - later, bill[-1].page)], later=later)
    with prometheus(folder, _shipped_rules(folder)) as server:
        server.wait_for_rules(rounds=_ROUNDS)
        checked, errors = server.rule_errors()
        now = time.time()
        return Recorded(
            server.query('{__name__=~"aitracer:.*", window=~"settled.*"}', now),
            server.query("ALERTS", now),
            checked,
            errors,
        )


def _last_midnight() -> int:
    """The midnight that just was; one that is about to be is waited for, lest the settled day turn on the way."""
    while (left := DAY - time.time() % DAY) < 2 * MINUTE:
        # Prometheus' clock is the machine's: it cannot be set.
        time.sleep(left)
    return int(time.time()) // DAY * DAY


def _shipped_rules(folder: Path) -> str:
    """Copy the shipped rules and return a configuration that loads them and the native adapter.

    Only their intervals are changed, to a second: nobody has minutes to wait.
    """
    shutil.copytree(PROMETHEUS / "rules", folder / "rules")
    for file in folder.glob("rules/*.yml"):
        file.write_text(file.read_text(encoding="utf-8").replace("interval: 2m\n", "interval: 1s\n"), encoding="utf-8")
    return "global: {evaluation_interval: 1s}\nrule_files: [rules/*.yml, rules/adapters/aitracer.yml]\n"
