"""Panels with one look: what every dashboard agrees on, so that each says only what it shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

from grafana_foundation_sdk.builders import (
    barchart,
    bargauge,
    common,
    dashboard,
    piechart,
    prometheus,
    stat,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphDrawStyle,
    GraphGradientMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    LineInterpolation,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.piechart import PieChartLegendValues, PieChartType
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.text import TextMode

from grafana.authoring.palette import FIXED_BY_SERIES, GOOD

DATASOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
ONE_DAY: Final = "1d"

Panel: TypeAlias = (
    timeseries.Panel | stat.Panel | bargauge.Panel | barchart.Panel | piechart.Panel | table.Panel | text.Panel
)
"""Every kind of panel that is used here; all of them take `.id`, `.span`, `.height` and more, as the SDK says."""

Steps = Sequence[tuple[float | None, str]]
"""Thresholds: from which value on (None: from the least), which colour."""


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel.

    Attributes:
        expression: PromQL.
        legend: what its series are called, such as `{{project}}`.
        interval: the least step, such as `1d`; empty for Grafana's choice.
    """

    expression: str
    legend: str = ""
    interval: str = ""


@dataclass(frozen=True, slots=True)
class About:
    """What every panel says of itself.

    Attributes:
        id: of the panel, for ever: alerts and bookmarks lead to it.
        title: a short noun phrase.
        description: what it shows, from which clock, and what to make of it.
        width: of 24 columns.
        height: in rows of 30 pixels.
        empty: what it says when there is nothing to show, and what that means.
    """

    id: int
    title: str
    description: str
    width: int = 12
    height: int = 8
    empty: str = "Nothing in this range"


def line(
    about: About, unit: str, queries: Sequence[Query], *, filled: int = 10, stacked: bool = False
) -> timeseries.Panel:
    """Draw lines over time."""
    panel = _series(about, unit, queries).line_width(2).fill_opacity(filled).show_points(VisibilityMode.AUTO)
    panel = panel.line_interpolation(LineInterpolation.LINEAR)
    return panel.stacking(_stacked()) if stacked else panel


def bars(about: About, unit: str, queries: Sequence[Query], *, stacked: bool = True) -> timeseries.Panel:
    """Draw bars over time, on top of each other unless told otherwise; say the step in each query's interval."""
    panel = (
        _series(about, unit, queries)
        .draw_style(GraphDrawStyle.BARS)
        .line_width(0)
        .fill_opacity(85)
        .gradient_mode(GraphGradientMode.NONE)
        .show_points(VisibilityMode.NEVER)
    )
    return panel.stacking(_stacked()) if stacked else panel


def number(  # noqa: PLR0913 - all but three by name
    about: About,
    unit: str,
    queries: Sequence[Query],
    *,
    steps: Steps = ((None, GOOD),),
    colour: str | None = None,
    sparkline: bool = False,
    decimals: int | None = None,
) -> stat.Panel:
    """Show one number, or one for each series; a fixed colour, or one by threshold."""
    panel = (
        stat.Panel()
        .unit(unit)
        .thresholds(thresholds_of(steps))
        .reduce_options(_last())
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.AREA if sparkline else BigValueGraphMode.NONE)
        .text_mode(BigValueTextMode.AUTO)
        .no_value(about.empty)
    )
    if colour is not None:
        panel = panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.FIXED).fixed_color(colour))
    if decimals is not None:
        panel = panel.decimals(decimals)
    return finished(panel, about, targets_of(queries, instant=not sparkline))


def bar_list(  # noqa: PLR0913 - all but three by name
    about: About,
    unit: str,
    queries: Sequence[Query],
    *,
    steps: Steps = ((None, GOOD),),
    most: float | None = None,
    decimals: int | None = None,
) -> bargauge.Panel:
    """List series with a bar each, now."""
    panel = (
        bargauge.Panel()
        .unit(unit)
        .thresholds(thresholds_of(steps))
        .reduce_options(_last())
        .orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.BASIC)
        .text(common.VizTextDisplayOptions().title_size(14).value_size(16))
        .min(0)
        .no_value(about.empty)
    )
    if most is not None:
        panel = panel.max(most)
    if decimals is not None:
        panel = panel.decimals(decimals)
    return finished(panel, about, targets_of(queries, instant=True))


def share(about: About, unit: str, queries: Sequence[Query]) -> piechart.Panel:
    """Show shares of a whole as a ring, with a table of them."""
    panel = (
        piechart.Panel()
        .unit(unit)
        .pie_type(PieChartType.DONUT)
        .reduce_options(_last())
        .no_value(about.empty)
        .legend(
            piechart.PieChartLegendOptions()
            .show_legend(True)  # noqa: FBT003 - the SDK's own
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.RIGHT)
            .values([PieChartLegendValues.VALUE, PieChartLegendValues.PERCENT])
        )
        .tooltip(_tooltip())
    )
    return finished(_coloured_by_name(panel), about, targets_of(queries, instant=True))


