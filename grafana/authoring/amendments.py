"""What few panels need beyond panels.py: values below 0, words for numbers, a colour for each query."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from grafana_foundation_sdk.builders import dashboard, stat, timeseries
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue, FieldColorModeId, ValueMap, ValueMappingResult

Words = Mapping[int, tuple[str, str]]
"""For each number its text and its colour."""

_Coloured = TypeVar("_Coloured", stat.Panel, timeseries.Panel)

_POINT_SIZE: Final = 6


def below_zero(panel: timeseries.Panel) -> timeseries.Panel:
    """Let the axis go below 0, where other panels begin."""
    configuration = panel.build().field_config
    if configuration is None or configuration.defaults is None:
        raise ValueError("a panel without a unit has no axis to change")
    configuration.defaults.min_val = None
    return panel


def in_words(panel: stat.Panel, words: Words) -> stat.Panel:
    """Show words instead of numbers."""
    return panel.mappings(
        [
            ValueMap(
                options={
                    str(number): ValueMappingResult(text=text, color=colour, index=place)
                    for place, (number, (text, colour)) in enumerate(words.items())
                }
            )
        ]
    )


def words_cell(words: Words) -> dict[str, Any]:
    """Properties of a column of numbers that stand for words."""
    options = {
        str(number): {"text": text, "color": colour, "index": place}
        for place, (number, (text, colour)) in enumerate(words.items())
    }
    return {"custom.cellOptions": {"type": "color-text"}, "mappings": [{"type": "value", "options": options}]}


def coloured_by_query(panel: _Coloured, colours: Sequence[str]) -> _Coloured:
    """Give the series of each query one colour, so that a query that compares can decide the colour."""
    for place, colour in enumerate(colours):
        panel = panel.override_by_query(
            chr(ord("A") + place), [DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})]
        )
    return panel


def line_with_points() -> dict[str, Any]:
    """Properties of a series that is drawn as a line among bars."""
    return {
        "custom.drawStyle": "line",
        "custom.lineWidth": 2,
        "custom.fillOpacity": 0,
        "custom.showPoints": "always",
        "custom.pointSize": _POINT_SIZE,
        "custom.stacking": {"mode": "none", "group": "A"},
    }


def by_order(panel: timeseries.Panel) -> timeseries.Panel:
    """Colour series by their order: names that mean nothing elsewhere, such as instances."""
    return panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
