"""What colours mean, in every dashboard the same. Names are Grafana's own, so they fit its light and dark theme."""

from typing import Final

GOOD: Final = "green"
WATCH: Final = "orange"
BAD: Final = "red"

BILLED: Final = "blue"
ESTIMATED: Final = "light-blue"
TRACED: Final = "purple"
EXPECTED: Final = "text"
FORECAST: Final = "super-light-blue"
LIMIT: Final = "red"
REST: Final = "#7b8087"
"""What is folded together, belongs to nobody, or has no name."""

INPUT: Final = "blue"
INPUT_CACHED: Final = "green"
INPUT_CACHE_WRITE: Final = "yellow"
OUTPUT: Final = "orange"

FIXED_BY_SERIES: Final = {
    "billed": BILLED,
    "estimated": ESTIMATED,
    "traced": TRACED,
    "expected": EXPECTED,
    "forecast": FORECAST,
    "limit": LIMIT,
    "Other": REST,
    "(other)": REST,
    "(none)": REST,
    "unmapped": REST,
    "unattributed": REST,
    "input": INPUT,
    "input_cached": INPUT_CACHED,
    "input_cache_write": INPUT_CACHE_WRITE,
    "output": OUTPUT,
}
"""Colours of series by their legend. Every panel that draws series follows it."""

MODALITIES: Final = {"text": "#37a2a0", "audio": "#e0b400", "image": "#c15c9a", "unspecified": REST}
"""Colours of kinds of tokens, apart from those of input and output."""
