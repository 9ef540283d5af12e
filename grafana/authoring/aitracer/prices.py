"""Whether traces price a token as the bill does, model by model."""

from typing import Final

from grafana_foundation_sdk.models import units

from grafana.authoring import palette
from grafana.authoring.aitracer.choices import (
    CHOSEN,
    DRIFT,
    EACH_DAY,
    NO_DRIFT,
    NOT_BY_DAYS,
    SHARE,
    SOURCE_CHOSEN,
    USD,
    per_closed_day,
)
from grafana.authoring.amendments import below_zero, words_cell
from grafana.authoring.boards import MODEL_CHOSEN
from grafana.authoring.days import END
from grafana.authoring.panels import ONE_DAY, About, Panel, Query, dashed, line, series_property
from grafana.authoring.tables import Column, rows

_SHOWN: Final = 8
_DERIVED: Final = (
    "A source whose cost is made from billed prices has no drift by construction: then only coverage counts."
)
_VERDICTS: Final = {
    -1: ("too low", palette.WATCH),
    0: ("fits", palette.GOOD),
    1: ("too high", palette.WATCH),
    2: ("too little", palette.REST),
}


def prices() -> tuple[Panel, ...]:
    """Return the section's panels."""
    return (_table(), _each_day())


def _table() -> Panel:
    def by_model(what: str) -> str:
        return f"sum by (model) (aitracer:model:{what}{{{CHOSEN}, {MODEL_CHOSEN}}})"

    drift = by_model("price_drift:ratio")
    traced = f"{by_model('traced_usd:sum')} and on (model) {drift}"
    at_billed_prices = f"{by_model('traced_at_billed_price_usd:sum')} and on (model) {drift}"
    floor = "scalar(openai:threshold:price_drift_usd)"
    worth = f"{by_model('traced_usd:sum')} > bool {floor}"
    verdict = (
        f"(({drift} > bool scalar({DRIFT})) - ({drift} < bool -scalar({DRIFT}))) * on (model) ({worth})"
        f" + on (model) 2 * ({by_model('traced_usd:sum')} <= bool {floor})"
        f" and on () {DRIFT} and on () openai:threshold:price_drift_usd"
    )
    return rows(
        About(
            401,
            "Price drift by model",
            "What traces say a token cost, over what the bill says, less 1, over the chosen days. Off: beyond "
            "openai:threshold:price_drift_ratio, with at least openai:threshold:price_drift_usd traced. Usual "
            "reasons: an outdated price list, or discounts for cached input, batch or flex that traces do not know. "
            f"Event time. Follows the model. {_DERIVED}",
            width=13,
            height=11,
            empty=NO_DRIFT,
        ),
        {"model": "Model"},
        (
            Column("Traced", traced, USD, 2, {"custom.width": 80}),
            Column("At billed prices", at_billed_prices, USD, 2, {"custom.width": 115}),
            Column("Drift", drift, SHARE, 1, {"custom.width": 60}),
            Column("Traces price", verdict, units.NoUnit, None, {"custom.width": 95, **words_cell(_VERDICTS)}),
        ),
        sort="Traced",
    )


def _each_day() -> Panel:
    largest = (
        f'topk({_SHOWN}, sum by (model) (aitracer:model:traced_usd:sum{{{SOURCE_CHOSEN}, window="settled_7d", '
        f"{MODEL_CHOSEN}}} @ {END}))"
    )
    panel = line(
        About(
            402,
            "Price drift per day by model",
            f"{EACH_DAY}The {_SHOWN} models with the most traced cost. Dashed: openai:threshold:price_drift_ratio, "
            f"either way. Follows the model. {NOT_BY_DAYS} {_DERIVED}",
            width=11,
            height=11,
            empty=NO_DRIFT,
        ),
        SHARE,
        [
            Query(
                f"{per_closed_day('aitracer:model:price_drift:ratio', MODEL_CHOSEN)} and on (model) {largest}",
                "{{model}}",
                ONE_DAY,
            ),
            Query(f"{DRIFT} @ {END}", "too high", ONE_DAY),
            Query(f"-({DRIFT} @ {END})", "too low", ONE_DAY),
        ],
        filled=0,
    )
    for limit in ("too low", "too high"):
        colour = {"color": {"mode": "fixed", "fixedColor": palette.LIMIT}}
        panel = series_property(dashed(panel, limit), limit, {**colour, "custom.showPoints": "never"})
    return below_zero(panel)