def categories(  # noqa: PLR0913 - all but three by name
    about: About,
    unit: str,
    queries: Sequence[Query],
    transformations: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    time_from: str | None = None,
    colour: str | None = None,
) -> barchart.Panel:
    """Draw a bar for each row of a table: weeks, months, names."""
    panel = barchart.Panel().unit(unit).no_value(about.empty).thresholds(thresholds_of(((None, GOOD),)))
    panel = panel.legend(common.VizLegendOptions().show_legend(False))  # noqa: FBT003 - the SDK's own
    for name, options in transformations:
        panel = panel.with_transformation(DataTransformerConfig(id_val=name, options=dict(options)))
    if time_from is not None:
        panel = panel.time_from(time_from)
    if colour is not None:
        panel = panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.FIXED).fixed_color(colour))
    return finished(panel, about, targets_of(queries, instant=False))


def words(about: About, content: str) -> text.Panel:
    """Show text, in Markdown."""
    panel = text.Panel().mode(TextMode.MARKDOWN).content(content).title(about.title).description(about.description)
    return panel.id(about.id).span(about.width).height(about.height)


def series_property(panel: timeseries.Panel, legend: str, properties: Mapping[str, Any]) -> timeseries.Panel:
    """Set more of one series' configuration, after the colours that every panel has."""
    return panel.override_by_name(legend, [DynamicConfigValue(name, value) for name, value in properties.items()])


def dashed(panel: timeseries.Panel, legend: str) -> timeseries.Panel:
    """Draw one series as a dashed line without fill, also among bars: a limit, an expectation."""
    return series_property(
        panel,
        legend,
        {
            "custom.drawStyle": "line",
            "custom.lineStyle": {"fill": "dash", "dash": [8, 8]},
            "custom.lineWidth": 2,
            "custom.fillOpacity": 0,
            "custom.stacking": {"mode": "none", "group": "A"},
        },
    )


def threshold_lines(panel: timeseries.Panel, steps: Steps) -> timeseries.Panel:
    """Draw thresholds as dashed lines."""
    style = common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
    return panel.thresholds(thresholds_of(steps)).thresholds_style(style)


def _series(about: About, unit: str, queries: Sequence[Query]) -> timeseries.Panel:
    panel = (
        timeseries.Panel()
        .unit(unit)
        .min(0)
        .no_value(about.empty)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)  # noqa: FBT003 - the SDK's own
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .calcs([])
        )
        .tooltip(_tooltip())
    )
    return finished(_coloured_by_name(panel), about, targets_of(queries, instant=False))


def legend_table(panel: timeseries.Panel, *calculations: str, beside: bool = True) -> timeseries.Panel:
    """Give a panel a legend with figures, such as `sum`, `mean`, `lastNotNull`."""
    options = (
        common.VizLegendOptions()
        .show_legend(True)  # noqa: FBT003 - the SDK's own
        .display_mode(LegendDisplayMode.TABLE)
        .placement(LegendPlacement.RIGHT if beside else LegendPlacement.BOTTOM)
        .calcs(list(calculations))
    )
    return panel.legend(options)


_Queried = TypeVar(
    "_Queried", timeseries.Panel, stat.Panel, bargauge.Panel, barchart.Panel, piechart.Panel, table.Panel
)


def finished(panel: _Queried, about: About, targets: Sequence[prometheus.Dataquery]) -> _Queried:
    """Give a panel what it says of itself, and its queries."""
    panel = panel.id(about.id).title(about.title).description(about.description)
    panel = panel.datasource(DATASOURCE).span(about.width).height(about.height)
    for target in targets:
        panel = panel.with_target(target)
    return panel


def targets_of(queries: Sequence[Query], *, instant: bool, as_table: bool = False) -> list[prometheus.Dataquery]:
    """Return queries as Grafana takes them, named A, B and so on."""
    targets = []
    for place, query in enumerate(queries):
        target = prometheus.Dataquery().expr(query.expression).ref_id(reference(place)).datasource(DATASOURCE)
        target = target.instant() if instant else target.range()
        target = target.format(PromQueryFormat.TABLE if as_table else PromQueryFormat.TIME_SERIES)
        if query.legend:
            target = target.legend_format(query.legend)
        if query.interval:
            target = target.interval(query.interval)
        targets.append(target)
    return targets


def reference(place: int) -> str:
    """Return what the query at that place is called."""
    return chr(ord("A") + place)


def thresholds_of(steps: Steps) -> dashboard.ThresholdsConfig:
    """Return thresholds as Grafana takes them."""
    return (
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=colour) for value, colour in steps])
    )


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def _stacked() -> common.StackingConfig:
    return common.StackingConfig().mode(StackingMode.NORMAL).group("A")


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)


_Coloured = TypeVar("_Coloured", timeseries.Panel, piechart.Panel)


def _coloured_by_name(panel: _Coloured) -> _Coloured:
    """Give each name its colour: those with a meaning their own, all others the same one everywhere."""
    panel = panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    for name, colour in FIXED_BY_SERIES.items():
        panel = panel.override_by_name(name, [DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})])
    return panel
