"""Samples to Prometheus' two text formats. Pure, and quick: a page of many series is text joined once."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from exporter.exact import Amount
from exporter.ledger.counters import SeriesName
from exporter.metrics.catalogue import Family, Kind


def render_value(amount: Amount) -> str:
    """Return a count exactly, and money as the nearest of Prometheus' 64-bit floats, shortest spelling."""
    return repr(float(amount)) if isinstance(amount, Decimal) else str(amount)


def render_name(name: SeriesName) -> str:
    """Return `family{label="value",…}`, escaped."""
    if not name.labels:
        return name.family
    pairs = ",".join([f'{label}="{escape_label(value)}"' for label, value in name.labels])
    return f"{name.family}{{{pairs}}}"


def escape_label(value: str) -> str:
    """Return a label value as both formats want it between its quotes."""
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return value


def render_header(family: Family, *, openmetrics: bool) -> str:
    """Return the HELP and TYPE lines; OpenMetrics names counters without their `_total`."""
    name = family.name
    text = family.help.replace("\\", "\\\\").replace("\n", "\\n")
    if openmetrics:
        text = text.replace('"', '\\"')
        if family.kind is Kind.COUNTER:
            name = name.removesuffix("_total")
    return f"# HELP {name} {text}\n# TYPE {name} {family.kind}\n"


def render_samples(samples: Mapping[SeriesName, Amount]) -> str:
    """Return one line per sample, in the order of their labels."""
    return join_samples((render_name(name), render_value(value)) for name, value in samples.items())


def join_samples(samples: Iterable[tuple[str, str]]) -> str:
    """Return `name value` lines, sorted, so that the same state always gives the same page."""
    return "".join([f"{name} {value}\n" for name, value in sorted(samples)])
