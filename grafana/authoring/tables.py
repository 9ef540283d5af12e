"""Tables with one look: rows named by labels, columns by expressions, cells that judge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue

from grafana.authoring.palette import GOOD, WATCH
from grafana.authoring.panels import About, Query, Steps, finished, reference, targets_of, thresholds_of

# An empty cell is not an empty table.
_NO_CELL: Final = "-"
_NARROW: Final = {"custom.minWidth": 60}
_NAMES: Final = {"custom.minWidth": 90}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: its head.
        expression: PromQL, evaluated once, now; what the rows are called is in its labels.
        unit: of its values.
        decimals: None for Grafana's choice.
        properties: more of the field's configuration, such as `custom.cellOptions`.
    """

    title: str
    expression: str
    unit: str
    decimals: int | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)


def rows(  # noqa: PLR0913 - all but three by name
    about: About,
    names: Mapping[str, str],
    columns: Sequence[Column],
    *,
    sort: str = "",
    hidden: Sequence[str] = (),
    widths: Mapping[str, int] | None = None,
) -> table.Panel:
    """Show a table.

    Args:
        about: the panel.
        names: labels that name a row, each with the head of its column, in order.
        columns: what is known of each row; every expression must keep just the labels in `names` and `hidden`.
        sort: the column that decides the order, most first; the first one where nothing is said.
        hidden: labels that tell rows apart and are not shown.
        widths: of columns of names, by label, in pixels; else they share what is left.
    """
    panel = table.Panel().no_value(about.empty).thresholds(thresholds_of(((None, "text"),))).unit("none")
    shown = {f"Value #{reference(place)}": column.title for place, column in enumerate(columns)}
    if len(columns) == 1:
        shown = {"Value": columns[0].title} | shown
    order = [*names, *shown]
    panel = (
        panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": dict.fromkeys(("Time", *hidden), True),
                    "indexByName": {name: place for place, name in enumerate(order)},
                    "renameByName": {**names, **shown},
                },
            )
        )
        .with_transformation(
            DataTransformerConfig(
                id_val="sortBy", options={"fields": {}, "sort": [{"field": sort or columns[0].title, "desc": True}]}
            )
        )
    )
    for label, title in names.items():
        properties: dict[str, Any] = {"noValue": _NO_CELL, **_NAMES}
        if widths and label in widths:
            properties["custom.width"] = widths[label]
        panel = panel.override_by_name(title, [DynamicConfigValue(name, value) for name, value in properties.items()])
    for column in columns:
        properties = {"unit": column.unit, "noValue": _NO_CELL, **_NARROW, **column.properties}
        if column.decimals is not None:
            properties["decimals"] = column.decimals
        panel = panel.override_by_name(
            column.title, [DynamicConfigValue(name, value) for name, value in properties.items()]
        )
    queries = [Query(column.expression) for column in columns]
    return finished(panel, about, targets_of(queries, instant=True, as_table=True))


def share_cell(steps: Steps) -> dict[str, Any]:
    """Properties of a column of shares: a bar up to 1, coloured by threshold."""
    return {
        "custom.cellOptions": {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"},
        "min": 0,
        "max": 1,
        **threshold_properties(steps),
    }


def change_cell() -> dict[str, Any]:
    """Properties of a column of changes in cost: more is marked, less is good."""
    return text_colour_cell(((None, GOOD), (0, "text"), (1e-9, WATCH)))


def yes_or_no_cell(yes: str, no: str, *, yes_colour: str, no_colour: str) -> dict[str, Any]:
    """Properties of a column of 1 and 0, in words."""
    words_by_value = {
        "1": {"text": yes, "color": yes_colour, "index": 0},
        "0": {"text": no, "color": no_colour, "index": 1},
    }
    return {
        "custom.cellOptions": {"type": "color-text"},
        "mappings": [{"type": "value", "options": words_by_value}],
    }


def text_colour_cell(steps: Steps) -> dict[str, Any]:
    """Properties of a column whose values are coloured by threshold."""
    return {"custom.cellOptions": {"type": "color-text"}, **threshold_properties(steps)}


def threshold_properties(steps: Steps) -> dict[str, Any]:
    """Properties that set a field's own thresholds."""
    return {
        "thresholds": {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in steps]},
        "color": {"mode": "thresholds"},
    }
