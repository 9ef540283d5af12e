from hypothesis import given
from hypothesis import strategies as st

from exporter.ledger.counters import SeriesName
from exporter.metrics.rendering import render_samples
from exporter.metrics.sample_order import SampleOrder

SERIES = st.builds(
    lambda model, project: SeriesName("openai_cost_usd_total", (("model", model), ("project", project))),
    st.text('ab"\\\n', max_size=2),
    st.sampled_from(["", "core"]),
)
PAGES = st.lists(st.dictionaries(SERIES, st.integers(0, 3), max_size=5), min_size=1, max_size=5)


@given(PAGES)
def test_an_order_found_once_shows_what_rendering_anew_would_show(pages: list[dict[SeriesName, int]]) -> None:
    order = SampleOrder()
    for samples in pages:
        assert order.render(samples) == render_samples(samples)
