"""The order of samples on the page, found once: most polls bring other values, but no other series."""

from collections.abc import Mapping
from operator import itemgetter

from exporter.exact import Amount
from exporter.ledger.counters import SeriesName
from exporter.metrics.rendering import render_name, render_value


class SampleOrder:
    """Remembers how the names of some series are spelled, in the order of their spellings."""

    def __init__(self) -> None:
        self._texts: dict[SeriesName, str] = {}

    def render(self, samples: Mapping[SeriesName, Amount]) -> str:
        """Return what `render_samples` does."""
        # As many, and all of them there: the same.
        if len(samples) != len(self._texts) or not all(name in samples for name in self._texts):
            texts = {name: self._texts.get(name) or render_name(name) for name in samples}
            self._texts = dict(sorted(texts.items(), key=itemgetter(1)))
        return "".join([f"{text} {render_value(samples[name])}\n" for name, text in self._texts.items()])
