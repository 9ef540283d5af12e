"""Panels with a bar for each hour."""

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import BarAlignment

from grafana.authoring.panels import About, Query, bars, legend_table

HOURS_SHOWN: Final = 2400
"""Points that a panel of hours may draw: a hundred days keep a bar for each hour."""

_CLOSE: Final = 0.9


def hours(about: About, queries: Sequence[Query], unit: str = units.Short, *, totals: bool = True) -> timeseries.Panel:
    """Draw a bar for each hour, with totals of the range unless there are many names."""
    panel = bars(about, unit, queries).bar_width_factor(_CLOSE).bar_alignment(BarAlignment.BEFORE)
    panel = panel.max_data_points(HOURS_SHOWN)
    return legend_table(panel, "sum") if totals else panel
