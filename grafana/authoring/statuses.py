"""The colours of HTTP's status codes, the same in every panel that splits requests by them."""

from typing import Final

from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from grafana.authoring import palette

_BY_CODE: Final = {
    "2..": palette.GOOD,
    "4..": palette.WATCH,
    "429": "yellow",
    "5..": palette.BAD,
    "error": "dark-red",
}


def coloured_by_status(panel: timeseries.Panel) -> timeseries.Panel:
    """Give series that are called by their status code that code's colour; `error` stands for no answer."""
    for pattern, colour in _BY_CODE.items():
        panel = panel.override_by_regexp(
            f"/^{pattern}$/", [DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})]
        )
    return panel
