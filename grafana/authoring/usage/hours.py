"""Panels with a bar for each hour, and colours for names that only one panel shows."""

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.builders import dashboard, timeseries
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import BarAlignment
from grafana_foundation_sdk.models.dashboard import FieldColorModeId

from grafana.authoring.panels import About, Query, bars, legend_table

HOURS_SHOWN: Final = 2400
"""Points that a panel of hours may draw: a hundred days keep a bar for each hour."""

_CLOSE: Final = 0.9


def hours(about: About, queries: Sequence[Query], unit: str = units.Short) -> timeseries.Panel:
    """Draw a bar for each hour, with totals of the range."""
    panel = bars(about, unit, queries).bar_width_factor(_CLOSE).bar_alignment(BarAlignment.BEFORE)
    return legend_table(panel.max_data_points(HOURS_SHOWN), "sum")


def in_order(panel: timeseries.Panel) -> timeseries.Panel:
    """Give neighbours different colours: for names that no other panel shows."""
    return panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
