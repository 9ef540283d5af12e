"""Is the traced cost aligned with the bill? Big numbers, for the whole organization."""

from typing import Final

from grafana_foundation_sdk.builders import common, stat
from grafana_foundation_sdk.models import units

from grafana.authoring import palette
from grafana.authoring.aitracer.choices import (
    CHOSEN,
    DRIFT,
    FINE_OR_NOT,
    HIGH,
    LOW,
    SHARE,
    SOURCE_CHOSEN,
    USD,
    within,
)
from grafana.authoring.amendments import coloured_by_query, in_words
from grafana.authoring.panels import About, Panel, Query, number, words

_TEXT_SIZE: Final = 20
_NONE: Final = "nothing yet"
_NEUTRAL: Final = ((None, "text"),)
_STATES: Final = {
    0: (
        "No traces: load an adapter from deploy/prometheus/rules/adapters and wait for a whole UTC day",
        palette.WATCH,
    ),
    1: ("Traces come in: compared from their first whole UTC day on", palette.BILLED),
    2: ("Fallen silent: no traces come in, which counts as 0 for three days", palette.WATCH),
    3: ("Traces are compared with the bill", palette.GOOD),
    4: ("Compared; the source has no cost of its own, so billed prices are used", palette.GOOD),
}
_WHOLE: Final = "The whole organization: follows the trace source and the days only."


def answers() -> tuple[Panel, ...]:
    """Return the section's panels."""
    return (
        _state(),
        _days_that_count(),
        _coverage(103, "Cost coverage", "usd", "Traced dollars as a share of billed dollars."),
        _coverage(
            104, "Token coverage", "tokens", "Traced tokens, input and output, as a share of those OpenAI reports."
        ),
        _coverage(
            105, "Request coverage", "requests", "Traced calls that ended well, as a share of OpenAI's requests."
        ),
        _drift(),
        _dollars(106, "Billed", "What OpenAI billed for these days.", "billed", palette.BILLED),
        _dollars(107, "Traced", "What the traces say these days cost.", "traced", palette.TRACED),
        _untraced(),
        _gap(),
        _which_days(),
    )


def _state() -> stat.Panel:
    compared = f"group(last_over_time(aitracer:coverage:ratio{{{SOURCE_CHOSEN}}}[1h]))"
    present = f"group(aitracer:source:present{{{SOURCE_CHOSEN}}})"
    panel = number(
        About(
            101,
            "Trace source",
            "Whether there is anything to compare. One source at a time: a call that two instruments see would count "
            "twice.",
            width=18,
            height=3,
            empty=_STATES[0][0],
        ),
        units.NoUnit,
        [
            Query(
                f"4 * ({compared} and on () {present} and on () aitracer:source:cost_derived{{{SOURCE_CHOSEN}}})"
                f" or 3 * ({compared} and on () {present}) or 2 * {compared} or {present} or vector(0)",
                "state",
            )
        ],
    )
    return in_words(panel, _STATES).text(common.VizTextDisplayOptions().value_size(_TEXT_SIZE))


def _days_that_count() -> stat.Panel:
    days = f"aitracer:source:counted_days:count7d{{{SOURCE_CHOSEN}}}"
    panel = number(
        About(
            102,
            "Settled days that count",
            "Of the last seven settled days, those with a bill worth a ratio (openai:threshold:compared_day_usd). "
            "Alerts wait for openai:threshold:trace_days of them: fewer are orange.",
            width=6,
            height=3,
            empty="0 of 7",
        ),
        units.NoUnit,
        [
            Query(f"{days} >= scalar(openai:threshold:trace_days)", "days"),
            Query(f"{days} < scalar(openai:threshold:trace_days)", "days"),
            Query(f"{days} unless on () openai:threshold:trace_days", "days"),
        ],
        steps=_NEUTRAL,
    )
    return coloured_by_query(panel, FINE_OR_NOT)


def _coverage(panel_id: int, title: str, measure: str, meaning: str) -> stat.Panel:
    coverage = f'aitracer:coverage:ratio{{{CHOSEN}, measure="{measure}"}}'
    panel = number(
        About(
            panel_id,
            title,
            f"{meaning} Green between openai:threshold:trace_coverage_low and …_high, orange outside. Event time. "
            f"{_WHOLE}",
            width=6,
            height=4,
            empty=_NONE,
        ),
        SHARE,
        [Query(expression, title) for expression in within(LOW, HIGH, coverage)],
        decimals=1,
        steps=_NEUTRAL,
    )
    return coloured_by_query(panel, FINE_OR_NOT)


def _dollars(panel_id: int, title: str, meaning: str, side: str, colour: str) -> stat.Panel:
    panel = number(
        About(panel_id, title, f"{meaning} Event time. {_WHOLE}", width=6, height=4, empty=_NONE),
        USD,
        [Query(f"aitracer:{side}_usd:sum{{{CHOSEN}}}", title)],
        steps=_NEUTRAL,
    )
    return coloured_by_query(panel, (colour,))


def _drift() -> stat.Panel:
    drift = f"aitracer:price_drift:ratio{{{CHOSEN}}}"
    panel = number(
        About(
            108,
            "Price drift",
            "Traced cost over what the same tokens cost on the bill, less 1: above 0, traces price too high. Orange "
            "beyond openai:threshold:price_drift_ratio either way. A source whose cost is made from billed prices "
            f"has none by construction. {_WHOLE}",
            width=6,
            height=4,
            empty="none",
        ),
        SHARE,
        [
            Query(f"{drift} >= -scalar({DRIFT}) <= scalar({DRIFT})", "drift"),
            Query(f"{drift} < -scalar({DRIFT}) or {drift} > scalar({DRIFT})", "drift"),
            Query(f"{drift} unless on () {DRIFT}", "drift"),
        ],
        decimals=1,
        steps=_NEUTRAL,
    )
    return coloured_by_query(panel, FINE_OR_NOT)


def _untraced() -> stat.Panel:
    untraced = f"aitracer:untraced_usd:sum{{{CHOSEN}"
    return number(
        About(
            109,
            "Billed and not traced",
            "Of models that are traced: what their traces leave out. Of all else, such as tools, storage and models "
            f"that nobody traces: everything. Event time. {_WHOLE}",
            width=6,
            height=4,
            empty=_NONE,
        ),
        USD,
        [
            Query(f'{untraced}, part="partly"}}', "partly traced"),
            Query(f'{untraced}, part="never"}}', "never traced"),
        ],
        colour="text",
    )


def _gap() -> stat.Panel:
    gap = f"aitracer:gap_usd:sum{{{CHOSEN}"
    return number(
        About(
            110,
            "Gap, billed less traced",
            "Split exactly. Volume: tokens that traces do not hold, at billed prices. Price: "
            "traced tokens, at what the bill charged more for them than traces say. Below 0, traces exceed the bill. "
            f"Event time. {_WHOLE}",
            width=6,
            height=4,
            empty=_NONE,
        ),
        USD,
        [Query(f'{gap}, part="volume"}}', "volume"), Query(f'{gap}, part="price"}}', "price")],
        colour="text",
    )


def _which_days() -> Panel:
    return words(
        About(111, "Which days", "What the choice of days at the top means.", width=24, height=4),
        "- **Seven settled days**: bills as they were known a day after each day's end. Alerts stand on these.\n"
        "- **Newest settled day**: one such day, the day before yesterday.\n"
        "- **Last closed day**: yesterday, as billed so far. It is there from 06:00 UTC on, and its bill still grows.",
    )
