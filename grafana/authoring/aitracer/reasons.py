"""Why the two sides differ, in words."""

from grafana.authoring.panels import About, Panel, words


def reasons() -> tuple[Panel, ...]:
    """Return the section's panels."""
    return (
        words(
            About(701, "Traces are lower than the bill", "Usual reasons, and where to look.", width=8, height=11),
            """\
- **No instruments.** A service or a script calls OpenAI directly: *Untraced spend by workflow*, column Never.
- **The playground** and other use of OpenAI's own pages leaves no trace.
- **Streams without usage.** A streamed answer tells its tokens only if the application asks for them.
- **Batch jobs** answer later, past the instruments.
- **Tools and storage**, such as web search, code interpreter and vector stores, are billed and are not tokens.
- **Sampling.** Traces that keep one call in ten hold a tenth of the cost.
""",
        ),
        words(
            About(702, "Traces are higher than the bill", "Usual reasons, and where to look.", width=8, height=11),
            """\
- **Other providers.** Their calls count too where traces do not say whose they are.
- **Two instruments on one call**, such as a gateway and a library: it is there twice. Requests are then near 200 %.
- **Discounts that traces do not know**: cached input, batch, flex. *Price drift by model* is above 0.
- **An outdated price list.** One model drifts, the others fit.
- **Free daily tokens** are used and traced, and not billed.
""",
        ),
        words(
            About(
                703, "How the figures are made", "What the names of the figures mean, in formulas.", width=8, height=11
            ),
            """\
*B* billed, *C* traced dollars; *U* used, *T* traced tokens; *p = B/U*, *q = C/T* the prices of a token.

- **Coverage**: *C/B*, *T/U*, and traced calls that ended well of all requests.
- **Gap**: *B - C = (U - T)·p + T·(p - q)*, volume and price, model by model.
- **Price drift**: *q/p - 1*.
- **A source without cost** is valued at *p*: no drift by construction.
- **Days** are UTC days of use on both sides. A source that falls silent counts as 0 for three days.
- Models meet by exact name, else by family; workflows by name.
""",
        ),
    )
