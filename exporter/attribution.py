"""Whose a row is: the labels a row of usage or costs gets, from its key, the rules and the names known now. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from exporter.configuration.sections import WorkflowRule
from exporter.ledger.counters import SeriesName
from exporter.ledger.store import DirectoryEntry
from exporter.line_items import parse_line_item
from exporter.metrics.catalogue import COUNTED, OPT_IN_LABELS, Family, cost_counter
from exporter.openai_api.answer import RowKey
from exporter.openai_api.endpoints import COSTS, ENDPOINTS, Endpoint
from exporter.workflows import NO_PROJECT, Traits, Workflows

DIMENSIONS: Final = MappingProxyType(
    {
        "project": "project_id",
        "api_key": "api_key_id",
        "user": "user_id",
        "model": "model",
        "service_tier": "service_tier",
        "line_item": "line_item",
    }
)
"""The API's dimension that each condition of a rule looks at."""

DEFAULT_TIER: Final = "default"

# One model's tokens differ in price by tier, and the mix of tiers by day: an estimate needs them told apart.
_PRICED_BY: Final = "service_tier"

_EveryLabel = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Attribution:
    """Resolves row keys to labels, and remembers what it resolved: most rows of a poll are those of the one before.

    Attributes:
        projects: the directory's projects by id; an unknown id is its own name.
        opt_in: the names of `OPT_IN_LABELS` that are switched on.
        api_keys: the directory's API keys by id, for the label `api_key` and for rules.
        users: the directory's users by id, for rules.
        rules: tried in order, the first that takes a row names its workflow.
    """

    projects: Mapping[str, DirectoryEntry]
    opt_in: frozenset[str] = frozenset()
    api_keys: Mapping[str, DirectoryEntry] = field(default_factory=dict)
    users: Mapping[str, DirectoryEntry] = field(default_factory=dict)
    rules: tuple[WorkflowRule, ...] = ()
    workflows: Workflows = field(init=False, repr=False, compare=False)
    _series: dict[str, dict[RowKey, tuple[SeriesName | None, ...]]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )
    _shared: dict[tuple[str, _EveryLabel], tuple[SeriesName | None, ...]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        directories = {"project": self.projects, "api_key": self.api_keys, "user": self.users}
        names = {
            kind: {identifier: entry.name for identifier, entry in entries.items()}
            for kind, entries in directories.items()
        }
        object.__setattr__(self, "workflows", Workflows(self.rules, names))

    def grouping(self, endpoint: Endpoint) -> tuple[str, ...]:
        """Return the dimensions to ask `endpoint` for, in its own order: for labels, rules and prices."""
        wanted = {
            *endpoint.always_grouped,
            _PRICED_BY,
            *(OPT_IN_LABELS[option][0] for option in self.opt_in),
            *(DIMENSIONS[condition] for condition in self.workflows.conditions),
        }
        return tuple(dimension for dimension in endpoint.dimensions if dimension in wanted)

    def traits(self, endpoint: Endpoint, key: RowKey) -> Traits:
        """Return what rules look at in a row."""
        row = dict(zip(endpoint.dimensions, key, strict=False))
        line_item = row.get("line_item") or ""
        tier: str | None
        if endpoint is COSTS:
            item = parse_line_item(line_item)
            model, tier = item.model, item.service_tier or DEFAULT_TIER
        else:
            model = row.get("model") or ""
            # An endpoint that knows no tiers has only the one; None is a tier that cannot be told.
            tier = row.get("service_tier", DEFAULT_TIER)
        return Traits(
            project_id=row.get("project_id") or "",
            api_key_id=row.get("api_key_id"),
            user_id=row.get("user_id"),
            model=model,
            service_tier=tier,
            line_item=line_item,
        )

    def labels(self, endpoint: Endpoint, key: RowKey) -> dict[str, str]:
        """Return every label a row of `endpoint` can have; a family picks those it knows."""
        row = dict(zip(endpoint.dimensions, key, strict=False))
        traits = self.traits(endpoint, key)
        labels = {
            "project_id": traits.project_id,
            "project": self.project_name(traits.project_id),
            "model": traits.model,
            "workflow": self.workflows.workflow(traits),
            "operation": endpoint.operation,
            "line_item": traits.line_item,
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

    def project_name(self, project_id: str) -> str:
        """Return a project's name; its id where none is known, `(none)` for no project."""
        return _name(self.projects, project_id) if project_id else NO_PROJECT

    def series(self, family: Family, labels: Mapping[str, str], extra: tuple[tuple[str, str], ...] = ()) -> SeriesName:
        """Return the name of a row's series in `family`; `extra` are labels that only the measure decides."""
        all_labels = {**labels, **dict(extra)}
        return SeriesName(
            family.name,
            tuple((name, all_labels[name]) for name in (*family.labels, *self._opt_in_names) if name in all_labels),
        )

    def counter_series(self, api: str, key: RowKey) -> tuple[SeriesName | None, ...]:
        """Return the counter series of a row's values, in their order; None where a value is not counted."""
        known = self._series.setdefault(api, {})
        series = known.get(key)
        if series is None:
            labels = self.labels(ENDPOINTS[api], key)
            # Many rows, such as those of a workflow's keys, have one set of labels and share one set of names.
            shared = (api, (*labels.items(), ("", str(key[-1]) if ENDPOINTS[api] is COSTS else "")))
            series = self._shared.get(shared)
            if series is None:
                series = self._shared[shared] = self._name_series(api, key, labels)
            known[key] = series
        return series

    def _name_series(self, api: str, key: RowKey, labels: Mapping[str, str]) -> tuple[SeriesName | None, ...]:
        endpoint = ENDPOINTS[api]
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
