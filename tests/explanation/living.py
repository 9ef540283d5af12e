"""A state that an exporter made of the simulated organization, and what truly happened."""

from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from exporter.configuration.loading import parse_configuration
from exporter.credentials import BASE_URL_VARIABLE, KEY_VARIABLE
from exporter.days import SECONDS_PER_DAY
from exporter.simulator.clock import SettableClock
from exporter.simulator.server import RunningSimulator
from tests.end_to_end.simulated_days import start_exporter

NOW: Final = 1_794_474_000
"""2026-11-12 09:00 UTC, a Thursday."""
TODAY: Final = NOW - NOW % SECONDS_PER_DAY

MAPPING: Final = """
workflows:
  - {workflow: support, team: care, match: {project: "support-.*"}}
  - {workflow: nightly, team: data, match: {project: data-science, api_key: "batch-.*"}}
  - {workflow: notebooks, team: data, match: {project: data-science, api_key: "notebook-.*"}}
  - {workflow: search, team: platform, match: {project: core}}
  - {workflow: legacy, match: {project: '\\(none\\)'}}
"""


def environment(simulator: RunningSimulator) -> dict[str, str]:
    return {BASE_URL_VARIABLE: simulator.base_url, KEY_VARIABLE: simulator.admin_key}


def make_state(folder: Path, simulator: RunningSimulator, configuration: str = MAPPING) -> Path:
    """Let an exporter with this configuration poll once, and return its state."""
    parsed = parse_configuration(configuration, "test")
    exporter = start_exporter(simulator.base_url, simulator.admin_key, folder / "state", SettableClock(NOW), parsed)
    try:
        exporter.store.claim(simulator.base_url)
        exporter.poller.poll_due()
    finally:
        exporter.close()
    return folder / "state"


def true_bill(simulator: RunningSimulator, days: int = 7) -> list[dict[str, Any]]:
    """Return the true rows of the bill of so many closed days and today, at full grain."""
    start = TODAY - days * SECONDS_PER_DAY
    return simulator.simulator.truth(start, TODAY + SECONDS_PER_DAY, as_of=NOW)["costs"]


def true_spend(simulator: RunningSimulator) -> dict[str, Decimal]:
    """Return what `MAPPING` should make of the bill, by workflow; `unmapped` among them."""
    organization = simulator.simulator.organization
    keys = {key.id: key.name for project in organization.projects for key in project.keys}
    spend: dict[str, Decimal] = defaultdict(Decimal)
    for row in true_bill(simulator):
        project = row["project_id"] and organization.by_id[row["project_id"]].name(NOW)
        spend[_workflow(project, keys.get(row["api_key_id"]))] += row["amount"]
    return dict(spend)


def _workflow(project: str | None, key: str | None) -> str:
    if project is None:
        return "legacy"
    if project == "data-science":
        return {"batch": "nightly", "notebook": "notebooks"}.get((key or "").partition("-")[0], "unmapped")
    if project.startswith("support-"):
        return "support"
    return "search" if project == "core" else "unmapped"
