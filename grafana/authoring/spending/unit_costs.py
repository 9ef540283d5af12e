"""What one token, one request and one million tokens cost, and what the prompt cache saves."""

from grafana.authoring import palette
from grafana.authoring.boards import MODEL_CHOSEN
from grafana.authoring.days import PROJECT_CHOSEN, settled_per_day
from grafana.authoring.panels import ONE_DAY, About, Panel, Query, line
from grafana.authoring.spending.choices import (
    FAMILY_CHOSEN,
    OWNER_CHOSEN,
    SEVEN_DAYS,
    SHARE,
    USD,
    USD_AXIS,
)
from grafana.authoring.tables import Column, rows, share_cell

_TOKENS = f'openai:project_model_workflow_token_type:tokens:sum7d{{{OWNER_CHOSEN}, model_family=~"$model"'
_REQUESTS = f'openai:project_model_workflow:requests:sum7d{{{OWNER_CHOSEN}, model_family=~"$model"}}'
_NO_WEEK = "Nothing used in seven closed days, or the recording rules are not loaded"


def unit_costs() -> tuple[Panel, ...]:
    """Return the section's panels."""
    return (_prices(), _per_unit(502, "model_family", "Model"), _per_unit(503, "workflow", "Workflow"), _over_time())


def _prices() -> Panel:
    def price(token_type: str) -> str:
        chosen = f'token_type="{token_type}", modality=~"text|unspecified", service_tier="", {MODEL_CHOSEN}'
        return f"1e6 * max by (model, source) (openai_effective_price_usd_per_token{{{chosen}}})"

    return rows(
        About(
            501,
            "Prices per million tokens",
            "What a million text tokens cost, over all service tiers: on your own bill over its last seven closed "
            "days, discounts included; else as configured, else by list. Models as usage spells them.",
            height=10,
            empty="No prices: nothing was billed yet, and none are configured",
        ),
        {"model": "Model", "source": "From"},
        (
            Column("Input", price("input"), USD, 2),
            Column("Cached", price("input_cached"), USD, 3),
            Column("Output", price("output"), USD, 2),
        ),
        sort="Output",
        widths={"source": 90},
    )


def _per_unit(panel_id: int, label: str, title: str) -> Panel:
    cost = f"sum by ({label}) ({SEVEN_DAYS[:-1]}{', model!=' + chr(34) * 2 if label == 'model_family' else ''}}})"
    tokens = f"sum by ({label}) ({_TOKENS}}})"
    all_input = f'sum by ({label}) ({_TOKENS}, token_type=~"input|input_cached|input_cache_write"}})'
    cached = f'sum by ({label}) ({_TOKENS}, token_type="input_cached"}})'
    counted = "the lines that name the model" if label == "model_family" else "all that is billed to it, tools too"
    return rows(
        About(
            panel_id,
            f"A request and a million tokens, by {title.lower()}",
            f"Over seven closed UTC days: {counted}, over its requests and its tokens; and the share of input that was "
            "read from the prompt cache.",
            height=10,
            empty=_NO_WEEK,
        ),
        {label: title},
        (
            Column("Million tokens", f"1e6 * {cost} / ({tokens} > 0)", USD, 2),
            Column("Request", f"{cost} / (sum by ({label}) ({_REQUESTS}) > 0)", USD, 4),
            Column(
                "Cached input", f"{cached} / ({all_input} > 0)", SHARE, 0, share_cell(((None, palette.INPUT_CACHED),))
            ),
        ),
        sort="Million tokens",
    )


def _over_time() -> Panel:
    tokens = settled_per_day("openai:project_model_workflow_token_type:tokens:day", FAMILY_CHOSEN)
    cost = settled_per_day("openai:project_model_workflow:cost_usd:day", FAMILY_CHOSEN)
    return line(
        About(
            504,
            "A million tokens, by model, day by day",
            "Billed lines that name the model over its tokens, per UTC day. A jump is another price, another tier, or "
            "another mix of input, cached input and output. Settled days only.",
            height=10,
            empty=_NO_WEEK,
        ),
        USD_AXIS,
        [
            Query(
                f"1e6 * sum by (model_family) ({cost} {PROJECT_CHOSEN})"
                f" / (sum by (model_family) ({tokens} {PROJECT_CHOSEN}) > 0)",
                "{{model_family}}",
                ONE_DAY,
            )
        ],
        filled=0,
    )
