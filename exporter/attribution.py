"""Whose a row is: the labels a row of usage or costs gets, from its key and the names known now. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from exporter.ledger.counters import SeriesName
from exporter.ledger.store import DirectoryEntry
from exporter.line_items import parse_line_item
from exporter.metrics.catalogue import COUNTED, OPT_IN_LABELS, Family, cost_counter
from exporter.openai_api.answer import RowKey
from exporter.openai_api.endpoints import COSTS, ENDPOINTS, Endpoint

NO_PROJECT: Final = "(none)"
UNMAPPED: Final = "unmapped"


@dataclass(frozen=True)
class Attribution:
    """Resolves row keys to labels.

    Attributes:
        projects: the directory's projects by id; an unknown id is its own name.
        opt_in: the names of `OPT_IN_LABELS` that are switched on.
        api_keys: the directory's API keys by id, for the label `api_key`.
    """

    projects: Mapping[str, DirectoryEntry]
    opt_in: frozenset[str] = frozenset()
    api_keys: Mapping[str, DirectoryEntry] = field(default_factory=dict)

    def grouping(self, endpoint: Endpoint) -> tuple[str, ...]:
        """Return the dimensions to ask `endpoint` for, in its own order: the contract's and the opted-in."""
        wanted = {*endpoint.always_grouped, *(OPT_IN_LABELS[option][0] for option in self.opt_in)}
        return tuple(dimension for dimension in endpoint.dimensions if dimension in wanted)

    def labels(self, endpoint: Endpoint, key: RowKey) -> dict[str, str]:
        """Return every label a row of `endpoint` can have; a family picks those it knows."""
        row = dict(zip(endpoint.dimensions, key, strict=False))
        project_id = row.get("project_id") or ""
        line_item = row.get("line_item") or ""
        labels = {
            "project_id": project_id,
            "project": _name(self.projects, project_id) if project_id else NO_PROJECT,
            "model": parse_line_item(line_item).model if endpoint is COSTS else row.get("model") or "",
            "workflow": UNMAPPED,
            "operation": endpoint.operation,
            "line_item": line_item,
        }
        for dimension in ("size", "source", "context_level"):
            labels[dimension] = row.get(dimension) or ""
        for option in self.opt_in:
            dimension, names = OPT_IN_LABELS[option]
            if dimension in row:
                labels |= dict.fromkeys(names, row[dimension] or "")
        if "api_key" in labels:
            labels["api_key"] = _name(self.api_keys, labels["api_key_id"])
        return labels

    def series(self, family: Family, labels: Mapping[str, str], extra: tuple[tuple[str, str], ...] = ()) -> SeriesName:
        """Return the name of a row's series in `family`; `extra` are labels that only the measure decides."""
        all_labels = {**labels, **dict(extra)}
        return SeriesName(
            family.name,
            tuple((name, all_labels[name]) for name in (*family.labels, *self._opt_in_names) if name in all_labels),
        )

    def counter_series(self, api: str, key: RowKey) -> tuple[SeriesName | None, ...]:
        """Return the counter series of a row's values, in their order; None where a value is not counted."""
        endpoint = ENDPOINTS[api]
        labels = self.labels(endpoint, key)
        if endpoint is COSTS:
            return (self.series(cost_counter(str(key[-1])), labels),)
        if endpoint.is_level:
            return (None,) * len(endpoint.measures)
        return tuple(self.series(counted.counter, labels, counted.labels) for counted in COUNTED[api])

    @property
    def _opt_in_names(self) -> tuple[str, ...]:
        return tuple(name for option, (_, names) in OPT_IN_LABELS.items() if option in self.opt_in for name in names)


def _name(directory: Mapping[str, DirectoryEntry], identifier: str) -> str:
    entry = directory.get(identifier)
    return entry.name if entry else identifier
