"""How the two sides went, day by day, for the whole organization."""

from collections.abc import Mapping
from typing import Final

from grafana_foundation_sdk.builders import timeseries

from grafana.authoring import palette
from grafana.authoring.aitracer.choices import (
    EACH_DAY,
    HIGH,
    LOW,
    NO_TRACES,
    NOT_BY_DAYS,
    SHARE,
    USD,
    per_closed_day,
)
from grafana.authoring.amendments import below_zero, line_with_points
from grafana.authoring.days import END
from grafana.authoring.panels import ONE_DAY, About, Panel, Query, bars, dashed, line, series_property

_VOLUME: Final = "light-purple"
_PRICE: Final = "yellow"
_PARTLY: Final = "light-purple"
_NEVER: Final = palette.REST
_TOKENS: Final = "light-yellow"
_REQUESTS: Final = "light-green"
_WHOLE: Final = f"The whole organization. {NOT_BY_DAYS}"


def each_day() -> tuple[Panel, ...]:
    """Return the section's panels."""
    return (_both_sides(), _coverage(), _gap(), _untraced())


def _both_sides() -> Panel:
    panel = bars(
        About(
            201,
            "Billed and traced per day",
            f"{EACH_DAY}Bars: what OpenAI billed. Line: what the traces of that day say it cost. {_WHOLE}",
            height=9,
            empty=NO_TRACES,
        ),
        USD,
        [
            Query(per_closed_day("aitracer:billed_usd:sum"), "billed", ONE_DAY),
            Query(per_closed_day("aitracer:traced_usd:sum"), "traced", ONE_DAY),
        ],
    )
    return series_property(panel, "traced", line_with_points())


def _coverage() -> Panel:
    def coverage(measure: str) -> str:
        return per_closed_day("aitracer:coverage:ratio", f'measure="{measure}"')

    panel = line(
        About(
            202,
            "Coverage per day",
            f"{EACH_DAY}Traced as a share of billed or used. Dashed: where an alert tells of the cost's coverage over "
            f"seven settled days. {_WHOLE}",
            height=9,
            empty=NO_TRACES,
        ),
        SHARE,
        [
            Query(coverage("usd"), "cost", ONE_DAY),
            Query(coverage("tokens"), "tokens", ONE_DAY),
            Query(coverage("requests"), "requests", ONE_DAY),
            Query(f"{LOW} @ {END}", "too low", ONE_DAY),
            Query(f"{HIGH} @ {END}", "too high", ONE_DAY),
        ],
        filled=0,
    )
    panel = _coloured(panel, {"cost": palette.TRACED, "tokens": _TOKENS, "requests": _REQUESTS})
    for limit in ("too low", "too high"):
        colour = {"color": {"mode": "fixed", "fixedColor": palette.LIMIT}}
        panel = series_property(dashed(panel, limit), limit, {**colour, "custom.showPoints": "never"})
    return panel


def _gap() -> Panel:
    panel = below_zero(
        bars(
            About(
                203,
                "Gap per day by volume and price",
                f"{EACH_DAY}Billed less traced, split exactly: tokens that are not traced, at billed prices, and "
                f"traced tokens, at the difference of prices. Below 0, traces are higher than the bill. {_WHOLE}",
                empty=NO_TRACES,
            ),
            USD,
            [
                Query(per_closed_day("aitracer:gap_usd:sum", 'part="volume"'), "volume", ONE_DAY),
                Query(per_closed_day("aitracer:gap_usd:sum", 'part="price"'), "price", ONE_DAY),
            ],
        )
    )
    return _coloured(panel, {"volume": _VOLUME, "price": _PRICE})


def _untraced() -> Panel:
    panel = bars(
        About(
            204,
            "Untraced spend per day",
            f"{EACH_DAY}Billed and not traced: the rest of models that are traced in part, and all of what never is, "
            f"tools and storage too. {_WHOLE}",
            empty=NO_TRACES,
        ),
        USD,
        [
            Query(per_closed_day("aitracer:untraced_usd:sum", 'part="partly"'), "partly traced", ONE_DAY),
            Query(per_closed_day("aitracer:untraced_usd:sum", 'part="never"'), "never traced", ONE_DAY),
        ],
    )
    return _coloured(panel, {"partly traced": _PARTLY, "never traced": _NEVER})


def _coloured(panel: timeseries.Panel, colours: Mapping[str, str]) -> timeseries.Panel:
    for name, colour in colours.items():
        panel = series_property(panel, name, {"color": {"mode": "fixed", "fixedColor": colour}})
    return panel
