"""Info gauges: what ids, workflows and line items stand for; always 1. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from exporter.configuration.consistency import owners
from exporter.configuration.sections import WorkflowRule
from exporter.exact import Amount
from exporter.ledger.account import Account
from exporter.ledger.counters import SeriesName
from exporter.ledger.store import DirectoryEntry
from exporter.line_items import parse_line_item
from exporter.metrics.catalogue import LINE_ITEM_INFO, PROJECT_INFO, WORKFLOW_INFO, Family
from exporter.openai_api.endpoints import COSTS

# The bill does not say of which modality a model's tokens are, where it has one price for all of them.
_UNSPECIFIED = "unspecified"


def project_info(projects: Mapping[str, DirectoryEntry]) -> dict[SeriesName, Amount]:
    """Return one series per project of the directory."""
    return _ones(
        PROJECT_INFO,
        ((identifier, entry.name, entry.status) for identifier, entry in projects.items()),
    )


def workflow_info(rules: Sequence[WorkflowRule]) -> dict[SeriesName, Amount]:
    """Return one series per workflow of the rules, and one for what none of them takes."""
    return _ones(
        WORKFLOW_INFO,
        (
            (workflow, owner["action_group"], owner["team"], owner["business_unit"])
            for workflow, owner in owners(rules).items()
        ),
    )


def line_item_info(costs: Account) -> dict[SeriesName, Amount]:
    """Return one series per line item of the bill that the ledger holds, with its newest unit; one for none, too."""
    position = COSTS.dimensions.index("line_item")
    # Two series for one line item would break every join on it.
    units = {key[position] or "": "" for bucket in costs.buckets.values() for key in bucket.rows}
    for day in sorted(costs.quantities):
        for item in sorted(costs.quantities[day]):
            units[item.line_item] = item.unit or units.get(item.line_item, "")
    return _ones(
        LINE_ITEM_INFO,
        (
            (text, item.model, item.token_type, modality, item.service_tier, unit)
            for text, unit in units.items()
            for item in (parse_line_item(text),)
            for modality in (item.modality or (_UNSPECIFIED if item.token_type else ""),)
        ),
    )


def _ones(family: Family, rows: Iterable[tuple[str, ...]]) -> dict[SeriesName, Amount]:
    return {SeriesName(family.name, tuple(zip(family.labels, row, strict=True))): 1 for row in rows}
